"""The constraints of the model builder: balls and boxes.

Each prox is the projection (Parikh & Boyd 2014, section 6; Beck 2017, chapter 6); each conjugate is finite everywhere,
or on a cone.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from admm_jax.prox.defaults import Indicator, all_or_nothing, is_negative
from admm_jax.prox.projections import project_l1_ball, project_l2_ball, safe_norm
from admm_jax.prox.stacked import MemberByMember, OfEntries
from admm_jax.pytree import pytree_dataclass


@pytree_dataclass
class Box(OfEntries, Indicator):
    """g = indicator of lower <= v <= upper, elementwise, infinite bounds allowed; equal bounds fix v.

    g*(p) = sum upper p+ - lower p-, finite for p <= 0 where upper is infinite and p >= 0 where lower is.
    """

    lower: Array
    upper: Array

    is_balanced = False
    is_box = True
    holds_entries = True

    def prox(self, v: Array, step: Array) -> Array:
        return jnp.clip(v, self.lower, self.upper)

    def project_dual(self, p: Array) -> Array:
        p = jnp.where(jnp.isinf(self.upper), jnp.minimum(p, 0), p)
        return jnp.where(jnp.isinf(self.lower), jnp.maximum(p, 0), p)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        above = jnp.where(p > 0, p * (self.upper - v), 0)
        below = jnp.where(p < 0, -p * (v - self.lower), 0)
        return jnp.sum(above + below)

    def into_domain(self, p: Array) -> Array:
        return all_or_nothing(self.project_dual(p) == p, p)

    def bounds(self) -> tuple[Array, Array] | None:
        return self.lower, self.upper

    def ties(self, ndim: int) -> tuple[int, ...]:
        return ()

    def extent(self, offset: Array) -> Array:
        ends = (jnp.abs(end - offset) for end in (self.lower, self.upper))
        low, high = (jnp.where(jnp.isfinite(end), end, 0) for end in ends)
        return jnp.maximum(low, high)

    def scaled(self, scale: Array, cost: Array) -> Box:
        return Box(self.lower * scale, self.upper * scale)

    def support(self, force: Array, level: Array) -> Array:
        ends = jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper))
        return jnp.sum(jnp.where(force != 0, jnp.abs(force) * ends, 0))

    def conjugate(self, p: Array) -> Array:
        upper, lower = jnp.where(p > 0, self.upper, 0), jnp.where(p < 0, self.lower, 0)
        return jnp.sum(p * (upper + lower))

    def recession(self) -> Box:
        zero = jnp.zeros_like(jnp.asarray(self.lower))
        return Box(
            jnp.where(jnp.isinf(self.lower), self.lower, zero), jnp.where(jnp.isinf(self.upper), self.upper, zero)
        )

    def invalid(self) -> Array:
        return jnp.any(jnp.isnan(jnp.asarray(self.lower)) | jnp.isnan(jnp.asarray(self.upper)))

    def empty(self) -> Array:
        return jnp.any(jnp.asarray(self.lower) > jnp.asarray(self.upper))

    def held(self, z: Array) -> Array:
        return (z == self.lower) | (z == self.upper)

    def describe(self, steps: int) -> str:
        known = not any(isinstance(bound, Tracer) for bound in (self.lower, self.upper))
        return (
            "the fixed values themselves" if known and np.array_equal(self.lower, self.upper) else "clip to the bounds"
        )


@pytree_dataclass
class L2Ball(MemberByMember, Indicator):
    """g = indicator of ||v||_2 <= radius; g*(p) = radius ||p||_2."""

    radius: Array

    def prox(self, v: Array, step: Array) -> Array:
        return project_l2_ball(v, self.radius)

    def project_dual(self, p: Array) -> Array:
        return p

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        # radius ||p|| - <p, v> = (radius - <p, v>/||p||) ||p||
        return jnp.maximum(self.radius * safe_norm(p) - jnp.sum(p * v), 0)

    def into_domain(self, p: Array) -> Array:
        return jnp.ones((), p.dtype)

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def extent(self, offset: Array) -> Array:
        return jnp.maximum(jnp.abs(offset), self.radius / max(offset.size, 1) ** 0.5)

    def scaled(self, scale: Array, cost: Array) -> L2Ball:
        return L2Ball(self.radius * jnp.max(scale))

    def support(self, force: Array, level: Array) -> Array:
        return self.radius * safe_norm(force)

    def conjugate(self, p: Array) -> Array:
        return self.radius * safe_norm(p)

    def recession(self) -> Box:
        zero = jnp.zeros_like(jnp.asarray(self.radius))
        return Box(zero, zero)

    def invalid(self) -> Array:
        return is_negative(self.radius)

    def active(self, z: Array, p: Array) -> Array:
        return jnp.any(p != 0)

    def describe(self, steps: int) -> str:
        return "projection onto a Euclidean ball, closed form"


@pytree_dataclass
class L1Ball(MemberByMember, Indicator):
    """g = indicator of ||v||_1 <= radius; g*(p) = radius max |p|."""

    radius: Array

    def prox(self, v: Array, step: Array) -> Array:
        return project_l1_ball(v, self.radius)

    def project_dual(self, p: Array) -> Array:
        return p

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        peak = jnp.max(jnp.abs(p))
        return jnp.sum(jnp.abs(v) * (peak - jnp.sign(v) * p)) + (self.radius - jnp.sum(jnp.abs(v))) * peak

    def into_domain(self, p: Array) -> Array:
        return jnp.ones((), p.dtype)

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def extent(self, offset: Array) -> Array:
        return jnp.maximum(jnp.abs(offset), self.radius / max(offset.size, 1))

    def scaled(self, scale: Array, cost: Array) -> L1Ball:
        return L1Ball(self.radius * jnp.max(scale))

    def support(self, force: Array, level: Array) -> Array:
        return self.radius * jnp.max(jnp.abs(force))

    def conjugate(self, p: Array) -> Array:
        return self.radius * jnp.max(jnp.abs(p))

    def recession(self) -> Box:
        zero = jnp.zeros_like(jnp.asarray(self.radius))
        return Box(zero, zero)

    def invalid(self) -> Array:
        return is_negative(self.radius)

    def active(self, z: Array, p: Array) -> Array:
        return jnp.append((z == 0).ravel(), jnp.any(p != 0))  # inside the ball nothing is held

    def describe(self, steps: int) -> str:
        return "projection onto an l1 ball, by sorting"
