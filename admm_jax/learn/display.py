"""Displays of a running fit or search: called with each epoch, or step, they never change what is computed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, TextIO, TypeVar

from admm_jax.learn.outcome import TITLES, Epoch, row

T = TypeVar("T")
Display = Callable[[T], object]
Cells = Callable[[T], Sequence[str]]

WIDTHS = (6, 12, 12, 9, 7, 11, 8, 8)


class Table(Generic[T]):
    """A header, and a row for each call.

    Args:
        titles: Of the columns.
        widths: Of the columns, in characters.
        cells: From what it is called with to a row.
        stream: Where to write; standard output by default, looked up when the first row is written.
    """

    def __init__(
        self, titles: Sequence[str], widths: Sequence[int], cells: Cells[T], stream: TextIO | None = None
    ) -> None:
        self._titles, self._widths, self._cells = titles, widths, cells
        self._stream, self._begun = stream, False

    def __call__(self, step: T) -> None:
        """Write a row."""
        lines = [self._cells(step)] if self._begun else [self._titles, self._cells(step)]
        self._begun = True
        for cells in lines:
            text = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, self._widths, strict=True))
            print(text, file=self._stream or sys.stdout, flush=True)


class Bar(Generic[T]):
    """A bar that moves on by one with each call; needs tqdm.

    Args:
        total: Calls to come, at most.
        label: Before the bar.
        text: From what it is called with to what stands behind the bar.
        stream: Where to write; tqdm's default if left out.
    """

    def __init__(self, total: int, label: str, text: Callable[[T], str], stream: TextIO | None = None) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("the progress bar needs tqdm: `pip install tqdm`, or use progress='table'") from error
        self._bar, self._text = tqdm(total=total, desc=label, file=stream), text

    def __call__(self, step: T) -> None:
        """Move on by one."""
        self._bar.set_postfix_str(self._text(step), refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar standing."""
        self._bar.close()


class EpochTable(Table[Epoch]):
    """A row an epoch.

    Args:
        stream: As of `Table`.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(TITLES, WIDTHS, row, stream)


class EpochBar(Bar[Epoch]):
    """A bar over the epochs, with the loss.

    Args:
        total: Epochs to come.
        stream: As of `Bar`.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        super().__init__(total, "learning", lambda epoch: f"loss {epoch.monitored:.6g}", stream)


def display_of(
    progress: Any, table: Callable[[], Display[T]], bar: Callable[[], Display[T]], what: str = "step"
) -> Display[T]:
    """The display that a user's word stands for.

    Args:
        progress: None, False or "none"; True or "table"; "bar"; or a function of what a display is called with.
        table: Makes a table.
        bar: Makes a bar.
        what: A display is called with, for the error.

    Raises:
        ValueError: for any other word.
    """
    if progress in (None, False, "none"):
        return lambda step: None
    if progress in (True, "table"):
        return table()
    if progress == "bar":
        return bar()
    if callable(progress):
        return progress
    raise ValueError(f"progress: expected 'table', 'bar', 'none' or a function of each {what}, got {progress!r}")


def epoch_display(progress: Any, total: int) -> Display[Epoch]:
    """The display of a fit, of at most `total` more epochs; see `display_of`."""
    return display_of(progress, EpochTable, lambda: EpochBar(total), "Epoch")
