"""Total variation and its prox: Chambolle's dual projection, accelerated and warm-started.

    TV(v) = sum_e w_e |(D v)_e|  (p = 1, anisotropic)    or    sum_pixels w ||(D v)_pixel||_2  (p = 2, isotropic)

    prox(v, t) = v - t D^T p,   p = argmin_{p in C} ||v - t D^T p||^2,   C = {|p_e| <= w_e} or {||p_pixel|| <= w}

(Chambolle 2004; the accelerated projected gradient on p is FGP, Beck & Teboulle 2009, with ||D||^2 <= 4 ndim). The
dual field p is feasible at any moment and does not depend on t, so it is carried from one prox to the next.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Difference
from admm_jax.prox.defaults import FinitePenalty
from admm_jax.prox.dual_ascent import Terms, ascend
from admm_jax.prox.penalties import L1, GroupL2
from admm_jax.prox.projections import safe_norm
from admm_jax.pytree import pytree_dataclass, static

PROX_STEPS = 2000  # of a prox that starts from nothing: to some seven digits on images of a few hundred pixels


@pytree_dataclass
class TotalVariation(FinitePenalty):
    """w TV(v) of a 1-D or 2-D array: h(D v), with h an l1 norm or a norm of groups.

    `weight` is a scalar, a map per pixel, or (p = 1) a map per edge (ndim, *shape).
    """

    weight: Array
    p: int = static()

    holds_entries = True

    @property
    def isotropic(self) -> bool:
        return self.p == 2

    @property
    def unbounded_curvature(self) -> bool:
        return self.isotropic

    def lifted(self) -> L1 | GroupL2:
        """The function h on the differences: TV = h(D v)."""
        return L1(self.weight) if self.p == 1 else GroupL2(self.weight, (0,))

    def inner(self, shape: tuple[int, ...]) -> tuple[Difference, L1 | GroupL2]:
        return Difference(shape), self.lifted()

    def variation(self) -> TotalVariation:
        return self

    def __call__(self, v: Array) -> Array:
        return self.lifted()(Difference(v.shape)(v))

    def prox(self, v: Array, step: Array) -> Array:
        return self.prox_from(v, step, self.memory(v.shape, v.dtype), PROX_STEPS)[0]

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """The dual field, zero at first."""
        return jnp.zeros((len(shape), *shape), dtype)

    def dual(self, y: Array, memory: Array) -> Array:
        return memory

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        return Difference(p.shape[1:]).adjoint(p), p

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        """(prox, new field): `effort` steps of FGP, one more where they are odd, from the dual field, the `memory`.

        `ascend` takes the image as one line, in which the last pixel of a row has a neighbour that it has not: the
        weight of that edge is zero.
        """
        limits = self._limits(memory)
        terms = Terms(v.ravel(), limits, step, _strides(v.shape), _clip if self.p == 1 else _shrink)
        field = _stacked(ascend(terms, _lines(memory), effort), memory)
        return v - step * Difference(v.shape).adjoint(field), field

    def balance(
        self, force: Array, field: Array, free: Array, borne: tuple[Array, Array], iterations: Array | int
    ) -> Array:
        """The field p that balances a force best, min ||[-force - D^T p]||^2, by FGP from `field`.

        [w] is w where it counts, zero where something else, such as a bound, bears it.

        Args:
            force: On each pixel.
            field: Where p starts, (ndim, *shape).
            free: Where p may move, broadcasting to the field; it stays `field` elsewhere. A pixel's entries go together
                for p = 2.
            borne: Masks of the image: where w > 0 is borne, and where w < 0 is.
            iterations: Of FGP.
        """
        lines = _lines(field)
        free = jnp.broadcast_to(free, field.shape)
        if self.p == 1:
            ends = [(-limit, limit) for limit in self._limits(field)]
            pairs = zip(_lines(free), ends, lines, strict=True)
            bounds = [jnp.where(loose, end, line) for loose, both, line in pairs for end in both]
        else:
            bounds = [*_lines(free), *lines, *self._limits(field)]
        bears = [mask.ravel() for mask in borne]
        one = jnp.ones((), force.dtype)
        terms = Terms(-force.ravel(), [*bears, *bounds], one, _strides(force.shape), self._project_free, _not_borne)
        return _stacked(ascend(terms, lines, iterations), field)

    def _project_free(self, limits: list[Array], parts: list[Array]) -> list[Array]:
        bounds = limits[2:]
        if self.p == 1:
            return [jnp.clip(part, *bounds[2 * i : 2 * i + 2]) for i, part in enumerate(parts)]
        n = len(parts)
        free, held, shrunk = bounds[:n], bounds[n : 2 * n], _shrink(bounds[2 * n :], parts)
        return [jnp.where(*each) for each in zip(free, shrunk, held, strict=True)]

    def _limits(self, field: Array) -> list[Array]:
        """What bounds the lines of a field: each edge's weight (p = 1); where edges are, and the weight (p = 2)."""
        edges = [edge.astype(field.dtype) for edge in _edges(field.shape[1:])]
        weight = jnp.asarray(self.weight, field.dtype)
        if self.p == 1:
            return [
                part * edge for part, edge in zip(_lines(jnp.broadcast_to(weight, field.shape)), edges, strict=True)
            ]
        return [*edges, weight if weight.ndim == 0 else jnp.broadcast_to(weight, field.shape[1:]).ravel()]

    def invalid(self) -> Array:
        return self.lifted().invalid()

    def strength(self) -> Array:
        return self.weight

    def scaled(self, scale: Array, cost: Array) -> TotalVariation:
        return TotalVariation(cost * self.weight / scale, self.p)

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
        return self.lifted().fenchel_gap(Difference(v.shape)(v), p)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _lines(field: Array) -> list[Array]:
    return [part.ravel() for part in field]


def _stacked(lines: list[Array], like: Array) -> Array:
    return jnp.stack(lines).reshape(like.shape)


def _not_borne(limits: list[Array], w: Array) -> Array:
    """w with zeros where it is borne; `limits` begin with the two masks (see `TotalVariation.balance`)."""
    up, down = limits[:2]
    return jnp.where(jnp.where(w > 0, up, down), 0, w)


def _clip(limits: list[Array], parts: list[Array]) -> list[Array]:
    """Each edge within its own limit (anisotropic)."""
    return [jnp.clip(part, -limit, limit) for part, limit in zip(parts, limits, strict=True)]


def _shrink(limits: list[Array], parts: list[Array]) -> list[Array]:
    """The edges of a pixel together within its weight (isotropic).

    The last of the limits is the weight; the others are 1 where there is an edge and 0 where there is none.
    """
    *edges, weight = limits
    parts = [part * edge for part, edge in zip(parts, edges, strict=True)]
    shrink = jnp.minimum(weight / jnp.maximum(safe_norm(parts, (0,)), jnp.finfo(weight.dtype).tiny), 1)
    return [part * shrink for part in parts]


def _edges(shape: tuple[int, ...]) -> list[Array]:
    """Along each axis, which pixels of the flattened array have a neighbour ahead."""
    out = []
    for axis, size in enumerate(shape):
        ahead = jnp.expand_dims(jnp.arange(size) < size - 1, [i for i in range(len(shape)) if i != axis])
        out.append(jnp.broadcast_to(ahead, shape).ravel())
    return out
