"""What an iterate is worth: the point that it gives, polished where that pays, and the certificate of that point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solver import decouple, newton
from admm_jax.solver.absorb import certify
from admm_jax.solver.certificate import Certificate, certificate_of, certifies, likely, promise, relative, stationarity
from admm_jax.solver.estimate import estimated_gap
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import VECTOR, lift
from admm_jax.solver.run import ENDLESS, Run, duals_of, out_of_patience, within_range
from admm_jax.solver.settings import Settings
from admm_jax.solver.sizes import Units
from admm_jax.solver.state import State
from admm_jax.solver.vectors import select
from admm_jax.solver.x_update import Workspace

Examined = tuple[Run, Point, Certificate, Array, Array]  # see `examine`
DENSE_ROUNDS = 4  # of absorbing and projecting, each with one factorisation
ONLY_LOOK = -1  # rounds


def candidate(problem: Problem, x: Point, zs: tuple[Array, ...] | None) -> Point:
    """The point to hand out: a variable's own prox output where there is one, inside its own bounds.

    z comes out of a prox: it is flat where TV says flat and zero where l1 says zero, which x is only in the limit.

    Args:
        problem: The rewritten problem.
        x: The iterate.
        zs: Its splits, one for each penalty; None where x itself is to be handed out.
    """
    out = dict(x)
    if zs is not None:
        for penalty, z in zip(problem.penalties, zs, strict=True):
            name = penalty.map.identity_on
            if name is not None and not penalty.function.is_constraint:
                out[name] = z - penalty.offset
    for penalty in problem.penalties:
        name = penalty.map.identity_on
        ends = penalty.function.bounds()
        if name is not None and ends is not None:
            out[name] = jnp.clip(out[name] + penalty.offset, *ends) - penalty.offset
    return out


def _estimate(
    lifted: Problem, run: Run, point: Point, e: tuple[Array, ...], duals: tuple[Array, ...], look: Certificate
) -> Array:
    """The estimate of the relative gap."""
    zero = {name: jnp.zeros_like(value) for name, value in point.items()}
    force, at = stationarity(lifted, e, duals, zero), run.state.iteration
    gap = estimated_gap(lifted, point, e, duals, force, run.seen, at, run.seen_at)
    return relative(look.objective, gap, look.floor)


def _decoupled(problem: Problem, plan: Plan, run: Run, settings: Settings) -> Examined:
    """As `examine`: the splits of the losses are a dual point as they are, and the certificate is of that pair."""
    lifted, state, count = lift(problem), run.state, len(problem.penalties)
    zs = tuple(decouple.own_part(penalty, z) for penalty, z in zip(problem.penalties, state.z, strict=False))
    point = candidate(problem, plan.x_update.shown(problem, state.x), zs)
    run = within_range(problem, run, point, settings)
    e = decouple.observed(problem, state.z[count:])
    duals = duals_of(problem, state)
    zero = {name: jnp.zeros_like(value) for name, value in point.items()}
    certificate = certificate_of(lifted, point, e, duals, zero, run.units)
    estimate = _estimate(lifted, run, point, e, duals, certificate)
    return run, point, certificate, certificate.relative_gap, estimate


def _newton(
    dense: Problem,
    workspace: Workspace,
    x: Point,
    duals: tuple[Array, ...],
    rho: Array,
    units: Units,
    goal: Array,
) -> tuple[Array, Point, tuple[Array, ...], Certificate]:
    """(whether it is better, x, duals, certificate) of the pair (x, duals), of matrices, after Newton's method."""
    vector, e, polished = newton.polish(dense, workspace, x[VECTOR], duals, rho)
    new, old = _charges(dense, ({VECTOR: vector}, polished), (x, duals), units)
    better = new < old
    point = candidate(dense, {VECTOR: vector}, None)
    zero = {VECTOR: jnp.zeros_like(vector)}
    first = certificate_of(dense, point, e, polished, zero, units)

    def completed() -> Certificate:
        look = replace(first, duals=polished)
        gram = workspace.gram
        return certify(dense, point, look, rho, units, goal, rounds=DENSE_ROUNDS, inner=0, last=0, e=e, gram=gram)

    certificate = lax.cond(first.relative_gap <= goal, lambda: first, completed) if certifies(dense) else first
    return better, point, polished, certificate


def _dense(problem: Problem, run: Run, goal: Array) -> Examined:
    """As `examine`, of a problem of matrices: what Newton's method comes to is iterated on, where it is better.

    Args:
        problem: The rewritten problem.
        run: The run.
        goal: The relative gap that a certificate is to reach.
    """
    state = run.state
    pair = state.x, duals_of(problem, state)
    better, point, duals, certificate = _newton(lift(problem), run.workspace, *pair, state.rho, run.units, goal)
    run = replace(run, state=select(better, restart_at(problem, state, point, duals), state))
    return run, point, certificate, certificate.relative_gap, certificate.relative_gap


def examine(problem: Problem, plan: Plan, run: Run, settings: Settings) -> Examined:
    """The best point that this iterate gives, its certificate, the gap that is expected of it, and an estimate.

    Expected is the relative gap, where it is certified; the estimate (see `estimate.py`) is relative too. Polishing may
    move the iterate itself.

    Args:
        problem: The rewritten problem.
        plan: How it is solved.
        run: Its run, at the iterate.
        settings: The numbers of the run.

    Returns:
        (the run, the point, its certificate, the expected gap, the estimate).
    """
    if plan.decoupled:
        return _decoupled(problem, plan, run, settings)
    goal = jnp.where(run.ends < ENDLESS, settings.target, settings.tol)
    if plan.dense:
        return _dense(problem, run, goal)

    return _matrix_free(problem, plan, run, settings, goal)


def _matrix_free(problem: Problem, plan: Plan, run: Run, settings: Settings, goal: Array) -> Examined:
    """As `examine`: polished without matrices, and certified by conjugate gradients where that can succeed."""
    lifted, state = lift(problem), run.state
    duals = duals_of(problem, state)
    point = candidate(problem, state.x, state.z)
    due = took = jnp.zeros((), bool)
    if plan.polisher is not None:
        due = settings.polish & (state.iteration >= run.polish_at)
        raw, rhs = (point, duals), run.workspace.rhs
        polished = plan.polisher.polish(problem, rhs, raw, run.units, settings.target, settings.polish, due)

        def no_worse() -> Array:
            new, old = _charges(lifted, polished, raw, run.units)
            return new <= old

        took = lax.cond(due, no_worse, lambda: jnp.zeros((), bool))
        point, duals = select(took | ~due, polished, raw)
    quick = promise(lifted, point, duals, run.units)
    if plan.polisher is not None:
        run = _after_polish(problem, plan, run, point, quick, due, took)

    def full() -> Certificate:
        # absorbing costs hundreds of products: who asks for an estimate gets what is proved without
        rounds = jnp.where(settings.by_estimate, ONLY_LOOK, plan.rounds)
        return full_certificate(lifted, plan, run, point, quick, goal, rounds)

    # the certificate costs tens of iterations: only pay for it when it can succeed, or when the run may end without
    last = state.iteration >= settings.max_iterations
    last = last | out_of_patience(plan, settings, state.iteration, run.nearer_at)
    unlikely = plan.promise_factor * quick.relative_gap > goal
    none = replace(quick, relative_gap=jnp.full_like(quick.gap, jnp.inf))
    certificate = lax.cond(unlikely & ~last, lambda: none, full)
    # one tried against its promise says nothing of what later ones will find: progress is still that of promises
    expected = jnp.where(unlikely, plan.promise_kept * quick.relative_gap, certificate.relative_gap)
    e = tuple(q.map(point) - q.data for q in lifted.quadratics)
    return run, point, certificate, expected, _estimate(lifted, run, point, e, quick.duals, quick)


def full_certificate(
    lifted: Problem,
    plan: Plan,
    run: Run,
    point: Point,
    quick: Certificate,
    goal: Array,
    rounds: Array | int | None = None,
) -> Certificate:
    """`certify` as the plan has it.

    Args:
        lifted: The lifted problem.
        plan: How it is solved.
        run: Its run.
        point: The point to be certified.
        quick: Its `promise`.
        goal: The relative gap at which it may end.
        rounds: Of absorbing, at most; None: those of the plan.
    """
    return certify(
        lifted,
        point,
        quick,
        run.state.rho,
        run.units,
        goal,
        rounds=plan.rounds if rounds is None else rounds,
        inner=plan.round_steps,
        last=plan.last_steps,
    )


def _charged(lifted: Problem, x: Point, duals: tuple[Array, ...], units: Units) -> Array:
    """About the gap of a pair as it is, with what it lacks in stationarity charged."""
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    e = tuple(q.map(x) - q.data for q in lifted.quadratics)
    return likely(lifted, x, e, duals, stationarity(lifted, e, duals, zero), units)


def _charges(
    lifted: Problem, first: tuple[Point, tuple[Array, ...]], second: tuple[Point, tuple[Array, ...]], units: Units
) -> Array:
    """`_charged` of two pairs (x, duals): the map is a loop, so that it is compiled once."""
    pairs = jax.tree.map(lambda *parts: jnp.stack(parts), first, second)
    return lax.map(lambda pair: _charged(lifted, pair[0], pair[1], units), pairs)


def _after_polish(
    problem: Problem, plan: Plan, run: Run, point: Point, quick: Certificate, due: Array, took: Array
) -> Run:
    """A polished point that improved becomes the iterate: from there a few steps find what was missed.

    It is compared with the last iterate that was not polished, or that was and is gone on from: else it could come
    back to the same point for ever. One that made things worse, in its objective or (where it was not even `took`) in
    what it proves, came too early: wait half as long again.

    Args:
        problem: The rewritten problem.
        plan: How it is solved.
        run: Its run.
        point: The point that is handed out, polished or not.
        quick: Its `promise`.
        due: Whether it was to be polished.
        took: Whether the polished pair is no worse than the raw one, and was taken.
    """
    state = run.state
    improved = took & (quick.objective < run.raw_objective)
    wait = jnp.where(improved, plan.polish_every, state.iteration // 2)
    return replace(
        run,
        state=select(improved, restart_at(problem, state, point, quick.duals), state),
        polish_at=jnp.where(due, state.iteration + wait, run.polish_at),
        raw_objective=jnp.where(due & ~improved, run.raw_objective, quick.objective),
    )


def restart_at(problem: Problem, state: State, x: Point, duals: tuple[Array, ...]) -> State:
    """The state whose iterate is the primal-dual pair (x, duals): y = D^T p for TV.

    Args:
        problem: The rewritten problem, not lifted.
        state: The state before, whose rho and iteration are kept.
        x: The point.
        duals: Of the lifted problem, one array for each penalty.
    """
    zs, ys, fields = [], [], []
    for penalty, dual, old in zip(problem.penalties, duals, state.fields, strict=True):
        y, field = penalty.function.from_dual(dual, old)
        zs.append(penalty.map(x) + penalty.offset)
        ys.append(y)
        fields.append(field)
    return replace(state, x=x, z=tuple(zs), y=tuple(ys), fields=tuple(fields))
