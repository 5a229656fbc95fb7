"""Operators that move entries: an array put among zeros, for `pad` and `concatenate`, and axes in another order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators.contract import Shape
from admm_jax.operators.stacked import Stacks
from admm_jax.pytree import pytree_dataclass, static


class _Moves(Stacks):
    """Entries that are only moved: no number is rounded."""

    def magnitude(self) -> Any:
        return self

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return self(error)


@pytree_dataclass
class Place(_Moves):
    """x -> an array of zeros with x in it, from the index `start` on; the adjoint cuts it out again."""

    in_shape: Shape = static()
    out_shape: Shape = static()
    start: tuple[int, ...] = static()

    def __call__(self, x: Array) -> Array:
        sizes = zip(self.start, self.in_shape, self.out_shape, strict=True)
        return jnp.pad(x, [(first, whole - first - own) for first, own, whole in sizes])

    def adjoint(self, y: Array) -> Array:
        ends = [first + own for first, own in zip(self.start, self.in_shape, strict=True)]
        return jax.lax.slice(y, self.start, ends)

    def describe(self, inner: str) -> str:
        return f"place({inner})"


@pytree_dataclass
class Permute(_Moves):
    """x -> x with its axes in another order: axis i of the result is axis `axes[i]` of x."""

    in_shape: Shape = static()
    axes: tuple[int, ...] = static()

    @property
    def out_shape(self) -> Shape:
        return tuple(self.in_shape[i] for i in self.axes)

    def __call__(self, x: Array) -> Array:
        return jnp.transpose(x, self.axes)

    def adjoint(self, y: Array) -> Array:
        return jnp.transpose(y, tuple(self.axes.index(i) for i in range(len(self.axes))))

    def describe(self, inner: str) -> str:
        return f"transpose({inner})"
