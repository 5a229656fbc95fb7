"""The solve as a differentiable function of everything that its problem is made of.

`differentiable_solve` is `admm_jax.solver.solve.solve` with a derivative: forward, reverse and of any order. The rule
is written once, as a Jacobian-vector product around a linear solve that JAX can transpose. It never sees the loop: it
uses nothing but the solution and its multipliers, so memory does not grow with iterations, and starts, rho and
tolerances have derivative zero.

    dx           the linear system of `conditions.py`
    d objective  = the derivative of the Lagrangian at fixed (x, p): the envelope theorem (Danskin 1967)

         q(x) + sum <p_j, A_j x + b_j - z_j> + g_j(z_j; theta)      g_j(z_j) = <p_j, z_j> - g_j*(p_j) where g_j is a set

Where something is differentiated, the solve first finishes the active set: it goes on from its tolerance to a far
smaller one, for at most as many iterations again (see `solver.loop`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.custom_batching import sequential_vmap
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from admm_jax.derivative import linear_solve, trust
from admm_jax.derivative.active import has_curved_groups, project
from admm_jax.derivative.ambiguity import arriving, has_tangent, no_tangent, shadow, with_floating
from admm_jax.derivative.conditions import lagrangian, multiplier_change, system_at, system_right_hand_side
from admm_jax.derivative.tell import NOWHERE, Origin, program_number
from admm_jax.derivative.units import ScaledProblem
from admm_jax.precision import full_precision
from admm_jax.problem import Penalty, Point, Problem
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver import unroll
from admm_jax.solver.plan import Plan, polishing
from admm_jax.solver.programs import Program
from admm_jax.solver.rewrite import lift
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.settings import Settings, finishing
from admm_jax.solver.solve import in_stages, solve
from admm_jax.solver.state import State
from admm_jax.solver.vectors import add


def tangent_of(
    problem: Problem,
    change: Problem,
    plan: Plan,
    solution: Solution,
    accuracy: Array,
    push: Point | None = None,
    guess: Point | None = None,
    shadows: tuple[Array, ...] | None = None,
    program: Array | None = None,
) -> tuple[Point, Array, tuple]:
    """(dx, d objective, dp) at a solution for a change of the problem; linear in it, and transposable.

    Args:
        problem: The problem, of n unknowns x.
        change: Its tangent, a `Problem` of the same structure.
        plan: How the problem is solved.
        solution: The solution of `problem`, with its multipliers p.
        accuracy: The relative error that linear systems may leave, where the problem is decoupled.
        push: A force on x beside that of the change, of the shapes of x; None for none.
        guess: Where the transposed system starts, of the shapes of x; None is zero.
        shadows: The change of the penalties in the channels of `ambiguity.py`, each (CHANNELS, *shape); None where no
            kink of a term can move.
        program: The number of the traced program, which warns once (see `tell.program_number`).

    Returns:
        dx, of the shapes of x; d objective, a scalar; dp, of the shapes of the multipliers.
    """
    system, dtype = system_at(problem, plan, solution, accuracy), solution.gap.dtype
    shift, (r, s) = system_right_hand_side(problem, change, system)
    if push is not None:
        r = add(r, project(system.space, push))
    t, u = linear_solve.solve_system(
        system,
        r,
        s,
        solution.converged,
        guess,
        asked=_measure((change.quadratics, change.penalties, change.linear, push) if plan.dense else (), dtype),
        shadows=arriving(problem, shadows, system) if shadows is not None and s else None,
        program=program,
    )
    dx = add(shift, project(system.space, t))
    value = jax.jvp(lambda q: lagrangian(lift(q), system.x, system.readings), (problem,), (change,))[1]
    return dx, value, multiplier_change(problem, change, system, dx, u)


def _measure(change: Any, dtype: Any) -> Array:
    """A number linear in a change and zero only where nothing changes: a sum with weights without a pattern."""
    leaves = [leaf for leaf in jax.tree.leaves(change) if leaf.dtype != float0]
    weights = [jnp.sin(1 + jnp.arange(leaf.size, dtype=dtype) ** 1.5) for leaf in leaves]
    parts = (jnp.dot(w, jnp.ravel(leaf)) for w, leaf in zip(weights, leaves, strict=True))
    return sum(parts, start=jnp.zeros((), dtype))


_inside = jax.jit(solve, static_argnames=("plan", "dtype"))  # for a solve in a transformation
_alone = Program(solve, "plan", "dtype")  # for one whose numbers are known
# and for one in an eager gradient, as of a search of some ten: its repeated use is in loops that are jitted
EAGER_GRADIENT = 256 * 256
_of_gradient = Program(solve, "plan", "dtype", small=EAGER_GRADIENT)
_unrolled = jax.jit(unroll.solve, static_argnames=("plan", "dtype"))


def _traced(*args: Any) -> bool:
    """Whether something here is traced, or everything is: within `jit` new arrays are."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, jnp.zeros(()))))


def differentiable_solve(
    problem: Problem,
    settings: Settings,
    x: Point,
    state: State | None,
    adjoint: Point | None = None,
    *,
    plan: Plan,
    dtype: np.dtype,
    made_of: tuple[Any, Callable[[Any], tuple[Penalty, ...]]] | None = None,
    origin: Origin = NOWHERE,
) -> Solution:
    """The solution; differentiable in `problem`.

    Polishing that is left out is not compiled, and a solve that stands in no transformation is compiled as its size
    asks (`solver.programs`).

    Args:
        problem: The problem, as `solver.solve.prepare` made it.
        settings: Of the solve.
        x: Where it starts.
        state: The state of an earlier solve that it starts from; None for none.
        adjoint: Where the linear system of reverse mode starts, of the shapes of x; None is zero. The solution does not
            depend on it, but its gradient is defined as the solution of that system: the gradient of a loss with
            respect to `adjoint` is what the next similar one starts from.
        plan: How it is solved.
        dtype: Of the solve.
        made_of: (parameters, from parameters to the problem's penalties): whether there is a derivative is then told
            of these parameters; None tells it of the numbers of the penalties themselves.
        origin: The model and the line that called, for warnings, which are given once.
    """
    if not isinstance(settings.polish, Tracer) and not bool(settings.polish):
        plan = dataclasses.replace(plan, polisher=None)
    with jax.debug_nans(False):  # NaN in the unused part of the history is no error
        if plan.unroll:
            return _unrolled(problem, settings, x, state, plan=plan, dtype=dtype)
        if not _traced(problem, settings, x, state, adjoint):
            return (_alone if plan.later is None else in_stages)(problem, settings, x, state, plan=plan, dtype=dtype)[0]
        shadows, program = None, program_number(origin)
        if plan.derivative_nan:
            params, build = (problem.penalties, lambda penalties: penalties) if made_of is None else made_of
            shadows = shadow(params, build, problem.penalties, program, warn=plan.derivative_warning)
        return _solution(plan, dtype, problem, adjoint, settings, x, state, shadows, program)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solution(
    plan: Plan,
    dtype: np.dtype,
    problem: Problem,
    adjoint: Point | None,
    settings: Settings,
    x: Point,
    state: State | None,
    shadows: tuple[Array, ...] | None,
    program: Array,
) -> tuple[Solution, Scaling]:
    """The solution, whose derivative is the rule's, and the units that it was found in, which have none."""
    del adjoint, shadows, program
    args, static = (problem, settings, x, state), {"plan": plan, "dtype": dtype}
    if _traced(args):
        run = partial(_inside, **static)
        return (sequential_vmap(run) if plan.sequential else run)(*args)
    return _of_gradient(*args, **static)


@full_precision
def _rule(
    plan: Plan, dtype: np.dtype, primals: tuple, tangents: tuple
) -> tuple[tuple[Solution, Scaling], tuple[Solution, Scaling]]:
    problem, adjoint, settings, x, state, shadows, program = primals
    moves = any(not _is_symbolic(leaf) for leaf in _kinks(tangents[0]))
    plan = polishing(plan, problem)
    # through the rule again, so that it can be differentiated once more
    aim = finishing(settings, plan, size=problem.size, curved=has_curved_groups(problem, plan))
    solution, scaling = _solution(plan, dtype, problem, adjoint, aim, x, state, shadows, program)
    known = problem, adjoint, shadows if moves else None
    moved = (tangents[0], tangents[1], tangents[5] if moves else None)
    pairs = zip(jax.tree.leaves(known), jax.tree.leaves(moved, is_leaf=_is_symbolic), strict=True)
    pushes = [_instantiated(tangent) for leaf, tangent in pairs if has_tangent(leaf)]
    dx, value, dp = _change(*known, solution, scaling, aim, jnp.asarray(program), pushes, plan=plan)
    nothing, still = jax.tree.map(no_tangent, (solution, scaling))
    return (solution, scaling), (replace(nothing, values=dx, objective=value, multipliers=dp), still)


@partial(jax.jit, static_argnames="plan")
def _change(
    problem: Problem,
    adjoint: Point | None,
    shadows: tuple[Array, ...] | None,
    solution: Solution,
    scaling: Scaling,
    aim: Settings,
    program: Array,
    pushes: list[Array],
    *,
    plan: Plan,
) -> tuple[Point, Array, tuple]:
    """(dx, d objective, dp) in the user's units, linear in `pushes`: the tangents of (problem, adjoint, shadows).

    A program of its own, so that the solve, most of the compiling, is compiled as its size asks where it stands in no
    other.
    """
    units = ScaledProblem(problem, plan, scaling)
    inner = units.solution(solution)
    basis = jnp.ones((), solution.gap.dtype)
    if plan.derivative_nan:  # a solve that did not converge has no derivative: neither in x nor, carried back, in lam
        basis = jnp.where(trust.reached(solution, plan, aim.target), basis, jnp.nan)
    pushes = [basis.astype(part.dtype) * part for part in pushes]
    moved, push, channels = with_floating((problem, adjoint, shadows), pushes)
    dx, value, dp = units.leave(
        *tangent_of(
            units.problem,
            units.change(moved),
            plan,
            inner,
            aim.accuracy,
            units.force(push),
            units.guess(adjoint),
            units.shadows(channels) if channels is not None else None,
            program,
        )
    )
    if plan.derivative_warning:
        told = trust.Announcer(units.problem, plan, lax.stop_gradient(inner), aim, program)
        dx, value, dp = told(dx), told(value), told(dp)
    return {name: basis * v for name, v in dx.items()}, basis * value, tuple(basis * v for v in dp)


# symbolic zeros tell what changes at all: multipliers that are not unique matter only where a kink may move
_solution.defjvp(_rule, symbolic_zeros=True)


def _kinks(change: Problem) -> list:
    """The tangents of whatever may move a kink of a penalty: its map, its offset and, of some, its parameters."""
    parts = [(penalty.map, penalty.offset) for penalty in change.penalties]
    moving = [penalty.function for penalty in change.penalties if penalty.function.kinks_move]
    return jax.tree.leaves((parts, moving), is_leaf=_is_symbolic)


def _is_symbolic(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)


def _instantiated(leaf: Any) -> Any:
    """A tangent as an array."""
    return np.zeros(leaf.shape, leaf.dtype) if _is_symbolic(leaf) else leaf
