"""Gradients of small photographs at the defaults: one wrong region may be a fifth of one, so none must be left."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage.data import camera

import admm_jax as admm
from tests.models import image_jit

FRAME, WIDTH = 29, 11
SCENE = FRAME + WIDTH - 1


def shaken(rng):
    """The path of a camera that is shaken, one pixel thick."""
    kernel, place, speed = np.zeros((WIDTH, WIDTH)), np.full(2, WIDTH / 2), rng.standard_normal(2)
    for _ in range(8 * WIDTH):
        speed = 0.9 * speed + 0.4 * rng.standard_normal(2)
        place = np.clip(place + 0.45 * speed, 0, WIDTH - 1e-3)
        kernel[tuple(place.astype(int))] += 1
    return kernel / kernel.sum()


@pytest.mark.slow
def test_they_are_those_of_a_tight_solve():
    """In float64 at the default tolerance, against a gap of 1e-9: a photograph that was 19 % off in the data."""
    rng = np.random.default_rng([0, 41])
    stride = rng.integers(2, 6)
    row, column = rng.integers(0, 512 - stride * SCENE, 2)
    truth = camera()[row : row + stride * SCENE : stride, column : column + stride * SCENE : stride] / 255
    kernel, sigma = shaken(rng), rng.choice([0.01, 0.02, 0.05])
    blurred = convolve2d(truth, kernel, "valid")
    data = {"B": blurred + sigma * rng.standard_normal(blurred.shape), "k": kernel}
    data["lam"] = sigma**2 * 10.0 ** rng.uniform(0, 1.2) * 1.5
    inside = slice(WIDTH // 2, WIDTH // 2 + FRAME)
    pull = np.zeros(truth.shape)
    noise = truth.std() * rng.standard_normal((FRAME, FRAME))
    pull[inside, inside] = (convolve2d(truth, kernel, "same") - truth)[inside, inside] + 0.1 * noise

    S, B, k, lam = (
        admm.Var("S", truth.shape),
        admm.Param("B", blurred.shape),
        admm.Param("k", kernel.shape),
        admm.Param("lam"),
    )
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(S) + 0.5 * admm.sum_squares(admm.conv2d(S, k, "valid") - B))
    with jax.enable_x64(True):
        slope = image_jit(
            jax.grad(lambda data, tol: jnp.sum(pull * model.solve(data, tol=tol, max_iterations=6000)["S"]))
        )
        data = jax.tree.map(jnp.asarray, data)
        rough, exact = (jax.tree.map(np.asarray, slope(data, tol)) for tol in (1e-3, 1e-9))
    for name, value in exact.items():
        np.testing.assert_allclose(rough[name], value, rtol=1e-3, atol=1e-3 * np.max(np.abs(value)))
