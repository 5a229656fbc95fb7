"""A function of which only the prox is known: it is solved, and nothing is claimed of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.testing import check_function
from tests.models import quick_jit

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(20, 8)), RNG.normal(size=20)


class Absolute:
    """g(v) = sum |v|."""

    def __call__(self, v):
        return jnp.sum(jnp.abs(v))

    def prox(self, v, step):
        return v - jnp.clip(v, -step, step)


class Certified(Absolute):
    """With its conjugate, and without `active`."""

    def project_dual(self, p):
        return jnp.clip(p, -1, 1)

    def into_domain(self, p):
        return jnp.min(1 / jnp.maximum(jnp.abs(p), 1))

    def fenchel_gap(self, v, p):
        return jnp.sum(jnp.abs(v) - p * v)


def model_of(function):
    x = admm.Var("x", 8)
    model = admm.Model()
    lam = admm.Param("lam", nonneg=True)
    term = lam * admm.sum(admm.abs(x)) if function is None else admm.penalty(function, x, lam)
    model.setObjective(term + admm.sum(admm.square(A @ x - B)))
    return model


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("function", [Absolute(), Certified()])
def test_it_keeps_the_contract(function):
    check_function(function, (5,))


def test_it_says_that_there_is_no_certificate():
    model, known = model_of(Absolute()), model_of(None)
    model.optimize({"lam": 3.0})
    known.optimize({"lam": 3.0})
    assert model.StatusString == "SOLVE_RESIDUALS_REACHED"
    assert model.DualGap == np.inf
    assert pytest.approx(known.ObjVal, rel=1e-9) == model.ObjVal
    assert "no certificate" in model.explain({"lam": 3.0})


def test_neither_status_nor_report_claims_more(double):
    solution = model_of(Absolute()).solve({"lam": jnp.asarray(3.0)})
    assert not bool(solution.converged)
    assert np.isinf(float(solution.gap))
    assert np.isinf(float(solution.estimate))
    assert "certified gap        no certificate" in repr(solution)


def test_an_optimum_of_zero_is_no_certificate_either(double):
    """With g >= 0 unknown, a value of zero proves nothing."""
    x = admm.Var("x", 3)
    model = admm.Model()
    model.setObjective(admm.penalty(Absolute(), x) + admm.sum(admm.square(x)))
    solution = model.solve()
    np.testing.assert_allclose(solution["x"], 0, atol=1e-9)
    assert np.isinf(float(solution.gap))


@pytest.mark.slow
@pytest.mark.parametrize("function", [Absolute(), Certified()])
def test_its_derivative_is_in_doubt(function, double):
    """The derivative is right here, but nothing tells that it is."""
    at = jnp.asarray(3.0)

    def derivative():
        out = quick_jit(jax.jacfwd(lambda lam: model_of(function).solve({"lam": lam})["x"]))(at)
        jax.effects_barrier()
        return out

    with pytest.warns(admm.DerivativeWarning, match="no method `active`"):
        found = derivative()
    expected = quick_jit(jax.jacfwd(lambda lam: model_of(None).solve({"lam": lam})["x"]))(at)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_conjugate_brings_the_certificate():
    model = model_of(Certified())
    model.optimize({"lam": 3.0})
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert model.DualGap < 1e-6


def test_it_prints():
    x, lam = admm.Var("x", 8), admm.Param("lam")
    assert str(admm.penalty(Absolute(), A @ x, lam)) == "lam * Absolute(array(20×8) @ x)"
    assert (lam * admm.penalty(Absolute(), x))._repr_latex_() == r"$\lambda \, \mathrm{Absolute}\left(x\right)$"
    assert float(admm.penalty(Absolute(), np.array([1.0, -2.0]), 2)) == 6.0


class NoScalar(Absolute):
    def __call__(self, v):
        return jnp.abs(v)


class OtherShape(Absolute):
    def prox(self, v, step):
        return v[1:]


class Half(Absolute):
    def project_dual(self, p):
        return jnp.clip(p, -1, 1)


class Failing(Absolute):
    def prox(self, v, step):
        return v + jnp.ones(3)


@pytest.mark.parametrize(
    ("function", "weight", "error", "says"),
    [
        (3.0, 1, admm.ExpressionError, "must have a method `__call__`, got 3.0"),
        (Absolute, 1, admm.ExpressionError, "got the class Absolute"),
        (lambda v: v, 1, admm.ExpressionError, "must have a method `prox`"),
        (NoScalar(), 1, admm.ShapeError, r"__call__\(v\) of NoScalar must return an array of shape \(\)"),
        (OtherShape(), 1, admm.ShapeError, r"prox\(v, step\) of OtherShape must return an array of shape \(8,\)"),
        (Failing(), 1, admm.DataError, r"prox\(v, step\) of Failing fails on arrays of shape \(8,\)"),
        (Half(), 1, admm.ExpressionError, "into_domain, fenchel_gap"),
        (Absolute(), np.ones(2), admm.ShapeError, "must be a scalar"),
    ],
)
def test_bad_functions_are_refused(function, weight, error, says):
    with pytest.raises(error, match=says):
        admm.penalty(function, admm.Var("x", 8), weight)


def test_a_negative_weight_is_not_convex():
    x = admm.Var("x", 8)
    model = admm.Model()

    def solved():
        model.setObjective(admm.penalty(Absolute(), x, -1))
        model.optimize()

    with pytest.raises(admm.NonconvexError, match="negative weight"):
        solved()
    with pytest.raises(admm.ExpressionError, match="weight of penalty must be a constant"):
        admm.penalty(Absolute(), x, admm.Var("y"))
