"""What a certificate claims where rounding is not small beside the optimum: small optima, and optima of zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import admm_jax as admm
from admm_jax.operators.base import MatMul, Scale, Sum
from admm_jax.operators.difference import Difference
from admm_jax.problem import Chain, LinearMap
from admm_jax.solver import rounding
from tests.models import quick_jit
from tests.solver.random_models import random_case

TOL = 1e-4  # the default in float32


def claims_hold(model, value, params, *, max_iterations):
    """Solve each of many sets of float32 numbers, and compare what is claimed with float64; returns the successes.

    `value(x, **params)` is the objective in NumPy. Success means: within tol of the optimum, or both at rounding.
    """
    doubles = {name: v.astype(np.float64) for name, v in params.items()}

    def solve_all(values, **options):
        return jax.tree.map(np.asarray, quick_jit(jax.vmap(lambda p: model.solve(p, **options)))(values))

    with jax.enable_x64(False):
        singles = solve_all(params, max_iterations=max_iterations)
    with jax.enable_x64(True):
        exact = solve_all(doubles, tol=1e-9, max_iterations=max_iterations)
    (name,) = singles.values
    for i in range(len(singles.gap)):
        own = {key: v[i] for key, v in doubles.items()}
        reached = value(singles.values[name][i].astype(np.float64), **own)
        best = min(value(exact.values[name][i], **own), reached)
        excess = (reached - best) / best
        if singles.converged[i]:
            assert excess <= TOL
        if exact.converged[i]:
            assert excess <= singles.gap[i] + 1e-6  # the reference is not exact, and neither is |f|
    return int(np.sum(singles.converged))


NOISE, WEIGHT = np.meshgrid([1e-2, 1e-4, 1e-6], [1e-1, 1e-3, 1e-5, 1e-7])


@pytest.mark.slow
def test_lasso_almost_without_noise():
    """The optimum lies down to 1e-9 of the energy of the data, so that float32 hardly tells it from zero."""
    rng = np.random.default_rng(0)
    matrix, truth = rng.normal(size=(8, 8)), rng.normal(size=8) * (rng.random(8) < 0.6)
    data = matrix @ truth + NOISE.ravel()[:, None] * rng.normal(size=(NOISE.size, 8))
    x, lam, b = admm.Var("x", 8), admm.Param("lam"), admm.Param("b", 8)
    A = matrix.astype(np.float32)
    model = admm.Model()
    model.setObjective(lam * admm.norm(x, 1) + 0.5 * admm.sum(admm.square(A @ x - b)))

    def value(x, lam, b):
        return lam * np.abs(x).sum() + 0.5 * np.sum((A.astype(float) @ x - b) ** 2)

    params = {"lam": WEIGHT.ravel().astype(np.float32), "b": data.astype(np.float32)}
    assert claims_hold(model, value, params, max_iterations=300) >= 6


@pytest.mark.slow
def test_deblurring_almost_without_noise():
    """The same for an image, in the matrix-free form."""
    rng = np.random.default_rng(0)
    truth = np.kron(rng.uniform(size=(3, 3)), np.ones((8, 8)))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    blurred = scipy.signal.convolve2d(truth, kernel, "same")
    data = blurred + NOISE.ravel()[:, None, None] * rng.normal(size=(NOISE.size, 24, 24))
    U, lam, B = admm.Var("U", 24, 24), admm.Param("lam"), admm.Param("B", 24, 24)
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))

    def value(u, lam, B):
        variation = np.abs(np.diff(u, axis=0)).sum() + np.abs(np.diff(u, axis=1)).sum()
        return lam * variation + 0.5 * np.sum((scipy.signal.convolve2d(u, kernel, "same") - B) ** 2)

    params = {"lam": WEIGHT.ravel().astype(np.float32), "B": data.astype(np.float32)}
    assert claims_hold(model, value, params, max_iterations=300) >= 3


@pytest.mark.slow
def test_small_residual_beside_a_variation_of_zero():
    """A constant signal: the rounding of the weighted variation is larger than a residual that is told well."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(12, 8)).astype(np.float32)
    noise = np.repeat([1e-3, 1e-4], 3)
    data = A.astype(float) @ np.full(8, 0.8) + noise[:, None] * rng.normal(size=(6, 12))
    x, b, model = admm.Var("x", 8), admm.Param("b", 12), admm.Model()
    model.setObjective(0.1 * admm.tv1d(x) + 0.5 * admm.sum(admm.square(A @ x - b)))

    def value(x, b):
        return 0.1 * np.abs(np.diff(x)).sum() + 0.5 * np.sum((A.astype(float) @ x - b) ** 2)

    claims_hold(model, value, {"b": data.astype(np.float32)}, max_iterations=300)


@pytest.mark.parametrize("structure", [64, 72])
def test_optimum_of_zero(structure):
    """Data of size 1e4 and an optimum of zero: f comes down to what rounding leaves of it, and that is success."""
    case = random_case(structure)
    with jax.enable_x64(True):
        solution = case.model.solve(case.params)
    assert bool(solution.converged)
    last_digit = np.finfo(np.float64).eps * 10 * case.scale
    of_terms = {64: 50 * case.scale * last_digit, 72: 50 * last_digit**2}  # total variation, squares
    assert 0 <= float(solution.objective) <= of_terms[structure]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_image_is_denoised_exactly(dtype):
    U, B, model = admm.Var("U", 24, 24), admm.Param("B", 24, 24), admm.Model()
    model.setObjective(0.1 * admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - B)))
    with jax.enable_x64(dtype is np.float64):
        solution = model.solve({"B": np.full((24, 24), 0.7, dtype)})
    assert bool(solution.converged)
    assert float(solution.objective) <= 0.1 * 4 * 24**2 * np.finfo(dtype).eps


@pytest.mark.parametrize(
    "op",
    [
        Scale(np.float32(3.1), (24,)),
        Sum((24,), (0,)),
        Difference((24,)),
        MatMul(np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32), (24,), "left"),
    ],
    ids=lambda op: type(op).__name__,
)
def test_values_are_known_to_what_is_said(op):
    """`known` against float64, for a point that is itself off by `error`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=24).astype(np.float32)
    error = np.abs(1e-5 * rng.normal(size=24)).astype(np.float32)
    linear_map = LinearMap((Chain((op,), "x"),), op.out_shape)
    offset = rng.normal(size=op.out_shape).astype(np.float32)
    value, delta = rounding.value_and_error(linear_map, {"x": x}, {"x": error}, offset)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), op)
        for _ in range(20):
            true = exact(x.astype(np.float64) + error * rng.uniform(-1, 1, 24)) + offset
            assert np.all(np.abs(np.asarray(value, np.float64) - true) <= delta)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(("dtype", "weights"), [("float32", (1e2, 1e12, 1e15)), ("float64", (1e6, 1e100, 1e150))])
def test_a_weight_whose_rounding_hides_the_data_is_no_success(p, dtype, weights):
    """Flat is best, at the mean of the data; at zero, where the solve starts, the force of the mean is rounded away."""
    data = np.random.default_rng(0).random((8, 8))
    best = 0.5 * np.sum((data - data.mean()) ** 2)
    U, B, lam, model = admm.Var("U", 8, 8), admm.Param("B", 8, 8), admm.Param("lam"), admm.Model()
    model.setObjective(lam * admm.tv2d(U, p=p) + 0.5 * admm.sum_squares(U - B))
    with jax.enable_x64(dtype == "float64"):
        for weight in weights:
            solution = model.solve({"lam": jnp.asarray(weight, dtype), "B": jnp.asarray(data, dtype)})
            value = float(solution.objective)
            assert float(solution.gap) * value >= (1 - 1e-3) * (value - best) - 1e-5 * value, weight
