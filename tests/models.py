"""Small models that several files solve: equal structure and shapes, so that each program is compiled once."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator

import jax
import numpy as np

import admm_jax as admm
from admm_jax.solver.programs import compiler_options

# compile faster than jax.jit and compute the same: five times; and with loops that still run fast, for many solves
quick_jit = functools.partial(jax.jit, compiler_options=compiler_options(jax.default_backend(), "little"))
image_jit = functools.partial(jax.jit, compiler_options=compiler_options(jax.default_backend(), "some"))

_rng = np.random.default_rng(7)
MATRIX = _rng.normal(size=(20, 10))
OBSERVED = _rng.normal(size=20)
KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16
IMAGE = np.zeros((24, 24))
IMAGE[6:18, 8:20] = 1.0
IMAGE += 0.1 * _rng.normal(size=IMAGE.shape)

LASSO = {"b": OBSERVED, "lam": 0.5}
DEBLURRING = {"B": IMAGE, "lam": 0.1}


def lasso(matrix: np.ndarray = MATRIX, *, maximised: bool = False) -> admm.Model:
    """minimise 1/2 |A x - b|^2 + lam |x|_1: ten unknowns, solved with dense matrices."""
    x, b, lam = admm.Var("x", 10), admm.Param("b", 20), admm.Param("lam")
    objective = 0.5 * admm.sum(admm.square(matrix @ x - b)) + lam * admm.norm(x, 1)
    model = admm.Model()
    model.setObjective(-objective if maximised else objective, admm.MAXIMIZE if maximised else admm.MINIMIZE)
    return model


def deblurring(kernel: np.ndarray = KERNEL) -> admm.Model:
    """minimise lam TV(U) + 1/2 |K U - B|^2: 576 unknowns, solved without matrices."""
    U, B, lam = admm.Var("U", 24, 24), admm.Param("B", 24, 24), admm.Param("lam")
    model = admm.Model()
    residual = admm.conv2d(U, kernel, "same") - B
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(residual)))
    return model


def deblurring_objective(U: np.ndarray) -> float:
    """The objective of `deblurring` for `DEBLURRING`, by hand."""
    variation = np.abs(np.diff(U, axis=0)).sum() + np.abs(np.diff(U, axis=1)).sum()
    return float(0.5 * np.sum((admm.conv2d(U, KERNEL, "same") - IMAGE) ** 2) + 0.1 * variation)


class Recorder:
    """A display that keeps what it is told; with `stop_at` it is a user who presses Ctrl-C at a record."""

    def __init__(self, stop_at=None, error=None):
        self.info, self.records, self.solution = None, [], None
        self.stop_at, self.error = stop_at, error

    def start(self, info):
        self.info = info

    def update(self, record):
        self.records.append(record)
        if self.error is not None:
            raise self.error
        if self.stop_at is not None and len(self.records) == self.stop_at:
            signal.raise_signal(signal.SIGINT)

    def finish(self, solution):
        self.solution = solution


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
    """The seconds of each compilation inside the block, whichever thread does it."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
