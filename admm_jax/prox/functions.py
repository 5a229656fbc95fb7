"""The penalties and constraints of the model builder: elementwise functions, norms, balls and boxes.

Each prox is a closed form (Parikh & Boyd 2014, section 6; Beck 2017, chapter 6); each conjugate's domain is a box or a
ball. Weights are scalars or broadcast to v; zero weights are allowed.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.prox.projections import project_l1_ball, project_l2_ball, safe_norm
from admm_jax.pytree import pytree_dataclass, static


def _negative(weight: Array) -> Array:
    return jnp.any(~(jnp.asarray(weight) >= 0))


def _largest_scale(size: Array, bound: Array) -> Array:
    """The largest s <= 1 with s * size <= bound everywhere, for size >= 0."""
    over = size > bound
    return jnp.min(jnp.where(over, bound / jnp.where(over, size, 1), 1))


def _all_or_nothing(inside: Array, p: Array) -> Array:
    """The largest s in [0, 1] with s p in a cone: 1 where p is `inside`, else 0."""
    return jnp.where(jnp.all(inside), 1, 0).astype(p.dtype)


def _within(force: Array, weight: Array, level: Array) -> Array:
    """max |force| / weight times the level; infinite where a force meets a weight of zero, whatever the level."""
    size = jnp.abs(force)
    ratio = jnp.max(jnp.where(size > 0, size / weight, 0))
    return jnp.where(jnp.isinf(ratio), jnp.inf, ratio * level).astype(force.dtype)


class ClosedForm:
    """A function whose prox is a closed form: it remembers nothing, and its dual is that of the split."""

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return jnp.zeros((0,), dtype)

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        return self.prox(v, step), memory  # pyright: ignore[reportAttributeAccessIssue]

    def dual(self, y: Array, memory: Array) -> Array:
        return y

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        return p, memory


class _Penalty(ClosedForm):
    """A finite function: no point is outside its domain."""

    @property
    def is_balanced(self) -> bool:
        return True

    def ties(self, ndim: int) -> tuple[int, ...]:
        return ()

    def extent(self, offset: Array) -> Array:
        return jnp.abs(offset)

    def bounds(self) -> tuple[Array, Array] | None:
        return None

    def empty(self) -> Array:
        return jnp.zeros((), bool)

    def support(self, force: Array, level: Array) -> Array:
        return jnp.where(jnp.any(force != 0), jnp.inf, 0).astype(force.dtype)

    @property
    def is_constraint(self) -> bool:
        return False

    def violation(self, v: Array) -> Array:
        return jnp.zeros_like(v)

    def rest(self, v: Array, p: Array) -> Array:
        return self(v) - jnp.sum(p * v)  # pyright: ignore[reportCallIssue]


class _Constraint(ClosedForm):
    """An indicator: its prox is the projection, and its value is zero."""

    @property
    def is_balanced(self) -> bool:
        return True

    def strength(self) -> Array:
        return jnp.zeros(())

    def bounds(self) -> tuple[Array, Array] | None:
        return None

    def empty(self) -> Array:
        return jnp.zeros((), bool)

    @property
    def is_constraint(self) -> bool:
        return True

    def __call__(self, v: Array) -> Array:
        return jnp.zeros((), v.dtype)

    def violation(self, v: Array) -> Array:
        return v - self.prox(v, jnp.ones((), v.dtype))  # pyright: ignore[reportAttributeAccessIssue]

    def rest(self, v: Array, p: Array) -> Array:
        return -self.conjugate(p)  # pyright: ignore[reportAttributeAccessIssue]


@pytree_dataclass
class L1(_Penalty):
    """g(v) = sum w |v|; dom g* = {|p| <= w}, g* = 0."""

    weight: Array

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
        return _largest_scale(jnp.abs(p), self.weight)

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> L1:
        return L1(cost * self.weight / scale)

    def support(self, force: Array, level: Array) -> Array:
        return _within(force, self.weight, level)

    def recession(self) -> L1:
        return self

    def invalid(self) -> Array:
        return _negative(self.weight)


@pytree_dataclass
class Huber(_Penalty):
    """g(v) = sum w h(v), h(v) = v^2/2 if |v| <= delta, else delta |v| - delta^2/2.

    g*(p) = sum p^2 / (2 w), dom g* = {|p| <= w delta}.
    """

    weight: Array
    delta: Array

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
        return _largest_scale(jnp.abs(p), self.weight * self.delta)

    def strength(self) -> Array:
        return self.weight * self.delta

    def extent(self, offset: Array) -> Array:
        return jnp.maximum(jnp.abs(offset), self.delta)

    def scaled(self, scale: Array, cost: Array) -> Huber:
        # h_delta(u / s) = h_(s delta)(u) / s^2
        return Huber(cost * self.weight / scale / scale, self.delta * scale)

    def support(self, force: Array, level: Array) -> Array:
        # w h(v) >= w delta |v| - w delta^2 / 2
        slope = jnp.broadcast_to(self.weight * self.delta, force.shape)
        return _within(force, slope, level + jnp.sum(slope * self.delta) / 2)

    def recession(self) -> L1:
        return L1(self.weight * self.delta)

    def invalid(self) -> Array:
        return _negative(self.weight) | _negative(self.delta)


@pytree_dataclass
class Hinge(_Penalty):
    """g(v) = sum w max(v, 0); dom g* = {0 <= p <= w}, g* = 0."""

    weight: Array

    @property
    def is_balanced(self) -> bool:
        return False

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
        return _largest_scale(p, self.weight) * _all_or_nothing(p >= 0, p)

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> Hinge:
        return Hinge(cost * self.weight / scale)

    def recession(self) -> Hinge:
        return self

    def invalid(self) -> Array:
        return _negative(self.weight)


@pytree_dataclass
class GroupL2(_Penalty):
    """g(v) = sum over groups of w ||v_group||_2; `axes` run inside a group; dom g* = {||p_group|| <= w}, g* = 0."""

    weight: Array
    axes: tuple[int, ...] = static()

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
        return _largest_scale(safe_norm(p, self.axes, keepdims=True), self._expanded())

    def strength(self) -> Array:
        return self._expanded()

    def ties(self, ndim: int) -> tuple[int, ...]:
        return self.axes

    def scaled(self, scale: Array, cost: Array) -> GroupL2:
        # a group has one scale: along its axes all are equal
        own = scale if jnp.ndim(scale) == 0 else jnp.min(scale, axis=self.axes)
        return GroupL2(cost * self.weight / own, self.axes)

    def support(self, force: Array, level: Array) -> Array:
        return _within(safe_norm(force, self.axes, keepdims=True), self._expanded(), level)

    def recession(self) -> GroupL2:
        return self

    def invalid(self) -> Array:
        return _negative(self.weight)


@pytree_dataclass
class LInf(_Penalty):
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
        return _largest_scale(jnp.sum(jnp.abs(p)), self.weight)

    def strength(self) -> Array:
        return self.weight

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def scaled(self, scale: Array, cost: Array) -> LInf:
        return LInf(cost * self.weight / jnp.max(scale))

    def support(self, force: Array, level: Array) -> Array:
        return _within(jnp.sum(jnp.abs(force)), self.weight, level)

    def recession(self) -> LInf:
        return self

    def invalid(self) -> Array:
        return _negative(self.weight)


@pytree_dataclass
class Box(_Constraint):
    """g = indicator of lower <= v <= upper, elementwise, infinite bounds allowed; equal bounds fix v.

    g*(p) = sum upper p+ - lower p-, finite for p <= 0 where upper is infinite and p >= 0 where lower is.
    """

    lower: Array
    upper: Array

    @property
    def is_balanced(self) -> bool:
        return False

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
        return _all_or_nothing(self.project_dual(p) == p, p)

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


@pytree_dataclass
class L2Ball(_Constraint):
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
        return _negative(self.radius)


@pytree_dataclass
class L1Ball(_Constraint):
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
        return _negative(self.radius)
