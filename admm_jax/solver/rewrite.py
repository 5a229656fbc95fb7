"""Rewrites of a problem into an equivalent one: problem in, problem out.

`lift`      a g that is h after a map D, as TV(v) = h(D v), becomes h, and D a part of the map
`densify`   all variables become one vector, every map a matrix
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import MatMul, Operator, Reshape
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.pytree import replace

VECTOR = "x"  # the name of the single variable of a densified problem


def extend(linear_map: LinearMap, op: Operator) -> LinearMap:
    """x -> op(linear_map(x))."""
    chains = tuple(Chain((*chain.ops, op), chain.variable) for chain in linear_map.chains)
    return LinearMap(chains, op.out_shape)


def inner_shape(penalty: Penalty) -> tuple[int, ...]:
    """The shape of the duals of a penalty, and of what its h acts on."""
    op, _ = penalty.function.inner(penalty.map.out_shape)
    return penalty.map.out_shape if op is None else op.out_shape


def lift_penalty(penalty: Penalty) -> Penalty:
    """h(D (A x + b)) = h(D A x + D b); a penalty without a D, such as that of TV, is its own lift."""
    op, function = penalty.function.inner(penalty.map.out_shape)
    if op is None:
        return penalty
    offset = op(jnp.broadcast_to(penalty.offset, penalty.map.out_shape))
    return Penalty(function, extend(penalty.map, op), offset, penalty.label)


def lift(problem: Problem) -> Problem:
    """The same problem with every g = h D written as h, total variation on the differences."""
    return replace(problem, penalties=tuple(lift_penalty(penalty) for penalty in problem.penalties))


def flatten(problem: Problem, x: Point) -> Array:
    """The values of all variables in the model's order, as one vector."""
    return jnp.concatenate([x[name].ravel() for name, _ in problem.variables])


def unflatten(problem: Problem, vector: Array) -> Point:
    """The inverse of `flatten`."""
    out, start = {}, 0
    for name, shape in problem.variables:
        size = math.prod(shape)
        out[name] = vector[start : start + size].reshape(shape)
        start += size
    return out


def _matrix(problem: Problem, linear_map: LinearMap, dtype: jnp.dtype) -> Array:
    """The map's matrix, rows in the row-major order of its values."""
    columns = jax.vmap(lambda e: linear_map(unflatten(problem, e)).ravel())(jnp.eye(problem.size, dtype=dtype))
    return columns.T


def dense_map(matrix: Array, shape: tuple[int, ...]) -> LinearMap:
    """The map of a matrix over one vector, its values of this shape."""
    op = MatMul(matrix, (matrix.shape[1],), "left")
    return LinearMap((Chain((op, Reshape(op.out_shape, shape)), VECTOR),), shape)


def matrix_of(linear_map: LinearMap) -> Array:
    """The matrix of a densified map."""
    matrix = linear_map.chains[0].ops[0].dense
    assert matrix is not None
    return matrix


def is_matrix(linear_map: LinearMap) -> bool:
    """Whether the map is one matrix over one vector, whatever shape its values have: then `matrix_of` knows it."""
    if len(linear_map.chains) != 1 or not linear_map.chains[0].ops:
        return False
    first, *others = linear_map.chains[0].ops
    return first.dense is not None and all(op.keeps_order for op in others)


def densify(problem: Problem, dtype: jnp.dtype) -> Problem:
    """The same problem over one vector: matrices for maps and a single stacked quadratic."""
    n = problem.size

    quadratics: tuple[Quadratic, ...] = ()
    if problem.quadratics:
        parts = problem.quadratics

        def rows(value: Array, q: Quadratic) -> Array:
            return jnp.broadcast_to(value, q.map.out_shape).ravel()

        matrix = jnp.concatenate([_matrix(problem, q.map, dtype) for q in parts])
        data = jnp.concatenate([rows(q.data, q) for q in parts])
        weight = jnp.concatenate([rows(q.weight, q) for q in parts])
        quadratics = (Quadratic(dense_map(matrix, data.shape), data, weight, parts[0].label),)
    penalties = tuple(
        Penalty(p.function, dense_map(_matrix(problem, p.map, dtype), p.map.out_shape), p.offset, p.label)
        for p in problem.penalties
    )
    cost = {
        **problem.zeros(dtype),
        **{k: jnp.broadcast_to(v, dict(problem.variables)[k]) for k, v in problem.linear.items()},
    }
    return Problem(quadratics, penalties, {VECTOR: flatten(problem, cost)}, problem.constant, ((VECTOR, (n,)),))
