"""The functions of a decoupled problem: least squares that are diagonal, and functions on a part of a larger frame."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.prox.base import Function
from admm_jax.prox.functions import ClosedForm
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class DiagonalQuadratic(ClosedForm):
    """l(w) = 1/2 <w, c w> - <p, w>, with c >= 0 and p of w's shape."""

    curvature: Array
    pull: Array

    def __call__(self, w: Array) -> Array:
        return jnp.sum(w * (self.curvature * w / 2 - self.pull))

    def prox(self, v: Array, step: Array) -> Array:
        return (v + step * self.pull) / (1 + step * self.curvature)


@pytree_dataclass
class Framed:
    """g on the first rows and columns, the `frame`, and zero beyond it: v -> g(crop v) + [v = 0 elsewhere]."""

    function: Function
    frame: tuple[int, ...] = static()

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.function.memory(self.frame, dtype)

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        z, memory = self.function.prox_from(crop(v, self.frame), step, memory, effort)
        return pad(z, v.shape), memory


def crop(value: Array, shape: tuple[int, ...]) -> Array:
    """The first rows and columns."""
    return value if value.shape == tuple(shape) else value[tuple(slice(n) for n in shape)]


def pad(value: Array, shape: tuple[int, ...]) -> Array:
    """Zeros beyond the last row and column."""
    return jnp.pad(value, [(0, n - m) for n, m in zip(shape, value.shape, strict=True)])
