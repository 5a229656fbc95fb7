"""Correlation in Fourier space: periods that an FFT is fast for, the spectrum of a kernel, and its application."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.correlation import Padding, Shape, result_shape


def fast_size(n: int) -> int:
    """The smallest 2^a 3^b 5^c >= n."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            size = three << max(-(-n // three) - 1, 0).bit_length()
            best = min(best, size)
            three *= 3
        five *= 5
    return best


def fft_shape(in_shape: Shape, kernel_shape: Shape, padding: Padding) -> Shape:
    """Periods for which the periodic correlation equals the zero-filled one on the wanted rows and columns.

    Along an axis of n pixels and padding (before, after), what is read outside the image, at most so many pixels away,
    must fall on zeros: a period of n + max(before, after) is enough, and n + p - 1 is not needed. It also holds the
    output, so that the adjoint shares it. The periods are rounded up to sizes that an FFT is fast for.

    Arguments are those of `result_shape`.
    """
    return tuple(fast_size(n) for n in least_periods(in_shape, kernel_shape, padding))


def least_periods(in_shape: Shape, kernel_shape: Shape, padding: Padding) -> Shape:
    """The smallest periods that `fft_shape` may take, fast or not; arguments are those of `result_shape`."""
    out_shape = result_shape(in_shape, kernel_shape, padding)
    return tuple(
        max(n + max(pad), p, out) for n, p, out, pad in zip(in_shape, kernel_shape, out_shape, padding, strict=True)
    )


def kernel_spectrum(taps: Any, padding: Padding, shape: Shape) -> Any:
    """The spectrum S with `correlation = crop(irfftn(S * rfftn(x)))`; its conjugate gives the adjoint.

    Args:
        taps: (p, q), or (..., p, q) for each slice of its own.
        padding: (before, after) of each axis.
        shape: the periods, from `fft_shape`; taps beyond them are added to those that they fall on.

    Returns:
        Complex array of shape (..., shape[0], shape[1] // 2 + 1), NumPy's if the taps are.
    """
    xp: Any = jnp if isinstance(taps, Array) else np
    d = len(shape)
    first = taps.ndim - d
    last = tuple(range(first, taps.ndim))
    placed = taps
    for k, (axis, n) in enumerate(zip(last, shape, strict=True)):
        p = placed.shape[axis]
        placed = xp.pad(placed, [(0, -p % n) if i == axis else (0, 0) for i in range(placed.ndim)])
        if placed.shape[axis] != n:
            folded = (*placed.shape[:axis], -1, n, *placed.shape[axis + 1 :])
            placed = placed.reshape(folded).sum(axis)
        placed = xp.roll(placed, -padding[k][0], axis=axis)
    return xp.conj(xp.fft.rfftn(placed, axes=last)).astype(np.result_type(taps.dtype, np.complex64))


def kernel_of_spectrum(spectrum: Array, kernel_shape: Shape, padding: Padding, shape: Shape) -> Array:
    """The taps that `kernel_spectrum` made the spectrum of.

    Args:
        spectrum: Complex, (..., shape[0], shape[1] // 2 + 1).
        kernel_shape: (p, q).
        padding: (before, after) of each axis.
        shape: The periods.
    """
    last = tuple(range(-len(shape), 0))
    placed = jnp.fft.irfftn(jnp.conj(spectrum), s=shape, axes=last)
    placed = jnp.roll(placed, tuple(pad[0] for pad in padding), axis=last)
    return placed[(..., *(slice(p) for p in kernel_shape))]


def apply_spectrum(x: Array, spectrum: Array, shape: Shape, crop: Shape) -> Array:
    """irfftn(spectrum * rfftn(x)) over the last axes, its first `crop` rows and columns.

    Args:
        x: Along these of at most `shape`; zeros are added beyond.
        spectrum: Complex, (..., shape[0], shape[1] // 2 + 1).
        shape: The periods.
        crop: The shape of the result along them.
    """
    real = np.finfo(spectrum.dtype).dtype
    x = x.astype(jnp.result_type(x, real))
    last = tuple(range(-len(shape), 0))
    out = jnp.fft.irfftn(spectrum * jnp.fft.rfftn(x, s=shape, axes=last), s=shape, axes=last)
    return out[(..., *(slice(n) for n in crop))]


class Transform:
    """F, the Fourier transform of a real array along axes, and its inverse.

    Args:
        periods: The shape of the array.
        axes: In order; None is all.
    """

    def __init__(self, periods: Shape, axes: tuple[int, ...] | None) -> None:
        self.axes = tuple(range(len(periods))) if axes is None else axes
        self.sizes = tuple(periods[axis] for axis in self.axes)
        last = self.axes[-1]
        self.shape = tuple(n // 2 + 1 if i == last else n for i, n in enumerate(periods))

    def __call__(self, x: Array) -> Array:
        return jnp.fft.rfftn(x, axes=self.axes)

    def inverse(self, spectrum: Array) -> Array:
        """F^-1."""
        return jnp.fft.irfftn(spectrum, s=self.sizes, axes=self.axes)
