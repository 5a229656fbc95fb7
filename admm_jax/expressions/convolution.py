"""Two-dimensional convolution of plain arrays, zero outside, in NumPy or JAX: the meaning of `conv2d` and `corr2d`.

full convolution:  out[i, j] = sum_{p, q} k[p, q] x[i - p, j - q]
full correlation:  the convolution with k[::-1, ::-1]
same:   the part of the full result of x's shape that starts at ((p - 1) // 2, (q - 1) // 2)
        (at (p // 2, q // 2) for the correlation), for a p x q kernel
valid:  the part that does not look outside x, starting at (p - 1, q - 1)
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

Shape = tuple[int, ...]
MODES = ("full", "same", "valid")


def out_shape(x: Shape, k: Shape, mode: str) -> Shape:
    """The shape of the result, for an image and a kernel of the given shapes."""
    if mode == "same":
        return x
    sign = 1 if mode == "full" else -1
    return tuple(n + sign * (p - 1) for n, p in zip(x, k, strict=True))


def _start(k: Shape, mode: str, flip: bool) -> Shape:
    if mode == "full":
        return (0, 0)
    if mode == "valid":
        return tuple(p - 1 for p in k)
    return tuple((p - 1) // 2 if flip else p // 2 for p in k)


def _windows(x: Any, k: Any, xp: Any) -> Any:
    """out[i, j] = sum_{p, q} k[p, q] x[i + p, j + q], where it is defined."""
    rows, cols = (n - p + 1 for n, p in zip(x.shape, k.shape, strict=True))
    if xp is not np:
        out = jax.lax.conv(x[None, None], k[None, None], (1, 1), "VALID", precision=jax.lax.Precision.HIGHEST)
        return out[0, 0]
    out = np.zeros((rows, cols))
    for p in range(k.shape[0]):
        for q in range(k.shape[1]):
            out += k[p, q] * x[p : p + rows, q : q + cols]
    return out


def convolve(x: Any, k: Any, mode: str, flip: bool, xp: Any) -> Any:
    """The convolution (`flip`) or correlation of plain arrays; `xp` is numpy or jax.numpy."""
    shape, start = out_shape(x.shape, k.shape, mode), _start(k.shape, mode, flip)
    kernel = k[::-1, ::-1] if flip else k
    if x.size < k.size:  # the full convolution commutes: let the smaller array be the one that is slid
        x, kernel = kernel[::-1, ::-1], x[::-1, ::-1]
    padded = xp.pad(x, [(p - 1, p - 1) for p in kernel.shape])
    full = _windows(padded, kernel, xp)
    return full[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]


def adjoint(y: Any, k: Any, x_shape: Shape, mode: str, flip: bool, xp: Any) -> Any:
    """The transpose of `convolve` as a linear map of x."""
    start = _start(k.shape, mode, flip)
    full = out_shape(x_shape, k.shape, "full")
    pad = [(s, n - s - m) for s, n, m in zip(start, full, y.shape, strict=True)]
    return _windows(xp.pad(y, pad), k if flip else k[::-1, ::-1], xp)
