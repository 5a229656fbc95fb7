"""What a fit hands out: the best parameters, how they were reached, and why it stopped."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from admm_jax.learn.parameters import values
from admm_jax.learn.report import table

SMALL = 4  # entries of a parameter that are shown as numbers
ROWS = 12  # of the history that is printed


class Epoch(NamedTuple):
    """One pass over the images.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean over the images.
        validation: Mean over the validation images; NaN without them.
        slope: Norm of the gradient of the last batch.
        failed: Images without a finite loss and gradient; they were left out.
        iterations: ADMM iterations of the training solves; with a twin criterion those of the first of each two.
        solves: Solves so far.
        seconds: Since the start.
        parameters: The small parameters, by name, where `loss` was measured.
    """

    epoch: int
    loss: float
    validation: float
    slope: float
    failed: int
    iterations: int
    solves: int
    seconds: float
    parameters: dict[str, list[float]]

    @property
    def monitored(self) -> float:
        """The validation loss where there is one, else the loss."""
        return self.loss if math.isnan(self.validation) else self.validation


class Fit(NamedTuple):
    """The outcome of `fit`; it prints itself, and `admm_jax.learn.plot.fit` draws it.

    Attributes:
        raw: The best parameters as the optimiser moves them: a tree like the one that was given.
        last: Those after the last step.
        loss: The best monitored loss: of the validation images, or without them of the training images.
        epoch: When that was.
        converged: Whether it stopped by itself, for want of improvement.
        message: Why it stopped.
        history: One entry an epoch.
    """

    raw: Any
    last: Any
    loss: float
    epoch: int
    converged: bool
    message: str
    history: tuple[Epoch, ...]

    @property
    def params(self) -> Any:
        """The best parameters by value: `Positive(raw)` as exp(raw) and so on."""
        return values(self.raw)

    @property
    def solves(self) -> int:
        """Solves in all, those of the validation included."""
        return self.history[-1].solves if self.history else 0

    def __repr__(self) -> str:
        lines = [f"{self.message}; best loss {self.loss:.6g} at epoch {self.epoch}, {self.solves} solves"]
        for name, value in named(self.params).items():
            array = np.asarray(value)
            size = "×".join(map(str, array.shape))
            shown = f"{array.ravel()[0]:.6g}" if array.size == 1 else f"{size}, {array.min():.4g} to {array.max():.4g}"
            lines.append(f"  {name} = {shown}")
        kept = [*self.history[:1], *self.history[-(ROWS - 1) :]] if len(self.history) > ROWS else list(self.history)
        lines.append(table(TITLES, [row(epoch) for epoch in kept]))
        return "\n".join(lines)


TITLES = ("epoch", "loss", "validation", "gradient", "failed", "iterations", "solves", "seconds")


def row(epoch: Epoch) -> tuple[str, ...]:
    """An epoch as cells under `TITLES`."""
    validation = "-" if math.isnan(epoch.validation) else f"{epoch.validation:.6g}"
    figures = (f"{epoch.loss:.6g}", validation, f"{epoch.slope:.1e}", str(epoch.failed), str(epoch.iterations))
    return (str(epoch.epoch), *figures, str(epoch.solves), f"{epoch.seconds:.1f}")


def named(tree: Any) -> dict[str, Any]:
    """The leaves by their place in the tree, such as "lam" or "layers[0].weight"."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator=".") or "value": leaf for path, leaf in flat}


def small(tree: Any) -> dict[str, list[float]]:
    """The leaves of a few numbers, by name."""
    leaves = {name: np.asarray(leaf, float).ravel() for name, leaf in named(values(tree)).items()}
    return {name: leaf.tolist() for name, leaf in leaves.items() if leaf.size <= SMALL}
