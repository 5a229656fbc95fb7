"""The gaps of models with `maximum` and `minimum`: never below the true ones, at whatever iteration."""

from __future__ import annotations

import functools

import cvxpy as cp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solver import plan
from admm_jax.status import Status
from tests.solver.claims import check_gap, check_success, optimum_of, solve, status_of


@functools.cache
def hinges(form):
    """450 unknowns: least squares, l1 and a hinge on x itself or on 300 sums of its entries; data in parameters."""
    rows = 200 if form == "maximum" else 500
    rng = np.random.default_rng(100 + rows)
    A, H = rng.normal(size=(rows, 450)), rng.normal(size=(300, 450))
    model, x = admm.Model(), admm.Var("x", 450)
    b, w, v = admm.Param("b", rows), admm.Param("w"), admm.Param("v")
    fit = 0.5 * admm.sum(admm.square(A @ x - b)) + w * admm.norm(x, 1)
    if form == "maximum":
        model.setObjective(fit + v * admm.sum(admm.maximum(x, admm.Param("c", 450))))
    else:
        model.setObjective(v * admm.sum(admm.minimum(H @ x, admm.Param("c", 300))) - fit, admm.MAXIMIZE)
    return model, A, H


@functools.cache
def hinge_case(form, seed):
    """The model, its data, its sense and its optimum."""
    model, A, H = hinges(form)
    rng, x = np.random.default_rng(seed), cp.Variable(450)
    b = rng.normal(size=len(A)) * 10 ** rng.uniform(0, 1.5)
    c = rng.normal(size=450 if form == "maximum" else 300)
    w, v = 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 1)
    hinge = cp.sum(cp.maximum(x, c)) if form == "maximum" else -cp.sum(cp.minimum(H @ x, c))
    best = optimum_of(0.5 * cp.sum_squares(A @ x - b) + w * cp.norm1(x) + v * hinge)
    return model, {"b": b, "c": c, "w": w, "v": v}, (1 if form == "maximum" else -1), best


@pytest.mark.parametrize(
    ("form", "seed"),
    [("maximum", 0), ("maximum", 1), ("maximum", 3), ("minimum", 0), ("minimum", 2), ("minimum", 3)],
)
def test_hinges(form, seed):
    """Without matrices, as there are too many unknowns for them."""
    model, params, sense, best = hinge_case(form, seed)
    assert not plan.make_plan(model.problem(params)).dense
    for iterations in (10, 50, 300):
        solution = solve(model, params, tol=1e-2, max_iterations=iterations)
        if status_of(solution) is Status.SOLVE_OPT_SUCCESS:
            check_success(solution, sense * best.optimum, tol=1e-2, error=best.error)
        else:
            assert status_of(solution) is Status.SOLVE_OVER_MAX_ITER
            check_gap(solution, sense * best.optimum, error=best.error)
