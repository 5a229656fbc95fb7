"""The solve as a differentiable function of everything that its problem is made of.

`solve` is `admm_jax.solver.solve.solve` with a derivative: forward, reverse and of any order. The rule is written
once, as a Jacobian-vector product around a linear solve that JAX can transpose. It never sees the loop: it uses
nothing but the solution and its multipliers, so memory does not grow with iterations, and starts, rho and tolerances
have derivative zero.

    dx           the linear system of `system.py`
    d objective  = the derivative of the Lagrangian at fixed (x, p): the envelope theorem (Danskin 1967)

         q(x) + sum <p_j, A_j x + b_j - z_j> + g_j(z_j; theta)      g_j(z_j) = <p_j, z_j> - g_j*(p_j) where g_j is a set

Where something is differentiated, the solve first finishes the active set: it goes on from its tolerance to a far
smaller one, for at most as many iterations again (see `solver.loop`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.dtypes import float0

from admm_jax.derivative import system as kkt
from admm_jax.derivative.active import Reading, direct_terms, read, spaces
from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver.loop import Settings
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import lift
from admm_jax.solver.settings import finishing
from admm_jax.solver.solve import solve as solve_only
from admm_jax.solver.state import State


def lagrangian(problem: Problem, x: Point, readings: tuple[Reading, ...]) -> Array:
    """q(x) + sum <p_j, A_j x + b_j - z_j> + g_j(z_j) of the lifted problem, equal to f at a solution."""
    total = jnp.asarray(problem.constant)
    for quadratic in problem.quadratics:
        residual = quadratic.map(x) - quadratic.data
        total = total + jnp.sum(quadratic.weight * residual**2) / 2
    for name, cost in problem.linear.items():
        total = total + jnp.sum(cost * x[name])
    for penalty, reading in zip(problem.penalties, readings, strict=True):
        g = penalty.function
        total = total + jnp.sum(reading.p * (penalty.map(x) + penalty.offset))
        if g.is_constraint:
            total = total - g.conjugate(reading.p)
        else:
            total = total + g(reading.z) - jnp.sum(reading.p * reading.z)
    return total


def system_at(problem: Problem, plan: Plan, solution: Solution) -> tuple[kkt.Linearised, Array]:
    """The linear system at a solution of `problem`, and the rho that balances its pairs."""
    rho = lax.stop_gradient(solution.rho)
    direct = direct_terms(problem, plan)
    readings = read(problem, solution.values, solution.multipliers, rho)
    space = spaces(problem, direct, readings)
    return kkt.linearise(problem, solution.values, readings, space, rho, direct, plan.dense), rho


def tangent_of(problem: Problem, change: Problem, plan: Plan, solution: Solution) -> tuple[Point, Array, tuple]:
    """(dx, d objective, dp) at a solution for a change of the problem; linear in it, and transposable."""
    system, rho = system_at(problem, plan, solution)
    shift, rhs = kkt.right_hand_side(problem, change, system, rho)
    t, u = kkt.solve(system, *rhs)
    dx = {name: shift[name] + value for name, value in kkt.project(system.space, t).items()}
    value = jax.jvp(
        lambda q: lagrangian(lift(q), system.x, system.readings), (problem,), (change,)
    )[1]
    return dx, value, kkt.multipliers(problem, change, system, dx, u)


@partial(jax.jit, static_argnames=("plan", "dtype"))
def solve(
    problem: Problem, settings: Settings, x: Point, state: State | None, *, plan: Plan, dtype: np.dtype
) -> Solution:
    """The solution; differentiable in `problem`."""
    return _solution(plan, dtype, problem, settings, x, state)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solution(
    plan: Plan, dtype: np.dtype, problem: Problem, settings: Settings, x: Point, state: State | None
) -> Solution:
    return solve_only(problem, settings, x, state, plan=plan, dtype=dtype)


@_solution.defjvp
def _rule(plan: Plan, dtype: np.dtype, primals: tuple, tangents: tuple) -> tuple[Solution, Solution]:
    problem, settings, x, state = primals
    # called through the rule again, so that it can be differentiated once more
    solution = _solution(plan, dtype, problem, finishing(settings), x, state)
    dx, value, dp = tangent_of(problem, tangents[0], plan, solution)
    told = jnp.where(solution.converged, 1, jnp.nan).astype(dtype)  # a solve that did not converge has no derivative
    change = replace(
        jax.tree.map(_no_tangent, solution),
        values={name: told * v for name, v in dx.items()},
        objective=told * value,
        multipliers=tuple(told * v for v in dp),
    )
    return solution, change


def _no_tangent(leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, float0)
