"""Certificates that a model has no solution, read from the differences of successive iterates.

The differences converge to a certificate when there is one (Banjac, Goulart, Stellato & Boyd 2019):

    infeasible   dy with sum A_j^T dy_j = 0 and sum <dy_j, b_j> - sigma_{C_j}(dy_j) > 0, over the constraints C_j
    unbounded    dx with Q dx = 0 and <c, dx> + sum rec g_j(A_j dx) < 0 (rec g: what g costs along a direction)

Each equation is checked row by row against the magnitudes that it is a sum of, and each inequality against those of its
own terms: a cost, however large, is no measure of a constraint. What the first misses of zero is charged at the bounds
of the variables, where they have any, and else within 1 / tol of the problem's own units.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.solver.certificate import stationarity
from admm_jax.solver.reach import reach_of, stationarity_magnitude
from admm_jax.solver.rounding import magnitude
from admm_jax.solver.vectors import dtype_of


def infeasible(problem: Problem, dual_step: tuple[Array, ...], zero: Point, tol: Array) -> Array:
    """Whether `dual_step` proves that the constraints cannot hold together.

    Args:
        problem: The lifted problem.
        dual_step: The difference of the duals of two iterates, one array for each penalty.
        zero: Zeros of the shapes of x.
        tol: What counts as zero beside the terms of its own sum.
    """
    if not any(penalty.function.is_constraint for penalty in problem.penalties):
        return jnp.zeros((), bool)
    dtype = dtype_of(zero)
    size = jnp.zeros((), dtype)
    for penalty, step in zip(problem.penalties, dual_step, strict=True):
        size = jnp.maximum(size, jnp.max(jnp.abs(step)) if penalty.function.is_constraint else 0)
    usable = size > 0
    rays, value, size_of_value = [], jnp.zeros((), dtype), jnp.zeros((), dtype)
    for penalty, step in zip(problem.penalties, dual_step, strict=True):
        if not penalty.function.is_constraint:
            rays.append(jnp.zeros_like(step))  # a bounded dual has no direction to recede in
            continue
        ray = penalty.function.project_dual(step / jnp.where(usable, size, 1))
        inside = penalty.function.prox(jnp.zeros_like(ray), jnp.ones((), dtype))  # any point of C
        support = penalty.function.fenchel_gap(inside, ray) + jnp.sum(ray * inside)
        value = value + jnp.sum(ray * penalty.offset) - support
        size_of_value = size_of_value + jnp.sum(jnp.abs(ray * penalty.offset)) + jnp.abs(support)
        rays.append(ray)
    no_cost = Problem(problem.quadratics, problem.penalties, {}, problem.constant, problem.variables)
    no_quadratics = Problem((), problem.penalties, {}, problem.constant, problem.variables)
    nothing = tuple(jnp.zeros(q.map.out_shape, dtype) for q in problem.quadratics)
    left = stationarity(no_cost, nothing, tuple(rays), zero)
    reach = reach_of(no_quadratics, zero, jnp.zeros((), dtype), {}, ({}, {}))
    size = stationarity_magnitude(no_cost, nothing, tuple(rays), zero)
    drift, still = jnp.zeros((), dtype), jnp.ones((), bool)
    for name, part in left.items():
        # - inf <left, x> between the bounds, where there is one on the side that the force pulls to
        end = jnp.where(part > 0, reach.lower[name], reach.upper[name])
        bounded = jnp.isfinite(end)
        least = jnp.where(bounded, -part * jnp.where(bounded, end, 0), jnp.abs(part) / tol)
        drift = drift + jnp.sum(least)
        still = still & jnp.all(bounded | (jnp.abs(part) <= tol * size[name]))
    return usable & (value > tol * size_of_value) & still & (value - drift > tol * size_of_value)


def unbounded(problem: Problem, primal_step: Point, tol: Array) -> Array:
    """Whether `primal_step` proves that the objective falls without limit (if a feasible point exists).

    Args:
        problem: The lifted problem.
        primal_step: The difference of two iterates, of the shapes of x.
        tol: What counts as zero beside the terms of its own sum.
    """
    if not problem.linear:  # every term is bounded below
        return jnp.zeros((), bool)
    dtype = dtype_of(primal_step)
    size = jnp.zeros((), dtype)
    for value in primal_step.values():
        size = jnp.maximum(size, jnp.max(jnp.abs(value)))
    usable = (size > 0) & jnp.isfinite(size)
    ray = {name: value / jnp.where(usable, size, 1) for name, value in primal_step.items()}
    lengths = {name: jnp.abs(value) for name, value in ray.items()}
    slope, size, still = jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.ones((), bool)
    for name, cost in problem.linear.items():
        slope = slope + jnp.sum(cost * ray[name])
        size = size + jnp.sum(jnp.abs(cost * ray[name]))
    for quadratic in problem.quadratics:
        image = jnp.where(quadratic.weight > 0, jnp.abs(quadratic.map(ray)), 0)
        still = still & jnp.all(image <= tol * magnitude(quadratic.map, lengths))
    for penalty in problem.penalties:
        image = penalty.map(ray)
        recession = penalty.function.recession()
        slope = slope + recession(image)
        size = size + jnp.abs(recession(image))
        outside = jnp.abs(recession.violation(image))
        still = still & jnp.all(outside <= tol * magnitude(penalty.map, lengths))
    return usable & (slope < -tol * size) & still
