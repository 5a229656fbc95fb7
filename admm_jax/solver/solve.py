"""From a problem's numbers to a solution: the pure solve and the stepwise one share every line that computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.base import Operator
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.pytree import replace
from admm_jax.solution import History, Solution
from admm_jax.solver import own_x_update
from admm_jax.solver.handover import awaits, give_back, limit_before, solve_on, take_over
from admm_jax.solver.loop import advance, close, within
from admm_jax.solver.plan import Plan, make_plan
from admm_jax.solver.programs import Program
from admm_jax.solver.run import Run, start_run
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.settings import Settings
from admm_jax.solver.state import State
from admm_jax.status import Status

NO_LIMIT = np.iinfo(np.int32).max


def common_dtype(problem: Problem) -> np.dtype:
    """The dtype of the solve: JAX's promotion of the problem's arrays; NumPy scalars adapt to the rest."""
    leaves = [leaf for leaf in jax.tree.leaves(problem) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    strong = [leaf for leaf in leaves if np.ndim(leaf) > 0 or isinstance(leaf, jax.Array)]
    dtype = jnp.result_type(*(strong or leaves or [jnp.float32(0)]))
    return np.dtype(jnp.float32 if dtype.itemsize < 4 else dtype)


def cast(problem: Problem, dtype: np.dtype) -> Problem:
    """Floating leaves in one dtype; NumPy stays NumPy."""

    def convert(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return leaf.astype(dtype) if isinstance(leaf, jax.Array) else np.asarray(leaf, dtype)

    return jax.tree.map(convert, problem)


def with_fastest(problem: Problem, dtype: np.dtype) -> Problem:
    """Put the fastest equal operator in the place of each, and leave out the labels."""

    def best(op: Operator) -> Operator:
        return op.faster(dtype, jax.default_backend())[0].prepared(dtype)

    def chosen(linear_map: LinearMap) -> LinearMap:
        chains = tuple(Chain(tuple(best(op) for op in chain.ops), chain.variable) for chain in linear_map.chains)
        return LinearMap(chains, linear_map.out_shape)

    quadratics = tuple(Quadratic(chosen(q.map), q.data, q.weight) for q in problem.quadratics)
    penalties = tuple(Penalty(p.function, chosen(p.map), p.offset, members=p.members) for p in problem.penalties)
    return replace(problem, quadratics=quadratics, penalties=penalties)


def one_by_one(plan: Plan) -> bool:
    """Whether a batch is solved faster one problem after another.

    On a CPU every operation of an image's solve fills the cores already. And under `vmap` each `cond` does both of its
    sides for all elements, and every loop goes on until the last is through: 16 photographs of 128² took 4 times as
    long together.
    """
    return jax.default_backend() == "cpu" and not plan.dense


def prepare(problem: Problem, options: Mapping[str, Any], dtype: Any = None) -> tuple[Problem, Plan, np.dtype]:
    """The problem as the compiled program takes it (one dtype, no labels, operators chosen), its plan, its dtype.

    Args:
        problem: As the model makes it.
        options: By name; the static ones become a part of the plan.
        dtype: Of the solve; None for that of the problem's arrays.
    """
    dtype = common_dtype(problem) if dtype is None else np.dtype(dtype)
    own = options["x_update"]
    if own is not None:
        own_x_update.check(own, problem, dtype)
    plan = make_plan(problem, own, plain=options["derivative"] == "unroll")
    batching = str(options["batching"])
    plan = dataclasses.replace(
        plan,
        sequential=one_by_one(plan) if batching == "auto" else batching == "sequential",
        relaxation=float(options["relaxation"]),
        unroll=int(options["max_iterations"]) if options["derivative"] == "unroll" else 0,
        derivative_nan=bool(options["derivative_nan"]),
        derivative_warning=bool(options["derivative_warning"]),
    )
    return cast(with_fastest(problem, dtype), dtype), plan, dtype


def fits(state: Any, problem: Problem, plan: Plan) -> bool:
    """Whether a state, that of a solution with the same variables, belongs to a problem of this structure."""

    def splits(q: Problem) -> list[tuple[Array, Array]]:
        """z of each split, and what its prox remembers."""
        inner = plan.x_update.iterated(plan.x_update.rewritten(q, jnp.dtype(jnp.float32)))
        shapes = [(penalty.map.out_shape, penalty.function) for penalty in inner.penalties]
        return [(jnp.zeros(shape), function.memory(shape, np.float32)) for shape, function in shapes]

    if not isinstance(state, State) or len(state.z) != len(state.fields):
        return False
    wanted = [(z.shape, field.shape) for z, field in jax.eval_shape(splits, problem)]
    return [(np.shape(z), np.shape(field)) for z, field in zip(state.z, state.fields, strict=True)] == wanted


def _resume(problem: Problem, run: Run, limit: Array, settings: Settings, *, plan: Plan) -> Run:
    """Go on until `limit` iterations in all; `problem` is the rewritten one."""
    return advance(problem, plan, run, limit, settings)


def _launch(
    problem: Problem, settings: Settings, x: Point, state: State | None, limit: Array, *, plan: Plan, dtype: np.dtype
) -> tuple[Problem, Run]:
    """`start` and the first `resume` in one program: half the calls and the compiling of a model that needs no more."""
    inner, run = start_run(problem, settings, x, state, plan=plan, dtype=dtype)
    return inner, advance(inner, plan, run, limit, settings)


# a stepwise solve is one of few: at 128² pixels in float64, 3 s less to compile are 40 ms more for each
FEW_SOLVES = 128 * 128
start = Program(start_run, "plan", "dtype", runs_once=True, small=FEW_SOLVES)
resume = Program(_resume, "plan", small=FEW_SOLVES)
launch = Program(_launch, "plan", "dtype")
# for a run that is handed over
take_over_run = Program(take_over, "plan", "dtype", runs_once=True)
give_back_run = Program(give_back, "plan", runs_once=True)


def solve(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> tuple[Solution, Scaling]:
    """One `while_loop` from start to end: the solution, and the units that it was found in."""
    inner, run = start_run(problem, settings, x, state, plan=plan, dtype=dtype)
    limit = jnp.asarray(NO_LIMIT, jnp.int32)
    run = advance(inner, plan, run, limit_before(plan, settings, limit), settings)
    run = solve_on(problem, inner, run, limit, settings, plan=plan, dtype=dtype)
    return _ended(problem, run, settings, plan=plan), run.scaling


def _ended(problem: Problem, run: Run, settings: Settings, *, plan: Plan) -> Solution:
    """The solution of a run that has come to its end, with the status that this end has."""
    reached = within(run.certificate, settings)
    near = close(run.certificate, run.estimate, settings)
    ending = jnp.where(near, Status.SOLVE_ESTIMATE_REACHED.value, Status.SOLVE_OVER_MAX_ITER.value)
    ending = jnp.where(reached, Status.SOLVE_OPT_SUCCESS.value, ending)
    status = jnp.where(run.status == Status.SOLVE_UNKNOWN.value, ending, run.status)
    return finish(problem, run, status, plan=plan)


ended = Program(_ended, "plan", runs_once=True)


def in_stages(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> tuple[Solution, Scaling]:
    """As `solve`, of numbers that are known: the solve with matrices is not compiled before a run comes to it."""
    limit = np.asarray(NO_LIMIT, np.int32)
    inner, run = launch(problem, settings, x, state, limit_before(plan, settings, limit), plan=plan, dtype=dtype)
    if plan.later is not None and awaits(run, settings):
        dense, moved = take_over_run(problem, run, settings, plan=plan, dtype=dtype)
        moved = resume(dense, moved, limit, settings, plan=plan.later)
        run = give_back_run(problem, inner, run, dense, moved, plan=plan)
    return ended(problem, run, settings, plan=plan), run.scaling


def finish(problem: Problem, run: Run, status: Any, *, plan: Plan) -> Solution:
    """The solution that a run stands for, in the user's units, converged or not. NumPy stays NumPy."""
    scaling, certificate = run.scaling, run.certificate
    point = scaling.leave(run.point)
    return Solution(
        values=plan.x_update.leave(problem, point),
        objective=certificate.objective / scaling.cost,
        gap=certificate.relative_gap,
        range=run.range,
        estimate=run.estimate,
        violation=certificate.violation,
        primal_residual=run.primal_residual,
        dual_residual=run.dual_residual,
        status=status,
        iterations=run.state.iteration,
        rho=run.state.rho / scaling.stiffness,
        state=scaling.leave_state(run.state),
        history=History(*run.history.T),
        multipliers=scaling.duals(certificate.duals),
    )
