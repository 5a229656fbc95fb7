"""A fixed number of iterations, differentiated one by one: for comparison, and for research on learned iterations.

It is the same `step` under `lax.scan`. What the solver does beside the steps, certifying, polishing and adapting rho,
is left out or not differentiated. Memory grows with the number of steps, and the derivative is that of the last
iterate, whatever it is: near the solution's only where the iterates have converged and their active set with them.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver.certificate import objective, promise
from admm_jax.solver.examine import candidate, full_certificate
from admm_jax.solver.loop import within
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import lift
from admm_jax.solver.run import duals_of
from admm_jax.solver.settings import Settings
from admm_jax.solver.solve import finish, start_run
from admm_jax.solver.state import State
from admm_jax.solver.step import residuals, row_lengths, step
from admm_jax.status import Status


def solve(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> Solution:
    """The iterate after `plan.unroll` steps from the start, as a solution; every step is differentiable."""
    inner, run = start_run(problem, settings, x, state, plan=plan, dtype=dtype)
    rho = lax.stop_gradient(run.state.rho)
    first = replace(run.state, rho=rho, factor=plan.x_update.factor(run.workspace, rho))

    def one(current: State, _: None) -> tuple[State, None]:
        return step(inner, plan, run.workspace, current), None

    before, _ = lax.scan(one, first, None, length=plan.unroll - 1)
    last = step(inner, plan, run.workspace, before)
    # as in a solve, the split z is handed out; in dense models a variable has none of its own
    point = candidate(inner, last.x, None if plan.dense else last.z)

    frozen, fixed, still, place = lax.stop_gradient((lift(inner), run, last, point))
    quick = promise(frozen, place, duals_of(inner, still), fixed.units)
    certificate = full_certificate(frozen, plan, replace(fixed, state=still), place, quick, settings.tol)
    primal, dual = lax.stop_gradient(residuals(inner, before, last, row_lengths(inner, jnp.dtype(dtype))))
    reached = within(certificate, settings)
    status = jnp.where(reached, Status.SOLVE_OPT_SUCCESS.value, Status.SOLVE_OVER_MAX_ITER.value)
    status = jnp.where(run.status == Status.SOLVE_UNKNOWN.value, status, run.status).astype(jnp.int32)
    end = replace(fixed, state=last, point=point, certificate=certificate, primal_residual=primal, dual_residual=dual)
    return replace(finish(problem, end, status, plan=plan), objective=objective(lift(inner), point) / run.scaling.cost)
