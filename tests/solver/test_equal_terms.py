"""Models that are written in loops: solved as cvxpy solves them, differentiated, and compiled as one term."""

from __future__ import annotations

import time

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.canonicalize import equal_terms
from tests.extending.test_first_tier import Certified
from tests.models import quick_jit

RNG = np.random.default_rng(1)
N, D = 5, 15
M, C = RNG.normal(size=(20, D)), RNG.normal(size=20)
A, B = RNG.normal(size=(N, 3, D)), RNG.normal(size=(N, 3))
W = RNG.uniform(0.5, 2, size=N)


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def fit(x):
    return 0.5 * admm.sum_squares(M @ x - C)


def solved(objective, limits=()):
    """The optimised model of objective(x), subject to each limit(x)."""
    x, model = admm.Var("x", D), admm.Model()
    model.setObjective(objective(x))
    for limit in limits:
        model.addConstr(limit(x))
    model.setOption("tol", 1e-9)
    model.optimize()
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    return x.X, model


def check(x, model, objective, limits=(), atol=1e-5):
    """The same of cvxpy; returns its constraints."""
    z = cp.Variable(D)
    constraints = [limit(z) for limit in limits]
    best = cp.Problem(cp.Minimize(objective(z)), constraints).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(model.ObjVal, best, rtol=1e-7)
    np.testing.assert_allclose(x, z.value, atol=atol)
    return constraints


def fit_of(z):
    return cp.sum_squares(M @ z - C) / 2


@pytest.mark.parametrize(
    ("term", "reference"),
    [
        (
            lambda i, x: 3 * W[i] * admm.norm(x[3 * i : 3 * i + 3]),
            lambda i, z: 3 * W[i] * cp.norm(z[3 * i : 3 * i + 3]),
        ),
        (lambda i, x: W[i] * admm.norm(A[i] @ x - B[i]), lambda i, z: W[i] * cp.norm(A[i] @ z - B[i])),
        (lambda i, x: W[i] * admm.norm(A[i] @ x, np.inf), lambda i, z: W[i] * cp.norm(A[i] @ z, "inf")),
    ],
    ids=["groups", "images", "largest"],
)
def test_norms(term, reference):
    x, model = solved(lambda x: fit(x) + sum(term(i, x) for i in range(N)))
    check(x, model, lambda z: fit_of(z) + sum(reference(i, z) for i in range(N)))
    assert len(model.problem().penalties) == 1
    assert [p.shape for p in model.Solution.multipliers] == [(3,)] * N


def test_squares():
    x, model = solved(lambda x: admm.norm(x, 1) + sum(W[i] * admm.sum_squares(A[i] @ x - B[i]) for i in range(N)))
    check(x, model, lambda z: cp.norm(z, 1) + sum(W[i] * cp.sum_squares(A[i] @ z - B[i]) for i in range(N)))


def test_distances_to_points():
    """The first of the terms on x itself stays alone; all of them have their multipliers."""
    points = RNG.normal(size=(7, D))
    x, model = solved(lambda x: sum(admm.norm(x - point) for point in points))
    check(x, model, lambda z: sum(cp.norm(z - point) for point in points), atol=1e-3)
    pulls = np.stack(model.Solution.multipliers)
    apart = x - points
    np.testing.assert_allclose(pulls, apart / np.linalg.norm(apart, axis=1, keepdims=True), atol=1e-5)


def test_inequalities_and_their_multipliers():
    """One by one, between others: each has its multiplier in its own place and shape."""
    rows = [lambda x, i=i: A[i, 0] @ x <= 0.1 * W[i] for i in range(N)]
    pairs = [lambda x, i=i: A[i, 1:] @ x >= -0.1 * W[i] for i in range(N)]
    limits = [rows[0], pairs[0], lambda x: x <= 0.5, *rows[1:], lambda x: M[0] @ x == 0.2, *pairs[1:]]
    x, model = solved(fit, limits)
    constraints = check(x, model, fit_of, limits)
    assert [p.members for p in model.problem().penalties] == [(0, 2, 3, 4, 5, 6), (1, 7, 8, 9, 10), ()]
    own = list(model.Solution.multipliers)
    own.insert(2, own.pop())  # the bounds of a variable are the last
    for found, constraint, limit in zip(own, constraints, limits, strict=True):
        sign = -1 if limit in pairs else 1
        assert found.shape == np.shape(constraint.dual_value)
        np.testing.assert_allclose(found, sign * constraint.dual_value, atol=1e-5)


def test_balls_and_their_multipliers():
    limits = [lambda x, i=i: admm.norm(A[i] @ x - B[i]) <= 1.5 * W[i] for i in range(N)]
    x, model = solved(fit, limits)
    check(x, model, fit_of, [lambda z, i=i: cp.norm(A[i] @ z - B[i]) <= 1.5 * W[i] for i in range(N)])
    found = model.Solution.multipliers
    force = M.T @ (M @ x - C) + sum(A[i].T @ found[i] for i in range(N))
    np.testing.assert_allclose(force, 0, atol=1e-6)
    for i in range(N):  # along the way out, where the ball is reached
        out = A[i] @ x - B[i]
        np.testing.assert_allclose(found[i] @ out, np.linalg.norm(found[i]) * 1.5 * W[i], atol=1e-5)


@pytest.mark.slow
def test_stacked_or_not_it_is_the_same(monkeypatch):
    def built():
        x, model = admm.Var("x", D), admm.Model()
        model.setObjective(fit(x) + sum(W[i] * admm.norm(A[i] @ x - B[i]) for i in range(4)))
        for i in range(4):
            model.addConstr(x[2 * i] - x[2 * i + 1] <= 0.01)
        model.setOption("tol", 1e-10)
        model.optimize()
        return x.X, model

    x, model = built()
    monkeypatch.setattr(equal_terms, "LEAST", 1000)
    apart, other = built()
    assert (len(model.problem().penalties), len(other.problem().penalties)) == (2, 8)
    np.testing.assert_allclose(model.ObjVal, other.ObjVal, rtol=1e-9)
    np.testing.assert_allclose(x, apart, atol=1e-7)
    for one, two in zip(model.Solution.multipliers, other.Solution.multipliers, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.slow
def test_derivatives_in_the_numbers_of_each_term(double):
    """Of a functional of x and of a multiplier, in one weight, the matrices, the offsets and the bounds."""
    x, weights = admm.Var("x", D), [admm.Param(f"w{i}", nonneg=True) for i in range(N)]
    images, offsets, bounds = admm.Param("A", N, 3, D), admm.Param("B", N, 3), admm.Param("r", N)
    model = admm.Model()
    model.setObjective(fit(x) + sum(weights[i] * admm.norm(images[i] @ x - offsets[i]) for i in range(N)))
    for i in range(N):
        model.addConstr(x[2 * i] - x[2 * i + 1] <= bounds[i])
    at = {f"w{i}": jnp.asarray(w) for i, w in enumerate(W)}
    at |= {"A": jnp.asarray(A), "B": jnp.asarray(B), "r": jnp.asarray(0.02 * W)}
    assert len(model.problem(at).penalties) == 2
    toward, pull = RNG.normal(size=D), RNG.normal(size=3)

    def loss(params):
        solution = model.solve(params, tol=1e-10)
        assert [p.shape for p in solution.multipliers] == [(3,)] * N + [()] * N
        return toward @ solution[x] + pull @ solution.multipliers[2]

    program = quick_jit(jax.value_and_grad(loss))
    _, gradient = program(at)
    h = 1e-5
    for name in ("w0", "w3", "A", "B", "r"):
        change = jnp.asarray(RNG.normal(size=jnp.shape(at[name])))
        ahead, behind = (program({**at, name: at[name] + sign * h * change})[0] for sign in (1, -1))
        expected = float(ahead - behind) / (2 * h)
        assert float(jnp.sum(gradient[name] * change)) == pytest.approx(expected, rel=1e-5, abs=1e-6), name


def test_functions_of_ones_own(double):
    own = Certified()
    x, model = solved(lambda x: fit(x) + sum(admm.penalty(own, A[i] @ x - B[i], W[i]) for i in range(N)))
    check(x, model, lambda z: fit_of(z) + sum(W[i] * cp.norm(A[i] @ z - B[i], 1) for i in range(N)))
    assert len(model.problem().penalties) == 1


def test_what_has_no_solution():
    x, model = admm.Var("x", 2), admm.Model()
    model.setObjective(admm.sum_squares(x))
    for i in range(N):
        model.addConstr(x[0] - x[1] >= i)
    model.addConstr(x[0] - x[1] <= 2)
    model.optimize()
    assert model.StatusString == "SOLVE_INFEASIBLE"
    other, x = admm.Model(), admm.Var("x", 2)
    other.setObjective(admm.sum(x))
    for i in range(N):
        other.addConstr(x[0] - x[1] <= i)
    other.optimize()
    assert other.StatusString == "SOLVE_UNBOUNDED"


def test_a_large_model_without_matrices():
    """500 unknowns, iterated; the blocks of the norms are cut out of x as they lie."""
    lengths = RNG.normal(size=500)
    x, model = admm.Var("x", 500), admm.Model()
    model.setObjective(0.5 * admm.sum_squares(x - lengths) + sum(admm.norm(x[5 * i : 5 * i + 5]) for i in range(100)))
    model.setOption("tol", 1e-8)
    model.optimize()
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    groups = lengths.reshape(100, 5)
    size = np.linalg.norm(groups, axis=1, keepdims=True)
    np.testing.assert_allclose(x.X.reshape(100, 5), groups * np.maximum(1 - 1 / size, 0), atol=1e-5)
    assert len(model.Solution.multipliers) == 100


def test_a_loop_of_many_terms_compiles_as_one():
    """Apart, 36 take minutes; the limit is some ten times what they take."""
    many = 100
    rows, bounds = RNG.normal(size=(many, D)), RNG.uniform(0.1, 1, size=many)
    began = time.process_time()
    x, model = admm.Var("x", D), admm.Model()
    model.setObjective(fit(x) + sum(admm.norm(rows[i : i + 3] @ x - 1) for i in range(0, many - 3)))
    for row, bound in zip(rows, bounds, strict=True):
        model.addConstr(row @ x <= bound)
    model.optimize()
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert time.process_time() - began < 30
