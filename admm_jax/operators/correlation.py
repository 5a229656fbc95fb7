"""Correlation with zero fill along the last axes, written in the ways that XLA runs fast on one platform or another.

Every convolution of the library, in every mode and for both orientations of the kernel, is

    y[i] = sum_a taps[a] * x[i + a - before],      x = 0 outside,

with i and a running over d axes, the last ones of x, and `Padding` (before, after) of each. What lies before them are
channels, times or a batch: each slice is correlated, with taps of d axes or, of as many axes as x, with its own. The
adjoint is the same formula with `taps` reversed along the d axes and the complementary padding (p - 1 - before,
p - 1 - after): each implementation below thus serves as its own adjoint.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Shape = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]

UNROLLED_TAPS = 100
"""Above this many taps, shift-and-add loops over the kernel's rows, to keep the program small."""

TURN_TAPS = 48
"""About the taps of one turn of that loop; of two rows at least, as one row at a time is five times slower."""

SPARSE_TURN = 8
"""Taps that the sparse correlation adds in one pass over the image."""


def mode_padding(kernel_shape: Shape, mode: str, flip: bool) -> Padding:
    """The padding that gives `scipy.signal.convolve` (`flip`) or `correlate` in `mode`, each axis as in two dimensions.

    Args:
        kernel_shape: Along each axis.
        mode: "full", "same" or "valid".
        flip: true for convolution. An even kernel is centred half a pixel to the left by one and to the right by the
            other; `same` follows SciPy's `convolve2d` and `correlate2d`.
    """

    def axis(p: int) -> tuple[int, int]:
        if mode == "full":
            return p - 1, p - 1
        if mode == "valid":
            return 0, 0
        before, after = (p - 1) // 2, p // 2
        return (after, before) if flip else (before, after)

    return tuple(axis(p) for p in kernel_shape)


def adjoint_padding(kernel_shape: Shape, padding: Padding) -> Padding:
    """The padding of the adjoint, (p - 1 - before, p - 1 - after)."""
    return tuple((p - 1 - before, p - 1 - after) for p, (before, after) in zip(kernel_shape, padding, strict=True))


def result_shape(in_shape: Shape, kernel_shape: Shape, padding: Padding) -> Shape:
    """The shape of the correlation, n + before + after - p + 1 along each axis.

    Args:
        in_shape: Along each axis.
        kernel_shape: Likewise.
        padding: (before, after) of each axis.
    """
    return tuple(n + sum(pad) - p + 1 for n, p, pad in zip(in_shape, kernel_shape, padding, strict=True))


def reversed_taps(taps: Any, d: int) -> Any:
    """The taps reversed along their last d axes."""
    return taps[(..., *(slice(None, None, -1),) * d)]


def correlate_lax(x: Array, taps: Array, padding: Padding) -> Array:
    """Correlation by XLA's own convolution, at full precision on accelerators.

    Args:
        x: (..., m, n), with as many last axes as `padding` has pairs.
        taps: (p, q), or (..., p, q) for each slice of its own.
        padding: ((top, bottom), (left, right)).

    Returns:
        Array of shape (..., m + top + bottom - p + 1, n + left + right - q + 1).
    """
    d, dtype = len(padding), jnp.result_type(x, taps)
    x, taps = x.astype(dtype), taps.astype(dtype)
    others, image, kernel = x.shape[: x.ndim - d], x.shape[x.ndim - d :], taps.shape[taps.ndim - d :]
    if taps.ndim == d:
        lhs, rhs, groups = x.reshape(-1, 1, *image), taps[None, None], 1
    else:
        lhs, rhs = x.reshape(1, -1, *image), taps.reshape(-1, 1, *kernel)
        groups = rhs.shape[0]
    out = lax.conv_general_dilated(
        lhs, rhs, (1,) * d, padding, precision=lax.Precision.HIGHEST, feature_group_count=groups
    )
    return out.reshape(*others, *out.shape[2:])


def _tap(taps: Array, index: Shape) -> Array:
    """A number, or one for each slice."""
    value = taps[(..., *index)]
    return value if value.ndim == 0 else value.reshape(value.shape + (1,) * len(index))


def correlate_shift(x: Array, taps: Array, padding: Padding) -> Array:
    """Correlation as a sum of shifted images: one fused loop over the pixels, or one for every few kernel rows.

    Arguments and result as in `correlate_lax`.
    """
    d = len(padding)
    kernel = taps.shape[taps.ndim - d :]
    shape = result_shape(x.shape[x.ndim - d :], kernel, padding)
    padded = _padded(x, padding)

    def add_rows(out: Array | None, strip: Array, kernel_rows: Array, count: int) -> Array:
        for index in itertools.product(range(count), *map(range, kernel[1:])):
            window = tuple(slice(a, a + n) for a, n in zip(index, shape, strict=True))
            term = _tap(kernel_rows, index) * strip[(..., *window)]
            out = term if out is None else out + term
        assert out is not None
        return out

    size = int(np.prod(kernel))
    if size <= UNROLLED_TAPS:
        return add_rows(None, padded, taps, kernel[0])

    p = kernel[0]
    group = min(p, max(2, TURN_TAPS * p // size))  # kernel rows in one turn; the last turn is filled up with zeros
    turns = -(-p // group)
    fill = turns * group - p
    first = taps.ndim - d
    widths = [(0, fill if i == first else 0) for i in range(taps.ndim)]
    kernel_groups = jnp.pad(taps, widths).reshape(*taps.shape[:first], turns, group, *kernel[1:])
    padded = jnp.pad(padded, [(0, fill if i == x.ndim - d else 0) for i in range(x.ndim)])

    def turn(out: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        start, kernel_rows = step
        strip = lax.dynamic_slice_in_dim(padded, start, shape[0] + group - 1, axis=x.ndim - d)
        # Without the barriers XLA fuses the dynamic slices into every tap, and on CPU sometimes fails to compile them.
        strip, kernel_rows = lax.optimization_barrier(strip), lax.optimization_barrier(kernel_rows)
        return add_rows(out, strip, kernel_rows, group), None

    zero = jnp.zeros((*x.shape[: x.ndim - d], *shape), jnp.result_type(x, taps))
    return lax.scan(turn, zero, (jnp.arange(0, turns * group, group), jnp.moveaxis(kernel_groups, first, 0)))[0]


def correlate_separable(x: Array, factors: tuple[Array, ...], padding: Padding) -> Array:
    """Correlation with taps = sum_r outer(factors[0][r], ..., factors[-1][r]): passes along one axis after the other.

    Args:
        x: (..., m, n), with as many last axes as there are factors.
        factors: One for each of them, (r, its taps).
        padding: (before, after) of each.

    Returns:
        As `correlate_lax`.
    """
    d = len(padding)
    padded = _pad_columns(x, padding[-1])
    out = None
    for r in range(factors[0].shape[0]):
        term = _shifts(padded, factors[-1][r], axis=x.ndim - 1)
        for k in reversed(range(d - 1)):
            axis = x.ndim - d + k
            term = _shifts(_pad_rows(term, padding[k], axis), factors[k][r], axis=axis)
        out = term if out is None else out + term
    assert out is not None
    return out


def correlate_sparse(x: Array, values: Array, offsets: Array, kernel_shape: Shape, padding: Padding) -> Array:
    """Correlation with the taps that are not zero: taps[offsets[i]] = values[i], taken `SPARSE_TURN` at a time.

    Args:
        x: (..., m, n), with as many last axes as the kernel.
        values: (t,), t a multiple of `SPARSE_TURN`.
        offsets: (t, d) integers, such as (row, column) in a kernel of `kernel_shape`; only their number is compiled in.
        kernel_shape: (p, q).
        padding: (before, after) of each axis.

    Returns:
        As `correlate_lax`.
    """
    d = len(kernel_shape)
    out_shape = (*x.shape[: x.ndim - d], *result_shape(x.shape[x.ndim - d :], kernel_shape, padding))
    padded = _padded(x, padding)
    others = jnp.zeros(x.ndim - d, offsets.dtype)

    def turn(out: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        some_values, some_offsets = step
        for i in range(SPARSE_TURN):
            start = jnp.concatenate([others, some_offsets[i]]) if others.size else some_offsets[i]
            out = out + some_values[i] * lax.dynamic_slice(padded, start, out_shape)
        return out, None

    zero = jnp.zeros(out_shape, jnp.result_type(x, values))
    steps = values.reshape(-1, SPARSE_TURN), offsets.reshape(-1, SPARSE_TURN, d)
    return lax.scan(turn, zero, steps)[0]


def _shifts(padded: Array, taps: Array, axis: int) -> Array:
    """sum_a taps[a] * padded[a : a + size] along `axis`."""
    size = padded.shape[axis] - taps.shape[0] + 1
    out = taps[0] * lax.slice_in_dim(padded, 0, size, axis=axis)
    for a in range(1, taps.shape[0]):
        out = out + taps[a] * lax.slice_in_dim(padded, a, a + size, axis=axis)
    return out


# What a pass reads must lie in memory: fused into the pass, it would be computed again for every tap. On XLA's CPU
# backend padding above and below may be fused into the loop that makes the image (a test a row), but padding left and
# right must not be (a test a pixel, and no vector code): there it is a plain copy. Measured, these two rules are worth
# a factor of 4 for a 5×5 separable kernel.


def _padded(x: Array, padding: Padding) -> Array:
    """Zeros around the last axes, in memory."""
    x = _pad_columns(x, padding[-1])
    for k in reversed(range(len(padding) - 1)):
        x = _pad_rows(x, padding[k], x.ndim - len(padding) + k)
    return x


def _pad_rows(x: Array, pad: tuple[int, int], axis: int) -> Array:
    """Zeros before and after, along an axis that is not the last, in memory."""
    return lax.optimization_barrier(jnp.pad(x, [pad if i == axis else (0, 0) for i in range(x.ndim)]))


def _pad_columns(x: Array, pad: tuple[int, int]) -> Array:
    """Zeros left and right, in memory."""
    x = lax.optimization_barrier(x)
    left, right = (jnp.zeros((*x.shape[:-1], width), x.dtype) for width in pad)
    return lax.optimization_barrier(jnp.concatenate([left, x, right], axis=-1))
