"""Units do not matter: variables, rows, costs and data of any size give the same solution in their own units."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import quick_jit
from tests.solver.claims import FEASIBILITY, ITERATIONS, TOL, check_rows, check_success, solve
from tests.solver.random_models import reference

SIZES = {"float64": (1e-8, 1.0, 1e2, 1e3, 1e4, 1e7, 1e8, 1e12), "float32": (1e-8, 1.0, 1e3, 1e4, 1e8)}
CASES = [(dtype, S) for dtype, sizes in SIZES.items() for S in sizes]


# variables in different units


@pytest.fixture(scope="module")
def quadratic():
    """min (w x0 - 2)^2 + (x1 - 2)^2 subject to x <= bound."""
    model, x, w, bound = admm.Model(), admm.Var("x", 2), admm.Param("w"), admm.Param("bound", 2)
    model.setObjective(admm.square(w * x[0] - 2) + admm.square(x[1] - 2))
    model.addConstr(x <= bound)
    return model


@pytest.mark.parametrize(("dtype", "S"), CASES)
def test_bounded_quadratic(quadratic, dtype, S):
    bound = np.array([S, 1.0])
    solution = solve(quadratic, {"w": 1 / S, "bound": bound}, dtype)
    check_success(solution, 2.0, error=4 * FEASIBILITY[dtype])
    np.testing.assert_allclose(np.asarray(solution["x"], float) / bound, 1.0, atol=2 * TOL[dtype])
    check_rows(solution, np.eye(2), solution["x"], upper=bound)


@functools.cache
def derivatives_of(model):
    """d f*/du and d (x0/S)/du, in both modes, as a compiled function of u and S."""

    def outcome(u, S):
        params = {"w": 1 / S, "bound": jnp.stack([u * S, jnp.ones_like(u)])}
        solution = model.solve(params, max_iterations=ITERATIONS)
        return jnp.stack([solution.objective, solution["x"][0] / S])

    return quick_jit(jax.jacrev(outcome)), quick_jit(jax.jacfwd(outcome))


@pytest.mark.slow
@pytest.mark.parametrize("S", [1.0, 1e4, 1e8])
def test_derivative_of_bounded_quadratic(quadratic, S):
    with jax.enable_x64(True):
        for derivative in derivatives_of(quadratic):
            slopes = derivative(jnp.asarray(1.0), jnp.asarray(S))
            np.testing.assert_allclose(slopes, [-2.0, 1.0], rtol=1e-5)


@pytest.fixture(scope="module")
def program():
    """min w x0 - x1 with x0 = S, x1 <= 1, row x <= .5."""
    model, x, w, S, row = admm.Model(), admm.Var("x", 2), admm.Param("w"), admm.Param("S"), admm.Param("row", 2)
    model.setObjective(w * x[0] - x[1])
    model.addConstr(x[0] == S)
    model.addConstr(x[1] <= 1)
    model.addConstr(row @ x <= 0.5)
    return model


@pytest.mark.parametrize(("dtype", "S"), CASES)
def test_linear_program_with_a_large_equation(program, dtype, S):
    row = np.array([-1e-3 / S, 1.0])
    solution = solve(program, {"w": 1 / S, "S": S, "row": row}, dtype)
    check_success(solution, 0.499, error=3 * FEASIBILITY[dtype])
    np.testing.assert_allclose(np.asarray(solution["x"], float) / [S, 1], [1, 0.501], atol=2 * TOL[dtype])
    check_rows(solution, [[1, 0]], solution["x"], lower=S, upper=S)
    check_rows(solution, [row, [0, 1]], solution["x"], upper=[0.5, 1.0])


@pytest.fixture(scope="module")
def knapsack():
    """max c x with row x <= limit, x1 <= 1, x >= 0."""
    model, x = admm.Model(), admm.Var("x", 2, nonneg=True)
    c, row, limit = admm.Param("c", 2), admm.Param("row", 2), admm.Param("limit")
    model.setObjective(c @ x, admm.MAXIMIZE)
    model.addConstr(row @ x <= limit)
    model.addConstr(x[1] <= 1)
    return model


@pytest.mark.parametrize("tol", [None, 1e-2])
@pytest.mark.parametrize(("dtype", "S"), CASES)
def test_linear_program_with_a_large_share(knapsack, dtype, S, tol):
    row = np.array([1.0, S])
    solution = solve(knapsack, {"c": [1, 3 * S], "row": row, "limit": 2 * S}, dtype, tol=tol)
    check_success(solution, 4 * S, tol=tol, error=10 * FEASIBILITY[dtype] * S)
    if tol is None:
        np.testing.assert_allclose(np.asarray(solution["x"], float) / [S, 1], 1.0, atol=4 * TOL[dtype])
    check_rows(solution, [row, [0, 1]], solution["x"], upper=[2 * S, 1.0])
    assert np.all(np.asarray(solution["x"]) >= -FEASIBILITY[dtype] * np.array([S, 1]))


# large and small costs


def box(x, model):
    model.addConstr(x >= 0)
    model.addConstr(x <= 1)


def ball(x, model):
    model.addConstr(admm.norm(x) <= 1)


def simplex(x, model):
    model.addConstr(x >= 0)
    model.addConstr(admm.sum(x) == 1)


SETS = {"box": (box, 3.0), "ball": (ball, np.sqrt(6.0)), "simplex": (simplex, 2.0)}
COSTS = {
    "float64": (1e-9, 1.0, 1e4, 1e5, 1e8, 1e9, 1e10, 1e12),
    "float32": (1e-8, 1.0, 1e4, 1e5, 1e8),
}


@functools.cache
def linear_over(name):
    model, x, c = admm.Model(), admm.Var("x", 3), admm.Param("c", 3)
    model.setObjective(c @ x, admm.MAXIMIZE)
    SETS[name][0](x, model)
    return model


@pytest.mark.parametrize(("dtype", "S"), [(dtype, S) for dtype, costs in COSTS.items() for S in costs])
@pytest.mark.parametrize("name", SETS)
def test_large_costs(name, dtype, S):
    solution = solve(linear_over(name), {"c": S * np.array([1.0, 2.0, -1.0])}, dtype)
    check_success(solution, SETS[name][1] * S, error=5 * FEASIBILITY[dtype] * S)
    x, allowed = np.asarray(solution["x"], float), 2 * FEASIBILITY[dtype]
    outside = {
        "box": max(np.max(-x), np.max(x - 1)),
        "ball": np.linalg.norm(x) - 1,
        "simplex": max(np.max(-x), abs(x.sum() - 1)),
    }
    assert outside[name] <= allowed


# models without a quadratic: data times s gives the solution times s

RNG = np.random.default_rng(3)
MASK = RNG.random((8, 8)) < 0.65
PICTURE = np.kron(RNG.uniform(size=(4, 4)), np.ones((2, 2))) + 0.05 * RNG.normal(size=(8, 8))
EDGES = RNG.uniform(0.5, 1.5, size=(2, 8, 8))  # generic weights: one solution
WIDE, TALL = RNG.normal(size=(12, 30)), RNG.normal(size=(30, 8))


def inpainting():
    U, y, model = admm.Var("U", 8, 8), admm.Param("y", int(MASK.sum())), admm.Model()
    model.setObjective(admm.tv2d(U, weight=EDGES))
    model.addConstr(U[MASK] == y)
    return model, {"y": PICTURE[MASK]}


def tv_l1():
    U, y, model = admm.Var("U", 8, 8), admm.Param("y", 8, 8), admm.Model()
    model.setObjective(0.45 * admm.tv2d(U, weight=EDGES) + admm.sum(admm.abs(U - y)))
    return model, {"y": PICTURE}


def least_deviations():
    x, y, model = admm.Var("x", 8), admm.Param("y", 30), admm.Model()
    model.setObjective(admm.norm(TALL @ x - y, 1) + 3 * admm.norm(x, 1))
    noise = np.random.default_rng(1).standard_t(2, size=30)
    return model, {"y": TALL @ np.array([1, 0, 0, -2, 0, 0.5, 0, 0]) + 0.3 * noise}


def basis_pursuit():
    x, y, model = admm.Var("x", 30), admm.Param("y", 12), admm.Model()
    model.setObjective(admm.norm(x, 1))
    model.addConstr(WIDE @ x == y)
    return model, {"y": WIDE @ np.where(np.arange(30) % 10 == 0, 1.0, 0.0)}


HOMOGENEOUS = {f.__name__: f for f in (inpainting, tv_l1, least_deviations, basis_pursuit)}


@functools.cache
def homogeneous(name):
    """The model, its data, its optimum, and the solutions of the data as they are in both dtypes."""
    model, params = HOMOGENEOUS[name]()
    return model, params, optimum_of(name, params["y"]), {d: solve(model, params, d) for d in ("float64", "float32")}


def optimum_of(name, y):
    """By Clarabel."""
    import cvxpy as cp

    def variation(U):
        down, across = cp.diff(U, axis=0), cp.diff(U, axis=1)
        return cp.sum(cp.multiply(EDGES[0, :-1], cp.abs(down))) + cp.sum(cp.multiply(EDGES[1, :, :-1], cp.abs(across)))

    U, x = cp.Variable((8, 8)), cp.Variable(30 if name == "basis_pursuit" else 8)
    problem = {
        "inpainting": lambda: (variation(U), [U[MASK] == y]),
        "tv_l1": lambda: (0.45 * variation(U) + cp.sum(cp.abs(U - y)), []),
        "least_deviations": lambda: (cp.norm1(TALL @ x - y) + 3 * cp.norm1(x), []),
        "basis_pursuit": lambda: (cp.norm1(x), [WIDE @ x == y]),
    }[name]()
    return reference(cp.Problem(cp.Minimize(problem[0]), problem[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "s"),
    [("float64", s) for s in (1.0, 1e-9, 65535.0, 1e7, 1e12)] + [("float32", s) for s in (1.0, 65535.0)],
)
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_scale_of_the_data(name, dtype, s):
    model, params, best, base = homogeneous(name)
    solution, base = solve(model, {"y": s * params["y"]}, dtype), base[dtype]
    # an objective may lie below the optimum by the multipliers of the equations times their allowed violation
    below = 10 * FEASIBILITY[dtype] * best.optimum if name in ("inpainting", "basis_pursuit") else 0.0
    error = s * (best.error + below)
    check_success(solution, s * best.optimum, error=error)
    (key,) = solution.values
    size = float(np.max(np.abs(base[key])))
    close = 100 * TOL[dtype] * size
    np.testing.assert_allclose(np.asarray(solution[key], float) / s, np.asarray(base[key], float), atol=close)
    if name == "inpainting":
        value, data = np.asarray(solution[key], float)[MASK], s * params["y"]
        assert np.all(np.abs(value - data) <= FEASIBILITY[dtype] * np.maximum(np.abs(data), s * size))
    if name == "basis_pursuit":
        check_rows(solution, WIDE, solution[key], lower=s * params["y"], upper=s * params["y"])
    if dtype == "float64":  # near the end of float32's digits it is rounding that decides which check proves the gap
        assert abs(int(solution.iterations) - int(base.iterations)) <= 0.1 * int(base.iterations) + 2
