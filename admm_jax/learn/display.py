"""Displays of a running fit: called with each epoch, they never change what is computed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from admm_jax.learn.outcome import TITLES, Epoch, row

Display = Callable[[Epoch], object]

WIDTHS = (6, 12, 12, 9, 7, 11, 8, 8)


class EpochTable:
    """A header, and a row an epoch.

    Args:
        stream: Where to write; standard output by default, looked up when the first row is written.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._begun = stream, False

    def __call__(self, epoch: Epoch) -> None:
        """Write a row."""
        lines = [row(epoch)] if self._begun else [TITLES, row(epoch)]
        self._begun = True
        for cells in lines:
            text = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
            print(text, file=self._stream or sys.stdout, flush=True)


class EpochBar:
    """A bar over the epochs, with the loss; needs tqdm.

    Args:
        total: Epochs to come.
        stream: Where to write; tqdm's default if left out.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("the progress bar needs tqdm: `pip install tqdm`, or use progress='table'") from error
        self._bar = tqdm(total=total, desc="learning", file=stream)

    def __call__(self, epoch: Epoch) -> None:
        """Move on by one."""
        self._bar.set_postfix_str(f"loss {epoch.monitored:.6g}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar standing."""
        self._bar.close()


def epoch_display(progress: Any, total: int) -> Display:
    """The display that a user's word stands for.

    Args:
        progress: None, False or "none"; True or "table"; "bar"; or a function of an `Epoch`.
        total: Epochs to come, for a bar.

    Raises:
        ValueError: for any other word.
    """
    if progress in (None, False, "none"):
        return lambda epoch: None
    if progress in (True, "table"):
        return EpochTable()
    if progress == "bar":
        return EpochBar(total)
    if callable(progress):
        return progress
    raise ValueError(f"progress: expected 'table', 'bar', 'none' or a function of an Epoch, got {progress!r}")
