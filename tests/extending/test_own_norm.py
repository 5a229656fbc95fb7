"""A norm of one's own: the sum over pairs of w max(|a|, |b|), whose pairs vanish together or are equal in size."""

from __future__ import annotations

from functools import partial

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.testing import check_function
from tests.models import quick_jit

RNG = np.random.default_rng(3)
A, B = RNG.normal(size=(30, 12)), RNG.normal(size=30)
WEIGHTS = np.array([3.0, 5.0, 0.5, 8.0, 20.0, 1.0])


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=[])
class PairwiseMax:
    """g(v) = sum_i w_i max(|v_i1|, |v_i2|) for v (n, 2); g* = 0 on {|p_i1| + |p_i2| <= w_i}."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, v):
        return jnp.sum(self.weights * jnp.max(jnp.abs(v), axis=1))

    def prox(self, v, step):
        return v - self._project(v, step * self.weights)

    def _project(self, v, radius):
        size = jnp.abs(v)
        both = (jnp.sum(size, axis=1) - radius) / 2
        theta = jnp.maximum(jnp.maximum(both, jnp.max(size, axis=1) - radius), 0)
        return jnp.sign(v) * jnp.maximum(size - theta[:, None], 0)

    def project_dual(self, p):
        return self._project(p, self.weights)

    def into_domain(self, p):
        length = jnp.sum(jnp.abs(p), axis=1)
        return jnp.min(jnp.where(length > self.weights, self.weights / jnp.where(length > 0, length, 1), 1))

    def fenchel_gap(self, v, p):
        peak = jnp.max(jnp.abs(v), axis=1, keepdims=True)
        spare = (self.weights - jnp.sum(jnp.abs(p), axis=1)) * peak[:, 0]
        return jnp.sum(jnp.abs(p) * (peak - jnp.sign(p) * v)) + jnp.sum(spare)

    def active(self, z, p):
        peak = jnp.max(jnp.abs(z), axis=1, keepdims=True)
        return (jnp.abs(z) >= peak * (1 - 64 * jnp.finfo(z.dtype).eps)) & (peak > 0)

    def recession(self):
        return self


def model_of(weight=None):
    x, weights = admm.Var("x", 6, 2), admm.Param("weights", 6, nonneg=True)
    model = admm.Model()
    term = admm.penalty(PairwiseMax(weights), x) if weight is None else admm.penalty(PairwiseMax(weights), x, weight)
    model.setObjective(term + 0.5 * admm.sum(admm.square(A @ x.reshape(-1) - B)))
    return model


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_keeps_the_contract(dtype):
    check_function(PairwiseMax(np.array([0.5, 1.0, 2.0])), (3, 2), dtype=dtype)


def test_it_is_solved_and_certified():
    model = model_of()
    model.optimize({"weights": WEIGHTS})
    x = cp.Variable((6, 2))
    cost = WEIGHTS @ cp.max(cp.abs(x), axis=1) + cp.sum_squares(A @ cp.vec(x, order="C") - B) / 2
    cp.Problem(cp.Minimize(cost)).solve(solver=cp.CLARABEL)
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert model.DualGap < 1e-9
    assert pytest.approx(cost.value, rel=1e-7) == model.ObjVal


@pytest.mark.slow
def test_it_is_differentiated(double):
    """In its own weights, and in the weight of the term; a batch is its elements one by one."""
    lam = admm.Param("lam", nonneg=True)
    model, h, at = model_of(lam), 1e-5, jnp.asarray(WEIGHTS)

    def solved(weight, weights):
        return model.solve({"lam": weight, "weights": weights}, tol=1e-9)["x"]

    def twice(weight, weights):
        x = solved(weight, weights)
        return x, x

    program = quick_jit(jax.jacrev(twice, (0, 1), has_aux=True))

    def run(weight, weights):
        return program(jnp.asarray(weight), weights)[1]

    found, _ = program(jnp.asarray(1.0), at)
    expected = (run(1 + h, at) - run(1 - h, at)) / (2 * h)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    for i in range(6):
        change = jnp.zeros(6).at[i].set(h)
        np.testing.assert_allclose(
            found[1][..., i], (run(1.0, at + change) - run(1.0, at - change)) / (2 * h), atol=1e-6
        )
    batch = quick_jit(jax.vmap(solved, (0, None)))(jnp.array([0.0, 0.5, 1.0]), at)
    np.testing.assert_allclose(batch[2], run(1.0, at), atol=1e-9)
    np.testing.assert_allclose(batch[0].ravel(), np.linalg.lstsq(A, B)[0], atol=1e-9)


@pytest.mark.exhaustive
def test_the_objective_has_its_derivative(double):
    model, at = model_of(admm.Param("lam", nonneg=True)), jnp.asarray(WEIGHTS)

    def value(weight):
        return model.solve({"lam": weight, "weights": at}, tol=1e-9).objective

    h = 1e-5
    found = quick_jit(jax.grad(value))(jnp.asarray(1.0))
    assert float(found) == pytest.approx(float(value(1 + h) - value(1 - h)) / (2 * h), rel=1e-6)
