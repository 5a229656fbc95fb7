"""The penalties of the model builder: elementwise functions and norms.

Each prox is a closed form (Parikh & Boyd 2014, section 6; Beck 2017, chapter 6); each conjugate's domain is a box or a
ball. Weights are scalars or broadcast to v; zero weights are allowed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.stacked import stack
from admm_jax.prox.defaults import FinitePenalty, all_or_nothing, ball_support, is_negative, is_no_weight, largest_scale
from admm_jax.prox.projections import project_l1_ball, project_l2_ball, safe_norm
from admm_jax.prox.stacked import MemberByMember, OfEntries
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class L1(OfEntries, FinitePenalty):
    """g(v) = sum w |v|; dom g* = {|p| <= w}, g* = 0."""

    weight: Array

    holds_entries = True

    def __call__(self, v: Array) -> Array:
        return jnp.sum(self.weight * jnp.abs(v))

    def prox(self, v: Array, step: Array) -> Array:
        t = step * self.weight
        return v - jnp.clip(v, -t, t)

    def project_dual(self, p: Array) -> Array:
        return jnp.clip(p, -self.weight, self.weight)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        return jnp.sum(self.weight * jnp.abs(v) - p * v)

    def into_domain(self, p: Array) -> Array:
        return largest_scale(jnp.abs(p), self.weight)

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> L1:
        return L1(cost * self.weight / scale)

    def support(self, force: Array, level: Array) -> Array:
        return ball_support(force, self.weight, level)

    def recession(self) -> L1:
        return self

    def invalid(self) -> Array:
        return is_no_weight(self.weight)

    def held(self, z: Array) -> Array:
        return (z == 0) & (jnp.asarray(self.weight) > 0)

    def describe(self, steps: int) -> str:
        return "soft threshold, closed form"


@pytree_dataclass
class Huber(OfEntries, FinitePenalty):
    """g(v) = sum w h(v), h(v) = v^2/2 if |v| <= delta, else delta |v| - delta^2/2.

    g*(p) = sum p^2 / (2 w), dom g* = {|p| <= w delta}.
    """

    weight: Array
    delta: Array

    holds_entries = True

    def __call__(self, v: Array) -> Array:
        inner = jnp.clip(v, -self.delta, self.delta)
        return jnp.sum(self.weight * inner * (v - inner / 2))

    def prox(self, v: Array, step: Array) -> Array:
        t = step * self.weight
        inner = v / (1 + t)
        return jnp.where(jnp.abs(inner) <= self.delta, inner, v - t * self.delta * jnp.sign(v))

    def project_dual(self, p: Array) -> Array:
        bound = self.weight * self.delta
        return jnp.clip(p, -bound, bound)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        # with p = w s, |s| <= delta: w (h(v) + s^2/2 - s v) = w/2 ((c - s)^2 + 2 (c - s)(v - c)), c = clip(v)
        weight = jnp.asarray(self.weight)
        slope = p / jnp.where(weight > 0, weight, 1)
        inner = jnp.clip(v, -self.delta, self.delta)
        return jnp.sum(weight * ((inner - slope) ** 2 / 2 + (inner - slope) * (v - inner)))

    def into_domain(self, p: Array) -> Array:
        return largest_scale(jnp.abs(p), self.weight * self.delta)

    def strength(self) -> Array:
        return self.weight * self.delta

    def secant_curvature(self, size: Array) -> Array:
        return self.weight * jnp.minimum(self.delta / size, 1)

    def extent(self, offset: Array) -> Array:
        return jnp.maximum(jnp.abs(offset), self.delta)

    def scaled(self, scale: Array, cost: Array) -> Huber:
        # h_delta(u / s) = h_(s delta)(u) / s^2
        return Huber(cost * self.weight / scale / scale, self.delta * scale)

    def support(self, force: Array, level: Array) -> Array:
        # w h(v) >= w delta |v| - w delta^2 / 2
        slope = jnp.broadcast_to(self.weight * self.delta, force.shape)
        return ball_support(force, slope, level + jnp.sum(slope * self.delta) / 2)

    def recession(self) -> L1:
        return L1(self.weight * self.delta)

    def invalid(self) -> Array:
        return is_no_weight(self.weight) | is_negative(self.delta)

    def active(self, z: Array, p: Array) -> Array:
        return jnp.abs(z) <= self.delta

    def describe(self, steps: int) -> str:
        return "shrinkage inside delta, shift outside; closed form"


@pytree_dataclass
class Hinge(OfEntries, FinitePenalty):
    """g(v) = sum w max(v, 0); dom g* = {0 <= p <= w}, g* = 0."""

    weight: Array

    is_balanced = False
    holds_entries = True

    def __call__(self, v: Array) -> Array:
        return jnp.sum(self.weight * jnp.maximum(v, 0))

    def prox(self, v: Array, step: Array) -> Array:
        return v - jnp.clip(v, 0, step * self.weight)

    def project_dual(self, p: Array) -> Array:
        return jnp.clip(p, 0, self.weight)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        return jnp.sum(self.weight * jnp.maximum(v, 0) - p * v)

    def into_domain(self, p: Array) -> Array:
        # {0 <= p <= w} is neither a ball nor a cone: no factor turns the sign of an entry
        return largest_scale(p, self.weight) * all_or_nothing(p >= 0, p)

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> Hinge:
        return Hinge(cost * self.weight / scale)

    def recession(self) -> Hinge:
        return self

    def invalid(self) -> Array:
        return is_no_weight(self.weight)

    def held(self, z: Array) -> Array:
        return (z == 0) & (jnp.asarray(self.weight) > 0)

    def describe(self, steps: int) -> str:
        return "one-sided soft threshold, closed form"


@pytree_dataclass
class GroupL2(FinitePenalty):
    """g(v) = sum over groups of w ||v_group||_2; `axes` run inside a group; dom g* = {||p_group|| <= w}, g* = 0."""

    weight: Array
    axes: tuple[int, ...] = static()

    holds_entries = True
    unbounded_curvature = True

    def _expanded(self) -> Array:
        weight = jnp.asarray(self.weight)
        return weight if weight.ndim == 0 else jnp.expand_dims(weight, self.axes)

    def __call__(self, v: Array) -> Array:
        return jnp.sum(self.weight * safe_norm(v, self.axes))

    def prox(self, v: Array, step: Array) -> Array:
        return v - project_l2_ball(v, step * self._expanded(), self.axes)

    def project_dual(self, p: Array) -> Array:
        return project_l2_ball(p, self._expanded(), self.axes)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        return jnp.sum(self.weight * safe_norm(v, self.axes) - jnp.sum(p * v, axis=self.axes))

    def into_domain(self, p: Array) -> Array:
        return largest_scale(safe_norm(p, self.axes, keepdims=True), self._expanded())

    def strength(self) -> Array:
        return self._expanded()

    def ties(self, ndim: int) -> tuple[int, ...]:
        return self.axes

    def scaled(self, scale: Array, cost: Array) -> GroupL2:
        # a group has one scale: along its axes all are equal
        own = scale if jnp.ndim(scale) == 0 else jnp.min(scale, axis=self.axes)
        return GroupL2(cost * self.weight / own, self.axes)

    def support(self, force: Array, level: Array) -> Array:
        return ball_support(safe_norm(force, self.axes, keepdims=True), self._expanded(), level)

    def recession(self) -> GroupL2:
        return self

    def invalid(self) -> Array:
        return is_no_weight(self.weight)

    def held(self, z: Array) -> Array:
        weight = self._expanded()
        return jnp.broadcast_to(jnp.all(z == 0, axis=self.axes, keepdims=True) & (weight > 0), z.shape)

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        size = jnp.sqrt(jnp.sum(v * v, axis=self.axes, keepdims=True))
        inverse = jnp.where(size > 0, self._expanded() / jnp.where(size > 0, size, 1), 0)
        return jnp.where(held, 0, inverse * (1 - jnp.where(size > 0, v / jnp.where(size > 0, size, 1), 0) ** 2))

    def blur(self, v: Array, z: Array, p: Array, rho: Array) -> Array:
        size, apart = safe_norm(z, self.axes), safe_norm(z - v, self.axes)
        return jnp.max(jnp.where(size > 0, apart / jnp.where(size > 0, size, 1), 0))

    def likeness(self) -> Hashable | None:
        return GroupL2, self.axes

    def stacked(self, functions: Sequence[GroupL2], shape: tuple[int, ...]) -> GroupL2:
        weights = stack([g.weight for g in functions], len(shape) - len(self.axes))
        return GroupL2(weights, tuple(1 + axis for axis in self.axes))

    def describe(self, steps: int) -> str:
        return "shrinkage of each group's Euclidean norm, closed form"


@pytree_dataclass
class LInf(MemberByMember, FinitePenalty):
    """g(v) = w max |v|; dom g* = {||p||_1 <= w}, g* = 0."""

    weight: Array

    def __call__(self, v: Array) -> Array:
        return self.weight * jnp.max(jnp.abs(v))

    def prox(self, v: Array, step: Array) -> Array:
        return v - project_l1_ball(v, step * self.weight)

    def project_dual(self, p: Array) -> Array:
        return project_l1_ball(p, self.weight)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        # w max|v| - <p, v> = sum |p| (max|v| - sign(p) v) + (w - ||p||_1) max|v|, all terms >= 0
        peak = jnp.max(jnp.abs(v))
        return jnp.sum(jnp.abs(p) * (peak - jnp.sign(p) * v)) + (self.weight - jnp.sum(jnp.abs(p))) * peak

    def into_domain(self, p: Array) -> Array:
        return largest_scale(jnp.sum(jnp.abs(p)), self.weight)

    def strength(self) -> Array:
        return self.weight

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def scaled(self, scale: Array, cost: Array) -> LInf:
        return LInf(cost * self.weight / jnp.max(scale))

    def support(self, force: Array, level: Array) -> Array:
        return ball_support(jnp.sum(jnp.abs(force)), self.weight, level)

    def recession(self) -> LInf:
        return self

    def invalid(self) -> Array:
        return is_no_weight(self.weight)

    def active(self, z: Array, p: Array) -> Array:
        peak = jnp.max(jnp.abs(z))
        # the entries that p pulls are equal but for rounding
        largest = jnp.abs(z) >= (1 - 64 * jnp.finfo(z.dtype).eps) * peak
        return largest & (peak > 0)  # at zero, where all entries are the largest too, z is held: another active set

    def describe(self, steps: int) -> str:
        return "v minus its projection onto an l1 ball, by sorting"
