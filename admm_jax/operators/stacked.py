"""Operators stacked into one: x -> (A_1 x_1, ..., A_n x_n), the members on a leading axis, each with its own numbers.

All members act on one x, where it is `shared`, or the k-th on x[k]. One product of all is traced and compiled, however
many they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.contract import Defaults, Shape
from admm_jax.pytree import pytree_dataclass, static


def stack(values: Sequence[Any], ndim: int | None = None) -> Any:
    """The arrays on a new leading axis: NumPy's if all are, so that nothing is compiled for numbers that are known.

    Args:
        values: Of one shape; with `ndim` of shapes that broadcast with each other.
        ndim: The axes that each gets; None leaves the shapes as they are.
    """
    xp: Any = jnp if any(isinstance(value, jax.Array) for value in values) else np
    if ndim is not None:
        shapes = [(1,) * (ndim - np.ndim(value)) + np.shape(value) for value in values]
        full = np.broadcast_shapes(*shapes)
        values = [
            value.reshape(own) if own == full else xp.broadcast_to(value.reshape(own), full)
            for value, own in zip(map(xp.asarray, values), shapes, strict=True)
        ]
    return xp.stack(values)


def alike(tree: Any) -> Hashable:
    """The structure of a pytree and the shapes of its leaves."""
    return jax.tree.structure(tree), tuple(np.shape(leaf) for leaf in jax.tree.leaves(tree))


class Stacks(Defaults):
    """Operators that differ in their numbers only are stacked as `Each`."""

    def likeness(self) -> Hashable | None:
        return alike(self)

    def stacked(self, ops: Sequence[Any], *, shared: bool) -> tuple[Any, ...]:
        return (each(ops, shared=shared),)


def each(ops: Sequence[Any], *, shared: bool) -> Each:
    """Operators of one structure, stacked; those on one x have to have numbers."""
    in_shape, out_shape, count = ops[0].in_shape, ops[0].out_shape, len(ops)
    member = jax.tree.map(lambda *leaves: stack(leaves), *ops)
    return Each(member, in_shape if shared else (count, *in_shape), (count, *out_shape), shared)


@pytree_dataclass
class Each(Defaults):
    """x -> (A_1 x_1, ..., A_n x_n) or, where x is `shared`, (A_1 x, ..., A_n x).

    Args:
        member: An operator whose leaves have the members on a leading axis; without leaves all are the same.
        in_shape: Of x.
        out_shape: (n, ...).
        shared: Whether all act on one x.
    """

    member: Any
    in_shape: Shape = static()
    out_shape: Shape = static()
    shared: bool = static()

    @property
    def _axis(self) -> int | None:
        return None if self.shared else 0

    def __call__(self, x: Array) -> Array:
        return jax.vmap(lambda op, part: op(part), (0, self._axis))(self.member, jnp.asarray(x))

    def adjoint(self, y: Array) -> Array:
        parts = jax.vmap(lambda op, part: op.adjoint(part))(self.member, y)
        return jnp.sum(parts, axis=0) if self.shared else parts

    def magnitude(self) -> Any:
        magnitude = self.member.magnitude()
        return None if magnitude is None else Each(magnitude, self.in_shape, self.out_shape, self.shared)

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        axes = (0, self._axis, self._axis, 0)
        return jax.vmap(lambda op, *args: op.rounded(*args), axes)(self.member, value, error, out)

    @property
    def keeps_order(self) -> bool:
        return self.member.keeps_order and not self.shared

    def describe(self, inner: str) -> str:
        return self.member.describe(inner)


@pytree_dataclass
class Gather(Defaults):
    """x -> x.ravel()[places]; the adjoint adds up what was taken from one place.

    Args:
        places: Integers, of the shape of the result.
        in_shape: Of x.
    """

    places: Array
    in_shape: Shape = static()

    @property
    def out_shape(self) -> Shape:
        return self.places.shape

    def __call__(self, x: Array) -> Array:
        return jnp.ravel(x)[self.places]

    def adjoint(self, y: Array) -> Array:
        size = int(np.prod(self.in_shape))
        return jnp.zeros(size, y.dtype).at[self.places].add(y).reshape(self.in_shape)

    def magnitude(self) -> Any:
        return self

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return self(error)

    def describe(self, inner: str) -> str:
        return f"{inner}[...]"
