"""Models of volumes and of images with channels: against an interior-point method, and differentiated."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solver.reach import isoperimetric

RNG = np.random.default_rng(3)


def blocks(shape):
    image = np.zeros(shape)
    image[tuple(slice(1, n // 2 + 1) for n in shape)] = 1
    return image + 0.1 * np.random.default_rng(4).normal(size=shape)  # whatever ran before


def matrix(function, shape):
    """Of a linear function of NumPy's arrays."""
    return np.stack([np.ravel(function(e.reshape(shape))) for e in np.eye(np.prod(shape, dtype=int))], axis=1)


def lengths(shape, axes, spacing, channel=None):
    """x -> the norms of the differences that count together, in cvxpy."""
    parts = np.split(matrix(lambda x: admm.gradient(x, axes, spacing), shape), len(axes))
    if channel is None:
        return lambda x: cp.norm(cp.vstack([part @ x for part in parts]), 2, axis=0)
    order = np.moveaxis(np.arange(np.prod(shape)).reshape(shape), channel, 0).reshape(shape[channel], -1)
    return lambda x: cp.norm(cp.vstack([part[own] @ x for part in parts for own in order]), 2, axis=0)


VOLUME, COLOURS = (6, 6, 6), (8, 8, 3)
PIXELS, EDGES = RNG.uniform(0.2, 2, (8, 8)), RNG.uniform(0.2, 2, (2, 12, 12))
PSF = RNG.uniform(0.2, 1, (3, 2, 3)) / 10
EACH = RNG.uniform(0.2, 1, (3, 3, 3)) / 5


def anisotropic(shape, axes, weight):
    pairs = matrix(lambda x: weight * admm.gradient(x, axes), shape)
    return lambda x: cp.norm(pairs @ x, 1)


MODELS = {
    "volume, isotropic": (
        *(VOLUME, lambda U: U, lambda U: admm.tv(U, 2, spacing=(2, 1, 0.5))),
        *(lambda x: cp.sum(lengths(VOLUME, (0, 1, 2), (2, 1, 0.5))(x)), 2e-6),
    ),
    "edges": (
        *((12, 12), lambda U: U, lambda U: admm.tv(U, axes=(1, 0), weight=EDGES)),
        *(anisotropic((12, 12), (1, 0), EDGES), 2e-6),
    ),
    "colours": (
        *(COLOURS, lambda U: U, lambda U: admm.tv(U, 2, weight=PIXELS, channel_axis=-1)),
        *(lambda x: PIXELS.ravel() @ lengths(COLOURS, (0, 1), 1.0, 2)(x), 2e-6),
    ),
    "volume, blurred": (
        *(VOLUME, lambda U: admm.conv(U, PSF), admm.tv),
        *(anisotropic(VOLUME, (0, 1, 2), 1.0), 2e-6),
    ),
    "colours, each with its kernel": (
        *(COLOURS, lambda U: admm.corr(U, EACH, axes=(0, 1)), lambda U: admm.tv(U, 1, channel_axis=2)),
        *(anisotropic(COLOURS, (0, 1), 1.0), 2e-6),
    ),
    "by hand": (
        *((12, 12), lambda U: U, lambda U: admm.sum(admm.norm(admm.gradient(U), axis=0))),
        *(lambda x: cp.sum(lengths((12, 12), (0, 1), 1.0)(x)), 2e-6),
    ),
    "laplacian": (
        *((12, 12), lambda U: U, lambda U: admm.sum(abs(admm.laplacian(U)))),
        *(lambda x: cp.norm(matrix(admm.laplacian, (12, 12)) @ x, 1), 2e-6),
    ),
}
QUICK = ("volume, isotropic", "colours", "volume, blurred")


def model_of(name):
    """(the model, its variable, what it is given, the optimum)."""
    shape, seen, variation, reference, _ = MODELS[name]
    U, lam = admm.Var("U", shape), admm.Param("lam")
    image = blocks(shape)
    B = admm.Param("B", seen(image).shape)
    data = seen(image)
    model = admm.Model()
    model.setObjective(lam * variation(U) + 0.5 * admm.sum(admm.square(seen(U) - B)))
    x = cp.Variable(image.size)
    fit = cp.sum_squares(matrix(seen, shape) @ x - data.ravel()) / 2
    best = cp.Problem(cp.Minimize(0.1 * reference(x) + fit))
    best.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return model, U, {"lam": 0.1, "B": data}, best.value


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_the_optimum_and_no_gap_below_the_truth(name):
    model, _, data, best = model_of(name)
    for dtype, tol in (("float64", 1e-6), ("float32", 1e-4)):
        with jax.enable_x64(dtype == "float64"):
            arrays = {key: jnp.asarray(value, dtype) for key, value in data.items()}
            solution = model.solve(arrays)
        above = float(solution.objective) / best - 1
        rough = 1e-8 if dtype == "float64" else 1e-6
        assert -rough <= above <= tol + rough, (name, dtype, above)
        assert above <= float(solution.gap) + rough, (name, dtype, above, float(solution.gap))
        assert solution.status_string in ("SOLVE_OPT_SUCCESS", "SOLVE_STALLED")


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("volume, isotropic", "volume, blurred")),
        # colours are not polished: which pixels are flat stays in doubt, and some data end in NaN with its warning
        pytest.param("colours", marks=pytest.mark.open),
    ],
)
def test_the_derivative(name):
    model, U, data, _ = model_of(name)
    sure = name != "colours"
    rng = np.random.default_rng(5)
    push, along = rng.normal(size=U.shape), rng.normal(size=data["B"].shape)
    with jax.enable_x64(True):

        def loss(lam, B):
            values = {"lam": lam, "B": B}
            return jnp.sum(push * model.solve(values, tol=1e-9, derivative_warning=sure)[U])

        values = jax.jit(loss)
        by_lam, by_data = jax.grad(loss, (0, 1))(data["lam"], jnp.asarray(data["B"]))
        h, lam, B = 1e-5, data["lam"], data["B"]
        slope = (values(lam + h, B) - values(lam - h, B)) / (2 * h)
        np.testing.assert_allclose(by_lam, slope, rtol=1e-4)
        slope = (values(lam, B + h * along) - values(lam, B - h * along)) / (2 * h)
        np.testing.assert_allclose(np.vdot(by_data, along), slope, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 3, 4), (2, 2, 2, 2)])
def test_sets_of_pixels_have_a_border(shape):
    """The inequality, for every set: it is the one that the coarea formula carries over to all arrays."""
    size = int(np.prod(shape))
    sets = (np.arange(2**size)[:, None] >> np.arange(size) & 1).astype(float).reshape(-1, *shape)
    border = sum(np.abs(np.diff(sets, axis=1 + a)).reshape(len(sets), -1).sum(1) for a in range(len(shape)))
    pixels = sets.reshape(len(sets), -1)
    apart = np.linalg.norm(pixels - pixels.mean(1, keepdims=True), axis=1)
    assert np.all(apart * isoperimetric(shape) <= border + 1e-9)
