"""Figures of images and of a solve's convergence. Matplotlib is imported when a figure is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[int, int, int, int]


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("admm_jax.plot needs matplotlib: `pip install matplotlib`") from error
    return plt


def convergence(solution: Any, ax: Axes | None = None, *, tol: float | None = None) -> Axes:
    """Certified gap, objective above the best seen, and residuals against iterations, on a logarithmic scale.

    Args:
        solution: a `Solution` of one problem (not of a batch), or its `history`.
        ax: where to draw; a new figure by default.
        tol: a gap to mark by a horizontal line.

    Returns:
        The axes.

    Raises:
        ValueError: if the history is that of a batch.
    """
    history = getattr(solution, "history", solution)
    iteration = np.asarray(history.iteration)
    if iteration.ndim != 1:
        raise ValueError(
            f"solution: expected the history of one solve, arrays of one axis, got shape {iteration.shape}"
        )
    objective = np.asarray(history.objective, dtype=float)
    finite = objective[np.isfinite(objective)]
    best = finite.min() if finite.size else np.nan
    curves: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("certified gap", history.gap, {"color": "C0", "linewidth": 2.0}),
        ("objective above the best", (objective - best) / max(abs(best), np.finfo(float).tiny), {"color": "C1"}),
        ("primal residual", history.primal_residual, {"color": "0.55", "linewidth": 1.0}),
        ("dual residual", history.dual_residual, {"color": "0.55", "linewidth": 1.0, "linestyle": "--"}),
    )
    if ax is None:
        ax = _pyplot().subplots(figsize=(5, 4), layout="constrained")[1]
    assert ax is not None
    for label, values, style in curves:
        values = np.asarray(values, dtype=float)
        drawn = np.isfinite(values) & (values > 0) & (iteration >= 0)  # a gap of zero has no place on a log scale
        if drawn.any():
            ax.plot(iteration[drawn], values[drawn], label=label, marker="." if drawn.sum() < 30 else "", **style)
    if tol is not None:
        ax.axhline(tol, color="C0", linewidth=0.8, linestyle=":", label="tolerance")
    ax.set(yscale="log", xlabel="iteration", ylabel="relative", title="convergence")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")
    return ax


def image(picture: Any, ax: Axes | None = None, *, title: str = "", limits: tuple[float, float] = (0.0, 1.0)) -> Axes:
    """One image without axes, grey (height, width) or colour (height, width, 3), `limits` from black to white."""
    if ax is None:
        ax = _pyplot().subplots(figsize=(4, 4), layout="constrained")[1]
    assert ax is not None
    low, high = limits
    picture = np.asarray(picture, dtype=float)
    if picture.ndim == 3:
        picture = np.clip((picture - low) / (high - low), 0, 1)
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(title, fontsize="medium")
    return ax


def inset(
    ax: Axes,
    picture: Any,
    box: Box,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    size: float = 0.42,
    corner: str = "lower right",
    color: str = "gold",
) -> Axes:
    """A magnified part of an image in a corner of its axes, with lines to where it was taken.

    Args:
        ax: the axes that show `picture`.
        picture: the image.
        box: (row, column, height, width) of the part, in pixels.
        limits: values shown black and white.
        size: side of the inset, as a share of the axes.
        corner: "lower right", "lower left", "upper right" or "upper left".
        color: of the frame and the lines.

    Returns:
        The inset's axes.

    Raises:
        ValueError: if the box leaves the image, or the corner is unknown.
    """
    row, column, height, width = box
    rows, columns = np.shape(picture)[:2]
    if not (0 <= row < row + height <= rows and 0 <= column < column + width <= columns):
        raise ValueError(f"box: expected (row, column, height, width) inside {rows} x {columns} pixels, got {box}")
    corners = {"lower": 0.0, "upper": 1 - size, "left": 0.0, "right": 1 - size}
    words = corner.split()
    if len(words) != 2 or words[0] not in ("lower", "upper") or words[1] not in ("left", "right"):
        raise ValueError(f"corner: expected 'lower' or 'upper' and 'left' or 'right', got {corner!r}")
    child = ax.inset_axes((corners[words[1]], corners[words[0]], size, size))
    image(np.asarray(picture)[row : row + height, column : column + width], child, limits=limits)
    # The part keeps the pixel coordinates of the whole, so that the connecting lines find their place.
    child.images[0].set_extent((column - 0.5, column + width - 0.5, row + height - 0.5, row - 0.5))
    child.set_axis_on()
    child.set(xticks=[], yticks=[])
    for spine in child.spines.values():
        spine.set(color=color, linewidth=1.2)
    ax.indicate_inset_zoom(child, edgecolor=color, alpha=0.9)
    return child


def images(
    pictures: Sequence[Any],
    titles: Sequence[str] = (),
    *,
    columns: int | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    zoom: Box | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Images side by side on one common grey scale.

    Args:
        pictures: images, (height, width) or (height, width, 3).
        titles: one for each, or none.
        columns: images in a row; all of them by default.
        limits: values shown black and white.
        zoom: a part (row, column, height, width) to magnify in each image.
        path: where to save the figure.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no image, or the titles are not one for each.
    """
    if not len(pictures) or len(titles) not in (0, len(pictures)):
        raise ValueError(f"titles: expected one for each image, got {len(titles)} for {len(pictures)} images")
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    figure, axes = _pyplot().subplots(
        rows, columns, figsize=(3.4 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, picture, title in zip(axes.flat, pictures, titles or [""] * len(pictures), strict=False):
        image(picture, ax, title=title, limits=limits)
        if zoom is not None:
            inset(ax, picture, zoom, limits=limits)
    return _save(figure, path)


def deblurring(
    original: Any | None,
    blurred: Any,
    recovered: Any,
    history: Any,
    *,
    titles: Sequence[str] = ("original", "blurred", "recovered"),
    limits: tuple[float, float] = (0.0, 1.0),
    zoom: Box | None = None,
    tol: float | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Original, blurred and recovered image, and the convergence, in one row.

    Args:
        original: the image that was blurred, or None if it is not known.
        blurred: the data.
        recovered: the solution.
        history: a `Solution` or its history.
        titles: of the three images.
        limits: values shown black and white.
        zoom: a part (row, column, height, width) to magnify in each image.
        tol: a gap to mark in the convergence.
        path: where to save the figure.

    Returns:
        The figure.
    """
    shown = [(p, t) for p, t in zip((original, blurred, recovered), titles, strict=True) if p is not None]
    count = len(shown) + 1
    figure, axes = _pyplot().subplots(1, count, figsize=(3.6 * count, 3.8), layout="constrained")
    for ax, (picture, title) in zip(axes, shown, strict=False):
        image(picture, ax, title=title, limits=limits)
        if zoom is not None:
            inset(ax, picture, zoom, limits=limits)
    convergence(history, axes[-1], tol=tol)
    return _save(figure, path)


def _save(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure
