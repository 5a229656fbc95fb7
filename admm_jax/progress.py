"""Progress displays: strategy objects that an iteration's driver calls, with one that does nothing as the default.

A driver calls `start` once, `update` as often as it likes (displays limit their own rate), and `finish` once, also
when it was interrupted. A display never changes what is computed.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any, NamedTuple, Protocol, TextIO


class Record(NamedTuple):
    """The figures of one iteration; NaN where a figure was not measured."""

    iteration: int
    objective: float
    gap: float  # certified bound on the relative suboptimality
    primal_residual: float
    dual_residual: float
    rho: float
    seconds: float  # since the start


class Info(NamedTuple):
    """What a display may want to know before the first iteration."""

    size: int  # number of scalar unknowns
    tol: float  # the gap to be reached
    max_iterations: int
    name: str = ""


class SolutionLike(Protocol):
    """What a display reads of a `Solution`; all are scalars."""

    @property
    def converged(self) -> Any:
        """Whether the gap is certified to be within the tolerance."""
        ...

    @property
    def iterations(self) -> Any:
        """Iterations done."""
        ...

    @property
    def objective(self) -> Any:
        """The objective at the solution."""
        ...

    @property
    def gap(self) -> Any:
        """The certified bound on the relative suboptimality."""
        ...


class Progress(Protocol):
    """A display of a running solve."""

    def start(self, info: Info) -> None:
        """The solve begins."""
        ...

    def update(self, record: Record) -> None:
        """Some iterations later."""
        ...

    def finish(self, solution: SolutionLike) -> None:
        """The solve ended, whatever the status."""
        ...


class NoProgress:
    """Shows nothing."""

    def start(self, info: Info) -> None:
        """Shows nothing."""

    def update(self, record: Record) -> None:
        """Shows nothing."""

    def finish(self, solution: SolutionLike) -> None:
        """Shows nothing."""


_COLUMNS = (("iteration", 9), ("objective", 15), ("gap", 9), ("primal", 9), ("dual", 9), ("rho", 9), ("seconds", 8))
_HEADER = "  ".join(f"{title:>{width}}" for title, width in _COLUMNS)


def format_record(record: Record) -> str:
    """One row of the table, as wide as its header; a dash stands for a figure that was not measured."""

    def cell(value: float, spec: str, width: int) -> str:
        return f"{'-' if not math.isfinite(value) else format(value, spec):>{width}}"

    specs = ("d", ".8e", ".2e", ".2e", ".2e", ".2e", ".2f")
    return "  ".join(cell(value, spec, width) for value, spec, (_, width) in zip(record, specs, _COLUMNS, strict=True))


def _closing_line(info: Info, solution: SolutionLike, seconds: float) -> str:
    verdict = "converged" if bool(solution.converged) else "not converged"
    figures = f"objective {float(solution.objective):.10g}, gap {float(solution.gap):.1e} (tolerance {info.tol:.1e})"
    return f"{verdict}: {figures}, {int(solution.iterations)} iterations, {seconds:.2f} s"


class TableProgress:
    """A table, one header and one row now and then; rows thin out as the solve grows long.

    In a terminal a last row below the table is repainted in between. Elsewhere (a file, a notebook) only whole rows
    are written.

    Args:
        stream: where to write; standard output by default, looked up at the start.
        interval: least time between two rows, in seconds; it grows to a twentieth of the time since the start.
        repaint: least time between two repaints of the live row, in seconds.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 0.5, repaint: float = 0.1) -> None:
        self._given, self._interval, self._repaint = stream, interval, repaint

    def start(self, info: Info) -> None:
        """Print the header."""
        self._stream = sys.stdout if self._given is None else self._given
        self._info, self._last, self._shown = info, None, None
        self._begin = self._row_time = self._paint_time = time.perf_counter()
        if info.name:
            self._write(f"{info.name}: {info.size:,} unknowns, tolerance {info.tol:.1e}\n")
        self._write(_HEADER + "\n")

    def update(self, record: Record) -> None:
        """Print a row, or repaint the live one, if it is time to."""
        now = time.perf_counter()
        first, self._last = self._last is None, record
        if first or now - self._row_time >= max(self._interval, (now - self._begin) / 20):
            self._row_time = now
            self._row(record)
        elif self._stream.isatty() and now - self._paint_time >= self._repaint:
            self._paint_time = now
            self._write("\r" + format_record(record))

    def finish(self, solution: SolutionLike) -> None:
        """Print the last row, if it does not stand there yet, and a closing line."""
        if self._last is not None and self._last is not self._shown:
            self._row(self._last)
        seconds = time.perf_counter() - self._begin if self._last is None else self._last.seconds
        self._write(_closing_line(self._info, solution, seconds) + "\n")

    def _row(self, record: Record) -> None:
        self._shown = record
        start = "\r" if self._stream.isatty() else ""  # rows are equally wide: a new one covers the live one
        self._write(start + format_record(record) + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class BarProgress:
    """A bar that fills as the gap falls to the tolerance, on a logarithmic scale; needs tqdm.

    It never moves back. Until a gap is measured it follows the iterations. In a notebook it is a widget.

    Args:
        stream: where to write; tqdm's own default (standard error) if left out.
        interval: least time between two repaints, in seconds.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 0.1) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("the progress bar needs tqdm: `pip install tqdm`, or use progress='table'") from error
        self._tqdm, self._stream, self._interval = tqdm, stream, interval

    def start(self, info: Info) -> None:
        """Draw the empty bar."""
        self._info, self._first_gap = info, math.nan
        self._bar = self._tqdm(
            total=100,
            desc=info.name or "solving",
            file=self._stream,
            mininterval=self._interval,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        )

    def update(self, record: Record) -> None:
        """Move the bar."""
        if math.isnan(self._first_gap) and 0 < record.gap < math.inf:
            self._first_gap = record.gap
        figures = f"iteration {record.iteration}, objective {record.objective:.6g}, gap {record.gap:.1e}"
        self._bar.set_postfix_str(figures, refresh=False)
        self._advance(100 * self._fraction(record))

    def finish(self, solution: SolutionLike) -> None:
        """Fill the bar if the solve converged, and leave it standing."""
        figures = (
            f"iteration {int(solution.iterations)}, objective {float(solution.objective):.6g}, "
            f"gap {float(solution.gap):.1e}"
        )
        self._bar.set_postfix_str(figures + ("" if bool(solution.converged) else ", not converged"), refresh=False)
        if bool(solution.converged):
            self._advance(100)
        self._bar.refresh()
        self._bar.close()

    def _fraction(self, record: Record) -> float:
        """The share of the way that is done: log(first gap / gap) / log(first gap / tol)."""
        by_iteration = record.iteration / max(self._info.max_iterations, 1)
        if not (0 < record.gap < math.inf and 0 < self._info.tol < self._first_gap):
            return by_iteration
        by_gap = math.log(self._first_gap / record.gap) / math.log(self._first_gap / self._info.tol)
        return max(by_gap, by_iteration)

    def _advance(self, percent: float) -> None:
        step = min(percent, 100) - self._bar.n
        self._bar.update(max(step, 0))


def display_for(progress: Progress | str | bool | None) -> Progress:
    """The display that a user's word stands for.

    Args:
        progress: a display, "table", "bar", "none", True (a table), False or None (nothing).

    Raises:
        ValueError: for any other word.
        ImportError: for "bar" where tqdm is missing.
    """
    displays = {"table": TableProgress, "bar": BarProgress, "none": NoProgress}
    if progress is None or progress is False:
        return NoProgress()
    if progress is True:
        return TableProgress()
    if isinstance(progress, str):
        if progress not in displays:
            raise ValueError(
                f"progress: expected one of {', '.join(map(repr, displays))} or a display, got {progress!r}"
            )
        return displays[progress]()
    return progress
