"""Total variation and its prox: Chambolle's dual projection, accelerated and warm-started.

    TV(v) = sum_e w_e |(D v)_e|  (p = 1, anisotropic)    or    sum_pixels w ||(D v)_pixel||_2  (p = 2, isotropic)

    prox(v, t) = v - t D^T p,   p = argmin_{p in C} ||v - t D^T p||^2,   C = {|p_e| <= w_e} or {||p_pixel|| <= w}

(Chambolle 2004; the accelerated projected gradient on p is FGP, Beck & Teboulle 2009, with ||D||^2 <= 4 ndim). The
dual field p is feasible at any moment and does not depend on t, so it is carried from one prox to the next.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Difference
from admm_jax.prox.dual_ascent import Terms, ascend
from admm_jax.prox.functions import L1, GroupL2
from admm_jax.prox.projections import safe_norm
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class TotalVariation:
    """w TV(v) of a 1-D or 2-D array.

    `weight` is a scalar, a map per pixel, or (p = 1) a map per edge (ndim, *shape).
    """

    weight: Array
    p: int = static()

    @property
    def is_constraint(self) -> bool:
        return False

    def lifted(self) -> L1 | GroupL2:
        """The function h on the differences: TV = h(D v)."""
        return L1(self.weight) if self.p == 1 else GroupL2(self.weight, (0,))

    def __call__(self, v: Array) -> Array:
        return self.lifted()(Difference(v.shape)(v))

    def prox_from(self, v: Array, step: Array, field: Array, iterations: Array | int) -> tuple[Array, Array]:
        """`iterations` steps of FGP from the dual `field`, one more where they are odd; the prox and the new field.

        The image is one line there; where a row ends there is no edge, so its weight is zero.
        """
        limits = [part.astype(v.dtype) for part in _edges(v.shape)]
        weight = jnp.asarray(self.weight, v.dtype)
        if self.p == 1:
            limits = [part * edge for part, edge in zip(self._per_edge(field), limits, strict=True)]
        else:
            limits.append(weight if weight.ndim == 0 else jnp.broadcast_to(weight, v.shape).ravel())
        strides = tuple(math.prod(v.shape[axis + 1 :]) for axis in range(v.ndim))
        terms = Terms(v.ravel(), limits, step, strides, _clip if self.p == 1 else _shrink)
        parts = ascend(terms, [part.ravel() for part in field], iterations)
        field = jnp.stack(parts).reshape(field.shape)
        return v - step * Difference(v.shape).adjoint(field), field

    def _per_edge(self, field: Array) -> Array:
        """The weight of every edge, (ndim, pixels)."""
        return jnp.broadcast_to(jnp.asarray(self.weight, field.dtype), field.shape).reshape(len(field), -1)

    def invalid(self) -> Array:
        return self.lifted().invalid()


def _clip(limits: list[Array], parts: list[Array]) -> list[Array]:
    """Each edge within its own limit (anisotropic)."""
    return [jnp.clip(part, -limit, limit) for part, limit in zip(parts, limits, strict=True)]


def _shrink(limits: list[Array], parts: list[Array]) -> list[Array]:
    """The edges of a pixel together within its weight, the last of the limits; the others tell edges from none."""
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
