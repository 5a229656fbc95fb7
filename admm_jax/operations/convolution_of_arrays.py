"""Convolution and correlation of plain arrays, NumPy's or JAX's, with zeros outside, and the adjoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from admm_jax.operators.correlation import correlate_lax, reversed_taps
from admm_jax.operators.fourier import fast_size, kernel_spectrum

Shape = tuple[int, ...]
MANY_TAPS = 64  # from which on transforms are faster: 64² and 512² pixels, NumPy and XLA on two cores


def out_shape(x: Shape, k: Shape, mode: str) -> Shape:
    """The shape of the result, for an image of shape `x` and a kernel of shape `k`."""
    if mode == "same":
        return x
    sign = 1 if mode == "full" else -1
    return tuple(n + sign * (p - 1) for n, p in zip(x, k, strict=True))


def _start(k: Shape, mode: str, flip: bool) -> Shape:
    """Where the result begins in the full one, for a kernel of this shape; `flip` is true of a convolution."""
    if mode == "full":
        return (0,) * len(k)
    if mode == "valid":
        return tuple(p - 1 for p in k)
    return tuple((p - 1) // 2 if flip else p // 2 for p in k)


def inward(x: Any, k: Any, axes: Shape, xp: Any) -> tuple[Any, Any]:
    """x and k with the convolved axes as the last ones."""
    last = tuple(range(-len(axes), 0))
    if axes != tuple(range(x.ndim - len(axes), x.ndim)):
        x = xp.moveaxis(x, axes, last)
    return x, k if k.ndim == len(axes) else xp.moveaxis(k, axes, last)


def outward(x: Any, axes: Shape, xp: Any) -> Any:
    """The inverse of `inward`, of a result."""
    return xp.moveaxis(x, tuple(range(-len(axes), 0)), axes)


def windows(x: Any, k: Any, d: int, xp: Any) -> Any:
    """out[i] = sum_a k[a] x[i + a] along the last d axes, wherever the kernel lies inside x."""
    kernel = k.shape[k.ndim - d :]
    many = math.prod(kernel) >= MANY_TAPS and all(xp.issubdtype(a.dtype, np.floating) for a in (x, k))
    if xp is not np:
        return _by_transforms(x, k, d, xp) if many else correlate_lax(x, k, ((0, 0),) * d)
    if many:
        out = _by_transforms(x, k, d, np)
        return np.maximum(out, 0) if np.all(x >= 0) and np.all(k >= 0) else out  # of photons, say: none is negative
    shape = tuple(n - p + 1 for n, p in zip(x.shape[x.ndim - d :], kernel, strict=True))
    out = np.zeros((*x.shape[: x.ndim - d], *shape))
    for a in np.ndindex(*kernel):
        tap = k[(..., *a)]
        window = tuple(slice(i, i + n) for i, n in zip(a, shape, strict=True))
        out += (tap if tap.ndim == 0 else tap.reshape(tap.shape + (1,) * d)) * x[(..., *window)]
    return out


def _by_transforms(x: Any, k: Any, d: int, xp: Any) -> Any:
    """`windows`, by Fourier transforms."""
    axes = tuple(range(-d, 0))
    image, kernel = x.shape[x.ndim - d :], k.shape[k.ndim - d :]
    periods = tuple(fast_size(n) for n in image)
    spectrum = kernel_spectrum(k, ((0, 0),) * d, periods)
    out = xp.fft.irfftn(xp.fft.rfftn(x, periods, axes) * spectrum, periods, axes)
    return out[(..., *(slice(n - p + 1) for n, p in zip(image, kernel, strict=True)))]


def _around(x: Any, d: int, pads: Any, xp: Any) -> Any:
    return xp.pad(x, [(0, 0)] * (x.ndim - d) + list(pads))


def convolve_along(x: Any, k: Any, d: int, mode: str, flip: bool, xp: Any) -> Any:
    """The convolution or correlation of plain arrays, along the last d axes of x.

    Args:
        x: (..., m, n).
        k: (p, q), or with as many axes as x where each slice has its own.
        d: How many axes.
        mode: "full", "same" or "valid".
        flip: True for the convolution, false for the correlation.
        xp: numpy or jax.numpy.
    """
    image, own = x.shape[x.ndim - d :], k.shape[k.ndim - d :]
    shape, start = out_shape(image, own, mode), _start(own, mode, flip)
    kernel = reversed_taps(k, d) if flip else k
    if x.ndim == d and x.size < k.size:  # the full convolution commutes: let the smaller array be the one that is slid
        x, kernel = reversed_taps(kernel, d), reversed_taps(x, d)
    padded = _around(x, d, [(p - 1, p - 1) for p in kernel.shape[kernel.ndim - d :]], xp)
    full = windows(padded, kernel, d, xp)
    return full[(..., *(slice(s, s + n) for s, n in zip(start, shape, strict=True)))]


def convolve_adjoint(y: Any, k: Any, x_shape: Shape, mode: str, flip: bool, xp: Any) -> Any:
    """The adjoint of `convolve_along` as a linear map of x.

    Args:
        y: Of the shape of the result.
        k: (p, q), or with one for each slice.
        x_shape: (m, n), of a slice.
        mode: As of `convolve_along`.
        flip: As of `convolve_along`.
        xp: numpy or jax.numpy.
    """
    d = len(x_shape)
    own = k.shape[k.ndim - d :]
    start, full = _start(own, mode, flip), out_shape(x_shape, own, "full")
    pad = [(s, n - s - m) for s, n, m in zip(start, full, y.shape[y.ndim - d :], strict=True)]
    return windows(_around(y, d, pad, xp), k if flip else reversed_taps(k, d), d, xp)
