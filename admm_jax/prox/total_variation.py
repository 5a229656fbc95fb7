"""Total variation and its prox: Chambolle's dual projection, accelerated and warm-started.

    TV(v) = sum_e w_e |(D v)_e|  (p = 1, anisotropic)    or    sum_pixels w ||(D v)_pixel||_2  (p = 2, isotropic)

    prox(v, t) = v - t D^T p,   p = argmin_{p in C} ||v - t D^T p||^2,   C = {|p_e| <= w_e} or {||p_pixel|| <= w}

(Chambolle 2004; the accelerated projected gradient on p is FGP, Beck & Teboulle 2009, with ||D||^2 <= 4 ndim). The
dual field p is feasible at any moment and does not depend on t, so it is carried from one prox to the next.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.base import Difference
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
        """`iterations` steps of FGP from the dual `field`; returns the prox and the new field.

        The image is one line here, and the field of each axis lies behind as many zeros as its neighbours are apart:
        D and D^T are differences of two slices that move no data, and XLA's CPU backend makes vector code of a step
        (two to three times as fast as one on padded images). Where a row ends there is no edge: its weight is zero.
        """
        difference, size = Difference(v.shape), v.size
        rate = 1 / (4 * v.ndim * step)
        strides = [math.prod(v.shape[axis + 1 :]) for axis in range(v.ndim)]
        edges = [part.astype(v.dtype) for part in _edges(v.shape)]
        line = v.ravel()
        weight = jnp.asarray(self.weight, v.dtype)
        if self.p == 1:
            limits = [part * edge for part, edge in zip(self._per_edge(field), edges, strict=True)]
        else:
            limits = edges
            weight = weight if weight.ndim == 0 else jnp.broadcast_to(weight, v.shape).ravel()

        def project(parts: list[Array]) -> list[Array]:
            pairs = zip(parts, limits, strict=True)
            if self.p == 1:
                return [jnp.clip(part, -limit, limit) for part, limit in pairs]
            parts = [part * edge for part, edge in pairs]
            shrink = jnp.minimum(weight / jnp.maximum(safe_norm(parts, (0,)), jnp.finfo(v.dtype).tiny), 1)
            return [part * shrink for part in parts]

        def body(_: int, carry: tuple) -> tuple:
            previous, extrapolated, w, t = carry
            fields = list(zip(extrapolated, strides, strict=True))
            inside = line - step * sum(buffer[:size] - buffer[stride:] for buffer, stride in fields)
            # written into memory that is there already; the barrier keeps it from being computed again for each axis
            w = lax.optimization_barrier(lax.dynamic_update_slice(w, inside, (0,)))
            ascent = [buffer[stride:] + rate * (w[stride : stride + size] - w[:size]) for buffer, stride in fields]
            current = project(ascent)
            following = (1 + jnp.sqrt(1 + 4 * t * t)) / 2  # Beck & Teboulle 2009, equation 4.2
            ahead = [new + (t - 1) / following * (new - old) for new, old in zip(current, previous, strict=True)]
            pairs = zip(fields, ahead, strict=True)
            extrapolated = [lax.dynamic_update_slice(buffer, new, (stride,)) for (buffer, stride), new in pairs]
            return current, extrapolated, w, following

        parts = [part.ravel() for part in field]
        buffers = [jnp.pad(part, (stride, 0)) for part, stride in zip(parts, strides, strict=True)]
        start = (parts, buffers, jnp.zeros(size + max(strides), v.dtype), jnp.ones((), v.dtype))
        parts, *_ = lax.fori_loop(0, iterations, body, start)
        field = jnp.stack(parts).reshape(field.shape)
        return v - step * difference.adjoint(field), field

    def _per_edge(self, field: Array) -> Array:
        """The weight of every edge, (ndim, pixels)."""
        return jnp.broadcast_to(jnp.asarray(self.weight, field.dtype), field.shape).reshape(len(field), -1)

    def invalid(self) -> Array:
        return self.lifted().invalid()


def _edges(shape: tuple[int, ...]) -> list[Array]:
    """Along each axis, which pixels of the flattened array have a neighbour ahead."""
    out = []
    for axis, size in enumerate(shape):
        ahead = jnp.expand_dims(jnp.arange(size) < size - 1, [i for i in range(len(shape)) if i != axis])
        out.append(jnp.broadcast_to(ahead, shape).ravel())
    return out
