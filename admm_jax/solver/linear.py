"""The linear systems of the solver, (sum Q^T W Q + sum A_j^T omega_j A_j) x = rhs, by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.solver.vectors import add, add_scaled, dot, dtype_of


def normal(problem: Problem, weights: tuple[Array, ...], x: Point) -> Point:
    """(sum Q^T W Q + sum A_j^T omega_j A_j) x.

    Args:
        problem: Its quadratics give Q and W, its penalties A.
        weights: omega_j, one for each penalty: a scalar or of the shape of A_j x.
        x: The point.
    """
    out = {name: jnp.zeros_like(value) for name, value in x.items()}
    for quadratic in problem.quadratics:
        out = add(out, quadratic.map.adjoint(quadratic.weight * quadratic.map(x)))
    for penalty, omega in zip(problem.penalties, weights, strict=True):
        out = add(out, penalty.map.adjoint(omega * penalty.map(x)))
    return out


def conjugate_gradients(
    operator: Callable[[Point], Point],
    rhs: Point,
    x: Point,
    *,
    steps: Array | int,
    tol: Array | float = 0.0,
    precondition: Callable[[Point], Point] = lambda r: r,
    project: Callable[[Point], Point] = lambda r: r,
    floor: Array | float | None = None,
) -> Point:
    """At most `steps` conjugate gradient steps on operator(x) = rhs from x.

    They end where ||r|| <= tol ||r_0||, or where ||r|| <= floor ||rhs||.

    On a subspace, that of an orthogonal projection `project`, it solves project(operator(x)) = project(rhs) from an x
    in it, which the preconditioner must not leave either. There the operator is projected once a step, and its image
    lies in memory before: fused with the sums over regions that `project` may be, a convolution would be four times
    slower on XLA's CPU backend.

    The norm is that of the preconditioner, <r, precondition(r)>. A zero residual or curvature ends it without NaN
    (Hestenes & Stiefel 1952). A singular system without a solution leaves, in the end, a residual along which the
    curvature is rounding only: it ends there, and not far away. Round zero makes the first residual,
    r_0 = rhs - 1 * operator(x), so that the operator is compiled once.

    Args:
        operator: Symmetric and positive semidefinite, from point to point.
        rhs: Of the shapes of x.
        x: Where it starts.
        steps: At most so many.
        tol: Of the residual, relative to the first one.
        precondition: About the inverse of the operator, symmetric and positive definite.
        project: An orthogonal projection onto the subspace that x is sought in.
        floor: Of the residual, relative to the right-hand side; None for none.
    """
    dtype = dtype_of(x)
    zero, infinity = jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype)
    rounding = 16 * float(jnp.finfo(dtype).eps)

    def unfinished(carry: tuple) -> Array:
        i, _, _, _, current, goal, _ = carry
        return (i <= steps) & (current > goal)

    def body(carry: tuple) -> tuple:
        i, x, residual, direction, current, goal, stiffest = carry
        first = i == 0
        image = operator(direction)
        curvature = dot(direction, image)
        stiffness = jnp.where(first, 0, curvature / current)  # an eigenvalue's size, or less
        usable = (curvature > 0) & (stiffness >= rounding * stiffest)
        ratio = jnp.where(usable, current / jnp.where(usable, curvature, 1), 0)
        alpha = jnp.where(first, 1, ratio)
        x = add_scaled(x, jnp.where(first, 0, alpha), direction)
        residual = project(add_scaled(residual, -alpha, image))
        preconditioned = precondition(residual)
        following = jnp.where(first | usable, dot(residual, preconditioned), 0)
        direction = add_scaled(preconditioned, jnp.where(first, 0, following / current), direction)
        goal = jnp.where(first, jnp.maximum(goal, following * tol**2), goal)
        return i + 1, x, residual, direction, following, goal, jnp.maximum(stiffest, stiffness)

    goal = zero
    if floor is not None:
        reference = project(rhs)
        goal = dot(reference, precondition(reference)) * floor**2
    start = (jnp.zeros((), jnp.int32), x, rhs, x, infinity, goal, zero)
    return lax.while_loop(unfinished, body, start)[1]


def factorised(gram: Array, matrices: list[Array], weights: tuple[Array, ...], rhs: Array, steps: int = 2) -> Array:
    """(G + sum A_j^T omega_j A_j)^-1 rhs by Cholesky, refined; what nothing acts on is left where it is.

    Args:
        gram: G, (n, n).
        matrices: A_j, (rows, n).
        weights: omega_j >= 0, (rows,) each.
        rhs: (n,).
        steps: Refinements.
    """
    total = gram
    for matrix, weight in zip(matrices, weights, strict=True):
        total = total + matrix.T @ (weight[:, None] * matrix)
    eps, n = jnp.finfo(rhs.dtype).eps, rhs.size
    scale = jnp.where(jnp.trace(total) > 0, jnp.trace(total) / n, 1)
    factor = jsl.cholesky((total + total.T) / 2 + 64 * eps * scale * jnp.eye(n, dtype=rhs.dtype), lower=True)
    x = jnp.zeros_like(rhs)
    for _ in range(1 + steps):
        x = x + jsl.cho_solve((factor, True), rhs - total @ x)
    return x
