"""Functions stacked into one: v -> sum_k g_k(v[k]), the members on a leading axis, each with its own numbers.

A function of entries with a weight for each is its own stack (`OfEntries`), and a norm of groups takes an axis more.
What else has a closed form is stacked member by member (`Each`): one prox of all is compiled, however many they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators.stacked import alike, stack
from admm_jax.prox.base import Variation
from admm_jax.prox.defaults import ClosedForm
from admm_jax.pytree import pytree_dataclass, static

Shape = tuple[int, ...]


class OfEntries:
    """A function of each entry alone, whose numbers are scalars or broadcast to v."""

    def likeness(self) -> Hashable | None:
        return type(self)

    def stacked(self, functions: Sequence[Any], shape: Shape) -> Any:
        names = [field.name for field in dataclasses.fields(self)]  # pyright: ignore[reportArgumentType]
        return type(self)(*(stack([getattr(g, name) for g in functions], len(shape)) for name in names))


class MemberByMember:
    """A function of all its entries together, without a D and with nothing to remember: stacked as `Each`."""

    def likeness(self) -> Hashable | None:
        return alike(self)

    def stacked(self, functions: Sequence[Any], shape: Shape) -> Each:
        return Each(jax.tree.map(lambda *leaves: stack(leaves), *functions), shape)


@pytree_dataclass
class Each(ClosedForm):
    """g(v) = sum_k g_k(v[k]); g*(p) = sum_k g_k*(p[k]).

    Args:
        member: A function whose leaves have the members on a leading axis.
        shape: Of each v[k].
    """

    member: Any
    shape: Shape = static()

    def _all(self, of: Callable[..., Any], *args: Array) -> Any:
        """of(g_k, args[k]...), the members on a leading axis."""
        return jax.vmap(of)(self.member, *args)

    def _count(self) -> int:
        return jax.tree.leaves(self.member)[0].shape[0]

    def _full(self, value: Array) -> Array:
        return jnp.broadcast_to(value, (self._count(), *self.shape))

    # 1. iterate

    def __call__(self, v: Array) -> Array:
        return jnp.sum(self._all(lambda g, v: g(v), v))

    @property
    def is_constraint(self) -> bool:
        return self.member.is_constraint

    @property
    def has_domain(self) -> bool:
        return self.member.has_domain

    def violation(self, v: Array) -> Array:
        return self._all(lambda g, v: g.violation(v), v)

    def prox(self, v: Array, step: Array) -> Array:
        return self._all(lambda g, v: g.prox(v, step), v)

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(1 + axis for axis in self.member.ties(ndim - 1))

    def scaled(self, scale: Array, cost: Array) -> Each:
        return Each(self._all(lambda g, s: g.scaled(s, cost), self._full(scale)), self.shape)

    def strength(self) -> Array:
        return self._all(lambda g: jnp.broadcast_to(g.strength(), self.shape))

    def extent(self, offset: Array) -> Array:
        return self._all(lambda g, b: jnp.broadcast_to(g.extent(b), self.shape), self._full(offset))

    def bounds(self) -> tuple[Array, Array] | None:
        def of(g: Any) -> tuple[Array, Array] | None:
            ends = g.bounds()
            return (
                None if ends is None else (jnp.broadcast_to(ends[0], self.shape), jnp.broadcast_to(ends[1], self.shape))
            )

        return self._all(of)

    @property
    def is_box(self) -> bool:
        return self.member.is_box

    def invalid(self) -> Array:
        return jnp.any(self._all(lambda g: g.invalid()))

    def empty(self) -> Array:
        return jnp.any(self._all(lambda g: g.empty()))

    def describe(self, steps: int) -> str:
        return self.member.describe(steps)

    # 2. certify

    @property
    def certifies(self) -> bool:
        return self.member.certifies

    def variation(self) -> Variation | None:
        return None

    def project_dual(self, p: Array) -> Array:
        return self._all(lambda g, p: g.project_dual(p), p)

    def into_domain(self, p: Array) -> Array:
        return jnp.min(self._all(lambda g, p: g.into_domain(p), p))

    @property
    def is_balanced(self) -> bool:
        return self.member.is_balanced

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        return jnp.sum(self._all(lambda g, v, p: g.fenchel_gap(v, p), v, p))

    def rise(self, v: Array, delta: Array) -> Array:
        return jnp.sum(self._all(lambda g, v, d: g.rise(v, d), v, delta))

    def support(self, force: Array, level: Array) -> Array:
        """No member is above the level of their sum, as all are >= 0."""
        return jnp.sum(self._all(lambda g, f: g.support(f, level), force))

    def recession(self) -> Any:
        return _Recession(self)

    # 3. differentiate

    @property
    def differentiates(self) -> bool:
        return self.member.differentiates

    def active(self, z: Array, p: Array) -> Array:
        return self._all(lambda g, z, p: g.active(z, p), z, p)

    @property
    def holds_entries(self) -> bool:
        return self.member.holds_entries

    def held(self, z: Array) -> Array:
        return self._all(lambda g, z: g.held(z), z)

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        return jnp.sum(self._all(lambda g, v, p: g.minus_conjugate(v, p), v, p))

    @property
    def kinks_move(self) -> bool:
        return self.member.kinks_move

    @property
    def unbounded_curvature(self) -> bool:
        return self.member.unbounded_curvature

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        return self._all(lambda g, v, held: g.hessian_diagonal(v, held), v, held)

    def blur(self, v: Array, z: Array, p: Array, rho: Array) -> Array:
        return jnp.max(self._all(lambda g, v, z, p: g.blur(v, z, p, rho), v, z, p))


@dataclasses.dataclass(frozen=True)
class _Recession:
    """v -> sum_k r_k(v[k]), r_k the recession function of g_k."""

    whole: Each

    def __call__(self, v: Array) -> Array:
        return jnp.sum(self.whole._all(lambda g, v: g.recession()(v), v))

    def violation(self, v: Array) -> Array:
        return self.whole._all(lambda g, v: g.recession().violation(v), v)
