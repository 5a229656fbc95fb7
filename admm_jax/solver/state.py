"""The iteration's named state, and where it starts."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass
from admm_jax.solver.vectors import add, add_scaled, dot, dtype_of

# rho for TV, in units of (weight) / (root mean square of the data) * sqrt(mean / largest eigenvalue of the quadratics),
# at most the largest eigenvalue. Measured on photographs under binomial, Gaussian and motion blurs up to 15x15, noise 2
# and 7 in 255, lam from 2e-4 to 1e-2: the best lay between 20 and 80.
TV_PENALTY = 40.0
IMPULSES = 997  # the mean eigenvalue is that of the columns of Q at every so many pixels
# and at least this share of the largest: where a mask hides all of those, or they are seen by the rim of a kernel only
LEAST_MEAN = 1e-5
RHO_RANGE = 1e8  # rho stays within this factor of its start
EAGER_STEPS = 5  # for which splits keep the ratio that they begin with; measured with `prox.framed.EAGER`


@pytree_dataclass
class State:
    """One ADMM iterate.

    z_j splits A_j x + b_j; y_j is the unscaled dual, y_j in dg_j(z_j); `fields` are the Chambolle dual fields of the
    TV terms (zero-size for other terms); `factor` belongs to the current rho. Splits have penalty parameters of their
    own, rho times their `ratios`, where there are any: each (first, last), see `rhos_of`.
    """

    x: Point
    z: tuple[Array, ...]
    y: tuple[Array, ...]
    fields: tuple[Array, ...]
    rho: Array
    factor: Array
    iteration: Array
    ratios: tuple[Array, ...] = ()


def rhos_of(problem: Problem, state: State) -> tuple[Array, ...]:
    """The penalty parameter of each split: rho max(last, first min(1, (EAGER_STEPS / iteration)^3)).

    A constant rho is what the convergence of ADMM is proved for, and so it is after some iterations.
    """
    if not state.ratios:
        return (state.rho,) * len(problem.penalties)
    late = jnp.maximum(state.iteration, EAGER_STEPS).astype(state.rho.dtype)
    eager = (EAGER_STEPS / late) ** 3
    return tuple(state.rho * jnp.maximum(ratio[1], ratio[0] * eager) for ratio in state.ratios)


def offset_of(penalty_map_shape: tuple[int, ...], offset: Array, dtype: jnp.dtype) -> Array:
    """b as an array of the map's shape."""
    return jnp.broadcast_to(jnp.asarray(offset, dtype), penalty_map_shape)


def right_hand_side(problem: Problem, dtype: jnp.dtype) -> Point:
    """sum Q^T W d - c."""
    rhs = problem.zeros(dtype)
    for quadratic in problem.quadratics:
        data = jnp.broadcast_to(quadratic.data, quadratic.map.out_shape).astype(dtype)
        rhs = add(rhs, quadratic.map.adjoint(quadratic.weight * data))
    return {k: v - problem.linear[k] if k in problem.linear else v for k, v in rhs.items()}


def data_point(problem: Problem, rhs: Point) -> tuple[Point, Array]:
    """The steepest-descent point of the quadratics from zero: what the data say of x's size; and its curvature."""
    dtype = dtype_of(rhs)
    tiny = jnp.finfo(dtype).tiny
    # in units of its own, a power of two: the squares of rhs may be below all numbers, and x is not zero for that
    unit = jnp.exp2(jnp.round(jnp.log2(jnp.max(jnp.stack([jnp.max(jnp.abs(value)) for value in rhs.values()])))))
    direction = {name: value / jnp.maximum(unit, tiny) for name, value in rhs.items()}
    curvature = jnp.zeros((), dtype)
    for quadratic in problem.quadratics:
        curvature = curvature + jnp.sum(quadratic.weight * quadratic.map(direction) ** 2)
    length = jnp.where(curvature > 0, dot(direction, direction) / jnp.maximum(curvature, tiny), 0)
    return add_scaled(problem.zeros(dtype), length, rhs), curvature * unit**2


def initial_rho(problem: Problem, rhs: Point, x: Point, curvature: Array) -> Array:
    """A penalty parameter with the right units: (size of the duals) / (size of the split quantities).

    Image and weights scaled together leave it as it is. The primal size is that of A x + b at the steepest-descent
    point x of the quadratics (`data_point`); the dual size is the weight for TV and the data's gradient for all others.

    Args:
        problem: The rewritten problem.
        rhs: sum Q^T W d - c, of the shapes of x.
        x: Of `data_point`.
        curvature: Of `data_point`.
    """
    dtype = dtype_of(x)
    tiny = jnp.finfo(dtype).tiny
    sparse = {name: _impulses(shape, dtype) for name, shape in problem.variables}
    trace = jnp.zeros((), dtype)
    for quadratic in problem.quadratics:
        trace = trace + jnp.sum(quadratic.weight * quadratic.map(sparse) ** 2)
    mean = trace / dot(sparse, sparse)
    squared = dot(rhs, rhs)
    largest = curvature / jnp.maximum(squared, tiny)
    mean = jnp.where(mean > LEAST_MEAN * largest, mean, largest)
    gradient = jnp.sqrt(squared / problem.size)
    logs = []
    for penalty in problem.penalties:
        v = penalty.map(x) + penalty.offset
        size = jnp.sqrt(jnp.mean(v * v))
        variation = penalty.function.variation()
        if variation is not None:
            strength = TV_PENALTY * jnp.mean(jnp.asarray(variation.weight, dtype))
            # without quadratics nothing of the data is known but the units, in which images are of the size one
            size = jnp.where(squared > tiny, size, 1)
            damped = jnp.minimum(strength * jnp.sqrt(mean / jnp.where(squared > tiny, largest, 1)), largest * size)
            strength = jnp.where(squared > tiny, damped, strength)
        else:
            strength = gradient
        # in units of the problem's own a size that is rounding says nothing
        good = (
            (size > float(jnp.finfo(dtype).eps) ** 0.5)
            & (strength > tiny)
            & jnp.isfinite(size)
            & jnp.isfinite(strength)
        )
        logs.append(jnp.where(good, jnp.log(jnp.where(good, strength, 1) / jnp.where(good, size, 1)), jnp.nan))
    if not logs:
        return jnp.ones((), dtype)
    stacked = jnp.stack(logs)
    known = ~jnp.isnan(stacked)
    mean = jnp.sum(jnp.where(known, stacked, 0)) / jnp.maximum(jnp.sum(known), 1)
    return jnp.exp(mean).astype(dtype)


def _impulses(shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Ones at the middle and at every so many entries from there, zeros elsewhere."""
    size, middle = max(1, math.prod(shape)), 0
    for n in shape:
        middle = middle * n + n // 2
    apart = min(IMPULSES, size)
    return (jnp.arange(size) % apart == middle % apart).astype(dtype).reshape(shape)


def initial_state(problem: Problem, rho: Array, factor: Array, x: Point) -> State:
    """Start at `x` with z = A x + b and zero duals.

    Args:
        problem: The problem that is iterated.
        rho: A scalar.
        factor: What the x-update has computed for this rho (`XUpdate.factor`).
        x: The point.
    """
    dtype = rho.dtype
    z = tuple(p.map(x) + offset_of(p.map.out_shape, p.offset, dtype) for p in problem.penalties)
    y = tuple(jnp.zeros_like(v) for v in z)
    fields = tuple(p.function.memory(v.shape, dtype) for p, v in zip(problem.penalties, z, strict=True))
    return State(x=x, z=z, y=y, fields=fields, rho=rho, factor=factor, iteration=jnp.zeros((), jnp.int32))
