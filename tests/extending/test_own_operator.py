"""From outside the package: a Radon transform of one's own, written as a JAX function, in a model."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.testing import check_operator
from tests.models import image_jit

# the user's code

SIZE = 24
ANGLES = np.linspace(0, np.pi, 18, endpoint=False)


def radon(image, offset, angles=ANGLES):
    """Line sums of the image turned by each angle about a centre that is `offset` pixels off the middle."""
    middle = (SIZE - 1) / 2
    rows, columns = jnp.meshgrid(jnp.arange(SIZE) - middle, jnp.arange(SIZE) - middle, indexing="ij")

    def one(angle):
        c, s = jnp.cos(angle), jnp.sin(angle)
        places = [c * rows - s * columns + middle, s * rows + c * columns + middle + offset]
        return jax.scipy.ndimage.map_coordinates(image, places, order=1).sum(axis=0)

    return jax.vmap(one)(jnp.asarray(angles, image.dtype)) / SIZE


def tomography():
    u, sinogram = admm.Var("u", SIZE, SIZE, nonneg=True), admm.Param("sinogram", len(ANGLES), SIZE)
    lam, offset = admm.Param("lam", nonneg=True), admm.Param("offset")
    model = admm.Model()
    misfit = admm.linear(radon, u, offset) - sinogram
    model.setObjective(lam * admm.tv2d(u) + 0.5 * admm.sum(admm.square(misfit)))
    return model


# what holds


@functools.cache
def observed():
    phantom = np.zeros((SIZE, SIZE))
    phantom[5:19, 7:16], phantom[8:13, 10:14] = 1.0, 0.4
    clean = np.asarray(radon(jnp.asarray(phantom), 0.3))
    return phantom, clean + 0.02 * np.random.default_rng(0).normal(size=clean.shape)


def test_it_is_linear_with_its_own_adjoint():
    check_operator(radon, (SIZE, SIZE), 0.3)


@pytest.mark.slow
def test_it_is_reconstructed_and_certified():
    phantom, sinogram = observed()
    given = {"sinogram": sinogram, "lam": 2e-3, "offset": 0.3}
    model = tomography()
    model.optimize(given)
    found = model.variables[0].X
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert 0 <= model.DualGap <= 1e-6
    assert np.linalg.norm(found - phantom) < 0.12 * np.linalg.norm(phantom)

    def objective(u):
        variation = np.abs(np.diff(u, axis=0)).sum() + np.abs(np.diff(u, axis=1)).sum()
        return 2e-3 * variation + 0.5 * np.sum((radon(jnp.asarray(u), 0.3) - sinogram) ** 2)

    with jax.enable_x64(True):
        assert float(objective(found)) == pytest.approx(model.ObjVal, rel=1e-10)
        rng = np.random.default_rng(1)
        for size in (1e-1, 1e-2, 1e-3):  # no point near it is better than the certificate allows
            other = np.maximum(found + size * rng.normal(size=found.shape), 0)
            assert objective(other) >= model.ObjVal * (1 - 1e-6)
    assert "radon(u, offset)" in str(model)
    assert r"\mathrm{radon}_{\mathrm{offset}}\left(u\right)" in model._repr_latex_()
    assert "radon: a function of one's own, its adjoint transposed by JAX" in model.explain(given)


@pytest.mark.slow
def test_its_gradient_against_differences():
    """In lam, along a change of the data, and in a parameter of the operator."""
    _, sinogram = observed()
    change = np.random.default_rng(2).normal(size=sinogram.shape) / 10
    target = observed()[0]
    model = tomography()

    def loss(lam, step, offset):
        params = {"sinogram": sinogram + step * change, "lam": lam, "offset": offset}
        return 0.5 * jnp.sum((model.solve(params, tol=1e-9)["u"] - target) ** 2)

    with jax.enable_x64(True):
        program = image_jit(jax.value_and_grad(loss, (0, 1, 2)))
        at = (2e-3, 0.0, 0.3)
        _, gradient = program(*at)
        for i, h in enumerate((1e-7, 1e-5, 1e-5)):
            ahead, behind = (list(at) for _ in range(2))
            ahead[i] += h
            behind[i] -= h
            difference = (program(*ahead)[0] - program(*behind)[0]) / (2 * h)
            assert float(gradient[i]) == pytest.approx(float(difference), rel=2e-3)


KERNEL = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]).astype(np.float32) / 16


def blur(image):
    """A convolution by a pair of Fourier transforms."""
    shape = (SIZE + 3, SIZE + 3)
    out = jnp.fft.irfft2(jnp.fft.rfft2(image, shape) * jnp.fft.rfft2(KERNEL, shape), shape)
    return out[1 : SIZE + 1, 1 : SIZE + 1]


def halve(image):
    """A linear system: what rounding does in its solver is not known."""
    return jax.lax.custom_linear_solve(lambda v: 2 * v, image, lambda _, b: b / 2, symmetric=True)


@pytest.mark.slow
def test_certificates_know_what_rounding_does_or_say_that_they_do_not():
    """In float32: a blur by transforms is certified as `conv2d` is, and a function not looked into is not at all."""
    data = np.asarray(observed()[0], np.float32)
    solutions = {}
    for name, apply in (
        ("conv2d", lambda u: admm.conv2d(u, KERNEL)),
        ("blur", lambda u: admm.linear(blur, u)),
        ("halve", lambda u: admm.linear(halve, u)),
    ):
        u, model = admm.Var("u", SIZE, SIZE), admm.Model()
        model.setObjective(0.05 * admm.tv2d(u) + 0.5 * admm.sum(admm.square(apply(u) - data)))
        solutions[name] = model.solve(max_iterations=300)
    assert bool(solutions["blur"].converged)
    assert float(solutions["blur"].gap) <= 1e-4
    assert abs(int(solutions["blur"].iterations) - int(solutions["conv2d"].iterations)) <= 2
    assert float(solutions["blur"].objective) == pytest.approx(float(solutions["conv2d"].objective), rel=2e-4)
    assert np.isposinf(solutions["halve"].gap)
    assert not bool(solutions["halve"].converged)
