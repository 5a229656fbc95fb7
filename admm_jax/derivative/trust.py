"""How far a derivative can be trusted, and the warning where that is not far.

The derivative is exact where the solution holds exactly those parts that the optimum holds: then its error falls with
the solve's. Before, a few wrong regions out of thousands cost a few percent, and nothing in the linear system shows
it. So the solve goes on until its certified gap is so small that the active set is settled. Where it does not get so
far: with the relative gap g (for decoupled problems the estimate of it, as their certified gap is a hundred times the
true one), x and p are known to about delta = sqrt(g), so the active set is read twice more, with all multipliers times
1 - delta and times 1 + delta. The first reading holds everything that may be held, the second only what must be. If
they are the same, the set is settled all the same. If not, the derivative's error is estimated by the difference that
it makes to the answer of x to one push when each multiplier is changed by delta to its own side, now with the estimate
of the gap for all problems: errors of thousands of multipliers do not all go one way, and a bound that supposes it was
20 to 50,000 times the error.
"""

from __future__ import annotations

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from admm_jax.derivative.active import read
from admm_jax.derivative.conditions import system_at
from admm_jax.derivative.stiff import regular, rough
from admm_jax.derivative.tell import Teller, announced
from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solution import Solution
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import lift
from admm_jax.solver.settings import FEW_PIXELS, Settings
from admm_jax.solver.vectors import norm, probe_signs, subtract
from admm_jax.status import Status

T = TypeVar("T")

SHARP = {8: 1e-3, 4: 3e-2}  # error of a group, relative, at which its curvature counts as known, by width of the dtype
# an estimated error that is not worth a warning, by width of the dtype: what float32 leaves of an image's derivative.
# The estimate was four times too small at worst there. In float64 derivatives are exact as a rule, and where one is not
# it was 240 times too small.
SLIGHT = {8: 0.0, 4: 5e-3}
ASKED = 4.0  # times the accuracy that is asked for, of an estimated error that counts as it
LEAST_GAP = 1 / 256  # that is believed, in units of rounding: multipliers are known no better than its square root
ROUGH_STEPS = 300  # of conjugate gradients, for the estimate of the error
ROUGH = 1e-3  # and the relative residual that they stop at


@pytree_dataclass
class Trust:
    """What is known of a derivative; all scalars.

    Attributes:
        converged: The solve came to where there is a derivative (`reached`).
        settled: The active set is that of the optimum.
        unique: The linear system is regular, as far as that is known.
        error: Estimate of the relative error; zero where none was needed, infinite where the solve did not converge.
        known: Every function says what it holds; where one does not, nothing counts as settled.
    """

    converged: Array
    settled: Array
    unique: Array
    error: Array
    known: Array


def assess(problem: Problem, plan: Plan, solution: Solution, aim: Settings) -> Trust:
    """What is known of the derivative at a solution.

    Args:
        problem: The problem, in the units that it is differentiated in.
        plan: How it is solved.
        solution: Its solution, in the same units.
        aim: Of the solve: its target is the relative gap at which an active set is settled in any case.
    """
    dtype, target = solution.gap.dtype, aim.target
    came = reached(solution, plan, target)
    nearest = jnp.minimum(solution.gap, solution.estimate)
    gap = nearest if plan.decoupled else solution.gap
    delta = jnp.sqrt(jnp.clip(gap, 0, 1e-2)).astype(dtype)
    factors = jnp.stack([1 - delta, 1 + delta])
    patterns = jax.vmap(lambda factor: active_set(problem, solution, factor))(factors)
    clear = jnp.all(jnp.stack([jnp.all(both[0] == both[1]) for both in patterns])) if patterns else jnp.ones((), bool)
    blurred = blur(problem, solution)
    # small groups must be sharp besides; but the target of a decoupled problem was measured with them
    sharp = blurred <= SHARP[dtype.itemsize]
    settled = solution.converged & sharp & ((gap <= target) | clear)
    if plan.decoupled:  # of few pixels one wrong region is percents, which no target that averages over many knows
        enough = gap <= target if problem.size >= FEW_PIXELS else jnp.zeros((), bool)
        settled = came & (enough | (sharp & clear))
    known = all(penalty.function.differentiates for penalty in problem.penalties)
    settled = settled if known else jnp.zeros((), bool)
    push = {name: _probe(value) for name, value in solution.values.items()}
    # each multiplier is off by its own error, to either side, of the size that the gap is likely to leave
    likely = jnp.sqrt(jnp.clip(nearest, LEAST_GAP * jnp.finfo(dtype).eps, 1e-2)).astype(dtype)

    def answer(side: Array) -> Point:
        shaken = tuple(p * (1 + side * likely * probe_signs(p.shape, dtype)) for p in solution.multipliers)
        system = system_at(problem, plan, replace(solution, multipliers=shaken), aim.accuracy)
        return rough(system, push, steps=jnp.where(settled, 0, ROUGH_STEPS), tol=ROUGH)

    def estimate() -> Array:
        answers = lax.map(answer, jnp.asarray([0.0, 1.0, -1.0], dtype))
        here, *there = ({name: value[i] for name, value in answers.items()} for i in range(3))
        size = jnp.max(jnp.stack([norm(here), *map(norm, there)]))
        apart = jnp.max(jnp.stack([norm(subtract(one, here)) for one in there]))
        return jnp.where(size > 0, apart / jnp.where(size > 0, size, 1), 0)

    error = lax.cond(settled | ~came, lambda: jnp.zeros((), dtype), estimate)
    if plan.decoupled and known:  # as accurate as was asked for, by an estimate that is rather too large
        settled = settled | (came & (gap <= target) & (error <= ASKED * aim.accuracy))
    unique = regular(system_at(problem, plan, solution, aim.accuracy))
    return Trust(came, settled, unique, jnp.where(came, error, jnp.inf), jnp.asarray(known))


def _probe(x: Array) -> Array:
    """A force to try: the image itself, as a loss pulls on it, and signs, of the same length as far as it has one."""
    signs = probe_signs(x.shape, x.dtype)
    size = jnp.sqrt(jnp.mean(x * x))
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1), 0) + signs


def reached(solution: Solution, plan: Plan, target: Array) -> Array:
    """Whether the solve came to where there is a derivative.

    That is to its tolerance, of the gap, of the estimate of the gap, or of the residuals where no gap can be known. In
    a decoupled problem it is enough that the estimate is within `target`, though rounding may end the certificate
    before its tolerance. `plan` is how the problem was solved.
    """
    known = solution.converged
    for status in (Status.SOLVE_ESTIMATE_REACHED, Status.SOLVE_RESIDUALS_REACHED):
        known = known | (solution.status == status.value)
    return known | (solution.estimate <= target) if plan.decoupled else known


def blur(problem: Problem, solution: Solution) -> Array:
    """The largest relative error of a curvature, from how far x and its multipliers disagree on v = A x + b.

    Only unbounded curvatures count, such as w / ||v|| of a group: where v is small, it is as well known as v is.
    """
    worst = jnp.zeros((), solution.gap.dtype)
    lifted = lift(problem)
    readings = read(problem, solution.values, solution.multipliers)
    for penalty, reading in zip(lifted.penalties, readings, strict=True):
        if penalty.function.unbounded_curvature:
            v = penalty.map(solution.values) + penalty.offset
            worst = jnp.maximum(worst, penalty.function.blur(v, reading.z, reading.p, reading.rho))
    return worst


def active_set(problem: Problem, solution: Solution, factor: Array | float = 1.0) -> tuple[Array, ...]:
    """What each penalty of the lifted problem holds (`Function.active`), its multipliers read times `factor`."""
    readings = read(problem, solution.values, tuple(factor * p for p in solution.multipliers))
    pairs = zip(lift(problem).penalties, readings, strict=True)
    return tuple(penalty.function.active(reading.z, reading.p) for penalty, reading in pairs)


def complaint(code: np.ndarray, measured: np.ndarray, slight: np.ndarray, trust: Trust) -> str | None:
    """What there is to say of a derivative, None if it can be trusted.

    Args:
        code: The number of the solve's status.
        measured: Its certified relative gap.
        slight: Of `SLIGHT`, for the dtype of the solve: a callback's numbers may come in another.
        trust: What is known of the derivative.
    """
    status, gap = int(code), float(measured)
    if not trust.converged:
        return (
            f"the solve that was differentiated did not converge ({Status(status).name}, certified gap {gap:.1e}): "
            "its derivative has no basis; raise max_iterations or loosen tol "
            "(the option derivative_nan=False gives what there is instead of NaN)"
        )
    if not trust.unique:
        return (
            "the solution that was differentiated is not the only one: its derivative has no meaning and is NaN (that "
            "of the objective has one); a small quadratic term, or a constraint, makes the solution unique"
        )
    if not trust.known:
        return (
            "the derivative is in doubt: a function of your own has no method `active`, which says what it holds, so "
            "that nothing tells whether the parts of the solution that kinks and bounds hold are settled "
            "(the option derivative_warning=False says nothing)"
        )
    if not trust.settled and not 0 < trust.error <= slight:
        return (
            f"the derivative is in doubt{_amount(float(trust.error))}: with a certified gap of {gap:.1e} it is not "
            "settled which parts of the solution are held; a tighter tol, more max_iterations or float64 settles it "
            "(model.diagnose tells more; the option derivative_warning=False says nothing)"
        )
    return None


def _amount(error: float) -> str:
    """By how much, as far as that was estimated: where nothing was found, the two readings may err alike."""
    if 0 < error < math.inf:
        return f" by about {error:.1e} (relative, estimated)"
    return ", by how much is not known (an estimate found nothing)" if error == 0 else ", by how much is not known"


class Announcer:
    """Warns when the program runs, in the mode in which the derivative is taken, if that at `solution` is in doubt.

    Args:
        problem: The problem, in the units that it is differentiated in.
        plan: How it is solved.
        solution: Its solution, in the same units.
        aim: As of `assess`.
        program: The number under which it warns once.
    """

    def __init__(self, problem: Problem, plan: Plan, solution: Solution, aim: Settings, program: Array) -> None:
        self.told = solution.status, solution.gap, jnp.asarray(SLIGHT[solution.gap.dtype.itemsize], jnp.float32)
        self.trust = assess(problem, plan, solution, aim)
        self.teller, self.program = Teller(complaint), program

    def __call__(self, change: T) -> T:
        """The change as it is, of x, of multipliers or of the objective."""
        vector, tree_of = ravel_pytree(change)
        if vector.size == 0:
            return change
        return tree_of(announced(vector, self.teller, self.program, *self.told, self.trust))
