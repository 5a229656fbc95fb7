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

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Broadcast, Difference, Index, Operator, Reshape, Scale, Transpose
from admm_jax.operators.convolution import FFTConv2D
from admm_jax.problem import LinearMap, Penalty, Point, Problem
from admm_jax.solver.vectors import dtype_of


def _distances(op: Difference, error: Array) -> Array:
    """|D| error: the sum of both neighbours' where there is a difference."""

    def along(axis: int) -> Array:
        first = jax.lax.slice_in_dim(error, 0, error.shape[axis] - 1, axis=axis)
        second = jax.lax.slice_in_dim(error, 1, error.shape[axis], axis=axis)
        return jnp.pad(first + second, [(0, int(i == axis)) for i in range(error.ndim)])

    return jnp.stack([along(axis) for axis in range(len(op.in_shape))])


def _through(op: Operator, value: Array, error: Array) -> tuple[Array, Array]:
    """op(value) and what it is known to within, for a value that is known to within `error`."""
    out = op(value)
    eps = jnp.finfo(out.dtype).eps
    if isinstance(op, Broadcast | Index | Reshape | Transpose):
        return out, op(error)
    if isinstance(op, Difference):
        return out, _distances(op, error) + eps * jnp.abs(out)
    if isinstance(op, Scale):
        return out, jnp.abs(op.factor) * error + eps * jnp.abs(out)
    reach = error + eps * jnp.abs(value)
    if isinstance(op, FFTConv2D):  # the transforms spread every error over the whole image
        return out, jnp.full_like(out, jnp.max(jnp.abs(op.spectrum)) * jnp.max(reach))
    return out, jax.tree.map(jnp.abs, op)(reach)  # a sum of products with the leaves


def known(linear_map: LinearMap, x: Point, error: Point, offset: Array | float) -> tuple[Array, Array]:
    """(v, delta): A x + offset, and what it is known to within where x is known to within `error`."""
    total = jnp.broadcast_to(jnp.asarray(offset, dtype_of(x)), linear_map.out_shape)
    delta = jnp.zeros_like(total)
    for chain in linear_map.chains:
        value, part = x[chain.variable], error[chain.variable]
        for op in chain.ops:
            value, part = _through(op, value, part)
        total, delta = total + value, delta + part
    return total, delta + jnp.finfo(total.dtype).eps * jnp.abs(total)


def magnitude(linear_map: LinearMap, x: Point) -> Array:
    """|A| |x|, or what is above it."""
    total = jnp.zeros(linear_map.out_shape, dtype_of(x))
    for chain in linear_map.chains:
        value = jnp.abs(x[chain.variable])
        for op in chain.ops:
            value = _magnitude_of(op, value, adjoint=False)
        total = total + value
    return total


def adjoint_magnitude(linear_map: LinearMap, y: Array) -> Point:
    """|A|^T |y|, or what is above it; variables that the map does not read are absent."""
    out: Point = {}
    for chain in linear_map.chains:
        part = jnp.broadcast_to(jnp.abs(y), linear_map.out_shape)
        for op in reversed(chain.ops):
            part = _magnitude_of(op, part, adjoint=True)
        out[chain.variable] = out[chain.variable] + part if chain.variable in out else part
    return out


def _magnitude_of(op: Operator, value: Array, *, adjoint: bool) -> Array:
    """|op| value or |op|^T value, for value >= 0."""
    if isinstance(op, FFTConv2D):  # its transforms spread every error over the whole image
        shape = op.in_shape if adjoint else op.out_shape
        return jnp.full(shape, jnp.max(jnp.abs(op.spectrum)) * jnp.max(value), value.dtype)
    if isinstance(op, Difference):
        if not adjoint:
            return _distances(op, value)
        return jnp.sum(jnp.stack([_apart(value[axis], axis) for axis in range(len(op.in_shape))]), axis=0)
    positive = jax.tree.map(jnp.abs, op)
    return positive.adjoint(value) if adjoint else positive(value)


def _apart(value: Array, axis: int) -> Array:
    """The adjoint of the sum of two neighbours along an axis."""
    inner = jax.lax.slice_in_dim(value, 0, value.shape[axis] - 1, axis=axis)
    before = [(int(i == axis), 0) for i in range(value.ndim)]
    after = [(0, int(i == axis)) for i in range(value.ndim)]
    return jnp.pad(inner, before) + jnp.pad(inner, after)


def rise(penalty: Penalty, v: Array, delta: Array) -> Array:
    """What a change of v by delta may change g by."""
    return penalty.function.rise(v, delta)


def floor(problem: Problem, x: Point, size: Array) -> tuple[Array, Array]:
    """How far the last digit of x, whose entries count as `size` at least, moves f; and whether f may be zero.

    It may not where a term lies above its own floor and there is no linear cost or constant that could cancel it: a
    small residual can be told well beside a large variation that is zero.
    """
    eps = jnp.finfo(dtype_of(x)).eps
    error = {name: eps * jnp.maximum(jnp.abs(value), size) for name, value in x.items()}
    rest = eps * jnp.abs(jnp.asarray(problem.constant, dtype_of(x)))
    for name, cost in problem.linear.items():
        rest = rest + jnp.sum(jnp.abs(cost) * error[name])
    total, zero = rest, jnp.ones((), bool)
    for quadratic in problem.quadratics:
        r, delta = known(quadratic.map, x, error, -quadratic.data)
        least = jnp.sum(quadratic.weight * (jnp.abs(r) + delta / 2) * delta)
        total, zero = total + least, zero & (jnp.sum(quadratic.weight * r**2) / 2 <= least)
    for penalty in problem.penalties:
        v, delta = known(penalty.map, x, error, penalty.offset)
        least = rise(penalty, v, delta)
        total, zero = total + least, zero & (penalty.function(v) <= least)
    return total, zero | (rest > 0)
