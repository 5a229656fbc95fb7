"""Figures of searches, paths, fits, maps and residuals. Matplotlib is imported when a figure is asked for."""

from __future__ import annotations

import math
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import numpy as np

from admm_jax.learn.outcome import Fit
from admm_jax.learn.path import Path
from admm_jax.learn.search import Found
from admm_jax.learn.unsupervised import autocorrelation
from admm_jax.plot import _pyplot, image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _axes(ax: Axes | None, size: tuple[float, float] = (5, 3.6)) -> Axes:
    return _pyplot().subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def search(
    found: Found, ax: Axes | None = None, *, curve: tuple[Any, Any] | None = None, label: str = "criterion"
) -> Axes:
    """The evaluations of a search, numbered in order, with their slopes, and the best.

    Args:
        found: Of `learn.search`.
        ax: Where to draw; a new figure by default.
        curve: (values of the parameter, criterion) of a grid, to be drawn behind.
        label: Of the vertical axis.
    """
    ax = _axes(ax)
    if curve is not None:
        ax.plot(*map(np.asarray, curve), color="0.7", linewidth=1.2, label=f"{len(curve[0])} values")
    shown = [step for step in found.history if math.isfinite(step.criterion)]
    at, height = np.array([s.value for s in shown]), np.array([s.criterion for s in shown])
    slope = np.array([s.slope for s in shown])
    half = 0.1 * (np.ptp(np.log(at)) or 1.0)
    for x, y, d in zip(at, height, slope, strict=True):
        ax.plot(x * np.exp([-half, half]), [y - half * d, y + half * d], color="C1", linewidth=1.5)
    ax.plot(at, height, "o", color="C0", markersize=4, label=f"{len(shown)} evaluations, with slopes")
    for number, (x, y) in enumerate(zip(at, height, strict=True), 1):
        ax.annotate(str(number), (x, y), xytext=(3, 4), textcoords="offset points", fontsize="x-small")
    ax.plot(found.value, found.criterion, "*", color="C3", markersize=11, label=f"{found.name} = {found.value:.3g}")
    if curve is None:
        ax.margins(0.1)
    else:  # what a search tried far out must not flatten the curve
        low, high = np.nanmin(curve[1]), np.nanmax(curve[1])
        ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    ax.set(xscale="log", xlabel=found.name, ylabel=label)
    ax.tick_params(axis="x", which="minor", labelsize="x-small", rotation=30)
    ax.legend(fontsize="small")
    return ax


def l_curve(path: Path, ax: Axes | None = None) -> Axes:
    """Penalty against data term, both on logarithmic scales, with the corner."""
    ax = _axes(ax, (4.6, 4))
    good = (path.data_term > 0) & (path.penalty > 0)
    order = np.argsort(path.parameter)
    order = order[good[order]]
    ax.loglog(path.data_term[order], path.penalty[order], marker=".", color="C0")
    for place in (order[0], order[-1]):
        ax.annotate(
            f"{path.parameter[place]:.1e}",
            (path.data_term[place], path.penalty[place]),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="x-small",
        )
    corner = path.corner()
    ax.plot(
        path.data_term[corner],
        path.penalty[corner],
        "*",
        color="C3",
        markersize=11,
        label=f"corner: {path.name} = {path.parameter[corner]:.3g}",
    )
    ax.set(xlabel="data term", ylabel="penalty", title="L-curve")
    ax.legend(fontsize="small")
    return ax


def fit(result: Fit, *, path: str | File | None = None) -> Figure:
    """Losses against solves, and the small parameters against epochs, with the best epoch."""
    history = result.history
    names = list(history[0].parameters) if history else []
    figure, axes = _pyplot().subplots(1, 1 + bool(names), figsize=(4.6 * (1 + bool(names)), 3.4), layout="constrained")
    axes = np.atleast_1d(axes)
    solves = [epoch.solves for epoch in history]
    axes[0].plot(solves, [epoch.loss for epoch in history], marker=".", label="loss")
    validation = np.array([epoch.validation for epoch in history])
    if np.isfinite(validation).any():
        axes[0].plot(solves, validation, marker=".", label="validation")
    if 0 < result.epoch <= len(history):
        axes[0].plot(solves[result.epoch - 1], result.loss, "*", color="C3", markersize=11, label="best")
    axes[0].set(xlabel="solves", ylabel="loss")
    if all(epoch.loss > 0 for epoch in history):
        axes[0].set_yscale("log")
    axes[0].legend(fontsize="small")
    for name in names:
        lines = np.array([epoch.parameters[name] for epoch in history])
        for column, line in enumerate(lines.T):
            axes[1].plot(
                [epoch.epoch for epoch in history],
                line,
                marker=".",
                label=name if lines.shape[1] == 1 else f"{name}[{column}]",
            )
    if names:
        axes[1].set(xlabel="epoch", ylabel="parameter")
        drawn = np.array([value for epoch in history for name in names for value in epoch.parameters[name]])
        if drawn.min() > 0 and drawn.max() > 30 * drawn.min():
            axes[1].set_yscale("log")
        axes[1].legend(fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def lam_map(picture: Any, weights: Any, ax: Axes | None = None, *, name: str = "lam") -> Axes:
    """A map of weights in colour over the image in grey, on a logarithmic scale.

    Args:
        picture: The image, (m, n).
        weights: > 0, (m, n).
        ax: Where to draw; a new figure by default.
        name: Of the weights.
    """
    from matplotlib.colors import LogNorm

    ax = _axes(ax, (4.6, 4))
    weights = np.asarray(weights, float)
    image(picture, ax)
    low, high = weights.min(), weights.max()
    shown = ax.imshow(weights, cmap="viridis", alpha=0.6, norm=LogNorm(low, max(high, low * (1 + 1e-6))))
    colours = ax.figure.colorbar(shown, ax=ax, label=name)
    if colours.solids is not None:
        colours.solids.set_alpha(1)
    return ax


def residual(residuals: Any, *, sigma: float | None = None, reach: int = 15, path: str | File | None = None) -> Figure:
    """The residual, its autocorrelation near zero shift, and its distribution beside the noise's.

    Args:
        residuals: A u - d, (m, n).
        sigma: The noise level, to draw its density.
        reach: The largest shift that is shown.
        path: Where to save the figure.
    """
    r = np.asarray(residuals, float)
    figure, axes = _pyplot().subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
    limit = 3 * r.std() or 1.0
    image(r, axes[0], title="residual", limits=(-limit, limit))
    correlation = np.asarray(autocorrelation(r))
    rows, columns = (n // 2 for n in correlation.shape)
    near = np.array(correlation[max(rows - reach, 0) : rows + reach + 1, max(columns - reach, 0) : columns + reach + 1])
    high, wide = near.shape[0] // 2, near.shape[1] // 2
    near[high, wide] = np.nan  # 1, and everything else is small
    top = float(np.nanmax(np.abs(near))) or 1.0
    shown = axes[1].imshow(
        near, cmap="RdBu_r", vmin=-top, vmax=top, extent=(-wide - 0.5, wide + 0.5, high + 0.5, -high - 0.5)
    )
    axes[1].set_title("autocorrelation", fontsize="medium")
    figure.colorbar(shown, ax=axes[1], shrink=0.8)
    axes[2].hist(r.ravel(), bins=40, density=True, color="0.7")
    if sigma is not None:
        x = np.linspace(-4 * sigma, 4 * sigma, 200)
        density = np.exp(-((x / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
        axes[2].plot(x, density, color="C3", label=f"noise, {sigma:.2g}")
        axes[2].legend(fontsize="small")
    axes[2].set_title(f"distribution, rms {np.sqrt(np.mean(r**2)):.3g}", fontsize="medium")
    axes[2].set_yticks([])
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure
