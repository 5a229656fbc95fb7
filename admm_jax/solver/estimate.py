"""An estimate of the gap, which proves nothing: what a dual point lacks in stationarity, priced by how x moves.

With a pair (e, p) that misses stationarity by r, and Phi(x) the sum of the Fenchel gaps (see `reach`),

    f(x) - f(x*)  <=  Phi(x) + <r, x - x*>,

and x - x* is unknown. Between two checks, at iterations k' < k, x has moved by x' - x. Distances to the solution fall
about as 1 / k in the slow directions, which are those that r still pulls in, so that x - x* ~ (x' - x) k / (k - k') and

    estimate = Phi(x) + k / (k - k') |<r, x' - x>|.

At the ends of solves of photographs under camera kernels, to 1e-2 and 1e-3, it lay between 1.1 and 5.3 times the true
gap.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.solver.certificate import fenchel_gaps
from admm_jax.solver.vectors import dot, dtype_of, subtract


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
    phi = fenchel_gaps(problem, x, p)
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        phi = phi + jnp.sum(quadratic.weight * (quadratic.map(x) - quadratic.data - part) ** 2) / 2
    return phi + iteration.astype(dtype_of(x)) / apart * pull
