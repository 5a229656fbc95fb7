"""How a problem will be solved: decided once, on the host, from shapes and structure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.problem import Penalty, Problem
from admm_jax.solver import regions
from admm_jax.solver.decouple import axes_of, periods_of
from admm_jax.solver.own_x_update import Preconditioned, Solve
from admm_jax.solver.polisher import Polisher, polisher_of
from admm_jax.solver.rewrite import inner_shape
from admm_jax.solver.x_update import XUpdate
from admm_jax.solver.x_update_forms import Cholesky, ConjugateGradients, FourierDiagonal, Pixelwise

DENSE_VARIABLES = 400  # above it one factorisation costs more than a handful of matrix-free products
SMALLEST_IMAGE = 20  # pixels
LATER_VARIABLES = 1000  # up to there a solve with matrices takes over where iterating has not arrived
LATER_FROM = 500  # iterations: a Newton step costs some hundred of them
ADRIFT_RHO_TOLERANCE = 5.0  # of a model without quadratics, which say how large rho should be at the start
# of one whose quadratics say it badly: complex images of half of their frequencies took six times as long
UNTOLD_RHO_TOLERANCE = 7.0
DENSE_RHO_TOLERANCE = 3.0  # a new factor is cheap, and the x-update exact
DENSE_ENTRIES = 4_000_000  # entries of all matrices together: 32 MB in float64
# isotropic TV on 256² pixels is brought to 1e-6 by 475 iterations, in 5 s; polishing it, to 4e-12, takes 66
ISOTROPIC_POLISH_BELOW = 1e-6
# denoising 128² to 1e-9 takes the prox' own ascent 8 s, polishing 35
POLISH_DENOISED_BELOW = 1e-9


# An x-update by transforms is worth it where a convolution costs more than so many taps. Where a part of the scene lies
# beyond the data, conjugate gradients are slow, and on a circle the frame need be no larger than the image: there it is
# worth it for almost every kernel; and in volumes, of which a pass of each axis moves all.
TRANSFORMS_FROM = 60.0
TRANSFORMS_BEYOND_FROM = 20.0


@dataclass(frozen=True)
class Plan:
    """Static choices of the solver.

    `x_update` decides what form the problem is solved in, too. `prox_steps` are the inner iterations of a prox that is
    no closed form, which is warm-started. A program without `polisher` may stand in for one that has it as long as no
    iterate is polished: it is sooner compiled (`polish_later`). `later` takes over from the iteration `later_from` on
    where the gap has not been reached (see `handover.py`).
    """

    x_update: XUpdate
    prox_steps: int = 10
    prox_growth: float = 0.1  # more steps in each iteration than in the one before
    most_prox_steps: int = 200
    relaxation: float = 1.6
    first_check: int = 25
    rounds: int = 10  # of absorbing and projecting in a certificate, each of `round_steps` CG steps
    round_steps: int = 15
    last_steps: int = 250
    rho_tolerance: float = 20.0  # rho moves when sqrt(primal / dual residual) is this far from 1
    promise_factor: float = 2.0  # what a certificate finds is rarely better than this many times its promise
    promise_kept: float = 3.0  # what it finds is this many times as a rule
    polisher: Polisher | None = None  # None: matrix-free iterates are certified as they are
    polish_below: float = 1e-5  # the tolerance below which it pays
    first_polish: int = 50
    polish_later: bool = False  # a program without `polisher`, to be followed from `first_polish` on by one that has it
    polish_every: int = 15
    later: Plan | None = None  # None: this plan to the end
    later_from: int = LATER_FROM
    sequential: bool = False  # under `vmap`, one problem after another
    least_patience: int = 500  # iterations without progress that are granted in any case
    unroll: int = 0  # so many iterations exactly, to be differentiated one by one; 0: iterate until the gap is reached
    derivative_nan: bool = True  # a derivative that has no basis becomes NaN
    derivative_warning: bool = True  # one that is in doubt is warned of

    def effort(self, iteration: Array) -> Array:
        """The inner steps of a prox that is no closed form, in an iteration."""
        grown = self.prox_steps + (iteration * self.prox_growth).astype(jnp.int32)
        return jnp.minimum(grown, self.most_prox_steps)

    def next_check(self, iteration: Array, ratio: Array, dear: Array) -> Array:
        """When to look again after a check that found, or expects, a gap `ratio` times the tolerance.

        Gaps fall about as iteration^-2.5; the next check aims at where this one's would reach the tolerance, within
        a factor of 1.08 to 1.6. A `dear` one cost tens of iterations: then a few more of them are the lesser risk.
        """
        growth = jnp.where(jnp.isfinite(ratio), jnp.clip(ratio, 1e-3, 1e3) ** 0.4, 1.4)
        least = jnp.where(dear, (self.first_check + 1) // 2, max(self.first_check // 4, 1))
        ahead = jnp.maximum(iteration * (jnp.clip(growth, 1.08, 1.6) - 1), least)
        return iteration + jnp.minimum(ahead, 500).astype(jnp.int32)

    @property
    def dense(self) -> bool:
        """Whether the problem is one of matrices over one vector (`XUpdate.dense`)."""
        return self.x_update.dense

    @property
    def decoupled(self) -> bool:
        """Whether points are known by an estimate more than by a certificate (`XUpdate.decoupled`)."""
        return self.x_update.decoupled

    @property
    def absorbs(self) -> bool:
        """Whether a certificate costs tens of iterations (see `absorb.py`)."""
        return not (self.dense or self.decoupled)


# its iterations are stretches of the prox' own ascent, which begins anew with each: longer and longer ones
DENOISING = Plan(
    Pixelwise(),
    prox_steps=25,
    prox_growth=15,
    most_prox_steps=1000,
    first_check=3,
    rho_tolerance=math.inf,
    promise_factor=1.0,  # stationarity holds: what is promised is what is proved
    promise_kept=1.0,
    first_polish=8,
    polish_every=3,
    least_patience=50,
)


def make_plan(problem: Problem, own: Solve | None = None, *, plain: bool = False) -> Plan:
    """Choose by size: small problems are factorised, images are not.

    With an x-update of the user's own (see `own_x_update`) it is by conjugate gradients, whatever the size.

    Args:
        problem: The user's.
        own: An x-update of the user's own.
        plain: Whether the steps must be those of ADMM on the problem as it stands, as where they are differentiated.
    """
    if own is None and problem.size <= DENSE_VARIABLES and matrices_fit(problem):
        return Plan(Cholesky(), rho_tolerance=DENSE_RHO_TOLERANCE)
    if own is None and not plain and is_denoising(problem):
        below = polish_below(problem, isotropic=POLISH_DENOISED_BELOW)
        return polishing(dataclasses.replace(DENOISING, polish_below=below), problem)
    periods = periods_of(problem) if own is None and not plain else None
    if periods is not None and transforms_pay(problem):
        return Plan(FourierDiagonal(periods, axes_of(problem)), least_patience=100)
    x_update = ConjugateGradients() if own is None else Preconditioned(function=own)
    tolerance = rho_tolerance_of(problem)
    return polishing(Plan(x_update, polish_below=polish_below(problem), rho_tolerance=tolerance), problem)


def polish_below(problem: Problem, isotropic: float = ISOTROPIC_POLISH_BELOW) -> float:
    """The tolerance below which polishing pays; `isotropic`: that of an isotropic total variation."""
    curved = any(regions.is_isotropic(penalty) for penalty in problem.penalties)
    return isotropic if curved else Plan.polish_below


def is_denoising(problem: Problem) -> bool:
    """Whether it is w/2 ||x - d||^2 + TV(x + b), w a number: one prox, which needs no splitting."""
    if len(problem.quadratics) != 1 or len(problem.penalties) != 1 or len(problem.variables) != 1:
        return False
    (quadratic,), (penalty,) = problem.quadratics, problem.penalties
    if quadratic.map.identity_on is None or penalty.map.identity_on is None:
        return False
    return penalty.function.variation() is not None and np.size(quadratic.weight) == 1


def rho_tolerance_of(problem: Problem) -> float:
    """How far the residuals may be apart before rho moves.

    Where rho begins was measured with a blur of the image, or the image itself, in the quadratics: there it is good,
    and moving it costs iterations. Of other operators, such as a few frequencies or projections, it may be far off.
    """
    if not problem.quadratics:
        return ADRIFT_RHO_TOLERANCE
    chains = [chain for quadratic in problem.quadratics for chain in quadratic.map.chains]
    measured = any(not chain.ops or any(op.convolution is not None for op in chain.ops) for chain in chains)
    return Plan.rho_tolerance if measured else UNTOLD_RHO_TOLERANCE


def matrices_fit(problem: Problem) -> bool:
    """Whether all maps may be written as matrices."""
    rows = sum(math.prod(q.map.out_shape) for q in problem.quadratics)
    for penalty in problem.penalties:
        rows += math.prod(inner_shape(penalty))
    return problem.size * rows <= DENSE_ENTRIES and not is_image(problem)


def is_image(problem: Problem) -> bool:
    """Whether it is an image with a total variation, which is no faster as a matrix however small it is.

    A Newton step costs the cube of its pixels: of 36 and 64 it took ten times as long as polishing on flat regions.
    """
    return problem.size > SMALLEST_IMAGE and regions.applies(problem)


def transforms_pay(problem: Problem) -> bool:
    """Whether a convolution costs so much that an exact x-update by transforms is cheaper than conjugate gradients."""
    for part in (*problem.quadratics, *problem.penalties):
        split = isinstance(part, Penalty)
        for chain in part.map.chains:
            for op in chain.ops:
                window = op.convolution
                special = window is not None and (window.circular or len(window.along) > 2)
                beyond = special or math.prod(op.out_shape) < math.prod(op.in_shape)
                if op.cost >= (TRANSFORMS_BEYOND_FROM if beyond or split else TRANSFORMS_FROM):
                    return True
    return False


def polishing(plan: Plan, problem: Problem) -> Plan:
    """The plan with what brings a slow solve to its end: a polisher, or a solve with matrices where they are small."""
    if plan.dense or plan.decoupled:
        return plan
    if problem.penalties and problem.size <= LATER_VARIABLES and matrices_fit(problem):
        later = dataclasses.replace(plan, x_update=Cholesky(), rho_tolerance=DENSE_RHO_TOLERANCE, later=None)
        return dataclasses.replace(plan, polish_below=math.inf, later=later)
    return dataclasses.replace(plan, polisher=polisher_of(problem))
