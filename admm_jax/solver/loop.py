"""The one loop: steps, and every so many of them a check that certifies, polishes, records and decides.

`advance` runs until a limit or a decision. A pure `solve` calls it once; `optimize` calls the same compiled program
again and again with a nearer limit, so that it can show progress and be interrupted.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import Problem
from admm_jax.pytree import replace
from admm_jax.solver.certificate import Certificate, certifies
from admm_jax.solver.detect import infeasible, unbounded
from admm_jax.solver.examine import examine
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import lift
from admm_jax.solver.run import HISTORY, Run, duals_of, out_of_patience
from admm_jax.solver.settings import Settings
from admm_jax.solver.sizes import larger, size_of
from admm_jax.solver.state import State
from admm_jax.solver.step import adapt_rho, residuals, row_lengths, step
from admm_jax.solver.vectors import dtype_of, select, subtract
from admm_jax.status import Status

NEARER = 0.9  # a run makes progress where it comes nearer to its tolerances by this factor
LEAST_OVERTIME = 50


def better(a: Certificate, b: Certificate, settings: Settings) -> Array:
    """Whether a is nearer to its tolerances than b (than NaN, always); where nothing is known of b, the later one."""

    def distance(c: Certificate) -> Array:
        tiny = jnp.finfo(c.relative_gap.dtype).tiny  # a tolerance of zero is never met, but some points are nearer
        gap = c.relative_gap / jnp.maximum(settings.tol, tiny)
        return jnp.maximum(gap, c.violation / jnp.maximum(settings.feasibility_tol, tiny))

    return ~(distance(b) <= distance(a)) | jnp.isinf(distance(b))


def within(certificate: Certificate, settings: Settings) -> Array:
    """Whether gap and violation are within their tolerances."""
    return (certificate.relative_gap <= settings.tol) & (certificate.violation <= settings.feasibility_tol)


def close(certificate: Certificate, estimate: Array, settings: Settings) -> Array:
    """Whether `tol` is of the estimate of the gap, and that and the violation are within their tolerances."""
    return settings.by_estimate & (estimate <= settings.tol) & (certificate.violation <= settings.feasibility_tol)


def check(
    problem: Problem,
    inner: Problem,
    plan: Plan,
    run: Run,
    before: State,
    lengths: tuple[Array, ...],
    settings: Settings,
) -> Run:
    """Certify the current iterate, keep it if it is the best, and decide whether to stop.

    Args:
        problem: The rewritten problem.
        inner: The iterated problem, which may be a decoupled form of it.
        plan: How it is solved.
        run: Its run, at the iterate.
        before: The iterate before.
        lengths: Of the rows of its maps (`row_lengths`).
        settings: The numbers of the run.
    """
    state = run.state
    dtype = dtype_of(state.x)
    residual = residuals(inner, before, state, lengths, run.units.point)
    run, point, certificate, expected, estimate = examine(problem, plan, run, settings)
    if not plan.decoupled:
        awaited = jnp.where(settings.by_estimate, jnp.minimum(estimate, expected), expected)
        ratio = awaited / settings.target
    else:
        certain = jnp.where(settings.by_estimate, 0, expected / settings.tol)
        ratio = jnp.maximum(certain, estimate / settings.target)
    by_gap = certifies(problem)
    if not by_gap:  # there is only how far the iterate still moves
        ratio = jnp.maximum(*residual) / settings.target
    dear = jnp.isfinite(certificate.relative_gap) & ~settings.by_estimate & plan.absorbs
    following = plan.next_check(state.iteration, ratio, dear)
    if plan.polisher is not None or plan.polish_later:
        following = jnp.where(settings.polish, jnp.minimum(following, run.polish_at), following)
        following = jnp.maximum(following, state.iteration + 1)
    near = close(certificate, estimate, settings)
    seen = point
    keep = better(certificate, run.certificate, settings) | near
    point = select(keep, point, run.point)
    certificate = select(keep, certificate, run.certificate)
    estimate = jnp.minimum(jnp.where(keep, estimate, run.estimate), certificate.relative_gap)

    short = certificate.relative_gap if by_gap else jnp.maximum(*residual)
    reached = within(replace(certificate, relative_gap=short), settings)
    aimed = estimate if plan.decoupled and by_gap else short
    overtime = jnp.maximum(settings.overtime * state.iteration, LEAST_OVERTIME).astype(jnp.int32)
    ends = jnp.where(reached | near, jnp.minimum(run.ends, state.iteration + overtime), run.ends)
    success = reached & ((aimed <= settings.target) | (state.iteration >= ends))
    lifted = lift(problem)
    zero = problem.zeros(dtype)
    steps = zip(duals_of(problem, state), duals_of(problem, before), strict=True)
    ray_tol = jnp.asarray(1e-6 if dtype == jnp.float64 else 1e-4, dtype)
    empty = infeasible(lifted, tuple(new - old for new, old in steps), zero, ray_tol)
    # without penalties x does not creep away, it lands as far off as rounding lets it
    ray = plan.x_update.shown(problem, subtract(state.x, before.x) if problem.penalties else state.x)
    endless = unbounded(lifted, ray, ray_tol)
    # what is proved, what seems about to be, and the violation: while any of them falls there is progress
    distance = jnp.stack([short, expected, certificate.violation])
    nearer = distance < NEARER * run.distance
    nearer_at = jnp.where(jnp.any(nearer), state.iteration, run.nearer_at)
    still = out_of_patience(plan, settings, state.iteration, nearer_at)
    stalled = ~reached & ~near & still
    near = near & ((estimate <= settings.target) | (state.iteration >= ends) | still)
    broken = ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(value)) for value in state.x.values()]))
    status = run.status
    for condition, code in (
        (near, Status.SOLVE_ESTIMATE_REACHED),
        (stalled, Status.SOLVE_STALLED),
        (endless, Status.SOLVE_UNBOUNDED),
        (empty, Status.SOLVE_INFEASIBLE),
        (broken, Status.SOLVE_NAN_FOUND),
        (success, Status.SOLVE_OPT_SUCCESS if by_gap else Status.SOLVE_RESIDUALS_REACHED),
    ):
        status = jnp.where(condition, code.value, status)
    adapted = adapt_rho(plan, run.workspace, run.state, run.start_rho, residual)
    iterate = select(settings.adapt, adapted, run.state)
    slot = jnp.minimum(run.checks, HISTORY - 1)
    value, rho = certificate.objective / run.scaling.cost, before.rho / run.scaling.stiffness
    entry = (state.iteration.astype(dtype), value, certificate.relative_gap, *residual, rho)
    history = run.history.at[slot].set(jnp.stack(entry))
    return replace(
        run,
        state=iterate,
        point=point,
        certificate=certificate,
        estimate=estimate,
        seen=seen,
        seen_at=state.iteration,
        primal_residual=residual[0],
        dual_residual=residual[1],
        checks=run.checks + 1,
        next_check=following,
        ends=ends,
        distance=jnp.where(nearer, distance, run.distance),
        nearer_at=nearer_at,
        status=status.astype(jnp.int32),
        history=history,
    )


def advance(problem: Problem, plan: Plan, run: Run, limit: Array, settings: Settings) -> Run:
    """Iterate until `limit` iterations have been done in all, or a check decides.

    Args:
        problem: The rewritten problem.
        plan: How it is solved.
        run: Where it stands.
        limit: A number of iterations.
        settings: The numbers of the run.
    """
    limit = jnp.minimum(limit, settings.max_iterations)
    inner = plan.x_update.iterated(problem)  # once, outside the loop
    lengths = row_lengths(inner, dtype_of(run.state.x))

    def unfinished(run: Run) -> Array:
        return (run.state.iteration < limit) & (run.status == Status.SOLVE_UNKNOWN.value)

    def body(run: Run) -> Run:
        target = jnp.minimum(run.next_check, limit)

        def one(carry: tuple[State, State, Array]) -> tuple[State, State, Array]:
            _, before, extent = carry
            state = step(inner, plan, run.workspace, before)
            return before, state, larger(extent, size_of(state.x))

        start = run.state, run.state, run.units.point
        before, state, extent = lax.while_loop(lambda carry: carry[1].iteration < target, one, start)
        run = replace(run, state=state, units=replace(run.units, point=extent))
        due = (state.iteration >= run.next_check) | (state.iteration >= settings.max_iterations)
        return lax.cond(due, lambda: check(problem, inner, plan, run, before, lengths, settings), lambda: run)

    return lax.while_loop(unfinished, body, run)
