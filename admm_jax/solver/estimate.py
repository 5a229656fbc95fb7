"""An estimate of the gap, which proves nothing: what a dual point lacks in stationarity, priced by how x moves.

With a pair (e, p) that misses stationarity by r, and Phi(x) the sum of the Fenchel gaps (see `reach`),

    f(x) - f(x*)  <=  Phi(x) + <r, x - x*>,

and x - x* is unknown. Between two checks, at iterations k' < k, x has moved by x' - x. Distances to the solution fall
about as 1 / k in the slow directions, which are those that r still pulls in, so that x - x* ~ (x' - x) k / (k - k') and

    estimate = Phi(x) + k / (k - k') |<r, x' - x>|.

On photographs under camera kernels it lay between a half and five times the true gap at every check.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.solver.vectors import dot, dtype_of, subtract


def fenchel(problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...]) -> Array:
    """Phi(x) = sum 1/2 ||Q x - d - e||_W^2 + sum [g(v) + g*(p) - <p, v>], v = A x + b moved into dom g."""
    total = jnp.zeros((), dtype_of(x))
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        total = total + jnp.sum(quadratic.weight * (quadratic.map(x) - quadratic.data - part) ** 2) / 2
    for penalty, part in zip(problem.penalties, p, strict=True):
        value = penalty.map(x) + penalty.offset
        total = total + jnp.maximum(penalty.function.fenchel_gap(value - penalty.function.violation(value), part), 0)
    return total


def estimated_gap(
    problem: Problem,
    x: Point,
    e: tuple[Array, ...],
    p: tuple[Array, ...],
    force: Point,
    before: Point,
    iteration: Array,
    iteration_before: Array,
) -> Array:
    """The estimate of f(x) - f*.

    Args:
        problem: The lifted problem.
        x: The point.
        e: Duals of the quadratics.
        p: Duals of the penalties, in dom g*.
        force: r, what (e, p) misses in stationarity, of the shapes of x.
        before: The point of the check before.
        iteration: k.
        iteration_before: k'.
    """
    apart = jnp.maximum(iteration - iteration_before, 1).astype(dtype_of(x))
    pull = jnp.abs(dot(force, subtract(before, x)))
    return fenchel(problem, x, e, p) + iteration.astype(dtype_of(x)) / apart * pull
