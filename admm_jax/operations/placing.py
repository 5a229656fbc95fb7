"""The operator of `pad` and `concatenate`: an array put among zeros."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Shape
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class Place:
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
