"""`Model.optimize`: NumPy in and out, the configuration of JAX untouched, displays fed."""

from __future__ import annotations

import re
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solver import drive as driver
from tests.models import (
    DEBLURRING,
    LASSO,
    MATRIX,
    OBSERVED,
    Recorder,
    deblurring,
    deblurring_objective,
    lasso,
)


@pytest.fixture(scope="module")
def dense():
    model = lasso()
    model.optimize(LASSO)
    return model


# options of one call


def test_options_of_one_call(dense):
    model = lasso()
    model.optimize(LASSO, tol=1e-2, admm_max_iteration=7, polish=False, verbosity=0)
    assert model.NumIters <= 7
    assert (model.getOption("tol"), model.getOption("max_iterations")) == (None, 10_000)  # for this call only
    model.optimize(LASSO)
    assert model.ObjVal == dense.ObjVal
    model.optimize(LASSO, tol=0, time_limit=0.0)
    assert model.StatusString == "SOLVE_OVER_MAX_TIME"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tl": 1e-3}, "unknown option 'tl': did you mean 'tol'?"),
        ({"tol": 2.0}, "option 'tol' must lie between 0 and 1, got 2.0"),
        ({"derivative": "unroll"}, "option 'derivative' has no meaning in optimize, only in solve"),
        ({"tol": 1e-3, "termination_relative_primal_dual_gap": 1e-3}, "are the same one, given twice"),
    ],
)
def test_wrong_options_of_one_call(dense, options, message):
    before = dense.Solution
    with pytest.raises(admm.DataError, match=re.escape(message)):
        dense.optimize(LASSO, **options)
    assert dense.Solution is before


def test_traced_options_are_refused(dense):
    with pytest.raises(admm.DataError, match="option 'tol' of optimize must be a value"):
        jax.jit(lambda tol: dense.optimize(LASSO, tol=tol))(1e-3)


# a variable in several models


@pytest.mark.slow
def test_a_variable_in_two_models():
    """As where a cell of a notebook is run again while something keeps the model of its first run."""
    x = admm.Var(3)
    models = admm.Model(), admm.Model()
    for model, middle in zip(models, (1.0, 2.0), strict=True):
        model.setObjective(admm.sum(admm.square(x - middle)))
        model.optimize()
        np.testing.assert_allclose(x.X, middle)  # of the last optimize
    for model, middle in zip(models, (1.0, 2.0), strict=True):
        np.testing.assert_allclose(model.Solution[x], middle)  # each keeps its own
        np.testing.assert_allclose(model.solve(init={x: np.ones(3)})[x], middle, rtol=1e-3)


def test_a_variable_without_a_name_keeps_the_name_that_its_first_model_gave():
    first, second = admm.Var(2), admm.Var(2)
    model, other = admm.Model(), admm.Model()
    model.setObjective(admm.sum(admm.square(first - 1)) + admm.sum(admm.square(second - 2)))
    solution = model.solve()
    other.setObjective(admm.sum(admm.square(second - 3)) + admm.sum(admm.square(admm.Var(2))))
    assert [v.label for v in other.variables] == ["x2", "x1"]
    np.testing.assert_allclose(solution[second], 2, rtol=1e-3)


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
    np.testing.assert_allclose(large.ObjVal, deblurring_objective(U), rtol=1e-12)
    assert type(large.ObjVal) is float
    assert type(large.Status) is int
    assert type(large.NumIters) is int
    assert 0 < large.NumIters < 10_000
    assert 0 < large.SolverTime < 600
    assert large.PrimalGap == 0


@pytest.mark.parametrize("options", [{"polish": False}, pytest.param({"tol": 1e-8}, marks=pytest.mark.slow)])
def test_it_equals_the_pure_solve(options):
    """In pieces or in one loop, each iteration is the same; `optimize` polishes late, but not below 1e-6."""
    model = deblurring()
    with jax.enable_x64(True):
        pure = model.solve(DEBLURRING, **options)
    for name, value in options.items():
        if name != "polish":
            model.setOption(name, value)
    model.optimize(DEBLURRING)
    assert int(pure.iterations) == model.NumIters
    np.testing.assert_allclose(model.variables[0].X, pure["U"], atol=1e-9)
    np.testing.assert_allclose(model.ObjVal, pure.objective, rtol=1e-12)


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

    monkeypatch.setattr(driver, "launch", fail)
    before, device = dense.ObjVal, jax.devices("cpu")[0]
    with jax.default_device(device), pytest.raises(RuntimeError, match="out of memory"):
        dense.optimize(LASSO)
    assert seen == [("admm_jax", True, device)]  # the caller's device is the worker's too
    assert dense.ObjVal == before


@pytest.mark.slow
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


# programs in a row


@pytest.mark.parametrize("lam", [0.1, pytest.param(1e-5, marks=pytest.mark.slow)])
def test_a_small_image_is_polished_late_or_not_at_all(lam):
    """Within 300 iterations without polishing; beyond them, the same optimum as where polishing is early."""
    model = deblurring()
    model.optimize({**DEBLURRING, "lam": lam})
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert (model.NumIters < driver.LATE_POLISH) == (lam == 0.1)
    with jax.enable_x64(True):
        exact = model.solve({**DEBLURRING, "lam": lam}, tol=1e-9)
    assert abs(model.ObjVal - float(exact.objective)) <= 1e-6 * model.ObjVal


def test_iterations_end_where_they_are_to_before_a_late_polish():
    model = deblurring()
    model.setOption("max_iterations", driver.LATE_POLISH - 50)
    model.setOption("tol", 1e-6)
    model.optimize({**DEBLURRING, "lam": 1e-5})
    assert model.NumIters == driver.LATE_POLISH - 50
    assert model.StatusString == "SOLVE_OVER_MAX_ITER"
