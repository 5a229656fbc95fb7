"""The one loop: steps, and every so many of them a check that certifies, polishes, records and decides.

`advance` runs until a limit or a decision. A pure `solve` calls it once; `optimize` calls the same compiled program
again and again with a nearer limit, so that it can show progress and be interrupted.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.base import Difference
from admm_jax.problem import Point, Problem
from admm_jax.prox.functions import Box
from admm_jax.prox.total_variation import TotalVariation
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solution import History
from admm_jax.solver import isotropic, newton, regions
from admm_jax.solver.certificate import (
    Certificate,
    Units,
    certificate_of,
    certify,
    evaluate,
    initial_units,
    larger,
    promise,
    size_of,
    stationarity,
)
from admm_jax.solver.detect import infeasible, unbounded
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import VECTOR, lift
from admm_jax.solver.state import State, Workspace, data_point, initial_rho, initial_state, make_workspace
from admm_jax.solver.step import adapt_rho, residuals, step
from admm_jax.solver.vectors import dtype_of, select, subtract
from admm_jax.status import Status

OVERTIME = 1.0  # iterations spent on `target`, relative to those spent on `tol`
LEAST_OVERTIME = 50
ENDLESS = 2**31 - 1
HISTORY = 256  # checks recorded; they grow further apart, so this is never reached in practice


@pytree_dataclass
class Settings:
    """Numbers that a solve is run with; none of them changes the program.

    `tol`: of the certified relative gap; `feasibility_tol`: of the relative constraint violation; `polish`: whether
    to; `rho`: the starting penalty parameter, 0 for the automatic one; `adapt`: whether rho may change; `target`: the
    gap to go on to once `tol` is reached, for at most `OVERTIME` as many iterations as `tol` took.
    """

    tol: Array
    feasibility_tol: Array
    max_iterations: Array
    polish: Array
    rho: Array
    adapt: Array
    target: Array


@pytree_dataclass
class Run:
    """A solve in progress. `point` is the best candidate so far and `certificate` what is known of it."""

    state: State
    workspace: Workspace
    point: Point
    certificate: Certificate
    units: Units
    primal_residual: Array
    dual_residual: Array
    start_rho: Array
    next_check: Array
    checks: Array
    polish_at: Array
    raw_objective: Array  # of the last checked iterate that was not polished
    ends: Array  # the iteration at which a run that has reached `tol` gives up on `target`
    status: Array
    history: Array  # (HISTORY, fields of History)


def duals_of(problem: Problem, state: State) -> tuple[Array, ...]:
    """The duals of the lifted problem: Chambolle's field for TV, y for the rest."""
    pairs = zip(problem.penalties, state.y, state.fields, strict=True)
    return tuple(field if isinstance(p.function, TotalVariation) else y for p, y, field in pairs)


def candidate(problem: Problem, x: Point, zs: tuple[Array, ...] | None) -> Point:
    """The point to hand out: a variable's own prox output where there is one, inside its own bounds.

    z comes out of a prox: it is flat where TV says flat and zero where l1 says zero, which x is only in the limit.
    """
    out = dict(x)
    if zs is not None:
        for penalty, z in zip(problem.penalties, zs, strict=True):
            name = penalty.map.identity_on
            if name is not None and not penalty.function.is_constraint:
                out[name] = z - penalty.offset
    for penalty in problem.penalties:
        name = penalty.map.identity_on
        if name is not None and isinstance(penalty.function, Box):
            inside = jnp.clip(out[name] + penalty.offset, penalty.function.lower, penalty.function.upper)
            out[name] = inside - penalty.offset
    return out


def invalid(problem: Problem) -> Array:
    """Whether a number of the problem is NaN, a weight negative, or bounds crossed."""
    bad = jnp.zeros((), bool)
    for leaf in jax.tree.leaves(problem):
        bad = bad | jnp.any(jnp.isnan(leaf))
    for quadratic in problem.quadratics:
        bad = bad | jnp.any(~(jnp.asarray(quadratic.weight) >= 0))
    for penalty in problem.penalties:
        bad = bad | penalty.function.invalid()
    return bad


def begin(
    problem: Problem, plan: Plan, dtype: jnp.dtype, settings: Settings, x: Point, state: State | None = None
) -> Run:
    """A run at its start: from the point `x`, or from the `state` of an earlier solve of a like problem.

    The iterate and the duals of a state go on, its rho does not: it is proportional to lam, and that of another lam
    costs several times the iterations that the start saves.
    """
    workspace = make_workspace(problem, plan, dtype)
    data, curvature = data_point(problem, workspace.rhs)
    automatic = initial_rho(problem, workspace, data, curvature)
    rho = jnp.where(settings.rho > 0, settings.rho, automatic).astype(dtype)
    fresh = initial_state(problem, plan, workspace, rho, x)
    current = fresh if state is None else replace(state, factor=fresh.factor, rho=rho, iteration=fresh.iteration)
    infinity = jnp.full((), jnp.inf, dtype)
    lifted_duals = tuple(jnp.zeros_like(p) for p in duals_of(problem, current))
    return Run(
        state=current,
        workspace=workspace,
        point=current.x,
        certificate=Certificate(infinity, infinity, infinity, infinity, infinity, infinity, lifted_duals),
        units=initial_units(problem, data),
        primal_residual=infinity,
        dual_residual=infinity,
        start_rho=rho,
        next_check=jnp.asarray(plan.first_check, jnp.int32),
        checks=jnp.zeros((), jnp.int32),
        polish_at=jnp.asarray(plan.first_polish, jnp.int32),
        raw_objective=infinity,
        ends=jnp.asarray(ENDLESS, jnp.int32),
        status=jnp.where(invalid(problem), Status.SOLVE_NAN_FOUND.value, Status.SOLVE_UNKNOWN.value).astype(jnp.int32),
        history=jnp.full((HISTORY, len(History._fields)), jnp.nan, dtype),
    )


def _examine(problem: Problem, plan: Plan, run: Run, settings: Settings) -> tuple[Run, Point, Certificate, Array]:
    """The best point that this iterate gives, its certificate, and its relative gap or what that is expected to be.

    Polishing may move the iterate itself.
    """
    lifted, state = lift(problem), run.state
    duals = duals_of(problem, state)
    if plan.dense:
        vector, e, duals = newton.polish(lifted, run.workspace, state.x[VECTOR], duals, state.rho)
        point = candidate(lifted, {VECTOR: vector}, None)
        zero = {VECTOR: jnp.zeros_like(vector)}
        certificate = certificate_of(lifted, point, e, duals, zero, run.units)
        return run, point, certificate, certificate.relative_gap
    point = candidate(problem, state.x, state.z)
    due = took = jnp.zeros((), bool)
    if plan.regions:
        due = settings.polish & (state.iteration >= run.polish_at)
        raw = point, duals
        point, duals = _polished(problem, run, point, duals, due, settings)
        polished = point, duals
        took = lax.cond(
            due,
            lambda: _charged(lifted, *polished, run.units) <= _charged(lifted, *raw, run.units),
            lambda: jnp.zeros((), bool),
        )
        point, duals = select(took | ~due, (point, duals), raw)
    quick = promise(lifted, point, duals, run.units)
    if plan.regions:
        run = _after_polish(problem, plan, run, point, quick, due, took)

    def full() -> Certificate:
        return full_certificate(lifted, plan, run, point, quick, goal)

    # the certificate costs tens of iterations: only pay for it when it can succeed
    last = state.iteration >= settings.max_iterations
    goal = jnp.where(run.ends < ENDLESS, settings.target, settings.tol)
    hopeless = (plan.promise_factor * quick.relative_gap > goal) & ~last
    none = replace(quick, relative_gap=jnp.full_like(quick.gap, jnp.inf))
    certificate = lax.cond(hopeless, lambda: none, full)
    expected = jnp.where(hopeless, plan.promise_kept * quick.relative_gap, certificate.relative_gap)
    return run, point, certificate, expected


def full_certificate(
    lifted: Problem, plan: Plan, run: Run, point: Point, quick: Certificate, goal: Array
) -> Certificate:
    """`certify` as the plan has it, from the `promise` of the point."""
    return certify(
        lifted,
        point,
        quick,
        run.state.rho,
        run.units,
        goal,
        rounds=plan.rounds,
        inner=plan.round_steps,
        last=plan.last_steps,
    )


def _polished(
    problem: Problem, run: Run, point: Point, duals: tuple[Array, ...], due: Array, settings: Settings
) -> tuple[Point, tuple[Array, ...]]:
    """The point and duals, polished where `due`."""
    raw, rhs = (point, duals), run.workspace.rhs
    if regions.tv_of(problem)[1].p == 1:
        return lax.cond(due, lambda: regions.polish(problem, rhs, *raw, settings.target), lambda: raw)

    def where_due() -> tuple[Point, tuple[Array, ...]]:
        return lax.cond(due, lambda: isotropic.polish(problem, rhs, *raw, run.units, due), lambda: raw)

    # under `vmap` both sides of the condition `due` are computed, but not of one that is no element's own
    return lax.cond(settings.polish, where_due, lambda: raw)


def _charged(lifted: Problem, x: Point, duals: tuple[Array, ...], units: Units) -> Array:
    """The gap that a pair proves as it is, with what it lacks in stationarity at its full price."""
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    e = tuple(q.map(x) - q.data for q in lifted.quadratics)
    return evaluate(lifted, x, e, duals, stationarity(lifted, e, duals, zero), units)


def _after_polish(
    problem: Problem, plan: Plan, run: Run, point: Point, quick: Certificate, due: Array, took: Array
) -> Run:
    """A polished point that improved becomes the iterate: from there a few steps find what was missed.

    It is compared with the last iterate that was not polished. One that made things worse, in its objective or (where
    it was not even `took`) in what it proves, came too early: wait half as long again.
    """
    state = run.state
    improved = took & (quick.objective < run.raw_objective)
    wait = jnp.where(improved, plan.polish_every, state.iteration // 2)
    return replace(
        run,
        state=select(improved, restart_at(problem, state, point, quick.duals), state),
        polish_at=jnp.where(due, state.iteration + wait, run.polish_at),
        raw_objective=jnp.where(due, run.raw_objective, quick.objective),
    )


def restart_at(problem: Problem, state: State, x: Point, duals: tuple[Array, ...]) -> State:
    """The state whose iterate is the primal-dual pair (x, duals) of the lifted problem: y = D^T p for TV."""
    zs, ys, fields = [], [], []
    for penalty, dual, old in zip(problem.penalties, duals, state.fields, strict=True):
        is_tv = isinstance(penalty.function, TotalVariation)
        zs.append(penalty.map(x) + penalty.offset)
        ys.append(Difference(penalty.map.out_shape).adjoint(dual) if is_tv else dual)
        fields.append(dual if is_tv else old)
    return replace(state, x=x, z=tuple(zs), y=tuple(ys), fields=tuple(fields))


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


def check(problem: Problem, plan: Plan, run: Run, before: State, settings: Settings) -> Run:
    """Certify the current iterate, keep it if it is the best, and decide whether to stop."""
    state = run.state
    dtype = dtype_of(state.x)
    residual = residuals(problem, before, state)
    run, point, certificate, expected = _examine(problem, plan, run, settings)
    following = plan.next_check(state.iteration, expected / settings.target)
    if plan.regions:
        following = jnp.where(settings.polish, jnp.minimum(following, run.polish_at), following)
        following = jnp.maximum(following, state.iteration + 1)
    keep = better(certificate, run.certificate, settings)
    point = select(keep, point, run.point)
    certificate = select(keep, certificate, run.certificate)

    reached = within(certificate, settings)
    overtime = jnp.maximum(OVERTIME * state.iteration, LEAST_OVERTIME).astype(jnp.int32)
    ends = jnp.where(reached, jnp.minimum(run.ends, state.iteration + overtime), run.ends)
    success = reached & ((certificate.relative_gap <= settings.target) | (state.iteration >= ends))
    lifted = lift(problem)
    zero = {name: jnp.zeros_like(value) for name, value in state.x.items()}
    steps = zip(duals_of(problem, state), duals_of(problem, before), strict=True)
    ray_tol = jnp.asarray(1e-6 if dtype == jnp.float64 else 1e-4, dtype)
    empty = infeasible(lifted, tuple(new - old for new, old in steps), zero, ray_tol)
    # without penalties x does not creep away, it lands as far off as rounding lets it
    ray = subtract(state.x, before.x) if problem.penalties else state.x
    endless = unbounded(lifted, ray, ray_tol)
    broken = ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(value)) for value in state.x.values()]))
    status = run.status
    for condition, code in (
        (endless, Status.SOLVE_UNBOUNDED),
        (empty, Status.SOLVE_INFEASIBLE),
        (broken, Status.SOLVE_NAN_FOUND),
        (success, Status.SOLVE_OPT_SUCCESS),
    ):
        status = jnp.where(condition, code.value, status)
    adapted = adapt_rho(plan, run.workspace, run.state, run.start_rho, residual)
    iterate = select(settings.adapt, adapted, run.state)
    slot = jnp.minimum(run.checks, HISTORY - 1)
    seen = (state.iteration.astype(dtype), certificate.objective, certificate.relative_gap, *residual, before.rho)
    history = run.history.at[slot].set(jnp.stack(seen))
    return replace(
        run,
        state=iterate,
        point=point,
        certificate=certificate,
        primal_residual=residual[0],
        dual_residual=residual[1],
        checks=run.checks + 1,
        next_check=following,
        ends=ends,
        status=status.astype(jnp.int32),
        history=history,
    )


def advance(problem: Problem, plan: Plan, run: Run, limit: Array, settings: Settings) -> Run:
    """Iterate until `limit` iterations have been done in all, or a check decides."""
    limit = jnp.minimum(limit, settings.max_iterations)

    def unfinished(run: Run) -> Array:
        return (run.state.iteration < limit) & (run.status == Status.SOLVE_UNKNOWN.value)

    def body(run: Run) -> Run:
        target = jnp.minimum(run.next_check, limit)

        def one(carry: tuple[State, State, Array]) -> tuple[State, State, Array]:
            _, before, extent = carry
            state = step(problem, plan, run.workspace, before)
            return before, state, larger(extent, size_of(state.x))

        start = run.state, run.state, run.units.point
        before, state, extent = lax.while_loop(lambda carry: carry[1].iteration < target, one, start)
        run = replace(run, state=state, units=replace(run.units, point=extent))
        due = (state.iteration >= run.next_check) | (state.iteration >= settings.max_iterations)
        return lax.cond(due, lambda: check(problem, plan, run, before, settings), lambda: run)

    return lax.while_loop(unfinished, body, run)
