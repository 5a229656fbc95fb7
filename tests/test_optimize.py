"""`Model.optimize`: NumPy in and out, the configuration of JAX untouched, stopped by Ctrl-C and by the clock."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solver import drive as driver
from tests.models import DEBLURRING, IMAGE, KERNEL, LASSO, MATRIX, OBSERVED, deblurring, lasso

ENDLESS = 2**31 - 2


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


@pytest.fixture(scope="module")
def dense():
    model = lasso()
    model.optimize(LASSO)
    return model


@pytest.fixture(scope="module")
def large():
    model = deblurring()
    model.optimize(DEBLURRING)
    return model


@pytest.fixture
def endless(large):
    """The deblurring model with a tolerance that it never reaches."""
    large.setOption("tol", 0)
    large.setOption("max_iterations", ENDLESS)
    yield large
    for name, value in (("tol", None), ("max_iterations", 10_000), ("time_limit", np.inf)):
        large.setOption(name, value)
    large.variables[0].start = None
    large.optimize(DEBLURRING)


def blurred(U):
    return admm.conv2d(U, KERNEL, "same")


def total_variation(U):
    return np.abs(np.diff(U, axis=0)).sum() + np.abs(np.diff(U, axis=1)).sum()


# the outcome


def test_numpy_in_numpy_float64_out(dense, large):
    for model, params in ((dense, LASSO), (large, DEBLURRING)):
        (variable,) = model.variables
        assert type(variable.X) is np.ndarray
        assert variable.X.dtype == np.float64
        assert variable.X.shape == variable.shape
        assert variable.X.flags.writeable
        leaves = jax.tree.leaves(model.Solution)
        assert all(type(leaf) is np.ndarray for leaf in leaves)
        assert {leaf.dtype.name for leaf in leaves} == {"float64", "int32"}
        assert model.StatusString == "SOLVE_OPT_SUCCESS"
        assert model.DualGap <= 1e-6
        assert params is not model.Solution
    assert dense.getVarByName("x").X is dense.Solution["x"]


def test_the_objective_is_that_of_the_solution(dense, large):
    x, U = dense.variables[0].X, large.variables[0].X
    by_hand = 0.5 * np.sum((MATRIX @ x - OBSERVED) ** 2) + 0.5 * np.abs(x).sum()
    np.testing.assert_allclose(dense.ObjVal, by_hand, rtol=1e-12)
    by_hand = 0.5 * np.sum((blurred(U) - IMAGE) ** 2) + 0.1 * total_variation(U)
    np.testing.assert_allclose(large.ObjVal, by_hand, rtol=1e-12)
    assert type(large.ObjVal) is float
    assert type(large.Status) is int
    assert type(large.NumIters) is int
    assert 0 < large.NumIters < 10_000
    assert 0 < large.SolverTime < 600
    assert large.PrimalGap == 0


def test_it_equals_the_pure_solve(large):
    """In pieces or in one loop, each iteration is the same."""
    with jax.enable_x64(True):
        pure = large.solve(DEBLURRING)
    assert int(pure.iterations) == large.NumIters
    np.testing.assert_allclose(large.variables[0].X, pure["U"], atol=1e-9)
    np.testing.assert_allclose(large.ObjVal, pure.objective, rtol=1e-12)


def test_pieces_of_any_length_give_the_same(large, monkeypatch):
    expected = np.array(large.variables[0].X)
    for piece in (1, 3_000):  # pixels times iterations of the first piece; later ones are timed
        monkeypatch.setattr(driver, "FIRST_PIECE", piece)
        monkeypatch.setattr(driver, "PIECE", 1e-9)
        large.optimize(DEBLURRING)
        np.testing.assert_allclose(large.variables[0].X, expected, atol=1e-9)


def test_jax_arrays_are_taken_in_any_dtype(dense):
    expected = np.array(dense.variables[0].X)
    dense.optimize({"b": jnp.asarray(OBSERVED), dense.getParam("lam"): jnp.float32(0.5)})
    assert dense.variables[0].X.dtype == np.float64
    np.testing.assert_allclose(dense.variables[0].X, expected, atol=1e-5)
    dense.optimize(LASSO)
    np.testing.assert_array_equal(dense.variables[0].X, expected)


def test_maximising():
    model = lasso(maximised=True)
    display = Recorder()
    model.optimize(LASSO, progress=display)
    x = model.variables[0].X
    by_hand = -0.5 * np.sum((MATRIX @ x - OBSERVED) ** 2) - 0.5 * np.abs(x).sum()
    np.testing.assert_allclose(model.ObjVal, by_hand, rtol=1e-12)
    assert model.DualGap >= 0
    assert display.records[-1].objective == model.ObjVal  # the display is in the model's sense too
    assert model.Solution.history.objective[0] < 0


def test_before_it_there_is_nothing():
    model = lasso()
    assert (model.Status, model.StatusString) == (0, "SOLVE_UNKNOWN")
    assert np.isnan(model.SolverTime)
    for name in ("Solution", "ObjVal", "NumIters", "PrimalGap", "DualGap"):
        with pytest.raises(admm.ModelError, match="the model has not been solved: call optimize first"):
            getattr(model, name)
    with pytest.raises(admm.ADMMError, match=r"x has no value yet: call model.optimize\(\) first"):
        _ = model.variables[0].X


def test_a_changed_model_is_not_solved():
    model = lasso()
    model.optimize(LASSO)
    constraint = model.addConstr(model.variables[0] <= 1)
    assert model.StatusString == "SOLVE_UNKNOWN"
    with pytest.raises(admm.ModelError, match="call optimize first"):
        _ = model.ObjVal
    model.removeConstr(constraint)
    model.optimize(LASSO)
    before = model.ObjVal
    with pytest.raises(admm.NonconvexError):
        model.setObjective(-admm.norm(model.variables[0]))
    with pytest.raises(admm.ParameterError):
        model.optimize({"b": OBSERVED})
    assert model.ObjVal == before  # what is refused changes nothing


def test_it_starts_where_the_variable_says(large, endless):
    U, optimum = endless.variables[0], large.ObjVal
    endless.setOption("max_iterations", 1)
    U.start = U.X
    endless.optimize(DEBLURRING)
    near = endless.ObjVal
    U.start = None
    endless.optimize(DEBLURRING)
    assert optimum <= near < endless.ObjVal
    assert endless.NumIters == 1


def test_traced_numbers_belong_to_solve(dense):
    with pytest.raises(admm.ModelError, match="optimize takes numbers and not traced arrays: inside jit"):
        jax.jit(lambda lam: dense.optimize({**LASSO, "lam": lam}))(0.5)


# the configuration of JAX, and threads


def test_the_configuration_of_jax_is_left_alone(dense, endless):
    def state():
        return jax.config.jax_enable_x64, jnp.zeros(()).dtype, jax.config.jax_default_device

    before = state()
    dense.optimize(LASSO)
    assert state() == before
    with jax.enable_x64(True):
        dense.optimize(LASSO)
        assert jnp.zeros(()).dtype == jnp.float64
    with pytest.raises(admm.ParameterError, match="'lam'"):
        dense.optimize({"b": OBSERVED})
    assert state() == before
    with pytest.raises(RuntimeError, match="from the display"):
        endless.optimize(DEBLURRING, progress=Recorder(error=RuntimeError("from the display")))
    assert state() == before
    with pytest.raises(KeyboardInterrupt):
        endless.optimize(DEBLURRING, progress=Recorder(stop_at=1))
    assert state() == before


def test_an_error_in_the_background_comes_out_in_front(dense, monkeypatch):
    seen = []

    def fail(*_, **__):
        seen.append((threading.current_thread().name, jax.config.jax_enable_x64, jax.config.jax_default_device))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(driver, "start", fail)
    before, device = dense.ObjVal, jax.devices("cpu")[0]
    with jax.default_device(device), pytest.raises(RuntimeError, match="out of memory"):
        dense.optimize(LASSO)
    assert seen == [("admm_jax", True, device)]  # the caller's device is the worker's too
    assert dense.ObjVal == before


def test_threads_solve_at_once(dense, large):
    expected = dense.variables[0].X.copy(), large.variables[0].X.copy()
    errors = []

    def solve(model, params, result):
        try:
            for _ in range(5):
                model.optimize(params)
                np.testing.assert_array_equal(model.variables[0].X, result)
                np.testing.assert_allclose(model.solve(params).values[model.variables[0].label], result, atol=0.02)
        except BaseException as error:
            errors.append(error)

    dense.solve(LASSO)
    jobs = [(dense, LASSO, expected[0]), (large, DEBLURRING, expected[1]), (lasso(), LASSO, expected[0])]
    threads = [threading.Thread(target=solve, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# displays


def test_a_display_gets_its_records(large):
    display = Recorder()
    large.optimize(DEBLURRING, progress=display)
    assert display.info == (576, 1e-6, 10_000, "")
    iterations = [record.iteration for record in display.records]
    assert iterations == sorted(set(iterations))
    last = display.records[-1]
    assert (last.iteration, last.objective, last.gap) == (large.NumIters, large.ObjVal, large.DualGap)
    assert last.rho > 0
    assert 0 < last.seconds <= large.SolverTime
    assert display.solution is large.Solution


def test_displays_by_name_and_by_option(dense, capsys):
    dense.optimize(LASSO)
    assert capsys.readouterr() == ("", "")
    dense.optimize(LASSO, progress="table")
    table = capsys.readouterr().out
    closing = f"converged: objective {dense.ObjVal:.10g}"
    assert closing in table
    dense.setOption("solver_verbosity_level", 2)
    dense.optimize(LASSO)
    assert closing in capsys.readouterr().out
    dense.optimize(LASSO, progress="none")
    assert capsys.readouterr() == ("", "")
    dense.setOption("verbosity", 1)
    dense.optimize(LASSO)
    assert "100%" in capsys.readouterr().err
    dense.setOption("verbosity", 0)
    with pytest.raises(ValueError, match="expected one of 'table', 'bar', 'none'"):
        dense.optimize(LASSO, progress="spinner")


# what ends it early


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
    np.testing.assert_allclose(0.5 * np.sum((blurred(U) - IMAGE) ** 2) + 0.1 * total_variation(U), optimum, rtol=1e-6)
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


@pytest.mark.parametrize("compiling", [True, False])
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
