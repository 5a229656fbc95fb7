"""Euclidean projections onto norm balls, differentiable almost everywhere and without NaN at zero."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array


def leading_dot(u: Array | Sequence[Array], v: Array | Sequence[Array]) -> Array:
    """sum_i u_i v_i over the leading axis, kept, written out: of the two differences of a pixel, say.

    XLA's CPU compiler makes a loop of so short a sum, and of all that is fused with it: ten times slower.
    """
    total = u[0] * v[0]
    for i in range(1, len(u)):
        total = total + u[i] * v[i]
    return total[None]


def safe_norm(v: Array | Sequence[Array], axes: tuple[int, ...] | None = None, *, keepdims: bool = False) -> Array:
    """||v||_2 over `axes`, with derivative 0 instead of NaN where the norm is zero.

    Args:
        v: An array; for `axes` (0,) also up to three arrays, the parts that the norm runs over.
        axes: Those of a group; None is all of them.
        keepdims: Whether they stay, of length one.
    """
    if axes == (0,) and 0 < len(v) <= 3:
        squared = leading_dot(v, v) if keepdims else leading_dot(v, v)[0]
    else:
        v = jnp.asarray(v)
        squared = jnp.sum(v * v, axis=axes, keepdims=keepdims)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def project_l2_ball(v: Array, radius: Array, axes: tuple[int, ...] | None = None) -> Array:
    """argmin ||z - v|| subject to ||z||_2 <= radius, for each group of entries.

    Args:
        v: Any shape.
        radius: >= 0, broadcasting to v with `axes` of length one.
        axes: Those inside a group; None is one group of all.
    """
    norm = safe_norm(v, axes, keepdims=True)
    outside = norm > radius
    return jnp.where(outside, v * (radius / jnp.where(outside, norm, 1)), v)


def project_l1_ball(v: Array, radius: Array) -> Array:
    """argmin ||z - v|| subject to ||z||_1 <= radius, by sorting (Held, Wolfe & Crowder 1974; Duchi et al. 2008).

    z = sign(v) max(|v| - theta, 0) with theta chosen so that ||z||_1 = radius; z = v when v is inside.
    """
    magnitude = jnp.abs(v).ravel()
    descending = -jnp.sort(-magnitude)
    cumulative = jnp.cumsum(descending)
    count = jnp.arange(1, magnitude.size + 1)
    active = descending * count > cumulative - radius
    rho = jnp.maximum(jnp.sum(active), 1)
    theta = jnp.maximum((cumulative[rho - 1] - radius) / rho, 0)
    return jnp.sign(v) * jnp.maximum(jnp.abs(v) - theta, 0)
