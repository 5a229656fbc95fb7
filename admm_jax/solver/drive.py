"""The stepwise solve: the same compiled step as the pure one, in pieces short enough to watch, time and interrupt."""

from __future__ import annotations

import atexit
import dataclasses
import queue
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from admm_jax.precision import full_precision
from admm_jax.problem import Point, Problem
from admm_jax.progress import Info, Progress, Record
from admm_jax.pytree import replace
from admm_jax.solution import History, Solution, by_term, oriented
from admm_jax.solver.handover import limit_before
from admm_jax.solver.plan import Plan
from admm_jax.solver.run import HISTORY, Run
from admm_jax.solver.settings import Settings
from admm_jax.solver.solve import FEW_SOLVES, finish, give_back_run, launch, resume, start, take_over_run
from admm_jax.solver.state import State
from admm_jax.status import Status

PIECE = 0.2  # seconds that a piece should take
DISPLAY = 0.1  # seconds between two looks at the display, the clock and the keyboard
LINGER = 30.0  # seconds, at most, that the end of the interpreter waits for pieces left in the background
# Up to 128² pixels a gap of 1e-6 rarely needs polishing (100 to 260 iterations for photographs): a second and a half
# less to compile, for at most twice the time of a later solve.
LATE_POLISH = 300
LATE_ABOVE = 1e-6
PIECE_OF_NEWTON = 50  # iterations: a check costs as much as some hundred of them
FIRST_PIECE = 200_000  # unknowns times iterations of the first piece, before anything has been timed


class Outcome(NamedTuple):
    """A solution in NumPy, the seconds it took, and whether it was interrupted by Ctrl-C."""

    solution: Solution
    seconds: float
    interrupted: bool


class _Worker(threading.Thread):
    """Runs the pieces, so that the caller's thread is free to hear Ctrl-C while XLA compiles or computes.

    `last` is the newest finished run, `records` what the display has not seen yet; `stop` asks it to end with the
    piece under way.
    """

    def __init__(self, pieces: Iterator[Run], began: float, sense: int) -> None:
        super().__init__(daemon=True, name="admm_jax")
        self.pieces, self.began, self.sense = pieces, began, sense
        config: Any = jax.config
        self.device = config.jax_default_device  # of the caller's thread
        self.stop = threading.Event()
        self.done = threading.Event()
        self.last: Run | None = None
        self.records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self.error: BaseException | None = None

    @full_precision  # like all of JAX's contexts, of one thread
    def run(self) -> None:
        try:
            with jax.enable_x64(True), jax.default_device(self.device):
                for run in self.pieces:
                    self.last = run
                    if int(run.checks) > 0:
                        self.records.put(_record(run, time.perf_counter() - self.began, self.sense))
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


_left: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _wait_for_left() -> None:
    """Wait for the pieces left in the background: an interpreter that ends under XLA's feet crashes."""
    ends = time.perf_counter() + LINGER
    for worker in [worker for worker in _left if worker.is_alive()]:
        worker.join(max(ends - time.perf_counter(), 0))


atexit.register(_wait_for_left)


def _pieces(
    problem: Problem, plan: Plan, settings: Settings, x: Point, state: State | None, dtype: np.dtype
) -> Iterator[Run]:
    """The run after each piece, until a check decides or the iterations are spent.

    Polishing, half of the compiling, is not compiled before a run comes to it, nor where it has been left out.
    """
    most = int(settings.max_iterations)
    polisher = plan.polisher if bool(settings.polish) else None
    few = problem.size <= FEW_SOLVES and float(settings.target) >= LATE_ABOVE
    late = polisher is not None and few
    first = max(LATE_POLISH, plan.first_polish) if late else plan.first_polish
    polishing = dataclasses.replace(plan, first_polish=first)
    plan = dataclasses.replace(polishing, polisher=None if late else polisher, polish_later=late)
    piece = max(1, FIRST_PIECE // max(problem.size, 1))
    if plan.dense:
        limit = np.asarray(min(piece, most), np.int32)
        inner, run = launch(problem, settings, x, state, limit, plan=plan, dtype=dtype)
    else:
        inner, run = start(problem, settings, x, state, plan=plan, dtype=dtype)
    yield run
    handed_over = None  # the problem of matrices and its run
    count, status = int(run.state.iteration), int(run.status)
    while count < most and status == Status.SOLVE_UNKNOWN.value:
        clock = time.perf_counter()
        if late and count >= first - 1:
            plan, late = polishing, False
        stop = int(limit_before(plan, settings, np.asarray(min(most, first - 1) if late else most, np.int32)))
        if count >= stop and handed_over is None:
            handed_over = take_over_run(problem, run, settings, plan=plan, dtype=dtype)
        if handed_over is None or plan.later is None:
            limit = np.asarray(min(count + piece, stop), np.int32)
            run = resume(inner, run, limit, settings, plan=plan)
        else:
            dense, moved = handed_over
            limit = np.asarray(min(count + PIECE_OF_NEWTON, most), np.int32)
            handed_over = dense, resume(dense, moved, limit, settings, plan=plan.later)
            run = give_back_run(problem, inner, run, *handed_over, plan=plan)
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
    began: float,
    time_limit: float,
    progress: Progress,
    dtype: np.dtype,
    sense: int = 1,
) -> Outcome:
    """Solve in pieces, in a 64-bit mode that ends with it, until a decision, the time limit or Ctrl-C.

    Whatever ends it, the outcome holds the best iterate of the last finished piece. A piece that was interrupted or
    ran out of time is left to end in the background.

    Args:
        problem: As `prepare` made it.
        plan: Its plan.
        settings: The numbers of the run.
        x: Where to start.
        state: The state of an earlier solve, if there is one.
        began: The `time.perf_counter()` from which time is counted.
        time_limit: In seconds.
        progress: The display.
        dtype: Of the solve.
        sense: -1 where the model maximises: objectives are shown and handed out with that sign.
    """
    progress.start(Info(problem.size, float(settings.tol), int(settings.max_iterations)))
    worker = _Worker(_pieces(problem, plan, settings, x, state, dtype), began, sense)
    ending = None
    try:
        worker.start()
        while not worker.done.wait(min(DISPLAY, max(time_limit - (time.perf_counter() - began), 0))):
            worker.show(progress)
            if time.perf_counter() - began >= time_limit:
                ending = Status.SOLVE_OVER_MAX_TIME
                break
    except KeyboardInterrupt:
        ending = Status.SOLVE_UNKNOWN
    finally:
        worker.stop.set()
        _left.add(worker)  # which forgets it as soon as nothing runs any more
    if worker.error is not None:
        raise worker.error
    solution = oriented(by_term(_to_numpy(problem, plan, worker.last, x, ending, dtype), problem), sense)
    worker.show(progress)
    progress.finish(solution)
    return Outcome(solution, time.perf_counter() - began, ending is Status.SOLVE_UNKNOWN)


def _record(run: Run, seconds: float, sense: int) -> Record:
    certificate = run.certificate
    return Record(
        int(run.state.iteration),
        sense * float(certificate.objective) / float(run.scaling.cost),
        float(certificate.relative_gap),
        float(run.primal_residual),
        float(run.dual_residual),
        float(run.state.rho) / float(run.scaling.stiffness),
        seconds,
    )


def _to_numpy(
    problem: Problem, plan: Plan, run: Run | None, x: Point, ending: Status | None, dtype: np.dtype
) -> Solution:
    """The run's solution in NumPy, without JAX, which may be busy; the start itself where no run has begun."""
    status = Status.SOLVE_UNKNOWN if run is None else Status(int(run.status))
    if status is Status.SOLVE_UNKNOWN:
        status = Status.SOLVE_OVER_MAX_ITER if ending is None else ending
    number: Any = np.asarray(status.value, np.int32)
    if run is not None:
        host = jax.tree.map(np.array, replace(run, workspace=None))
        return jax.tree.map(np.asarray, finish(problem, host, number, plan=plan))  # no NumPy scalars
    values: Any = {name: np.array(value) for name, value in x.items()}
    infinity: Any = np.asarray(np.inf, dtype)
    unknown: Any = np.asarray(np.nan, dtype)
    zero: Any = np.zeros((), np.int32)
    everything: Any = np.asarray([-np.inf, np.inf], dtype)
    none: Any = np.full(HISTORY, np.nan, dtype)
    return Solution(
        values=values,
        objective=infinity,
        gap=infinity,
        range=everything,
        estimate=infinity,
        violation=infinity,
        primal_residual=infinity,
        dual_residual=infinity,
        status=number,
        iterations=zero,
        rho=unknown,
        state=None,
        history=History(*(none for _ in History._fields)),
        multipliers=(),
    )
