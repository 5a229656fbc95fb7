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
    """A fixed array of +1 and -1 without a pattern: the top bit of a hash of each entry's number (Appleby 2011)."""
    # the barrier keeps the compiler from computing it, which would be slow, and from storing it in the program
    first, second = lax.optimization_barrier((jnp.uint32(0x85EBCA6B), jnp.uint32(0xC2B2AE35)))
    mixed = jnp.arange(1, math.prod(shape) + 1, dtype=jnp.uint32) * first
    mixed = (mixed ^ (mixed >> 13)) * second
    mixed = (mixed ^ (mixed >> 16)) * first
    return jnp.where(mixed >> 31 == 0, 1, -1).astype(dtype).reshape(shape)


def row_length(problem_map: LinearMap, dtype: jnp.dtype) -> Array:
    """Root mean square of the lengths of A's rows, estimated from A^T s for signs s (Hutchinson 1989)."""
    signs = probe_signs(problem_map.out_shape, dtype)
    return jnp.sqrt(sum(jnp.sum(row**2) for row in problem_map.adjoint(signs).values()) / max(signs.size, 1))
