"""Derivatives against diffcp's, which differentiates the cone program that cvxpy makes of the same model."""

from __future__ import annotations

import warnings

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import quick_jit

RNG = np.random.default_rng(0)
MATRIX, EQUATIONS = RNG.normal(size=(12, 6)), RNG.normal(size=(2, 6))
DATA, POINT, PROBE = RNG.normal(size=12), RNG.normal(size=6), RNG.normal(size=6)


def lasso():
    x, b, lam = admm.Var("x", 6), admm.Param("b", 12), admm.Param("lam")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(MATRIX @ x - b)) + lam * admm.norm(x, 1))
    y, c, mu = cp.Variable(6), cp.Parameter(12), cp.Parameter(nonneg=True)
    theirs = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(MATRIX @ y - c) + mu * cp.norm1(y)))
    return model, theirs, y, {"b": (DATA, c), "lam": (1.0, mu)}


def variation_under_a_bound():
    x, b, lam = admm.Var("x", 6), admm.Param("b", 6), admm.Param("lam")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + lam * admm.tv1d(x))
    model.addConstr(x <= 0.5)
    y, c, mu = cp.Variable(6), cp.Parameter(6), cp.Parameter(nonneg=True)
    theirs = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(y - c) + mu * cp.norm1(cp.diff(y))), [y <= 0.5])
    return model, theirs, y, {"b": (2 * POINT, c), "lam": (0.3, mu)}


def norm_with_equations():
    x, b, lam, d = admm.Var("x", 6), admm.Param("b", 6), admm.Param("lam"), admm.Param("d", 2)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + lam * admm.norm(x, 2))
    model.addConstr(EQUATIONS @ x == d)
    y, c, mu, e = cp.Variable(6), cp.Parameter(6), cp.Parameter(nonneg=True), cp.Parameter(2)
    theirs = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(y - c) + mu * cp.norm(y, 2)),
        [EQUATIONS @ y == e],
    )
    return model, theirs, y, {"b": (POINT, c), "lam": (0.5, mu), "d": (np.array([0.3, -0.1]), e)}


def largest_entry_in_a_ball():
    x, b, radius = admm.Var("x", 6), admm.Param("b", 6), admm.Param("r")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + 0.3 * admm.norm(x, np.inf))
    model.addConstr(admm.norm(x, 2) <= radius)
    y, c, r = cp.Variable(6), cp.Parameter(6), cp.Parameter(nonneg=True)
    theirs = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(y - c) + 0.3 * cp.norm_inf(y)),
        [cp.norm(y, 2) <= r],
    )
    return model, theirs, y, {"b": (POINT, c), "r": (1.0, r)}


@pytest.mark.slow
@pytest.mark.parametrize("case", [lasso, variation_under_a_bound, norm_with_equations, largest_entry_in_a_ball])
def test_the_same_gradient(case):
    model, theirs, y, params = case()
    with jax.enable_x64(True):
        given = {name: jnp.asarray(value) for name, (value, _) in params.items()}
        ours = quick_jit(jax.grad(lambda p: jnp.dot(PROBE, model.solve(p)["x"])))(given)
    for value, parameter in params.values():
        parameter.value = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cvxpy and SCS, about themselves
        theirs.solve(requires_grad=True, eps=1e-11)
        y.gradient = PROBE
        theirs.backward()
    for name, (_, parameter) in params.items():
        np.testing.assert_allclose(ours[name], parameter.gradient, atol=1e-5, err_msg=name)
