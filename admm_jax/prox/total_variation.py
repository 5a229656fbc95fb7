"""Total variation and its prox: Chambolle's dual projection, accelerated and warm-started.

    TV(v) = sum_e w_e |(D v)_e|  (p = 1, anisotropic)    or    sum_pixels w ||(D v)_pixel||_2  (p = 2, isotropic)

    prox(v, t) = v - t D^T p,   p = argmin_{p in C} ||v - t D^T p||^2,   C = {|p_e| <= w_e} or {||p_pixel|| <= w}

(Chambolle 2004; the accelerated projected gradient on p is FGP, Beck & Teboulle 2009, with ||D||^2 <= sum 4 / h^2).
The dual field p is feasible at any moment and does not depend on t, so it is carried from one prox to the next.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.difference import Difference
from admm_jax.prox.defaults import FinitePenalty
from admm_jax.prox.dual_ascent import Terms, ascend, everywhere
from admm_jax.prox.penalties import L1, GroupL2
from admm_jax.prox.projections import safe_norm
from admm_jax.pytree import pytree_dataclass, replace, static

PROX_STEPS = 2000  # of a prox that starts from nothing: to some seven digits on images of a few hundred pixels


@pytree_dataclass
class TotalVariation(FinitePenalty):
    """w TV(v): h(D v), with h an l1 norm or a norm of groups.

    Args:
        weight: A scalar, a map per pixel or, for p = 1, per edge: broadcasting to (len(axes), *shape). Of pixels whose
            channels count together one for all of these, of shape without that axis.
        p: 1 or 2.
        axes: Along which neighbours differ, in order; None is all.
        spacing: Of the pixels along each of them, for p = 2; None is 1. For p = 1 it is a part of the weight.
        channel_axis: Another axis, whose entries count together; for p = 2.
    """

    weight: Array
    p: int = static()
    axes: tuple[int, ...] | None = static(default=None)
    spacing: tuple[float, ...] | None = static(default=None)
    channel_axis: int | None = static(default=None)

    holds_entries = True

    @property
    def isotropic(self) -> bool:
        return self.p == 2

    @property
    def by_pixel(self) -> bool:
        return self.channel_axis is None

    @property
    def unbounded_curvature(self) -> bool:
        return self.isotropic

    def lifted(self) -> L1 | GroupL2:
        """The function h on the differences: TV = h(D v)."""
        if self.p == 1:
            return L1(self.weight)
        return GroupL2(self.weight, (0,) if self.channel_axis is None else (0, 1 + self.channel_axis))

    def difference(self, shape: tuple[int, ...]) -> Difference:
        return Difference(shape, self.axes, self.spacing)  # pyright: ignore[reportArgumentType]

    def inner(self, shape: tuple[int, ...]) -> tuple[Difference, L1 | GroupL2]:
        return self.difference(shape), self.lifted()

    def variation(self) -> TotalVariation:
        return self

    def __call__(self, v: Array) -> Array:
        return self.lifted()(self.difference(v.shape)(v))

    def prox(self, v: Array, step: Array) -> Array:
        return self.prox_from(v, step, self.memory(v.shape, v.dtype), PROX_STEPS)[0]

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """The dual field, zero at first."""
        return jnp.zeros(self.difference(shape).out_shape, dtype)

    def dual(self, y: Array, memory: Array) -> Array:
        return memory

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        return self.difference(p.shape[1:]).adjoint(p), p

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        """(prox, new field): `effort` steps of FGP, one more where they are odd, from the dual field, the `memory`.

        `ascend` takes the image as one line, in which the last pixel of a row has a neighbour that it has not: the
        weight of that edge is zero.
        """
        terms = self._terms(v, self._limits(memory), step, _clip if self.p == 1 else self._shrunk(v.shape))
        field = self._field(ascend(terms, self._lines(memory), effort), memory)
        return v - step * self.difference(v.shape).adjoint(field), field

    # `ascend` works on lines: images with the channels first, as one row of pixels

    def _line(self, image: Array) -> Array:
        return (image if self.channel_axis is None else jnp.moveaxis(image, self.channel_axis, 0)).ravel()

    def _lines(self, field: Array) -> list[Array]:
        return [self._line(part) for part in field]

    def _field(self, lines: list[Array], like: Array) -> Array:
        """The inverse of `_lines`, of the shape of `like`."""
        if self.channel_axis is None:
            return jnp.stack(lines).reshape(like.shape)
        moved = jnp.moveaxis(like, 1 + self.channel_axis, 1).shape
        return jnp.moveaxis(jnp.stack(lines).reshape(moved), 1, 1 + self.channel_axis)

    def _terms(self, image: Array, limits: list[Array], step: Array, project: Any, counted: Any = everywhere) -> Terms:
        """What a step reads; see `Terms`."""
        difference, order = self.difference(image.shape), list(range(image.ndim))
        if self.channel_axis is not None:
            order.insert(0, order.pop(self.channel_axis))
        sizes = [image.shape[axis] for axis in order]
        strides = tuple(math.prod(sizes[order.index(axis) + 1 :]) for axis in difference.axes)
        inverses = tuple(1 / h for h in difference.spacing)
        whole = self.channel_axis is not None
        return Terms(self._line(image), limits, step, strides, inverses, project, counted, whole)

    def _edges(self, shape: tuple[int, ...]) -> list[Array]:
        """Along each axis, which pixels, as a line, have a neighbour ahead."""
        out = []
        for axis in self.difference(shape).axes:
            n = shape[axis]
            ahead = jnp.expand_dims(jnp.arange(n) < n - 1, [i for i in range(len(shape)) if i != axis])
            out.append(self._line(jnp.broadcast_to(ahead, shape)))
        return out

    def _shrunk(self, shape: tuple[int, ...]) -> Any:
        channels = 1 if self.channel_axis is None else shape[self.channel_axis]
        return functools.partial(_shrink, channels=channels)

    def balance(
        self, force: Array, field: Array, free: Array, borne: tuple[Array, Array], iterations: Array | int
    ) -> Array:
        """The field p that balances a force best, min ||[-force - D^T p]||^2, by FGP from `field`.

        [w] is w where it counts, zero where something else, such as a bound, bears it.

        Args:
            force: On each pixel.
            field: Where p starts, (number of axes, *shape).
            free: Where p may move, broadcasting to the field; it stays `field` elsewhere. A pixel's entries go together
                for p = 2.
            borne: Masks of the image: where w > 0 is borne, and where w < 0 is.
            iterations: Of FGP.
        """
        lines = self._lines(field)
        free = jnp.broadcast_to(free, field.shape)
        if self.p == 1:
            ends = [(-limit, limit) for limit in self._limits(field)]
            pairs = zip(self._lines(free), ends, lines, strict=True)
            bounds = [jnp.where(loose, end, line) for loose, both, line in pairs for end in both]
        else:
            bounds = [*self._lines(free), *lines, *self._limits(field)]
        bears = [self._line(mask) for mask in borne]
        one = jnp.ones((), force.dtype)
        project = functools.partial(self._project_free, force.shape)
        terms = self._terms(-force, [*bears, *bounds], one, project, _not_borne)
        return self._field(ascend(terms, lines, iterations), field)

    def _project_free(self, shape: tuple[int, ...], limits: list[Array], parts: list[Array]) -> list[Array]:
        bounds = limits[2:]
        if self.p == 1:
            return [jnp.clip(part, *bounds[2 * i : 2 * i + 2]) for i, part in enumerate(parts)]
        n = len(parts)
        free, held, shrunk = bounds[:n], bounds[n : 2 * n], self._shrunk(shape)(bounds[2 * n :], parts)
        return [jnp.where(*each) for each in zip(free, shrunk, held, strict=True)]

    def _limits(self, field: Array) -> list[Array]:
        """What bounds the lines of a field: each edge's weight (p = 1); where edges are, and the weight (p = 2)."""
        shape = field.shape[1:]
        edges = [edge.astype(field.dtype) for edge in self._edges(shape)]
        weight = jnp.asarray(self.weight, field.dtype)
        if self.p == 1:
            full = self._lines(jnp.broadcast_to(weight, field.shape))
            return [part * edge for part, edge in zip(full, edges, strict=True)]
        if weight.ndim == 0:
            return [*edges, weight]
        if self.channel_axis is not None:
            weight = jnp.expand_dims(weight, self.channel_axis)
        return [*edges, self._line(jnp.broadcast_to(weight, shape))]

    def invalid(self) -> Array:
        return self.lifted().invalid()

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> TotalVariation:
        return replace(self, weight=cost * self.weight / scale)

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def recession(self) -> TotalVariation:
        return self

    def describe(self, steps: int) -> str:
        return f"{steps} steps of Chambolle's dual projection (FGP), warm-started from the last dual field"

    # of the dual field p, and so of h

    def project_dual(self, p: Array) -> Array:
        return self.lifted().project_dual(p)

    def into_domain(self, p: Array) -> Array:
        return self.lifted().into_domain(p)

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        return self.lifted().fenchel_gap(self.difference(v.shape)(v), p)


def _not_borne(limits: list[Array], w: Array) -> Array:
    """w with zeros where it is borne; `limits` begin with the two masks (see `TotalVariation.balance`)."""
    up, down = limits[:2]
    return jnp.where(jnp.where(w > 0, up, down), 0, w)


def _clip(limits: list[Array], parts: list[Array]) -> list[Array]:
    """Each edge within its own limit (anisotropic)."""
    return [jnp.clip(part, -limit, limit) for part, limit in zip(parts, limits, strict=True)]


def _shrink(limits: list[Array], parts: list[Array], channels: int) -> list[Array]:
    """The edges of a pixel together within its weight (isotropic).

    The last of the limits is the weight; the others are 1 where there is an edge and 0 where there is none.

    Args:
        limits: Lines, the weight or a number.
        parts: A line for each axis.
        channels: How many count together; a line has one after the other.
    """
    *edges, weight = limits
    parts = [part * edge for part, edge in zip(parts, edges, strict=True)]
    length = safe_norm(parts, (0,))
    if channels > 1:
        length = jnp.tile(safe_norm(list(length.reshape(channels, -1)), (0,)), channels)
    shrink = jnp.minimum(weight / jnp.maximum(length, jnp.finfo(weight.dtype).tiny), 1)
    return [part * shrink for part in parts]
