"""From options to the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.plan import Plan

TOLERANCES = {  # by the width of the dtype: (gap, feasibility)
    8: (1e-6, 1e-8),
    4: (1e-4, 1e-4),
}
# What a photograph is known to is worth no more: at a certified 1e-3 the true gap is some 1e-5, and an image that is
# solved to the last digit is no better by 0.001 dB.
DECOUPLED = 1e-3
# Of derivatives of decoupled problems, relative: what `derivative_tol` is by default.
ACCURACY = {8: 3e-4, 4: 1e-2}
# The estimate of the gap at which their error is one: of photographs under cameras' kernels, at an estimate of 3e-5 it
# is a percent at 256² pixels. In a smaller image one wrong region is more of the whole.
ESTIMATE_PER_ERROR = 3e-3
LARGE_IMAGE = 256 * 256
LEAST_SHARE = 1 / 8  # of that estimate: float32 comes no nearer
# Where an image has so few pixels, one wrong region may be all of a gradient: it is pursued further, and for longer.
FEW_PIXELS = 64 * 64
LEAST_SHARE_OF_FEW = 1 / 64
OVERTIME = 1.0  # iterations spent on `target`, relative to those spent on `tol`
PATIENT_OVERTIME = 4.0  # the same where `tol` is of the estimate of the gap, which is reached in a quarter of the time
OVERTIME_OF_FEW = 16.0
FINISHED = {8: 1e-10, 4: 2e-6}  # gaps at which an active set is settled
FINISHED_CURVED = {8: 1e-12, 4: 2e-6}  # where small groups of a norm are curved: they must be known to some digits


@pytree_dataclass
class Settings:
    """Numbers that a solve is run with; none of them changes the program.

    `tol`: of the certified relative gap; `feasibility_tol`: of the relative constraint violation; `polish`: whether
    to; `rho`: the starting penalty parameter, 0 for the automatic one; `adapt`: whether rho may change; `target`: the
    gap to go on to once `tol` is reached, for at most `overtime` as many iterations as `tol` took; `lower`, `upper`:
    the range of values that is assumed of minimisers, in the user's units, infinite for none and NaN for the automatic
    one; `by_estimate`: whether `tol` is of the estimate of the gap; `accuracy`: relative, of a derivative.
    """

    tol: Array
    feasibility_tol: Array
    max_iterations: Array
    polish: Array
    rho: Array
    adapt: Array
    target: Array
    overtime: Array
    lower: Array
    upper: Array
    by_estimate: Array
    accuracy: Array


def settings_for(options: Mapping[str, Any], dtype: np.dtype, plan: Plan | None = None) -> Settings:
    """The settings of a run, automatic ones filled in.

    Args:
        options: By name; they may be traced numbers.
        dtype: Of the solve.
        plan: How the problem is solved, where tolerances depend on it; None for what most have.
    """
    gap, feasibility = TOLERANCES[8 if dtype.itemsize >= 8 else 4]
    gap = DECOUPLED if plan is not None and plan.decoupled else gap
    polish_below = Plan.polish_below if plan is None else plan.polish_below
    tol = options["tol"] if options["tol"] is not None else gap
    feasibility_tol = options["feasibility_tol"] if options["feasibility_tol"] is not None else feasibility
    polish = options["polish"] if options["polish"] is not None else tol < polish_below

    accuracy = options["derivative_tol"] if options["derivative_tol"] is not None else ACCURACY[dtype.itemsize]

    given: Any = options["range"]
    lower, upper = (-np.inf, np.inf) if given is None else (np.nan, np.nan) if given == "auto" else given

    def number(value: Any, kind: Any) -> Any:
        return value.astype(kind) if hasattr(value, "astype") else np.asarray(value, kind)

    return Settings(
        tol=number(tol, dtype),
        feasibility_tol=number(feasibility_tol, dtype),
        max_iterations=number(options["max_iterations"], np.int32),
        polish=number(polish, bool),
        rho=number(options["rho"], dtype),
        adapt=number(options["adapt_rho"], bool),
        target=number(tol, dtype),
        overtime=number(PATIENT_OVERTIME if options["stop"] == "estimate" else OVERTIME, dtype),
        lower=number(lower, dtype),
        upper=number(upper, dtype),
        by_estimate=number(options["stop"] == "estimate", bool),
        accuracy=number(accuracy, dtype),
    )


def finishing(settings: Settings, plan: Plan, *, size: int, curved: bool) -> Settings:
    """The same settings for a solve that is differentiated: it goes on to a target that settles the active set.

    Of a decoupled problem the target is of the estimate of the gap, and as small as the accuracy asks that is wanted.

    Args:
        settings: Of the solve.
        plan: How the problem is solved.
        size: The number of its unknowns.
        curved: Whether small groups of a norm are curved (see `derivative.active.has_curved_groups`).
    """
    dtype = settings.target.dtype
    settled = np.asarray((FINISHED_CURVED if curved else FINISHED)[dtype.itemsize], dtype)
    few = plan.decoupled and size < FEW_PIXELS
    share = min(1.0, max(LEAST_SHARE_OF_FEW if few else LEAST_SHARE, size / LARGE_IMAGE))
    target = share * ESTIMATE_PER_ERROR * settings.accuracy if plan.decoupled else settled
    return replace(
        settings,
        target=jnp.minimum(settings.target, target),
        overtime=jnp.maximum(settings.overtime, OVERTIME_OF_FEW if few else 0),
        polish=jnp.ones_like(settings.polish),
    )
