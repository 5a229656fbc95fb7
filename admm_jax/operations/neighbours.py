"""Differences of neighbours along axes over a spacing: what `tv`, `gradient` and `laplacian` have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.node import Expr, checked_axes


def edges_of(op: str, x: Expr, axes: Any, spacing: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """(axes, spacing) as of `tv`, from 0 and one number for each axis.

    Args:
        op: What to call the function in an error.
        x: Its argument.
        axes: An int or several; None is all.
        spacing: A number or one for each axis; None is 1.

    Raises:
        ShapeError: x is a scalar, or an axis is out of range.
        DataError: axes are repeated; spacing does not fit, or is not > 0.
    """
    if x.ndim == 0:
        raise ShapeError(f"{op} takes an array with neighbours, got the scalar `{x}`")
    given = range(x.ndim) if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
    own = tuple(checked_axes(x, (axis,), op)[0] for axis in given)
    if not own:
        raise ShapeError(f"{op} takes at least one axis, got {axes!r} for `{x}` of shape {x.shape}")
    if len(set(own)) < len(own):
        raise DataError(f"the axes of {op} must be different ones, got {axes!r} for `{x}` of shape {x.shape}")
    if spacing is None:
        return own, (1.0,) * len(own)
    try:
        h = np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"the spacing of {op} must be numbers, known where the model is written, got {spacing!r:.60}"
        ) from None
    if h.shape not in ((), (len(own),)):
        raise DataError(f"the spacing of {op} must be one number or {len(own)}, one for each axis, got {spacing!r:.60}")
    if not np.all(np.isfinite(h) & (h > 0)):
        raise DataError(f"the spacing of {op} must be > 0, got {spacing!r:.60}")
    return own, tuple(float(value) for value in np.broadcast_to(h, (len(own),)))


def differences(xp: Any, x: Any, axes: tuple[int, ...] | None = None, spacing: tuple[float, ...] | None = None) -> Any:
    """Forward differences along `axes` over `spacing`, stacked first; zero beyond the last entry.

    Args:
        xp: numpy or jax.numpy.
        x: An array.
        axes: None is all.
        spacing: One number for each axis; None is 1.
    """
    axes = tuple(range(x.ndim)) if axes is None else axes
    spacing = (1.0,) * len(axes) if spacing is None else spacing
    pads = [[(0, int(i == axis)) for i in range(x.ndim)] for axis in axes]
    parts = zip(axes, spacing, pads, strict=True)
    return xp.stack([xp.pad(xp.diff(x, axis=axis), pad) / h for axis, h, pad in parts])


def written_edges(e: Expr, usual: tuple[int, ...]) -> str:
    """The arguments `axes`, where they are not the usual ones, and `spacing`, where it is not one."""
    axes, spacing = e.attrs["axes"], e.attrs["spacing"]
    along = "" if axes == usual else f", axes={axes[0] if len(axes) == 1 else axes}"
    if set(spacing) == {1.0}:
        return along
    shown = tuple(float(f"{h:.6g}") for h in spacing)
    return f"{along}, spacing={shown[0] if len(shown) == 1 else shown}"
