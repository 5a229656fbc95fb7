"""Blur kernels with parameters to learn: non-negative, summing to one, centred, smooth in their parameters."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.precision import full_precision

POINTS = 64  # along the trace of a motion


def gaussian(width: Any, size: int | tuple[int, int]) -> Array:
    """exp(-(i^2 + j^2) / (2 width^2)), scaled to sum to one.

    Args:
        width: Standard deviation in pixels; two of them for rows and columns.
        size: (height, width) in pixels, or one number for both.
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    width = jnp.broadcast_to(jnp.asarray(width), (2,))
    vertical, horizontal = (
        jnp.exp(-0.5 * (_centred(n, width.dtype) / w) ** 2) for n, w in zip((rows, columns), width, strict=True)
    )
    kernel = jnp.outer(vertical, horizontal)
    return kernel / jnp.sum(kernel)


@full_precision
def motion(length: Any, angle: Any, size: int) -> Array:
    """A straight, even motion: points along a segment, each shared bilinearly among its four pixels.

    Args:
        length: In pixels.
        angle: In radians, from the axis of columns towards that of rows.
        size: Side of the kernel; the motion is cut off beyond it.
    """
    length, angle = jnp.asarray(length), jnp.asarray(angle)
    along = jnp.linspace(-0.5, 0.5, POINTS).astype(length.dtype) * length
    pixels = _centred(size, length.dtype)
    rows = jnp.maximum(1 - jnp.abs(pixels[:, None] - along * jnp.sin(angle)), 0)
    columns = jnp.maximum(1 - jnp.abs(pixels[:, None] - along * jnp.cos(angle)), 0)
    kernel = rows @ columns.T
    return kernel / jnp.sum(kernel)


def _centred(n: int, dtype: Any) -> Array:
    """Distances from the middle of n pixels."""
    return (jnp.arange(n) - (n - 1) / 2).astype(dtype)
