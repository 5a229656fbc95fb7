"""A solve in progress: its numbers, its state, and how it begins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solution import History
from admm_jax.solver import decouple
from admm_jax.solver.certificate import Certificate
from admm_jax.solver.equilibrate import equilibrate, find_scaling, unscaled
from admm_jax.solver.plan import Plan
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.settings import Settings
from admm_jax.solver.sizes import Units, initial_units
from admm_jax.solver.state import State, data_point, initial_rho, initial_state, right_hand_side
from admm_jax.solver.value_range import assumed_range, needed, widened
from admm_jax.solver.vectors import select
from admm_jax.solver.x_update import Workspace
from admm_jax.status import Status

ENDLESS = 2**31 - 1
PATIENCE = 0.5  # iterations that a run may go on without progress, relative to those until it last made some
HISTORY = 256  # checks recorded; they grow further apart, so this is never reached in practice


@pytree_dataclass
class Run:
    """A solve in progress, in the units of `scaling`.

    `point` is the best candidate so far and `certificate` what is known of it. `distance` is the gap that
    was proved, that was expected, and the violation, each when it last fell by a tenth: at `nearer_at` one of them did.
    """

    state: State
    workspace: Workspace
    scaling: Scaling
    point: Point
    certificate: Certificate
    estimate: Array  # of the gap of `point`, relative: see `estimate.py`
    units: Units
    range: Array  # (lower, upper) that the certificate assumes, in the user's units
    primal_residual: Array
    dual_residual: Array
    start_rho: Array
    next_check: Array
    checks: Array
    polish_at: Array
    raw_objective: Array  # of the last checked iterate that was not polished, or was and is gone on from
    ends: Array  # the iteration at which a run that has reached `tol` gives up on `target`
    distance: Array
    nearer_at: Array
    seen: Point  # the point of the last check, and its iteration
    seen_at: Array
    status: Array
    history: Array  # (HISTORY, fields of History)


def duals_of(problem: Problem, state: State) -> tuple[Array, ...]:
    """The duals of the lifted problem: Chambolle's field for TV, y for the rest."""
    # a decoupled problem has further splits, and frames that are larger
    pairs = zip(problem.penalties, state.y, state.fields, strict=False)
    return tuple(p.function.dual(decouple.own_part(p, y), field) for p, y, field in pairs)


def out_of_patience(plan: Plan, settings: Settings, iteration: Array, nearer_at: Array) -> Array:
    """Whether a run has gone on for too long since it last came nearer to its tolerances, at `nearer_at`."""
    patience = jnp.maximum(PATIENCE * nearer_at, plan.least_patience).astype(jnp.int32)
    # a tolerance of zero asks for all iterations that are allowed
    return (settings.tol > 0) & (iteration - nearer_at > patience)


def invalid(problem: Problem) -> Array:
    """Whether a number of the problem is NaN, one that is no bound infinite, or a weight negative."""
    bad = jnp.zeros((), bool)
    for leaf in jax.tree.leaves([penalty.function for penalty in problem.penalties]):
        # a sum: of an image that is a constant of the program XLA computes this at once, but `any` of 2048² in 10 s
        bad = bad | (jnp.sum(jnp.isnan(leaf), dtype=jnp.float32) > 0)
    others = [(penalty.map, penalty.offset) for penalty in problem.penalties]
    for leaf in jax.tree.leaves((problem.quadratics, others, problem.linear, problem.constant)):
        bad = bad | (jnp.sum(~jnp.isfinite(leaf), dtype=jnp.float32) > 0)
    for quadratic in problem.quadratics:
        bad = bad | jnp.any(~(jnp.asarray(quadratic.weight) >= 0))
    for penalty in problem.penalties:
        bad = bad | penalty.function.invalid()
    return bad


def _first_status(problem: Problem) -> Array:
    """What is known before the first iteration: a number is wrong, bounds cross, or nothing yet."""
    empty = jnp.zeros((), bool)
    for penalty in problem.penalties:
        empty = empty | penalty.function.empty()
    status = jnp.where(empty, Status.SOLVE_INFEASIBLE.value, Status.SOLVE_UNKNOWN.value)
    return jnp.where(invalid(problem), Status.SOLVE_NAN_FOUND.value, status).astype(jnp.int32)


def begin(
    problem: Problem,
    plan: Plan,
    dtype: jnp.dtype,
    settings: Settings,
    x: Point,
    state: State | None = None,
    scaling: Scaling | None = None,
) -> Run:
    """A run at its start: from the point `x`, or from the `state` of an earlier solve of a like problem.

    The problem is in the units of `scaling` (its own as it comes, unless given), `x`, `state` and rho in the user's.

    The iterate and the duals of a state go on, its rho does not: it is proportional to lam, and that of another lam
    costs several times the iterations that the start saves. A state that was never iterated, such as one of zeros, says
    nothing: the run then starts from `x`.

    Args:
        problem: The rewritten problem.
        plan: How it is solved.
        dtype: Of the solve.
        settings: The numbers of the run.
        x: Where it starts, of the shapes of the rewritten problem.
        state: Of an earlier solve; None for none.
        scaling: The units of the problem; None where they are the user's.
    """
    scaling = unscaled(problem, dtype) if scaling is None else scaling
    x_update = plan.x_update
    workspace, inner = x_update.workspace(problem, dtype, scaling), x_update.iterated(problem)
    told = x_update.modelled(problem)
    rhs = workspace.rhs if told is problem else right_hand_side(told, dtype)
    data, curvature = data_point(told, rhs)
    automatic = initial_rho(told, rhs, data, curvature)
    rho = jnp.where(settings.rho > 0, settings.rho * scaling.stiffness, automatic).astype(dtype)
    start = x_update.begin(problem, scaling.enter(x))
    first = initial_state(inner, rho, x_update.factor(workspace, rho), start)
    fresh = current = replace(first, ratios=x_update.ratios(inner, rho))
    if state is not None:
        entered = scaling.enter_state(state)
        ratios = tuple(jnp.stack([ratio[1], ratio[1]]) for ratio in fresh.ratios)  # the data are fitted already
        going_on = replace(entered, factor=fresh.factor, rho=rho, iteration=fresh.iteration, ratios=ratios)
        current = select(state.iteration > 0, going_on, fresh)
    infinity, point = jnp.full((), jnp.inf, dtype), x_update.shown(problem, current.x)
    lifted_duals = tuple(jnp.zeros_like(p) for p in duals_of(problem, current))
    early = plan.first_check // 2  # an estimate that is near 1e-2 there is what many ask for
    units = replace(initial_units(problem, data), **assumed_range(told, plan, settings, scaling))
    return Run(
        state=current,
        workspace=workspace,
        scaling=scaling,
        point=point,
        certificate=Certificate(infinity, infinity, infinity, infinity, infinity, infinity, lifted_duals),
        estimate=infinity,
        units=units,
        range=jnp.stack(needed(problem, point, units.lower, units.upper, scaling)),
        primal_residual=infinity,
        dual_residual=infinity,
        start_rho=rho,
        next_check=jnp.where(settings.by_estimate & plan.decoupled, early, plan.first_check).astype(jnp.int32),
        checks=jnp.zeros((), jnp.int32),
        polish_at=jnp.asarray(plan.first_polish, jnp.int32),
        raw_objective=infinity,
        ends=jnp.asarray(ENDLESS, jnp.int32),
        distance=jnp.full(3, jnp.inf, dtype),
        nearer_at=jnp.zeros((), jnp.int32),
        seen=point,
        seen_at=jnp.zeros((), jnp.int32),
        status=_first_status(problem),
        history=jnp.full((HISTORY, len(History._fields)), jnp.nan, dtype),
    )


def within_range(problem: Problem, run: Run, x: Point, settings: Settings) -> Run:
    """The run with a range that x lies well within (see `value_range.widened`); what a smaller one proved is forgotten.

    Args:
        problem: The rewritten problem.
        run: Where it stands.
        x: Its iterate, of the shapes of the rewritten problem.
        settings: The numbers of the run.
    """
    units, changed = widened(run.units, x, settings)
    nothing = jnp.full_like(run.certificate.gap, jnp.inf)
    forgotten = replace(run.certificate, gap=nothing, relative_gap=nothing)
    ends = jnp.stack(needed(problem, x, units.lower, units.upper, run.scaling))
    return replace(run, units=units, certificate=select(changed, forgotten, run.certificate), range=ends)


def start_run(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> tuple[Problem, Run]:
    """The rewritten problem, in units of its own, and a run at its beginning.

    Args:
        problem: As `prepare` made it.
        settings: The numbers of the run.
        x: Where it starts, of the shapes of the user's problem.
        state: Of an earlier solve; None for none.
        plan: How it is solved.
        dtype: Of the solve.
    """
    plain = plan.x_update.rewritten(problem, jnp.dtype(dtype))
    scaling = find_scaling(plain, jnp.dtype(dtype), dense=plan.dense)
    # in units of zero every problem is zero: the dtype cannot hold the objective, and nothing is to be said of it
    usable = scaling.usable
    scaling = select(usable, scaling, jax.tree.map(jnp.ones_like, scaling))
    inner = equilibrate(plain, scaling, dense=plan.dense)
    point = plan.x_update.enter(problem, x)
    run = begin(inner, plan, jnp.dtype(dtype), settings, point, state, scaling)
    status = jnp.where(usable, run.status, Status.SOLVE_NAN_FOUND.value).astype(jnp.int32)
    return inner, replace(run, status=status)
