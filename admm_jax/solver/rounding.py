"""What rounding does to f: how well a value is known, and how near to its least f can be brought, in a given dtype.

A value v = A x + b is known to within

    delta = |A| (error + eps |x|) + eps |v|,                                   with `error` that of x itself

to first order in eps (Higham 2002, section 3.5; eps is two units of rounding: sums over images are not at their worst).
Through the terms of f, whose g are convex and grow with |v|, this moves f by at most

    sum <w |r|, delta> + <delta, w delta> / 2  +  sum <g'(|v| + delta), delta>,       r = Q x - d.

With `error` = eps max(|x|, size of x) it is the floor of f: a point whose entries are all right to the last digit may
lie that high above the optimum. Where A is a difference of neighbours, a selection or
a factor, v is rounded relative to itself, so that there eps |x| is left out.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import LinearMap, Penalty, Point, Problem
from admm_jax.solver.vectors import dtype_of


def value_and_error(linear_map: LinearMap, x: Point, error: Point, offset: Array | float) -> tuple[Array, Array]:
    """(v, delta): A x + offset, and what it is known to within.

    Args:
        linear_map: A.
        x: The point.
        error: What x is known to within, of its shapes.
        offset: A scalar or of the shape of A x.
    """
    total = jnp.broadcast_to(jnp.asarray(offset, dtype_of(x)), linear_map.out_shape)
    delta = jnp.zeros_like(total)
    for chain in linear_map.chains:
        value, part = x[chain.variable], error[chain.variable]
        for op in chain.ops:
            out = op(value)
            value, part = out, op.rounded(value, part, out)
        total, delta = total + value, delta + part
    return total, delta + jnp.finfo(total.dtype).eps * jnp.abs(total)


def magnitude(linear_map: LinearMap, x: Point) -> Array:
    """|A| |x|: the size of the terms of A x. Where an operator's is not known it counts as |A x|, which is below."""
    total = jnp.zeros(linear_map.out_shape, dtype_of(x))
    for chain in linear_map.chains:
        value = jnp.abs(x[chain.variable])
        for op in chain.ops:
            own = op.magnitude()
            value = jnp.abs(op(value)) if own is None else own(value)
        total = total + value
    return total


def adjoint_magnitude(linear_map: LinearMap, y: Array) -> Point:
    """|A|^T |y|, as `magnitude`; variables that the map does not read are absent."""
    out: Point = {}
    for chain in linear_map.chains:
        part = jnp.broadcast_to(jnp.abs(y), linear_map.out_shape)
        for op in reversed(chain.ops):
            own = op.magnitude()
            part = jnp.abs(op.adjoint(part)) if own is None else own.adjoint(part)
        out[chain.variable] = out[chain.variable] + part if chain.variable in out else part
    return out


def has_magnitude(linear_map: LinearMap) -> bool:
    """Whether `magnitude` is no less than |A| |x|."""
    return all(op.magnitude() is not None for chain in linear_map.chains for op in chain.ops)


def rise(penalty: Penalty, v: Array, delta: Array) -> Array:
    """What a change of v by delta may change g by."""
    return penalty.function.rise(v, delta)


def floor(problem: Problem, x: Point, size: Array) -> tuple[Array, Array]:
    """How far the last digit of x, whose entries count as `size` at least, moves f; and whether f may be zero.

    It may not where a term lies above its own floor and there is no linear cost or constant that could cancel it: a
    small residual can be told well beside a large variation that is zero. Nor where a term may rise without bound.

    Args:
        problem: The lifted problem.
        x: The point.
        size: The least that an entry of x counts as, a scalar.
    """
    eps = jnp.finfo(dtype_of(x)).eps
    error = {name: eps * jnp.maximum(jnp.abs(value), size) for name, value in x.items()}
    affine = eps * jnp.abs(jnp.asarray(problem.constant, dtype_of(x)))
    for name, cost in problem.linear.items():
        affine = affine + jnp.sum(jnp.abs(cost) * error[name])
    total, zero = affine, jnp.ones((), bool)
    for quadratic in problem.quadratics:
        r, delta = value_and_error(quadratic.map, x, error, -quadratic.data)
        least = jnp.sum(quadratic.weight * (jnp.abs(r) + delta / 2) * delta)
        total, zero = total + least, zero & (jnp.sum(quadratic.weight * r**2) / 2 <= least)
    for penalty in problem.penalties:
        v, delta = value_and_error(penalty.map, x, error, penalty.offset)
        least = rise(penalty, v, delta)
        total, zero = total + least, zero & (penalty.function(v) <= least)
    return total, (zero | (affine > 0)) & jnp.isfinite(total)
