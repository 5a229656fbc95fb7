"""What most functions answer: mixins that a function takes what is common from."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.base import Operator
from admm_jax.prox.base import Variation


class ClosedForm:
    """A function whose prox is a closed form: it remembers nothing, and its D is the identity."""

    def secant_curvature(self, size: Array) -> Array:
        return jnp.zeros_like(size)

    def likeness(self) -> Hashable | None:
        return None

    def stacked(self, functions: Sequence[Any], shape: tuple[int, ...]) -> Any:
        raise NotImplementedError(f"{type(self).__name__} is stacked with none")

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return jnp.zeros((0,), dtype)

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        return self.prox(v, step), memory  # pyright: ignore[reportAttributeAccessIssue]

    def inner(self, shape: tuple[int, ...]) -> tuple[Operator | None, Self]:
        return None, self

    def dual(self, y: Array, memory: Array) -> Array:
        return y

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        return p, memory


class Whole(ClosedForm):
    """A function with all three tiers."""

    certifies = True
    differentiates = True
    is_balanced = True
    is_box = False
    holds_entries = False
    unbounded_curvature = False

    def variation(self) -> Variation | None:
        return None

    def bounds(self) -> tuple[Array, Array] | None:
        return None

    def empty(self) -> Array:
        return jnp.zeros((), bool)

    def held(self, z: Array) -> Array:
        return jnp.zeros(z.shape, bool)

    def active(self, z: Array, p: Array) -> Array:
        return self.held(z)

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        return jnp.zeros_like(v)

    def blur(self, v: Array, z: Array, p: Array, rho: Array) -> Array:
        return jnp.zeros((), v.dtype)

    def rise(self, v: Array, delta: Array) -> Array:
        """<g'(|v| + delta), delta>, which is a bound for any convex g that grows with every |v_i|."""
        return jax.jvp(self, (jnp.abs(v) + delta,), (delta,))[1]  # pyright: ignore[reportArgumentType]


class FinitePenalty(Whole):
    """A finite function that grows with |v|: no point is outside its domain."""

    is_constraint = False
    has_domain = False
    kinks_move = False

    def ties(self, ndim: int) -> tuple[int, ...]:
        return ()

    def secant_curvature(self, size: Array) -> Array:
        return self.strength() / size  # pyright: ignore[reportAttributeAccessIssue]

    def extent(self, offset: Array) -> Array:
        return jnp.abs(offset)

    def support(self, force: Array, level: Array) -> Array:
        return jnp.where(jnp.any(force != 0), jnp.inf, 0).astype(force.dtype)

    def violation(self, v: Array) -> Array:
        return jnp.zeros_like(v)

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        return self(v) - jnp.sum(p * v)  # pyright: ignore[reportCallIssue]


class Indicator(Whole):
    """An indicator: its prox is the projection, and its value is zero."""

    is_constraint = True
    has_domain = True
    kinks_move = True

    def strength(self) -> Array:
        return jnp.zeros(())

    def __call__(self, v: Array) -> Array:
        return jnp.zeros((), v.dtype)

    def violation(self, v: Array) -> Array:
        return v - self.prox(v, jnp.ones((), v.dtype))  # pyright: ignore[reportAttributeAccessIssue]

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        return -self.conjugate(p)  # pyright: ignore[reportAttributeAccessIssue]


def is_negative(weight: Array) -> Array:
    """Whether a weight is negative, or no number."""
    return jnp.any(~(jnp.asarray(weight) >= 0))


def is_no_weight(weight: Array) -> Array:
    """Whether a weight is negative, infinite, or no number."""
    return jnp.any(~((jnp.asarray(weight) >= 0) & jnp.isfinite(weight)))


def largest_scale(size: Array, bound: Array) -> Array:
    """The largest s <= 1 with s * size <= bound everywhere, for size >= 0."""
    over = size > bound
    return jnp.min(jnp.where(over, bound / jnp.where(over, size, 1), 1))


def all_or_nothing(inside: Array, p: Array) -> Array:
    """The largest s in [0, 1] with s p in a cone: 1 where p is `inside`, else 0."""
    return jnp.where(jnp.all(inside), 1, 0).astype(p.dtype)


def ball_support(force: Array, weight: Array, level: Array) -> Array:
    """sup {<force, v> : sum weight |v| <= level} = level max |force| / weight, the support function of a ball.

    Infinite where a force meets a weight of zero, whatever the level.

    Args:
        force: Any shape; of a norm of groups, the norms of the groups' forces.
        weight: >= 0, broadcasting to `force`.
        level: >= 0, a scalar.
    """
    size = jnp.abs(force)
    ratio = jnp.max(jnp.where(size > 0, size / weight, 0))
    return jnp.where(jnp.isinf(ratio), jnp.inf, ratio * level).astype(force.dtype)


@jax.custom_jvp
def jump(parameter: Array) -> Array:
    """Zeros of the shape of a parameter in which the solution jumps: their derivative in it is NaN.

    Only an entry that changes, or that a gradient asks of, becomes NaN; all others have derivative zero.
    """
    return jnp.zeros_like(parameter)


@jump.defjvp
def _jump_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    def unknown(b: Array) -> Array:
        return jnp.where(b != 0, jnp.nan, 0).astype(b.dtype)

    # no linear map sends zero to zero and all else to NaN: it is told as the solve of a linear system
    (change,) = tangents
    tangent = lax.custom_linear_solve(lambda v: v, change, lambda _, b: unknown(b), lambda _, b: unknown(b))
    return jump(*primals), tangent
