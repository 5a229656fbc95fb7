import io
import math
import types
from typing import NamedTuple

import pytest

from admm_jax import progress
from admm_jax.progress import BarProgress, Info, NoProgress, Record, TableProgress, display_for

INFO = Info(size=64, tol=1e-4, max_iterations=1000, name="deblurring")


class Outcome(NamedTuple):
    converged: bool = True
    iterations: int = 30
    objective: float = 9.25
    gap: float = 8e-5


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set by hand."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now.seconds)
    return now


def record(iteration, seconds=0.0, gap=math.nan):
    return Record(iteration, 10.0 + 1 / (1 + iteration), gap, 1e-2, 1e-3, 0.5, seconds)


def run(display, clock, count, pause, gap=lambda i: 10.0**-i):
    display.start(INFO)
    for i in range(count):
        clock.seconds = i * pause
        display.update(record(i, clock.seconds, gap(i)))
    display.finish(Outcome())


def test_no_progress_is_silent(capsys, clock):
    run(NoProgress(), clock, 5, 1.0)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_table_has_one_header_and_aligned_rows(clock):
    stream = io.StringIO()
    run(TableProgress(stream, interval=0.5), clock, 4, 1.0, gap=lambda i: math.nan if i == 0 else 10.0**-i)
    title, header, *rows, closing = stream.getvalue().splitlines()
    assert title == "deblurring: 64 unknowns, tolerance 1.0e-04"
    assert header.split() == ["iteration", "objective", "gap", "primal", "dual", "rho", "seconds"]
    assert [int(row.split()[0]) for row in rows] == [0, 1, 2, 3]
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0].split()[2] == "-"  # not measured
    assert closing == "converged: objective 9.25, gap 8.0e-05 (tolerance 1.0e-04), 30 iterations, 3.00 s"


def test_table_prints_the_first_and_the_last_row_of_a_fast_solve(clock):
    stream = io.StringIO()
    run(TableProgress(stream, interval=0.5), clock, 100, 0.001)
    rows = stream.getvalue().splitlines()[2:-1]
    assert [int(row.split()[0]) for row in rows] == [0, 99]
    assert "\r" not in stream.getvalue()


def test_table_rows_thin_out_on_a_long_solve(clock):
    stream = io.StringIO()
    run(TableProgress(stream, interval=0.5), clock, 36_000, 0.1)  # an hour
    assert 50 < len(stream.getvalue().splitlines()) < 200


def test_table_repaints_a_live_row_in_a_terminal_only_now_and_then(clock):
    stream = Terminal()
    run(TableProgress(stream, interval=0.5, repaint=0.1), clock, 1001, 0.001)  # one second
    repaints = [text for text in stream.getvalue().split("\r") if text and not text.endswith("\n")]
    assert 5 <= len(repaints) <= 12
    lines = [line.rsplit("\r", 1)[-1] for line in stream.getvalue().split("\n")]
    assert [int(line.split()[0]) for line in lines[2:-2]] == [0, 500, 1000]


def test_table_says_when_it_did_not_converge(clock):
    stream = io.StringIO()
    display = TableProgress(stream)
    display.start(INFO._replace(name=""))
    display.finish(Outcome(converged=False, gap=math.inf))
    assert stream.getvalue().splitlines()[-1].startswith("not converged: objective 9.25, gap inf")


def test_table_writes_to_the_standard_output_of_the_moment(capsys, clock):
    run(TableProgress(), clock, 2, 1.0)
    assert "converged" in capsys.readouterr().out


def test_a_display_can_be_used_again(clock):
    display = TableProgress(stream := io.StringIO())
    run(display, clock, 3, 1.0)
    length = len(stream.getvalue())
    run(display, clock, 3, 1.0)
    assert stream.getvalue()[length:] == stream.getvalue()[:length]


def test_bar_follows_the_gap_and_never_moves_back():
    display = BarProgress(stream := io.StringIO(), interval=0)
    display.start(INFO)
    seen = []
    for i, gap in enumerate([math.nan, 1.0, 1e-2, 1e-1, 1e-3, 1e-9]):
        display.update(record(i, gap=gap))
        seen.append(display._bar.n)
    assert seen == pytest.approx([0, 0.1, 50, 50, 75, 100])
    display.finish(Outcome())
    assert "100%" in stream.getvalue()
    assert "gap 8.0e-05" in stream.getvalue()


def test_bar_of_a_solve_that_gave_up_is_not_filled():
    display = BarProgress(stream := io.StringIO(), interval=0)
    display.start(INFO)
    display.update(record(500))
    display.finish(Outcome(converged=False))
    assert display._bar.n == pytest.approx(50)
    assert "not converged" in stream.getvalue()


def test_bar_without_tqdm_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        BarProgress()


def test_display_for():
    display = TableProgress()
    assert display_for(display) is display
    assert isinstance(display_for("table"), TableProgress)
    assert isinstance(display_for(True), TableProgress)
    assert isinstance(display_for("bar"), BarProgress)
    assert isinstance(display_for("none"), NoProgress)
    assert isinstance(display_for(None), NoProgress)
    assert isinstance(display_for(False), NoProgress)
    with pytest.raises(ValueError, match="expected one of 'table', 'bar', 'none' or a display, got 'spinner'"):
        display_for("spinner")
