"""Arithmetic on points: dicts of arrays, one a variable."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point

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
