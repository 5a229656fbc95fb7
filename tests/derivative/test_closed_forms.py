"""Derivatives of solutions that can be written down, in both precisions."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import quick_jit

RNG = np.random.default_rng(11)


@pytest.fixture(params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def precision(request):
    """(dtype, tolerance relative to the size of what is compared)."""
    double = request.param == "float64"
    with jax.enable_x64(double):
        yield (jnp.float64, 1e-8) if double else (jnp.float32, 1e-3)


@functools.cache
def jacobians_of(model: admm.Model, name: str) -> Any:
    """One program for all tests of a model."""
    return quick_jit(jax.jacrev(lambda values: model.solve(values)[name]))


def jacobians(model: admm.Model, params: dict[str, Any], name: str, dtype: Any) -> dict[str, np.ndarray]:
    """d x / d param for every parameter, by reverse mode."""
    given = {key: jnp.asarray(value, dtype) for key, value in params.items()}
    return jax.tree.map(np.asarray, jacobians_of(model, name)(given))


def close(found: Any, expected: Any, tol: float, size: float = 1.0) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol * max(size, float(np.max(np.abs(expected)))))


@functools.cache
def denoising(n: int, kernel: bool = False) -> admm.Model:
    """minimise lam TV(x) + 1/2 |k x - y|^2 in 1-D."""
    x, lam, y = admm.Var("x", n), admm.Param("lam"), admm.Param("y", n)
    k = admm.Param("k") if kernel else 1.0
    model = admm.Model()
    model.setObjective(lam * admm.tv1d(x) + 0.5 * admm.sum(admm.square(k * x - y)))
    return model


class TestTwoPixels:
    """x = (a + lam, b - lam) for a < b and k = 1, until they meet at lam = (b - a) / 2; then both are the mean."""

    def test_apart(self, precision):
        dtype, tol = precision
        found = jacobians(denoising(2, kernel=True), {"lam": 0.25, "y": [0.0, 1.0], "k": 1.0}, "x", dtype)
        close(found["lam"], [1.0, -1.0], tol)
        close(found["y"], np.eye(2), tol)

    def test_together(self, precision):
        dtype, tol = precision
        found = jacobians(denoising(2, kernel=True), {"lam": 0.75, "y": [0.0, 1.0], "k": 1.0}, "x", dtype)
        close(found["lam"], [0.0, 0.0], tol)
        close(found["y"], np.full((2, 2), 0.5), tol)

    def test_where_they_meet(self, precision):
        dtype, tol = precision
        found = jacobians(denoising(2, kernel=True), {"lam": 0.5, "y": [0.0, 1.0], "k": 1.0}, "x", dtype)
        assert np.all(np.isfinite(found["lam"]))
        assert -tol <= found["lam"][0] <= 1 + tol
        assert -1 - tol <= found["lam"][1] <= tol
        assert np.all((found["y"] >= -tol) & (found["y"] <= 1 + tol))

    def test_a_kernel_that_is_a_scale(self, precision):
        """k^2 x_1 - k y_1 - lam = 0."""
        dtype, tol = precision
        k, lam, y = 2.0, 0.25, np.array([0.0, 1.0])
        found = jacobians(denoising(2, kernel=True), {"lam": lam, "y": y, "k": k}, "x", dtype)
        close(found["k"], -y / k**2 - 2 * lam / k**3 * np.array([1, -1]), tol)
        close(found["lam"], np.array([1, -1]) / k**2, tol)


def test_plateaus(precision):
    """Each plateau moves by lam times (jumps down - jumps up at its ends) / size, and with the mean of its data."""
    dtype, tol = precision
    y = np.array([0.0, 0.1, 1.0, 1.1, 0.9, 1.0, 0.4, 0.5])
    found = jacobians(denoising(8), {"lam": 0.2, "y": y}, "x", dtype)
    close(found["lam"], [0.5, 0.5, -0.5, -0.5, -0.5, -0.5, 0.5, 0.5], tol)
    expected = np.zeros((8, 8))
    for block in (slice(0, 2), slice(2, 6), slice(6, 8)):
        expected[block, block] = 1 / (block.stop - block.start)
    close(found["y"], expected, tol)


def test_a_plateau_that_is_about_to_split(precision):
    """y = (0, 1, 0, 1), each twice: at lam = 2/3 the pairs join; the derivative is finite and bounded."""
    dtype, tol = precision
    found = jacobians(denoising(8), {"lam": 2 / 3, "y": np.repeat([0.0, 1.0, 0.0, 1.0], 2)}, "x", dtype)
    assert np.all(np.isfinite(found["lam"]))
    assert np.all(np.abs(2 * found["lam"]) <= 2 + tol)  # of y alone, each once, lam is half as large


def test_a_rectangle_in_two_dimensions(precision):
    """A block inside the frame loses lam perimeter / area; the rest gains what it lost."""
    dtype, tol = precision
    image = np.zeros((6, 7))
    image[2:4, 2:5] = 1.0
    U, lam, B = admm.Var("U", 6, 7), admm.Param("lam"), admm.Param("B", 6, 7)
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - B)))
    found = jacobians(model, {"lam": 0.1, "B": image}, "U", dtype)
    expected = np.where(image > 0, -10 / 6, 10 / 36)
    close(found["lam"], expected, tol)
    inside = image > 0
    close(found["B"][2, 2][inside], 1 / 6, tol)
    close(found["B"][2, 2][~inside], 0.0, tol)


@pytest.mark.slow
def test_a_flat_image(precision):
    """Multipliers are degenerate, the solution is not: x is the mean whatever lam, rho and the start are."""
    dtype, tol = precision
    model = denoising(8)
    params = {"lam": 0.3, "y": np.ones(8)}
    found = jacobians(model, params, "x", dtype)
    close(found["lam"], np.zeros(8), tol)
    close(found["y"], np.full((8, 8), 1 / 8), tol)
    for options in ({"rho": 0.01}, {"init": {"x": RNG.normal(size=8)}}):

        def gradient(values, options=options):
            return jnp.sum(model.solve(values, **options)["x"] ** 2)

        given = {key: jnp.asarray(value, dtype) for key, value in params.items()}
        again = quick_jit(jax.grad(gradient))(given)
        close(np.asarray(again["y"]), np.full(8, 2.0), tol)  # of sum x^2 = 8 mean(y)^2
        close(np.asarray(again["lam"]), 0.0, tol)


@pytest.mark.slow
def test_a_singular_map_with_one_solution(precision):
    """1/2 (x_1 + x_2 - y)^2 + lam |x_2 - x_1|: K^T K is singular, x = (y, y) / 2."""
    dtype, tol = precision
    x, lam, y = admm.Var("x", 2), admm.Param("lam"), admm.Param("y")
    model = admm.Model()
    model.setObjective(lam * admm.tv1d(x) + 0.5 * admm.square(admm.sum(x) - y))
    found = jacobians(model, {"lam": 0.3, "y": 1.7}, "x", dtype)
    close(found["y"], [0.5, 0.5], tol)
    close(found["lam"], [0.0, 0.0], tol)


MATRIX = RNG.normal(size=(9, 6))
TARGET = MATRIX @ np.array([1.0, -1.5, 0.0, 0.0, 0.7, 0.0]) + 0.3 * RNG.normal(size=9)


class TestLeastSquares:
    """min 1/2 |A x - b|^2 + lam |x|_1 + mu/2 |x|^2 on its support: (A_S^T A_S + mu) x_S = A_S^T b - lam s."""

    @staticmethod
    @functools.cache
    def model(l1: bool) -> admm.Model:
        x, A, b, mu = admm.Var("x", 6), admm.Param("A", 9, 6), admm.Param("b", 9), admm.Param("mu")
        model = admm.Model()
        terms = 0.5 * admm.sum(admm.square(A @ x - b)) + 0.5 * mu * admm.sum(admm.square(x))
        model.setObjective(terms + admm.Param("lam") * admm.norm(x, 1) if l1 else terms)
        return model

    @pytest.mark.parametrize("mu", [0.0, 0.7])
    def test_lasso_and_elastic_net(self, precision, mu):
        dtype, tol = precision
        lam = 0.2 * np.max(np.abs(MATRIX.T @ TARGET))
        params = {"A": MATRIX, "b": TARGET, "lam": lam, "mu": mu}
        with jax.enable_x64(True):
            x = np.asarray(self.model(True).solve(params, tol=1e-10)["x"])
        support = np.abs(x) > 1e-9
        assert 1 < support.sum() < 6
        A, s = MATRIX[:, support], np.sign(x[support])
        gram = np.linalg.inv(A.T @ A + mu * np.eye(support.sum()))
        close(x[support], gram @ (A.T @ TARGET - lam * s), 1e-9)
        found = jacobians(self.model(True), params, "x", dtype)
        close(found["lam"][support], -gram @ s, tol)
        close(found["b"][support], gram @ A.T, tol)
        close(found["mu"][support], -gram @ x[support], tol)
        close(found["lam"][~support], 0.0, tol)
        close(found["b"][~support], 0.0, tol)
        residual, direction = A @ x[support] - TARGET, RNG.normal(size=MATRIX.shape)
        moved = -gram @ (direction[:, support].T @ residual + A.T @ direction[:, support] @ x[support])
        close(np.sum(found["A"] * direction, axis=(1, 2))[support], moved, tol)

    def test_ridge_to_second_order(self, precision):
        """x = G^-1 A^T b with G = A^T A + mu: x' = -G^-1 x, x'' = 2 G^-2 x."""
        dtype, tol = precision
        mu = 0.7
        gram = np.linalg.inv(MATRIX.T @ MATRIX + mu * np.eye(6))
        x = gram @ MATRIX.T @ TARGET
        w = RNG.normal(size=6)
        model = self.model(False)

        def value(mu, b):
            return jnp.dot(w.astype(dtype), model.solve({"A": MATRIX.astype(dtype), "b": b, "mu": mu})["x"] ** 2)

        at = jnp.asarray(mu, dtype), jnp.asarray(TARGET, dtype)
        first, second = -gram @ x, 2 * gram @ gram @ x
        hessian = quick_jit(jax.hessian(value, (0, 1)))(*at)
        close(np.asarray(hessian[0][0]), w @ (2 * first**2 + 2 * x * second), tol)
        H = gram @ MATRIX.T
        close(np.asarray(hessian[1][1]), 2 * H.T @ (w[:, None] * H), tol)


def test_bounds(precision):
    """Entries at a bound move with it; the others solve what is left."""
    dtype, tol = precision
    x, A, b, upper = admm.Var("x", 4), admm.Param("A", 6, 4), admm.Param("b", 6), admm.Param("u", 4)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(A @ x - b)))
    model.addConstr(x <= upper)
    matrix = np.eye(6, 4) + 0.1 * RNG.normal(size=(6, 4))
    target, bound = np.array([1.0, 2.0, -1.0, 0.3, 0.7, -0.6]), np.array([0.5, 1.0, 3.0, 3.0])
    found = jacobians(model, {"A": matrix, "b": target, "u": bound}, "x", dtype)
    free, held = matrix[:, 2:], matrix[:, :2]
    inverse = np.linalg.inv(free.T @ free)
    close(found["u"][:2], np.eye(2, 4), tol)
    close(found["u"][2:, :2], -inverse @ free.T @ held, tol)
    close(found["b"][2:], inverse @ free.T, tol)
    close(found["b"][:2], 0.0, tol)


@pytest.mark.slow
def test_equality_constraints(precision):
    """min 1/2 |x - y|^2, C x = d: x = y - C^T (C C^T)^-1 (C y - d), and its multiplier."""
    dtype, tol = precision
    x, y, C, d = admm.Var("x", 5), admm.Param("y", 5), admm.Param("C", 2, 5), admm.Param("d", 2)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - y)))
    model.addConstr(C @ x == d)
    matrix, point, value = RNG.normal(size=(2, 5)), RNG.normal(size=5), np.array([0.4, -0.2])
    found = jacobians(model, {"y": point, "C": matrix, "d": value}, "x", dtype)
    inverse = np.linalg.inv(matrix @ matrix.T)
    close(found["y"], np.eye(5) - matrix.T @ inverse @ matrix, tol)
    close(found["d"], matrix.T @ inverse, tol)
    step = RNG.normal(size=matrix.shape)

    def closed(c):
        return point - c.T @ np.linalg.solve(c @ c.T, c @ point - value)

    moved = (closed(matrix + 1e-6 * step) - closed(matrix - 1e-6 * step)) / 2e-6
    close(np.sum(found["C"] * step, axis=(1, 2)), moved, max(tol, 1e-7))

    def multiplier(d):
        return model.solve({"y": jnp.asarray(point, dtype), "C": jnp.asarray(matrix, dtype), "d": d}).multipliers[0]

    slope = quick_jit(jax.jacfwd(multiplier))(jnp.asarray(value, dtype))
    close(np.asarray(slope), -inverse, tol)


def test_an_isotropic_corner(precision):
    """Where the directions of the differences turn with lam: differences of tight solves, not frozen directions."""
    dtype, tol = precision
    image = np.array([[0.0, 0.1, 0.0], [0.2, 1.0, 0.7], [0.1, 0.9, 2.0]])
    U, lam, B = admm.Var("U", 3, 3), admm.Param("lam"), admm.Param("B", 3, 3)
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U, p=2) + 0.5 * admm.sum(admm.square(U - B)))
    at, h = 0.1, 1e-4
    with jax.enable_x64(True):
        wide = [np.asarray(model.solve({"lam": at + k * h, "B": image}, tol=1e-12)["U"]) for k in (-2, -1, 1, 2)]
    expected = (wide[0] - 8 * wide[1] + 8 * wide[2] - wide[3]) / (12 * h)
    found = jacobians(model, {"lam": at, "B": image}, "U", dtype)
    close(found["lam"], expected, tol)
    # with the directions v frozen, dx = -D^T v: it is not that
    x = (wide[1] + wide[2]) / 2
    across, down = np.diff(x, axis=1, append=x[:, -1:]), np.diff(x, axis=0, append=x[-1:])
    length = np.sqrt(across**2 + down**2)
    v = np.where(length > 1e-9, np.stack([down, across]) / np.maximum(length, 1e-9), 0)
    frozen = np.zeros_like(x)
    frozen[:-1] += v[0][:-1]
    frozen[1:] -= v[0][:-1]
    frozen[:, :-1] += v[1][:, :-1]
    frozen[:, 1:] -= v[1][:, :-1]
    assert np.max(np.abs(frozen - expected)) > 0.01


def test_a_weight_of_zero_has_a_derivative_where_counts_allow_the_solution_and_else_none():
    # kl(x; b, w) + ||x - d||^2 / 2 has x = d + w (b / d - 1) + O(w^2) for d > 0, and jumps to x >= 0 from d < 0
    d, b = np.array([0.5, 2.0, -1.0, -2.0]), np.array([1.0, 3.0, 2.0, 0.0])
    x, w = admm.Var("x", 4), admm.Param("w", 4)
    model = admm.Model()
    model.setObjective(admm.kullback_leibler(x, b, w) + 0.5 * admm.sum(admm.square(x - d)))

    def values(w):
        return model.solve({"w": w}, tol=1e-9)["x"]

    with jax.enable_x64(True):
        weights = jnp.zeros(4)
        np.testing.assert_allclose(values(weights), d, atol=1e-9)
        reverse, forward = jax.jacrev(values)(weights), jax.jacfwd(values)(weights)
    expected = np.where(d > 0, b / d - 1, np.nan)
    np.testing.assert_allclose(np.diag(reverse), expected, rtol=1e-6)
    np.testing.assert_allclose(np.diag(forward), expected, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(reverse)[:, :2], np.eye(4, 2) * expected[:2], atol=1e-9)
