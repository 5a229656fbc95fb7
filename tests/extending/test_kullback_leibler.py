"""A function of one's own with a value and a domain: the Kullback-Leibler divergence of Poisson counts."""

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

RNG = np.random.default_rng(0)
A = RNG.random((20, 12)) * (RNG.random((20, 12)) < 0.4) + 0.01
COUNTS = RNG.poisson(2 * A @ (3 * RNG.random(12))) / 2.0  # some are zero
LAM = 0.1


@partial(jax.tree_util.register_dataclass, data_fields=["counts"], meta_fields=[])
class KullbackLeibler:
    """g(v) = sum v - b log v for v > 0 (v >= 0 where b = 0); g*(p) = sum b log b - b - b log(1 - p), p <= 1."""

    def __init__(self, counts):
        self.counts = counts

    def __call__(self, v):
        b = self.counts
        return jnp.sum(v - jnp.where(b > 0, b * jnp.log(jnp.where(b > 0, v, 1)), 0))

    def violation(self, v):
        return jnp.minimum(v, 0)

    def prox(self, v, step):
        s, b = v - step, self.counts
        root = jnp.sqrt(s * s + 4 * step * b)
        far = jnp.where(root - s > 0, root - s, 1)
        return jnp.where(s > 0, (s + root) / 2, 2 * step * b / far)  # without cancellation

    def project_dual(self, p):
        return jnp.minimum(p, 1)

    def into_domain(self, p):
        return jnp.min(1 / jnp.maximum(p, 1))

    def fenchel_gap(self, v, p):
        b, u = self.counts, (1 - p) * v
        ratio = jnp.where(b > 0, u / jnp.where(b > 0, b, 1), 1)
        return jnp.sum(jnp.where(b > 0, b * (ratio - 1 - jnp.log(ratio)), u))

    def active(self, z, p):
        return (z == 0) & (self.counts == 0)


def regression():
    x, lam, counts = admm.Var("x", 12), admm.Param("lam", nonneg=True), admm.Param("b", 20)
    model = admm.Model()
    model.setObjective(admm.penalty(KullbackLeibler(counts), A @ x) + lam * admm.sum(admm.square(x)))
    model.addConstr(x >= 0)
    return model


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_keeps_the_contract(dtype):
    check_function(KullbackLeibler(np.array([0.0, 1.0, 2.5, 0.0, 0.3])), (5,), dtype=dtype)


def test_it_is_solved_and_certified():
    model = regression()
    model.optimize({"b": COUNTS, "lam": LAM})
    x = cp.Variable(12, nonneg=True)
    cost = cp.sum(A @ x - cp.multiply(COUNTS, cp.log(A @ x))) + LAM * cp.sum_squares(x)
    cp.Problem(cp.Minimize(cost)).solve(solver=cp.CLARABEL)
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert model.DualGap < 1e-9
    assert cost.value is not None
    assert model.ObjVal <= cost.value + 1e-9
    assert pytest.approx(cost.value, rel=1e-6) == model.ObjVal


def test_a_gap_counts_what_is_missing(double):
    """After few iterations the certified gap is above the true one."""
    model = regression()
    best = float(model.solve({"b": jnp.asarray(COUNTS), "lam": LAM}, tol=1e-10).objective)
    coarse = model.solve({"b": jnp.asarray(COUNTS), "lam": LAM}, tol=0.5)
    assert float(coarse.objective) - best <= float(coarse.gap) * abs(float(coarse.objective)) + 1e-9


@pytest.mark.slow
def test_it_is_differentiated(double):
    """Forward and reverse, in lam and in the counts, against central differences; without a warning."""
    model, h = regression(), 1e-5
    at = jnp.asarray(LAM), jnp.asarray(COUNTS)

    def solved(lam, counts):
        return model.solve({"lam": lam, "b": counts}, tol=1e-9)["x"]

    run = quick_jit(lambda lam, counts: model.solve({"lam": lam, "b": counts}, tol=1e-12, max_iterations=2000)["x"])
    forward = quick_jit(jax.jacfwd(solved))(*at)
    np.testing.assert_allclose(forward, (run(LAM + h, at[1]) - run(LAM - h, at[1])) / (2 * h), atol=2e-4)
    i = int(np.argmax(COUNTS))
    reverse = quick_jit(jax.jacrev(solved, 1))(*at)[:, i]
    change = jnp.zeros(20).at[i].set(h)
    np.testing.assert_allclose(reverse, (run(at[0], at[1] + change) - run(at[0], at[1] - change)) / (2 * h), atol=2e-4)


@pytest.mark.slow
def test_the_objective_has_its_derivative(double):
    """It is negative here, and its infimum over v depends on the counts too."""
    model, h, at = regression(), 1e-5, jnp.asarray(COUNTS)
    i = int(np.argmax(COUNTS))
    change = jnp.zeros(20).at[i].set(h)

    def value(counts):
        return model.solve({"lam": LAM, "b": counts}, tol=1e-9).objective

    found = quick_jit(jax.grad(value))(at)[i]
    assert float(found) == pytest.approx(float(value(at + change) - value(at - change)) / (2 * h), rel=1e-5)


@pytest.mark.slow
def test_an_image_of_counts(double):
    """Deblurring with total variation: matrix-free, over a background."""
    clean = np.zeros((32, 32))
    clean[8:20, 10:25] = 1
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    counts = np.random.default_rng(1).poisson(50 * (admm.conv2d(clean, kernel) + 0.2)) / 50.0
    u = admm.Var("U", 32, 32)
    model = admm.Model()
    model.setObjective(0.1 * admm.tv2d(u) + admm.penalty(KullbackLeibler(counts), admm.conv2d(u, kernel) + 0.2))
    model.addConstr(u >= 0)
    solution = model.solve(max_iterations=3000)
    assert solution.status_string == "SOLVE_OPT_SUCCESS"
    assert float(solution.gap) < 1e-6
    assert np.linalg.norm(solution["U"] - clean) < np.linalg.norm(counts - 0.2 - clean) / 2
