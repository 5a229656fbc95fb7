"""Which implementation of a convolution is fastest: the kernel's rank, and measured crossovers."""

from __future__ import annotations

import math

import numpy as np
from jax.typing import DTypeLike

IMPLEMENTATIONS = ("lax", "shift", "separable", "sparse", "fft")


def factorise(
    kernel: np.ndarray, rtol: float | None = None, *, dtype: DTypeLike = np.float64, max_rank: int = 2
) -> tuple[np.ndarray, ...] | None:
    """Factors with kernel = sum_r outer(columns[r], rows[r]) to rounding, or None.

    Crosses through the largest entry of what is left are subtracted until nothing but rounding is left. Of more axes
    than two only products are found, kernel = outer(f_1, f_2, ..., f_d).

    Args:
        kernel: (p, q) host values, or of another dimension.
        rtol: the largest error allowed, relative to the kernel's largest entry; by default 4 units of rounding of
            `dtype`, so that only kernels truly of that rank are taken.
        dtype: the precision of the computation that will use the factors.
        max_rank: the largest number of terms.

    Returns:
        (columns, rows), float64 of shapes (r, p) and (r, q), one for each axis, or None where more terms are needed.

    Source:
        Bebendorf, Approximation of boundary element matrices, Numer. Math. 86 (2000): adaptive cross approximation.
    """
    kernel = np.asarray(kernel, np.float64)
    if not np.all(np.isfinite(kernel)):
        return None
    if rtol is None:
        rtol = 4 * float(np.finfo(np.dtype(dtype)).eps)  # pyright: ignore[reportArgumentType]
    bound = rtol * float(np.max(np.abs(kernel)))
    if kernel.ndim != 2:
        return _product(kernel, bound) if kernel.ndim > 2 else None
    columns, rows = [], []
    rest = kernel
    while len(rows) < max_rank:
        i, j = np.unravel_index(np.argmax(np.abs(rest)), rest.shape)
        pivot = rest[i, j]
        columns.append(rest[:, j] / pivot if pivot else np.zeros(len(rest)))
        rows.append(rest[i, :])
        rest = rest - np.outer(columns[-1], rows[-1])
        if np.max(np.abs(rest)) <= bound:
            return np.stack(columns), np.stack(rows)
    return None


def _product(kernel: np.ndarray, bound: float) -> tuple[np.ndarray, ...] | None:
    """The lines through the largest entry, if the kernel is their product to within `bound`."""
    peak = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    value, whole, factors = kernel[peak], np.ones(()), []
    for axis in range(kernel.ndim):
        line = kernel[tuple(slice(None) if i == axis else peak[i] for i in range(kernel.ndim))]
        own = line / value if axis and value else line
        whole = np.multiply.outer(whole, own)
        factors.append(own[None])
    return tuple(factors) if np.max(np.abs(kernel - whole)) <= bound else None


# Crossovers on XLA's CPU backend, JAX 0.10 on two cores of an AMD EPYC: least of 15 runs, ms for one application inside
# a jitted loop, mode "same", float32 / float64. "rank 1" and "rank 2" are separable passes. XLA's own convolution took
# 2.3 / 1.4 ms for 5×5 taps on 512² and 60 / 36 ms for 15×15, and was nowhere the fastest.
#
#                  128²                                               512²
#   kernel   shift       rank 1      rank 2      FFT           shift       rank 1      rank 2      FFT
#   3×3    .013 / .024  .005 / .015  .009 / .026  .11 / .14   0.14 / 0.25  0.10 / 0.17  0.11 / 0.40  2.5 / 4.0
#   5×5    .024 / .030  .009 / .019  .016 / .031  .14 / .14   0.30 / 0.59  0.09 / 0.32  0.14 / 0.43  1.9 / 4.0
#   9×9    .084 / .16   .014 / .022  .031 / .037  .17 / .16   1.2  / 3.0   0.14 / 0.31  0.27 / 0.99  2.2 / 4.0
#   11×11  .12  / .23                             .11 / .15   1.6  / 3.2                             2.4 / 3.0
#   15×15  .19  / .40   .024 / .038  .049 / .078  .12 / .15   2.6  / 5.3   0.26 / 0.66  0.87 / 3.1   1.8 / 3.8
#   21×21               .041 / .050  .098 / .14   .13 / .16                0.60 / 1.4   1.6  / 4.7   2.3 / 4.1
#   41×41               .078 / .12   .17  / .35   .14 / .22                1.6  / 4.9   3.9  / 11    2.1 / 4.4
#
# From 32² to 1024² the crossovers lie near the same numbers of taps: a pair of transforms costs about as much as 100.
SHIFT_TAPS = 100
SEPARABLE_TAPS = 84

# The sparse one took 0.045 / 0.17 / 0.47 ms for 42 taps of a 15×15 motion kernel on 128², 256² and 512² in float32,
# where the FFT takes 0.12 / 0.5 / 1.8: a little more for a tap than shift-and-add.
SPARSE_COST = 1.2

# On an accelerator: one NVIDIA H100, JAX 0.11, medians, µs, float32. Below 512² most of it is the launching of kernels.
# XLA's own convolution takes 3 s more to compile (the vendor's library tries its algorithms), and is at its best for
# many taps that are of no low rank. float64 is up to twice these, with the same crossovers.
#
#                     128²                                      512²                        2048²
#   kernel   shift  sep.  sparse  FFT  lax      shift  sep.  sparse  FFT  lax      shift  sep.  sparse  FFT  lax
#   5×5       21     22             67   27      26     21             55   25      41     35            214   149
#   9×9       18                    55   22      19                    48   27      59                   213   308
#   15×15     47     18     82      48   24      68     23     97      54   53      281    60     191    211   693
#   31×31    123     23             48   65     195     23            109  178      877    78            218  2588
ACCELERATOR_SEPARABLE_TAPS = 160
ACCELERATOR_LAX_TAPS = 16 * 16
ACCELERATOR_LAX_PIXELS = 512 * 512


def cost_of(implementation: str, kernel_shape: tuple[int, ...], rank: int | None, nonzero: int | None) -> float:
    """What an application costs, in taps of shift-and-add; a pair of transforms costs `SHIFT_TAPS`.

    Args:
        implementation: One of `IMPLEMENTATIONS`.
        kernel_shape: (p, q).
        rank: Of the kernel; None where it is not known, or more than a few.
        nonzero: How many taps are not zero; None where it is not known.
    """
    if implementation == "separable" and rank is not None:
        return float(rank * sum(kernel_shape))
    if implementation == "sparse" and nonzero is not None:
        return SPARSE_COST * nonzero
    return float(SHIFT_TAPS if implementation == "fft" else math.prod(kernel_shape))


def choose_implementation(
    in_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    platform: str,
    rank: int | None,
    nonzero: int | None = None,
) -> tuple[str, str]:
    """The fastest implementation known.

    Args:
        in_shape: (m, n).
        kernel_shape: (p, q).
        platform: JAX's name of the backend, such as "cpu" or "gpu".
        rank: of the kernel; None where it is not known, or more than a few.
        nonzero: how many taps are not zero; None where it is not known.

    Returns:
        (implementation, reason).
    """
    taps, passes = math.prod(kernel_shape), sum(kernel_shape)
    accelerated = platform != "cpu"
    most = ACCELERATOR_SEPARABLE_TAPS if accelerated else SEPARABLE_TAPS
    if rank is not None and rank * passes < taps and rank * passes <= most:
        return "separable", f"rank {rank}: {rank * passes} taps in 1-D passes instead of {taps}"
    if not accelerated and nonzero is not None and SPARSE_COST * nonzero < min(taps, SHIFT_TAPS):
        return "sparse", f"{nonzero} of {taps} taps are not zero"
    if taps <= SHIFT_TAPS:
        return "shift", f"{taps} taps in one fused pass; beyond {SHIFT_TAPS} it is not the fastest"
    if accelerated and taps <= ACCELERATOR_LAX_TAPS and math.prod(in_shape) <= ACCELERATOR_LAX_PIXELS:
        return "lax", f"{taps} taps, the direct convolution of {platform}; the FFT takes over beyond"
    return "fft", f"{taps} taps cost more than a pair of transforms of a {'×'.join(map(str, in_shape))} image"
