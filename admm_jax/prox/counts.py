"""The Kullback-Leibler divergence of photon counts, which is minus the log likelihood of Poisson's law.

Its prox is the positive root of a quadratic, its conjugate a logarithm (Combettes & Pesquet 2007, table 2).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.prox.defaults import Whole, all_or_nothing, ball_support, is_no_weight, jump, largest_scale
from admm_jax.prox.stacked import OfEntries
from admm_jax.pytree import pytree_dataclass

SMALL = 0.1  # below it the series of d - log(1 + d) is exact to rounding, and the difference is not


def _excess(d: Array) -> Array:
    """d - log(1 + d) >= 0, zero at d = 0 only; near zero d^2 / 2 - d^3 / 3 + d^4 / 4 - ..., where the two cancel."""
    near = jnp.abs(d) < SMALL
    s = jnp.where(near, d, 0)
    series = jnp.zeros_like(s)
    for power in range(18, 1, -1):
        series = 1 / power - s * series
    # XLA's log1p is 64 units of rounding off near -0.41: log(1 + d), and what rounding took from 1 + d
    ratio = 1 + jnp.where(near, 0, d)
    lost = jnp.where(ratio > 0, (jnp.where(near, 0, d) - (ratio - 1)) / jnp.where(ratio > 0, ratio, 1), 0)
    return jnp.where(near, s * s * series, d - lax.stop_gradient(lost) - jnp.log(ratio))


@pytree_dataclass
class KullbackLeibler(OfEntries, Whole):
    """g(v) = sum w (v - b - b log(v / b)) for v >= 0, and w v where the counts b are zero.

    g*(p) = -sum w b log(1 - p / w), dom g* = {p <= w}, without its border where b > 0. Entries of weight zero say
    nothing, not even that v >= 0.
    """

    weight: Array
    counts: Array

    is_constraint = False
    has_domain = True
    is_balanced = False
    holds_entries = True
    kinks_move = True  # an entry that is held at zero follows a count that is no longer zero

    def _seen(self) -> Array:
        return jnp.asarray(self.weight) > 0

    def _counted(self) -> Array:
        return jnp.asarray(self.counts) > 0

    def _safe_weight(self) -> Array:
        return jnp.where(self._seen(), self.weight, 1)

    def _divergence(self, v: Array) -> Array:
        """sum w (v - b - b log(v / b)), by the relative distance from b: no b log v is formed."""
        counted = self._counted()
        b = jnp.where(counted, self.counts, 1)
        return jnp.sum(self.weight * jnp.where(counted, b * _excess(jnp.where(counted, v - b, 0) / b), v))

    def _shut_out(self, v: Array) -> Array:
        """Whether v is outside the domain that any weight above zero has: there the solution jumps with a weight."""
        return ~self._seen() & (v <= 0)

    def __call__(self, v: Array) -> Array:
        jumps = self._shut_out(v)
        total = self._divergence(jnp.where(jumps, 1, jnp.maximum(v, 0)))  # what is not seen is finite
        return total + jnp.sum(jnp.where(jumps, jump(self.weight) * v, 0))

    def violation(self, v: Array) -> Array:
        return jnp.where(self._seen(), jnp.minimum(v, 0), 0)

    def prox(self, v: Array, step: Array) -> Array:
        # z^2 - (v - a) z - a b = 0, the positive root without cancellation
        a = step * self.weight
        s, product = v - a, a * self.counts
        square = s * s + 4 * product
        root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        far = jnp.where(root - s > 0, root - s, 1)
        root = jnp.where(s > 0, (s + root) / 2, 2 * product / far)
        # with a weight of zero it is v, and has its derivative in it
        return jnp.where(self._shut_out(v), v + jump(a), root)

    def project_dual(self, p: Array) -> Array:
        return jnp.where(self._seen(), jnp.minimum(p, self.weight), 0)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        # the divergence of (1 - p / w) v from b
        return self._divergence(jnp.where(self._seen(), jnp.maximum(1 - p / self._safe_weight(), 0) * v, 1))

    def into_domain(self, p: Array) -> Array:
        return largest_scale(p, self.weight) * all_or_nothing(self._seen() | (p == 0), p)

    def strength(self) -> Array:
        return self.weight

    def secant_curvature(self, size: Array) -> Array:
        # w / b, and of no count more than that of the least that is typical
        return self.weight / jnp.maximum(self.counts, size)

    def ties(self, ndim: int) -> tuple[int, ...]:
        return ()

    def extent(self, offset: Array) -> Array:
        return jnp.maximum(jnp.abs(offset), self.counts)

    def bounds(self) -> tuple[Array, Array] | None:
        infinite = jnp.full_like(jnp.asarray(self.weight), jnp.inf)
        return jnp.where(self._seen(), 0, -infinite), infinite

    def scaled(self, scale: Array, cost: Array) -> KullbackLeibler:
        # u / s - b log(u / s) = (u - s b log u) / s + b log s
        return KullbackLeibler(cost * self.weight / scale, self.counts * scale)

    def rise(self, v: Array, delta: Array) -> Array:
        """The slope |1 - b / v| is largest at the ends of an interval; it is infinite at zero where counts are not."""

        def slope(at: Array) -> Array:
            counted = self._counted()
            return jnp.where(counted, jnp.abs(1 - self.counts / jnp.where(counted, at, 1)), 1)

        steepest = jnp.maximum(slope(jnp.maximum(v - delta, 0)), slope(jnp.maximum(v, 0) + delta))
        # beside the pole a logarithm is no longer about linear: nothing is known there
        near = self._counted() & (v - delta < v / 2)
        steepest = jnp.where(near, jnp.inf, steepest)
        return jnp.sum(jnp.where((delta > 0) & self._seen(), self.weight * steepest * delta, 0))

    def support(self, force: Array, level: Array) -> Array:
        # <w / 2, v> <= g(v) + g*(w / 2) = g(v) + sum w b log 2
        conjugate = math.log(2) * jnp.sum(jnp.broadcast_to(self.weight * self.counts, force.shape))
        return ball_support(force, jnp.asarray(self.weight) / 2, level + conjugate)

    def recession(self) -> KullbackLeibler:
        return KullbackLeibler(self.weight, jnp.zeros_like(jnp.asarray(self.counts)))

    def invalid(self) -> Array:
        return is_no_weight(self.weight) | is_no_weight(self.counts)

    def held(self, z: Array) -> Array:
        return (z == 0) & ~self._counted() & self._seen()

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        return self(v) - jnp.sum(p * v)

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        return jnp.where(held, 0, self.weight * self.counts / jnp.where(held, 1, v) ** 2)

    def describe(self, steps: int) -> str:
        return "the positive root of a quadratic, closed form"
