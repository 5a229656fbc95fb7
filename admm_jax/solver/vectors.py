"""Arithmetic on points: dicts of arrays, one a variable."""

from __future__ import annotations

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import LinearMap, Point

T = TypeVar("T")


def add(x: Point, y: Point) -> Point:
    """x + y, where a variable that y lacks counts as zero."""
    return {name: value + y[name] if name in y else value for name, value in x.items()}


def add_scaled(x: Point, factor: Array | float, y: Point) -> Point:
    """x + factor * y."""
    return {name: value + factor * y[name] for name, value in x.items()}


def subtract(x: Point, y: Point) -> Point:
    """x - y, where a variable that y lacks counts as zero."""
    return {name: value - y[name] if name in y else value for name, value in x.items()}


def dot(x: Point, y: Point) -> Array:
    """<x, y>, in the points' own precision."""
    return sum((jnp.sum(value * y[name]) for name, value in x.items()), start=jnp.zeros((), dtype_of(x)))


def norm(x: Point) -> Array:
    """||x||_2."""
    return jnp.sqrt(dot(x, x))


def dtype_of(x: Point) -> jnp.dtype:
    """The dtype of a point."""
    return next(iter(x.values())).dtype


def select(condition: Array, x: T, y: T) -> T:
    """`x` where the scalar `condition` holds, else `y`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)


def probe_signs(shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """A fixed array of +1 and -1 without a pattern."""
    # the barrier keeps the compiler from computing it, which would be slow, and from storing it in the program
    one = lax.optimization_barrier(jnp.ones((), dtype))
    ramp = jnp.arange(math.prod(shape), dtype=dtype) * one
    return jnp.where(jnp.sin(1 + ramp**1.5) < 0, -one, one).reshape(shape)


def row_length(problem_map: LinearMap, dtype: jnp.dtype) -> Array:
    """Root mean square of the lengths of A's rows, estimated from A^T s for signs s (Hutchinson 1989)."""
    signs = probe_signs(problem_map.out_shape, dtype)
    return jnp.sqrt(sum(jnp.sum(row**2) for row in problem_map.adjoint(signs).values()) / max(signs.size, 1))
