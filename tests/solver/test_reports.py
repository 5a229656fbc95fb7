"""Kinds of models that users of this and other solvers have reported on: hard ones, whose right answers are known."""

from __future__ import annotations

import functools
import warnings

import cvxpy as cp
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.status import Status
from tests.models import quick_jit
from tests.solver.claims import (
    FEASIBILITY,
    ITERATIONS,
    TOL,
    check_gap,
    check_honest,
    check_success,
    optimum_of,
    solve,
    status_of,
)


def solve_all(model, params, dtype="float64", **options):
    """Solve each of many sets of data, one after another, with one program."""
    with jax.enable_x64(dtype == "float64"):
        cast = {name: jnp.asarray(np.asarray(value, dtype)) for name, value in params.items()}
        solutions = quick_jit(lambda p: jax.lax.map(lambda q: model.solve(q, max_iterations=ITERATIONS, **options), p))
        solutions = jax.tree.map(np.asarray, solutions(cast))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], solutions) for i in range(len(solutions.status))]


# optima of zero, sums of norms


@pytest.mark.slow
def test_optimum_of_zero():
    rng = np.random.default_rng(0)
    A, C = rng.normal(size=(97, 450)), rng.normal(size=(190, 450))
    x, b, d = admm.Var("x", 450), admm.Param("b", 97), admm.Param("d", 190)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(A @ x - b)) + 0.014 * admm.norm(C @ x - d, 1))
    params = {"b": rng.normal(size=97), "d": rng.normal(size=190)}
    solution = solve(model, params)
    assert status_of(solution) is Status.SOLVE_OPT_SUCCESS
    unit = 0.5 * params["b"] @ params["b"] + 0.014 * np.abs(params["d"]).sum()
    assert 0 <= float(solution.objective) <= 1e-6 * unit
    assert float(solution.gap) <= TOL["float64"]


@pytest.mark.slow
def test_sums_of_norms():
    rng = np.random.default_rng(1)
    A, C, D, E = (rng.normal(size=(m, 450)) / 20 for m in (150, 80, 60, 200))
    b, c, d, e = (rng.normal(size=len(M)) for M in (A, C, D, E))
    x, model = admm.Var("x", 450), admm.Model()
    model.setObjective(
        0.5 * admm.sum(admm.square(A @ x - b)) + admm.norm(C @ x - c) + admm.norm(D @ x - d, np.inf)
        + 0.1 * admm.norm(E @ x - e, 1)
    )  # fmt: skip
    y = cp.Variable(450)
    best = optimum_of(
        0.5 * cp.sum_squares(A @ y - b) + cp.norm2(C @ y - c) + cp.norm_inf(D @ y - d) + 0.1 * cp.norm1(E @ y - e)
    )
    check_success(solve(model, {}), best.optimum, error=best.error)


# what float32 can do


CONDITIONED = np.random.default_rng(5)
Q, R = (np.linalg.qr(CONDITIONED.normal(size=shape))[0] for shape in ((40, 20), (20, 20)))
ILL = (Q * np.geomspace(1, 1 / 450, 20)) @ R.T  # condition 450
TRUTHS = np.abs(CONDITIONED.normal(size=(24, 20))) * (CONDITIONED.random((24, 20)) < 0.4)
TRUTHS /= np.maximum(TRUTHS.sum(axis=1, keepdims=True), 0.1)
OBSERVED = TRUTHS @ ILL.T + 0.01 * CONDITIONED.normal(size=(24, 40))


@functools.cache
def nonnegative_lasso(summed):
    model, x, b = admm.Model(), admm.Var("x", 20, nonneg=True), admm.Param("b", 40)
    model.setObjective(0.5 * admm.sum(admm.square(ILL @ x - b)) + 1e-3 * admm.sum(x))
    if summed:
        model.addConstr(admm.sum(x) == 1)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("summed", [False, True])
def test_nonnegative_lassos_with_condition_450(summed, dtype):
    """In float32 the dtype may end some: then it says so, soon."""
    solutions = solve_all(nonnegative_lasso(summed), {"b": OBSERVED}, dtype)
    x = cp.Variable(20, nonneg=True)
    for solution, b in zip(solutions, OBSERVED, strict=True):
        theirs = 0.5 * cp.sum_squares(ILL @ x - b) + 1e-3 * cp.sum(x)
        best = optimum_of(theirs, [cp.sum(x) == 1] if summed else [])
        error = best.error + FEASIBILITY[dtype] * (0.1 if dtype == "float64" else 0.02)
        if dtype == "float64":
            check_success(solution, best.optimum, error=error)
        else:
            check_honest(solution, best.optimum, error=error)
        if status_of(solution) is Status.SOLVE_OPT_SUCCESS:
            assert np.min(solution["x"]) >= -FEASIBILITY[dtype] * (1 if summed else np.max(solution["x"]))
            assert not summed or abs(float(np.sum(solution["x"], dtype=float)) - 1) <= 2 * FEASIBILITY[dtype]
    converged = sum(status_of(solution) is Status.SOLVE_OPT_SUCCESS for solution in solutions)
    assert converged >= len(solutions) // 2


# one norm of A x - b alone


@functools.cache
def regression(ord):
    rng = np.random.default_rng(11)
    model, x, A, b = admm.Model(), admm.Var("x", 5), admm.Param("A", 30, 5), admm.Param("b", 30)
    model.setObjective(admm.norm(A @ x - b, ord))
    count = 48 if ord == 1 else 10
    return model, {"A": rng.normal(size=(count, 30, 5)), "b": rng.normal(size=(count, 30))}


@pytest.mark.slow
@pytest.mark.parametrize("ord", [1, np.inf])
def test_one_norm_alone(ord):
    model, params = regression(ord)
    x, failed = cp.Variable(5), []
    for i, solution in enumerate(solve_all(model, params)):
        residual = params["A"][i] @ x - params["b"][i]
        best = optimum_of(cp.norm1(residual) if ord == 1 else cp.norm_inf(residual))
        check_gap(solution, best.optimum, error=best.error)
        if status_of(solution) is not Status.SOLVE_OPT_SUCCESS:
            failed.append((i, float(solution.gap)))
        else:
            check_success(solution, best.optimum, error=best.error)
    assert not failed


# large dense models and long signals


@pytest.mark.slow
def test_huber_with_l1():
    rng = np.random.default_rng(2)
    A, truth = rng.normal(size=(1000, 400)), rng.normal(size=400) * (rng.random(400) < 0.1)
    data = A @ truth + 0.1 * rng.standard_t(1.5, size=1000)
    x, b, model = admm.Var("x", 400), admm.Param("b", 1000), admm.Model()
    model.setObjective(admm.sum(admm.huber(A @ x - b, 0.2)) + 2 * admm.norm(x, 1))
    y = cp.Variable(400)
    best = optimum_of(cp.sum(cp.huber(A @ y - data, 0.2)) / 2 + 2 * cp.norm1(y))
    check_success(solve(model, {"b": data}), best.optimum, error=best.error)


def trend_filter():
    """(solution, optimum, error) of a long signal whose second differences are as ill-conditioned as it is long."""
    rng = np.random.default_rng(4)
    n = 2000
    t = np.linspace(0, 1, n)
    data = np.abs(t - 0.3) + 2 * np.maximum(t - 0.7, 0) + 0.05 * rng.normal(size=n)
    x, b, model = admm.Var("x", n), admm.Param("b", n), admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + 10 * admm.norm(x[2:] - 2 * x[1:-1] + x[:-2], 1))
    y = cp.Variable(n)
    best = optimum_of(0.5 * cp.sum_squares(y - data) + 10 * cp.norm1(cp.diff(y, 2)))
    return solve(model, {"b": data}), best


@pytest.mark.slow
def test_trend_filter_says_what_it_knows():
    """ADMM with an exact x-update and the best rho takes 1,000 to 3,000 iterations: it does not claim to be there."""
    solution, best = trend_filter()
    check_gap(solution, best.optimum, error=best.error)
    assert status_of(solution) in (Status.SOLVE_OVER_MAX_ITER, Status.SOLVE_STALLED, Status.SOLVE_OPT_SUCCESS)
    assert (float(solution.gap) <= TOL["float64"]) == (status_of(solution) is Status.SOLVE_OPT_SUCCESS)


@pytest.mark.open
def test_trend_filter_is_solved():
    solution, best = trend_filter()
    check_success(solution, best.optimum, error=best.error)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1e-2, 1e-4])
def test_nearly_parallel_rows(spread):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=6) + spread * rng.normal(size=(12, 6))
    inside, centre = rng.normal(size=6), 3 * rng.normal(size=6)
    centre += 4 * rows[0] / np.linalg.norm(rows[0])
    upper = rows @ inside + spread * rng.uniform(0, 1, size=12)
    x, A, b, model = admm.Var("x", 6), admm.Param("A", 12, 6), admm.Param("b", 12), admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - centre)))
    model.addConstr(A @ x <= b)
    y = cp.Variable(6)
    constraints = [rows @ y <= upper]
    best = optimum_of(0.5 * cp.sum_squares(y - centre), constraints)
    multipliers = float(np.sum(constraints[0].dual_value))
    solution = solve(model, {"A": rows, "b": upper})
    size = np.maximum(np.abs(upper), np.abs(rows) @ np.abs(np.asarray(solution["x"])))
    check_success(solution, best.optimum, error=best.error + multipliers * FEASIBILITY["float64"] * np.max(size))
    assert np.all(rows @ np.asarray(solution["x"]) - upper <= FEASIBILITY["float64"] * size)


# bounds that cross, other dtypes


def crossing(written):
    """min |x - 1|^2 with a lower and an upper bound, written in several ways."""
    model, x, lower, upper = admm.Model(), admm.Var("x", 3), admm.Param("lower", 3), admm.Param("upper", 3)
    objective = admm.sum(admm.square(x - 1))
    model.setObjective(objective + admm.sum(admm.inrange(x, lower, upper)) if written == "term" else objective)
    if written == "constraints":
        model.addConstr(x >= lower)
        model.addConstr(x <= upper)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("written", ["constraints", "term"])
def test_crossed_bounds(written, dtype):
    params = {"lower": [0.0, 0.5, -np.inf], "upper": [1.0, 0.25, 0.0]}
    model = crossing(written)

    @jax.jit
    def status(given):
        return model.solve(given, max_iterations=ITERATIONS).status

    with jax.enable_x64(dtype == "float64"):
        cast = {name: jnp.asarray(value, dtype) for name, value in params.items()}
        assert Status(int(status(cast))) is Status.SOLVE_INFEASIBLE
        apart = {"lower": cast["lower"], "upper": jnp.asarray([1.0, 0.5, 0.0], dtype)}  # they meet: one point
        assert Status(int(status(apart))) is Status.SOLVE_OPT_SUCCESS


@pytest.mark.slow
def test_crossed_bounds_that_are_numbers():
    model, x = admm.Model(), admm.Var("x", 3)
    model.setObjective(admm.sum(admm.square(x - 1)))
    model.addConstr(x >= 1)
    model.addConstr(x <= np.array([2.0, 0.0, 2.0]))
    assert status_of(solve(model, {})) is Status.SOLVE_INFEASIBLE
    model.optimize()
    assert model.StatusString == "SOLVE_INFEASIBLE"


def test_bfloat16_is_data_for_both():
    """Either both take it, and then alike, or both refuse it."""
    model, x, b = admm.Model(), admm.Var("x", 4), admm.Param("b", 4)
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + 0.25 * admm.norm(x, 1))
    data = np.array([1.0, -0.5, 0.125, 2.0]).astype(ml_dtypes.bfloat16)

    def outcome(run):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return np.asarray(run(), float)
            except admm.ADMMError as error:
                return type(error)

    def optimized():
        model.optimize({"b": data})
        return model.Solution["x"]

    pure, kept = outcome(lambda: model.solve({"b": data})["x"]), outcome(optimized)
    if isinstance(pure, type) or isinstance(kept, type):
        assert pure is kept
    else:
        np.testing.assert_allclose(pure, [0.75, -0.25, 0, 1.75], atol=1e-3)
        np.testing.assert_allclose(kept, pure, atol=1e-3)
