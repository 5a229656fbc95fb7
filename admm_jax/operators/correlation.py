"""Two-dimensional correlation with zero fill, written in the ways that XLA runs fast on one platform or another.

Every convolution of the library, in every mode and for both orientations of the kernel, is

    y[i, j] = sum_{a, b} taps[a, b] * x[i + a - top, j + b - left],      x = 0 outside,

with `Padding` ((top, bottom), (left, right)). Its adjoint is the same formula with `taps` reversed along both axes and
the complementary padding (p - 1 - top, p - 1 - bottom), (q - 1 - left, q - 1 - right): each implementation below thus
serves as its own adjoint.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Padding = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING: Padding = ((0, 0), (0, 0))

UNROLLED_TAPS = 100
"""Above this many taps, shift-and-add loops over the kernel's rows, to keep the program small."""

TURN_TAPS = 48
"""About the taps of one turn of that loop; of two rows at least, as one row at a time is five times slower."""

SPARSE_TURN = 8
"""Taps that the sparse correlation adds in one pass over the image."""


def mode_padding(kernel_shape: tuple[int, int], mode: str, flip: bool) -> Padding:
    """The padding that gives `scipy.signal.convolve2d` (`flip`) or `correlate2d` in `mode`.

    Args:
        kernel_shape: (p, q).
        mode: "full", "same" or "valid".
        flip: true for convolution. An even kernel is centred half a pixel to the left by one and to the right by the
            other; `same` follows SciPy in both.
    """

    def axis(p: int) -> tuple[int, int]:
        if mode == "full":
            return p - 1, p - 1
        if mode == "valid":
            return 0, 0
        before, after = (p - 1) // 2, p // 2
        return (after, before) if flip else (before, after)

    return axis(kernel_shape[0]), axis(kernel_shape[1])


def adjoint_padding(kernel_shape: tuple[int, int], padding: Padding) -> Padding:
    """The padding of the adjoint, (p - 1 - top, p - 1 - bottom), (q - 1 - left, q - 1 - right)."""
    (top, bottom), (left, right) = padding
    p, q = kernel_shape
    return (p - 1 - top, p - 1 - bottom), (q - 1 - left, q - 1 - right)


def result_shape(in_shape: tuple[int, int], kernel_shape: tuple[int, int], padding: Padding) -> tuple[int, int]:
    """The shape of the correlation, (m + top + bottom - p + 1, n + left + right - q + 1).

    Args:
        in_shape: (m, n).
        kernel_shape: (p, q).
        padding: ((top, bottom), (left, right)).
    """
    rows, cols = (n + sum(pad) - p + 1 for n, p, pad in zip(in_shape, kernel_shape, padding, strict=True))
    return rows, cols


def correlate_lax(x: Array, taps: Array, padding: Padding) -> Array:
    """Correlation by XLA's own convolution, at full precision on accelerators.

    Args:
        x: (m, n).
        taps: (p, q).
        padding: ((top, bottom), (left, right)).

    Returns:
        Array of shape (m + top + bottom - p + 1, n + left + right - q + 1).
    """
    dtype = jnp.result_type(x, taps)
    x, taps = x.astype(dtype), taps.astype(dtype)
    out = lax.conv_general_dilated(x[None, None], taps[None, None], (1, 1), padding, precision=lax.Precision.HIGHEST)
    return out[0, 0]


def correlate_shift(x: Array, taps: Array, padding: Padding) -> Array:
    """Correlation as a sum of shifted images: one fused loop over the pixels, or one for every few kernel rows.

    Arguments and result as in `correlate_lax`.
    """
    p, q = taps.shape
    rows, cols = result_shape((x.shape[0], x.shape[1]), (p, q), padding)
    padded = _pad_rows(_pad_columns(x, padding[1]), padding[0])

    def add_rows(out: Array | None, strip: Array, kernel_rows: Array) -> Array:
        for a in range(kernel_rows.shape[0]):
            for b in range(q):
                term = kernel_rows[a, b] * strip[a : a + rows, b : b + cols]
                out = term if out is None else out + term
        assert out is not None
        return out

    if p * q <= UNROLLED_TAPS:
        return add_rows(None, padded, taps)

    group = min(p, max(2, TURN_TAPS // q))  # kernel rows in one turn; the last turn is filled up with zeros
    turns = -(-p // group)
    fill = turns * group - p
    kernel_groups = jnp.pad(taps, ((0, fill), (0, 0))).reshape(turns, group, q)
    padded = jnp.pad(padded, ((0, fill), (0, 0)))

    def turn(out: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        start, kernel_rows = step
        strip = lax.dynamic_slice_in_dim(padded, start, rows + group - 1, axis=0)
        # Without the barriers XLA fuses the dynamic slices into every tap, and on CPU sometimes fails to compile them.
        return add_rows(out, lax.optimization_barrier(strip), lax.optimization_barrier(kernel_rows)), None

    zero = jnp.zeros((rows, cols), jnp.result_type(x, taps))
    return lax.scan(turn, zero, (jnp.arange(0, turns * group, group), kernel_groups))[0]


def correlate_separable(x: Array, columns: Array, rows: Array, padding: Padding) -> Array:
    """Correlation with taps = sum_r outer(columns[r], rows[r]): one pass along the rows, one along the columns.

    Args:
        x: (m, n).
        columns: (r, p).
        rows: (r, q).
        padding: ((top, bottom), (left, right)).

    Returns:
        As `correlate_lax`.
    """
    padded = _pad_columns(x, padding[1])
    out = None
    for r in range(columns.shape[0]):
        term = _shifts(_pad_rows(_shifts(padded, rows[r], axis=1), padding[0]), columns[r], axis=0)
        out = term if out is None else out + term
    assert out is not None
    return out


def correlate_sparse(x: Array, values: Array, offsets: Array, kernel_shape: tuple[int, int], padding: Padding) -> Array:
    """Correlation with the taps that are not zero: taps[offsets[i]] = values[i], taken `SPARSE_TURN` at a time.

    Args:
        x: (m, n).
        values: (t,), t a multiple of `SPARSE_TURN`.
        offsets: (t, 2) integers, (row, column) in a kernel of `kernel_shape`; only their number is compiled in.
        kernel_shape: (p, q).
        padding: ((top, bottom), (left, right)).

    Returns:
        As `correlate_lax`.
    """
    out_shape = result_shape((x.shape[0], x.shape[1]), kernel_shape, padding)
    padded = _pad_rows(_pad_columns(x, padding[1]), padding[0])

    def turn(out: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        some_values, some_offsets = step
        for i in range(SPARSE_TURN):
            out = out + some_values[i] * lax.dynamic_slice(padded, some_offsets[i], out_shape)
        return out, None

    zero = jnp.zeros(out_shape, jnp.result_type(x, values))
    steps = values.reshape(-1, SPARSE_TURN), offsets.reshape(-1, SPARSE_TURN, 2)
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


def _pad_rows(x: Array, pad: tuple[int, int]) -> Array:
    """Zeros above and below, in memory."""
    return lax.optimization_barrier(jnp.pad(x, (pad, (0, 0))))


def _pad_columns(x: Array, pad: tuple[int, int]) -> Array:
    """Zeros left and right, in memory."""
    x = lax.optimization_barrier(x)
    left, right = (jnp.zeros((x.shape[0], width), x.dtype) for width in pad)
    return lax.optimization_barrier(jnp.concatenate([left, x, right], axis=1))


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


def fft_shape(in_shape: tuple[int, int], kernel_shape: tuple[int, int], padding: Padding) -> tuple[int, int]:
    """Periods for which the periodic correlation equals the zero-filled one on the wanted rows and columns.

    Along an axis of n pixels and padding (before, after), what is read outside the image, at most so many pixels away,
    must fall on zeros: a period of n + max(before, after) is enough, and n + p - 1 is not needed. It also holds the
    output, so that the adjoint shares it. The periods are rounded up to sizes that an FFT is fast for.

    Arguments are those of `result_shape`.
    """
    rows, cols = least_periods(in_shape, kernel_shape, padding)
    return fast_size(rows), fast_size(cols)


def least_periods(in_shape: tuple[int, int], kernel_shape: tuple[int, int], padding: Padding) -> tuple[int, int]:
    """The smallest periods that `fft_shape` may take, fast or not; arguments are those of `result_shape`."""
    out_shape = result_shape(in_shape, kernel_shape, padding)
    rows, cols = (
        max(n + max(pad), p, out) for n, p, out, pad in zip(in_shape, kernel_shape, out_shape, padding, strict=True)
    )
    return rows, cols


def kernel_spectrum(taps: Array, padding: Padding, shape: tuple[int, int]) -> Array:
    """The spectrum S with `correlation = crop(irfft2(S * rfft2(x)))`; its conjugate gives the adjoint.

    Args:
        taps: (p, q).
        padding: ((top, bottom), (left, right)).
        shape: the periods, from `fft_shape`; taps beyond them are added to those that they fall on.

    Returns:
        Complex array of shape (shape[0], shape[1] // 2 + 1), NumPy's if the taps are.
    """
    xp = jnp if isinstance(taps, Array) else np
    (p, q), (rows, cols) = taps.shape, shape
    placed = xp.pad(taps, ((0, -p % rows), (0, -q % cols)))
    if placed.shape != shape:
        placed = placed.reshape(-(-p // rows), rows, -(-q // cols), cols).sum((0, 2))
    placed = xp.roll(placed, (-padding[0][0], -padding[1][0]), axis=(0, 1))
    return xp.conj(xp.fft.rfft2(placed)).astype(np.result_type(taps.dtype, np.complex64))


def kernel_of_spectrum(
    spectrum: Array, kernel_shape: tuple[int, int], padding: Padding, shape: tuple[int, int]
) -> Array:
    """The taps (p, q) that `kernel_spectrum` made the spectrum of.

    Args:
        spectrum: Complex, (shape[0], shape[1] // 2 + 1).
        kernel_shape: (p, q).
        padding: ((top, bottom), (left, right)).
        shape: The periods.
    """
    placed = jnp.fft.irfft2(jnp.conj(spectrum), s=shape)
    placed = jnp.roll(placed, (padding[0][0], padding[1][0]), axis=(0, 1))
    return placed[: kernel_shape[0], : kernel_shape[1]]


def apply_spectrum(x: Array, spectrum: Array, shape: tuple[int, int], crop: tuple[int, int]) -> Array:
    """irfft2(spectrum * rfft2(x)), its first `crop` rows and columns.

    Args:
        x: Of at most `shape`; zeros are added beyond.
        spectrum: Complex, (shape[0], shape[1] // 2 + 1).
        shape: The periods.
        crop: The shape of the result.
    """
    real = np.finfo(spectrum.dtype).dtype
    x = x.astype(jnp.result_type(x, real))
    out = jnp.fft.irfft2(spectrum * jnp.fft.rfft2(x, s=shape), s=shape)
    return out[: crop[0], : crop[1]]
