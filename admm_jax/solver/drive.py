"""The stepwise solve: the same compiled step as the pure one, in pieces short enough to watch, time and interrupt."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from admm_jax.problem import Point, Problem
from admm_jax.progress import Info, Progress, Record
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver.loop import Run, Settings
from admm_jax.solver.plan import Plan, size_of
from admm_jax.solver.solve import finish, resume, start
from admm_jax.solver.state import State
from admm_jax.status import Status

PIECE = 0.2  # seconds that a piece should take
DISPLAY = 0.1  # seconds between two looks at the display, the clock and the keyboard
FIRST_PIECE = 2_000_000  # pixels times iterations of the first piece, before anything has been timed


class Outcome(NamedTuple):
    """A solution in NumPy, the seconds it took, and whether it was interrupted by Ctrl-C."""

    solution: Solution
    seconds: float
    interrupted: bool


class _Worker(threading.Thread):
    """Runs the pieces, so that the caller's thread is free to hear Ctrl-C while XLA compiles or computes."""

    def __init__(self, pieces: Iterator[Run], began: float) -> None:
        super().__init__(daemon=True, name="admm_jax")
        self.pieces = pieces
        self.began = began
        self.stop = threading.Event()
        self.done = threading.Event()
        self.last: Run | None = None
        self.records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with jax.enable_x64(True):
                for run in self.pieces:
                    self.last = run
                    self.records.put(_record(run, time.perf_counter() - self.began))
                    if self.stop.is_set():
                        break
        except BaseException as error:
            self.error = error  # raised again in the caller's thread
        finally:
            self.done.set()

    def show(self, progress: Progress) -> None:
        """Hand the records so far to the display, in the caller's thread."""
        while not self.records.empty():
            progress.update(self.records.get())


def _pieces(
    problem: Problem, plan: Plan, settings: Settings, x: Point, state: State | None, dtype: np.dtype
) -> Iterator[Run]:
    """The run after each piece, until a check decides or the iterations are spent."""
    size = sum(size_of(shape) for _, shape in problem.variables)
    most = int(settings.max_iterations)
    inner, run = start(problem, settings, x, state, plan=plan, dtype=dtype)
    count, piece, status = 0, max(1, FIRST_PIECE // max(size, 1)), int(run.status)
    while count < most and status == Status.SOLVE_UNKNOWN.value:
        clock = time.perf_counter()
        limit = np.asarray(min(count + piece, most), np.int32)
        run = resume(inner, run, limit, settings, plan=plan)
        before, count, status = count, int(run.state.iteration), int(run.status)
        per_iteration = (time.perf_counter() - clock) / (count - before)
        piece = int(np.clip(PIECE / per_iteration, 1, 4 * piece))
        yield run


def drive(
    problem: Problem,
    plan: Plan,
    settings: Settings,
    x: Point,
    state: State | None,
    *,
    time_limit: float,
    progress: Progress,
    dtype: np.dtype,
) -> Outcome:
    """Solve in pieces, in a 64-bit mode that ends with it, until a decision, the time limit or Ctrl-C.

    Whatever ends it, the outcome holds the best iterate of the last finished piece. A piece that was interrupted or
    ran out of time is left to end in the background.
    """
    began = time.perf_counter()
    size = sum(size_of(shape) for _, shape in problem.variables)
    progress.start(Info(size, float(settings.tol), int(settings.max_iterations)))
    worker = _Worker(_pieces(problem, plan, settings, x, state, dtype), began)
    ending = None
    worker.start()
    try:
        while not worker.done.wait(min(DISPLAY, max(time_limit - (time.perf_counter() - began), 0))):
            worker.show(progress)
            if time.perf_counter() - began >= time_limit:
                ending = Status.SOLVE_OVER_MAX_TIME
                break
    except KeyboardInterrupt:
        ending = Status.SOLVE_UNKNOWN
    worker.stop.set()
    if worker.error is not None:
        raise worker.error
    solution = _to_numpy(problem, plan, worker.last, x, dtype)
    if ending is not None and int(solution.status) != Status.SOLVE_OPT_SUCCESS.value:
        solution = replace(solution, status=np.asarray(ending.value, np.int32))
    worker.show(progress)
    progress.finish(solution)
    return Outcome(solution, time.perf_counter() - began, ending is Status.SOLVE_UNKNOWN)


def _record(run: Run, seconds: float) -> Record:
    certificate = run.certificate
    return Record(
        int(run.state.iteration),
        float(certificate.objective),
        float(certificate.relative_gap),
        float(run.primal_residual),
        float(run.dual_residual),
        float(run.state.rho),
        seconds,
    )


def _to_numpy(problem: Problem, plan: Plan, run: Run | None, x: Point, dtype: np.dtype) -> Solution:
    """The run's solution in NumPy; the start itself, with an infinite gap, where no piece was finished."""
    with jax.enable_x64(True):
        if run is None:
            settings = Settings(*(np.zeros((), kind) for kind in (dtype, dtype, np.int32, bool, dtype, bool)))
            _, run = start(problem, settings, x, None, plan=plan, dtype=dtype)
        return jax.tree.map(np.asarray, finish(problem, run, plan=plan))
