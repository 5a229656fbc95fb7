"""From a problem's numbers to a solution: the pure, jitted solve and the stepwise one share every line that computes."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.convolution import Conv2D, plan_convolution, specialise
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.pytree import replace
from admm_jax.solution import History, Solution
from admm_jax.solver.loop import Run, Settings, advance, begin
from admm_jax.solver.plan import Plan, make_plan
from admm_jax.solver.rewrite import VECTOR, densify, flatten, lift, unflatten
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


def choose_convolutions(problem: Problem, dtype: np.dtype) -> tuple[Problem, tuple[str, ...]]:
    """Put the fastest implementation in the place of each convolution; says which, and why."""
    reasons: list[str] = []

    def chosen(linear_map: LinearMap) -> LinearMap:
        chains = []
        for chain in linear_map.chains:
            ops = []
            for op in chain.ops:
                if isinstance(op, Conv2D):
                    concrete = op.kernel if isinstance(op.kernel, np.ndarray) else None
                    name, reason = plan_convolution(op, dtype, jax.default_backend(), concrete)
                    op = specialise(op, name)  # noqa: PLW2901
                    reasons.append(f"{getattr(op, 'description', name)}: {reason}")
                ops.append(op)
            chains.append(Chain(tuple(ops), chain.variable))
        return LinearMap(tuple(chains), linear_map.out_shape)

    quadratics = tuple(Quadratic(chosen(q.map), q.data, q.weight) for q in problem.quadratics)
    penalties = tuple(Penalty(p.function, chosen(p.map), p.offset) for p in problem.penalties)
    return replace(problem, quadratics=quadratics, penalties=penalties), tuple(reasons)


def prepare(
    problem: Problem, relaxation: float, dtype: Any = None
) -> tuple[Problem, Plan, np.dtype]:
    """The problem as the compiled program takes it: one dtype, no labels, convolutions chosen."""
    dtype = common_dtype(problem) if dtype is None else np.dtype(dtype)
    plan = dataclasses.replace(make_plan(problem), relaxation=float(relaxation))
    chosen, _ = choose_convolutions(problem, dtype)
    return cast(chosen, dtype), plan, dtype


def internal(problem: Problem, plan: Plan, dtype: np.dtype) -> Problem:
    """The problem that is iterated on."""
    return densify(lift(problem), jnp.dtype(dtype)) if plan.dense else problem


@partial(jax.jit, static_argnames=("plan", "dtype"))
def start(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> tuple[Problem, Run]:
    """The iterated problem and a run at its beginning."""
    inner = internal(problem, plan, dtype)
    point = {VECTOR: flatten(problem, x)} if plan.dense else x
    return inner, begin(inner, plan, jnp.dtype(dtype), settings, point, state)


@partial(jax.jit, static_argnames=("plan",))
def resume(problem: Problem, run: Run, limit: Array, settings: Settings, *, plan: Plan) -> Run:
    """Go on until `limit` iterations in all; `problem` is the iterated one."""
    return advance(problem, plan, run, limit, settings)


@partial(jax.jit, static_argnames=("plan", "dtype"))
def solve(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> Solution:
    """One `while_loop` from start to end."""
    inner, run = start(problem, settings, x, state, plan=plan, dtype=dtype)
    run = advance(inner, plan, run, jnp.asarray(NO_LIMIT, jnp.int32), settings)
    return finish(problem, run, plan=plan)


@partial(jax.jit, static_argnames=("plan",))
def finish(problem: Problem, run: Run, *, plan: Plan) -> Solution:
    """The solution that a run stands for, whether it has converged or not."""
    values = unflatten(problem, run.point[VECTOR]) if plan.dense else run.point
    ended = jnp.where(run.status == Status.SOLVE_UNKNOWN.value, Status.SOLVE_OVER_MAX_ITER.value, run.status)
    certificate = run.certificate
    return Solution(
        values=values,
        objective=certificate.objective,
        gap=certificate.relative_gap,
        violation=certificate.violation,
        primal_residual=run.primal_residual,
        dual_residual=run.dual_residual,
        status=ended,
        iterations=run.state.iteration,
        rho=run.state.rho,
        state=run.state,
        history=History(*run.history.T),
        multipliers=certificate.duals,
    )
