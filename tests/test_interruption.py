"""What ends `Model.optimize` early: Ctrl-C, also while XLA compiles, the clock, the iterations, the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from admm_jax.solver import drive as driver
from tests.models import DEBLURRING, IMAGE, Recorder, deblurring_objective


def press_ctrl_c(after):
    """Press Ctrl-C some seconds from now; returns when it was pressed."""
    pressed = []

    def press():
        pressed.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(after, press)
    timer.start()
    return pressed


def test_ctrl_c_answers_and_keeps_the_best_iterate(endless):
    optimum = endless.ObjVal
    display = Recorder()
    pressed = press_ctrl_c(0.5)
    with pytest.raises(KeyboardInterrupt):
        endless.optimize(DEBLURRING, progress=display)
    assert time.perf_counter() - pressed[0] < 3  # generous: it is a fraction of a second
    assert endless.StatusString == "SOLVE_UNKNOWN"
    assert endless.NumIters > 0
    np.testing.assert_allclose(endless.ObjVal, optimum, rtol=1e-6)
    U = endless.variables[0].X
    np.testing.assert_allclose(deblurring_objective(U), optimum, rtol=1e-6)
    assert display.solution is endless.Solution
    endless.setOption("tol", None)
    endless.optimize(DEBLURRING)  # a second one works, and at once
    assert endless.StatusString == "SOLVE_OPT_SUCCESS"
    np.testing.assert_allclose(endless.ObjVal, optimum, rtol=1e-6)


def test_what_an_interruption_left_is_a_start(endless):
    with pytest.raises(KeyboardInterrupt):
        endless.optimize(DEBLURRING, progress=Recorder(stop_at=3))
    left = endless.Solution
    solution = endless.solve(DEBLURRING, init=left, tol=1e-4, max_iterations=10_000)
    assert bool(solution.converged)
    np.testing.assert_allclose(solution.objective, left.objective, rtol=1e-3)


def test_ctrl_c_before_the_first_iteration(large, monkeypatch):
    """While XLA compiles, nothing has been computed: the start is what is left."""
    release = threading.Event()

    def compiling(*args, **kwargs):
        release.wait(20)
        raise RuntimeError("nobody is waiting for this any more")

    monkeypatch.setattr(driver, "start", compiling)
    large.variables[0].start = IMAGE
    pressed = press_ctrl_c(0.2)
    with pytest.raises(KeyboardInterrupt):
        large.optimize(DEBLURRING)
    assert time.perf_counter() - pressed[0] < 3
    release.set()
    large.variables[0].start = None
    np.testing.assert_array_equal(large.variables[0].X, IMAGE)
    assert large.StatusString == "SOLVE_UNKNOWN"
    assert (large.NumIters, large.DualGap) == (0, np.inf)
    assert "none was found" in repr(large.Solution)
    with jax.enable_x64(True):  # it has no state, and is a start all the same
        assert bool(large.solve(DEBLURRING, init=large.Solution).converged)
    monkeypatch.undo()
    large.optimize(DEBLURRING)
    assert large.StatusString == "SOLVE_OPT_SUCCESS"


def test_the_time_limit_is_kept(endless):
    optimum = endless.ObjVal
    endless.setOption("solver_max_time_limit", 0.5)
    began = time.perf_counter()
    endless.optimize(DEBLURRING)
    assert 0.5 <= endless.SolverTime <= time.perf_counter() - began < 3.5
    assert endless.StatusString == "SOLVE_OVER_MAX_TIME"
    np.testing.assert_allclose(endless.ObjVal, optimum, rtol=1e-6)
    endless.setOption("solver_max_time_limit", 0)
    endless.optimize(DEBLURRING)
    assert endless.StatusString == "SOLVE_OVER_MAX_TIME"
    assert endless.variables[0].X.shape == (24, 24)


def test_the_iteration_limit_is_kept(endless):
    endless.setOption("admm_max_iteration", 7)
    endless.optimize(DEBLURRING)
    assert (endless.StatusString, endless.NumIters) == ("SOLVE_OVER_MAX_ITER", 7)


SCRIPT = """
import os, signal, threading, time
import admm_jax as admm
from tests.models import DEBLURRING, deblurring

model = deblurring()
model.setOption("tol", 0)
model.setOption("max_iterations", 2**31 - 2)

class Display:
    def start(self, info):
        if {compiling}:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    pressed = False
    def update(self, record):
        if not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)
    def finish(self, solution):
        print("iterations", int(solution.iterations), flush=True)

try:
    model.optimize(DEBLURRING, progress=Display())
except KeyboardInterrupt:
    print("interrupted", model.StatusString, flush=True)
if {twice}:
    model.setOption("tol", None)
    model.optimize(DEBLURRING)
    print(model.StatusString, flush=True)
"""


@pytest.mark.parametrize("compiling", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_interrupted_process_ends_quietly(compiling):
    """While something still computes or compiles in the background: no crash, no output of one, and no hanging."""
    script = SCRIPT.format(compiling=compiling, twice=not compiling)
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.returncode == 0
    first, *rest = done.stdout.splitlines()
    assert (int(first.split()[1]) == 0) is compiling
    assert rest == ["interrupted SOLVE_UNKNOWN"] + ([] if compiling else ["SOLVE_OPT_SUCCESS"])
