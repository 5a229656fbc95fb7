"""Where iterating without matrices has not arrived, a small problem is handed over to a solve with matrices.

There every row and every unknown has a scale of its own, the x-update is exact, and each check is Newton's method (see
`newton.py`). That settles what slow iterations cannot: unknowns whose units differ from entry to entry by powers of
ten. It begins anew: where slow iterations have come to is rarely a good start (of twelve random models in random units
seven ended sooner from zero, two of them from there only, and four 24 iterations later). The best point so far is
kept, and the run comes back in the form of the first.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.problem import Problem
from admm_jax.pytree import replace
from admm_jax.solver.certificate import Certificate
from admm_jax.solver.examine import restart_at
from admm_jax.solver.loop import advance
from admm_jax.solver.plan import Plan
from admm_jax.solver.run import Run, duals_of, start_run
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.settings import Settings
from admm_jax.status import Status


def limit_before(plan: Plan, settings: Settings, limit: Any) -> Any:
    """How far to iterate before the hand-over, `limit` at most; of NumPy's numbers without compiling anything."""
    if plan.later is None:
        return limit
    xp: Any = jnp if isinstance(settings.polish, jax.Array) else np
    return xp.where(settings.polish, xp.minimum(limit, plan.later_from), limit)


def awaits(run: Run, settings: Settings) -> Array:
    """Whether a run that has come to the hand-over is not at its end."""
    unfinished = run.status == Status.SOLVE_UNKNOWN.value
    return unfinished & settings.polish & (run.state.iteration < settings.max_iterations)


def take_over(problem: Problem, run: Run, settings: Settings, *, plan: Plan, dtype: np.dtype) -> tuple[Problem, Run]:
    """The problem of matrices, in its units, and a run of it that begins anew and keeps the best point of `run`.

    Args:
        problem: As `prepare` made it.
        run: Where it stands.
        settings: The numbers of the run.
        plan: That of `run`; its `later` is that of the new one.
        dtype: Of the solve.
    """
    assert plan.later is not None
    old, iteration = run.scaling, run.state.iteration
    zero = problem.zeros(jnp.dtype(dtype))
    dense, fresh = start_run(problem, settings, zero, None, plan=plan.later, dtype=dtype)
    new = fresh.scaling
    best = plan.x_update.leave(problem, old.leave(run.point))
    return dense, replace(
        _continued(fresh, run),
        state=replace(fresh.state, iteration=iteration),
        point=new.enter(plan.later.x_update.enter(problem, best)),
        certificate=_in_units(run.certificate, old, new),
        next_check=iteration + plan.later.first_check,
        nearer_at=iteration,
    )


def give_back(problem: Problem, inner: Problem, run: Run, dense: Problem, moved: Run, *, plan: Plan) -> Run:
    """What has become of a run that was handed over, in the form that it had.

    Args:
        problem: As `prepare` made it.
        inner: The rewritten problem of `run`.
        run: As it was handed over.
        dense: The problem of `moved`.
        moved: What has become of it.
        plan: That of `run`.
    """
    later = plan.later
    assert later is not None
    old, new = run.scaling, moved.scaling

    def point(x: dict[str, Array]) -> dict[str, Array]:
        return old.enter(plan.x_update.enter(problem, later.x_update.leave(problem, new.leave(x))))

    duals = old.enter_duals(new.duals(duals_of(dense, moved.state)))
    state = restart_at(inner, run.state, point(moved.state.x), duals)
    rho = moved.state.rho / new.stiffness * old.stiffness
    return replace(
        _continued(run, moved),
        state=replace(state, rho=rho, iteration=moved.state.iteration),
        point=point(moved.point),
        certificate=_in_units(moved.certificate, new, old),
        range=moved.range,
        status=moved.status,
    )


def _continued(run: Run, before: Run) -> Run:
    """`run` with those numbers of the one before it that have no units."""
    names = ("estimate", "primal_residual", "dual_residual", "checks", "ends", "history")
    return replace(run, **{name: getattr(before, name) for name in names})


def _in_units(certificate: Certificate, old: Scaling, new: Scaling) -> Certificate:
    """A certificate of the units `old` in the units `new`."""
    names = ("objective", "gap", "floor", "plain")
    numbers = {name: getattr(certificate, name) * (new.cost / old.cost) for name in names}
    return replace(certificate, **numbers, duals=new.enter_duals(old.duals(certificate.duals)))


def solve_on(
    problem: Problem, inner: Problem, run: Run, limit: Array, settings: Settings, *, plan: Plan, dtype: np.dtype
) -> Run:
    """The run after its end with matrices, where it `awaits` that; else as it is.

    Args:
        problem: As `prepare` made it.
        inner: The rewritten problem of `run`.
        run: Where it stands.
        limit: A number of iterations.
        settings: The numbers of the run.
        plan: That of `run`.
        dtype: Of the solve.
    """
    if plan.later is None:
        return run
    later = plan.later

    def by_matrices() -> Run:
        dense, moved = take_over(problem, run, settings, plan=plan, dtype=dtype)
        moved = advance(dense, later, moved, limit, settings)
        return give_back(problem, inner, run, dense, moved, plan=plan)

    return lax.cond(awaits(run, settings), by_matrices, lambda: run)
