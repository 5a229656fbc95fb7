"""Which implementation of a convolution is fastest: the kernel's rank, and measured crossovers."""

from __future__ import annotations

import numpy as np
from jax.typing import DTypeLike

IMPLEMENTATIONS = ("lax", "shift", "separable", "fft")


def factorise(
    kernel: np.ndarray, rtol: float | None = None, *, dtype: DTypeLike = np.float64, max_rank: int = 2
) -> tuple[np.ndarray, np.ndarray] | None:
    """Factors with kernel = sum_r outer(columns[r], rows[r]) to rounding, or None.

    Crosses through the largest entry of what is left are subtracted until nothing but rounding is left.

    Arguments:
        kernel: (p, q) host values.
        rtol: the largest error allowed, relative to the kernel's largest entry; by default 4 units of rounding of
            `dtype`, so that only kernels truly of that rank are taken.
        dtype: the precision of the computation that will use the factors.
        max_rank: the largest number of terms.

    Returns:
        (columns, rows), float64 of shapes (r, p) and (r, q), or None where more terms are needed.

    Source:
        Bebendorf, Approximation of boundary element matrices, Numer. Math. 86 (2000): adaptive cross approximation.
    """
    kernel = np.asarray(kernel, np.float64)
    if not np.all(np.isfinite(kernel)):
        return None
    if rtol is None:
        rtol = 4 * float(np.finfo(np.dtype(dtype)).eps)  # pyright: ignore[reportArgumentType]
    bound = rtol * float(np.max(np.abs(kernel)))
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


def choose_implementation(
    in_shape: tuple[int, int], kernel_shape: tuple[int, int], dtype: DTypeLike, platform: str, rank: int | None
) -> tuple[str, str]:
    """(implementation, reason) by sizes, dtype, platform and the kernel's rank (None where not known or not low)."""
    p, q = kernel_shape
    if platform != "cpu":
        if p * q > 31 * 31:
            return "fft", f"{p}×{q} taps are many, on {platform}"
        return "lax", f"the direct convolution of {platform}"
    if rank is not None and rank * (p + q) < p * q:
        return "separable", f"rank {rank}: {rank * (p + q)} taps instead of {p * q}"
    if p * q <= 81:
        return "shift", f"{p * q} taps, one fused pass"
    return "fft", f"{p * q} taps are more than a pair of transforms costs"
