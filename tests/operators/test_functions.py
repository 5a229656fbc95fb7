"""Operators that are JAX functions: their magnitude by their program, and what is refused."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from admm_jax.operators import absolute
from admm_jax.operators.base import Scale
from admm_jax.operators.function import complaint, operator_of
from admm_jax.testing import check_operator
from tests.operators.dense import precision

SHAPE = (6, 5)
KERNEL = np.random.default_rng(0).normal(size=(3, 3))


def convolve(x, k):
    return jax.scipy.signal.convolve(x, k, mode="same")


def rotate(x, angles):
    """Line sums of turned images: a gather with weights."""

    def one(angle):
        rows, columns = jnp.meshgrid(jnp.arange(6.0) - 2.5, jnp.arange(5.0) - 2.0, indexing="ij")
        turned = (jnp.cos(angle) * rows - jnp.sin(angle) * columns, jnp.sin(angle) * rows + jnp.cos(angle) * columns)
        return jax.scipy.ndimage.map_coordinates(x, [turned[0] + 2.5, turned[1] + 2.0], order=1).sum(0)

    return jax.vmap(one)(angles[0])


def recurse(x, k):
    """A recursive filter: a loop whose carry depends on x from its second turn on."""

    def step(carry, row):
        carry = 0.5 * carry - row
        return carry, k[0, 0] * carry

    carry, out = jax.lax.scan(step, jnp.zeros(x.shape[1], x.dtype), x)
    return out + carry


def shifts(x, k):
    return jax.lax.map(lambda row: jnp.roll(row, 1) - k[0, 1] * row, x)


@jax.jit
def pieces(x, k):
    return jnp.concatenate([x[::2] / k[0, 0], jnp.where(k[1, 1] > 0, x[1:3], -x[2:4])]).reshape(-1)[::-1].at[3].set(0.0)


def spectrum(x, k):
    f = jnp.fft.fft2(x, norm="ortho")
    return jnp.stack([f.real, f.imag])


def filtered(x, k):
    shape = (8, 8)
    return jnp.fft.irfft2(jnp.fft.rfft2(x, shape) * jnp.fft.rfft2(k, shape), shape)[:6, :5]


SHARP = {"convolve": convolve, "rotate": rotate, "recurse": recurse, "shifts": shifts, "pieces": pieces}
BLUNT = {"spectrum": spectrum, "filtered": filtered}


@pytest.mark.parametrize("name", [*SHARP, *BLUNT])
def test_contract(name):
    check_operator({**SHARP, **BLUNT}[name], SHAPE, KERNEL)


@pytest.mark.parametrize("name", SHARP)
def test_the_magnitude_of_a_program_without_transforms_is_that_of_its_matrix(name):
    with precision("float64"):
        op = operator_of(SHARP[name], SHAPE, (jnp.asarray(KERNEL),))
        matrix = np.abs(np.asarray(jax.vmap(op)(np.eye(30).reshape(30, *SHAPE))).reshape(30, -1).T)
        x, y = np.random.default_rng(1).random(SHAPE), np.random.default_rng(2).random(op.out_shape)
        bound = op.magnitude()
        assert bound is not None
        np.testing.assert_allclose(bound(x).ravel(), matrix @ x.ravel(), rtol=1e-13)
        np.testing.assert_allclose(bound.adjoint(y).ravel(), matrix.T @ y.ravel(), rtol=1e-13)


@pytest.mark.parametrize("name", BLUNT)
def test_behind_a_transform_a_size_is_a_bound_only(name):
    """It is not taken for a size (`magnitude` is None), but bounds what rounding does, by the length that F keeps."""
    with precision("float64"):
        op = operator_of(BLUNT[name], SHAPE, (jnp.asarray(KERNEL),))
        assert op.magnitude() is None
        x = np.random.default_rng(1).random(SHAPE)
        known = absolute.magnitude(op, jnp.asarray(x))
        strongest = np.abs(np.fft.rfft2(KERNEL, (8, 8))).max() if name == "filtered" else 1.0
        assert np.all(known <= 2 * strongest * np.linalg.norm(x))


def test_what_is_not_known_bounds_nothing():
    def halved(x):
        return jax.lax.custom_linear_solve(lambda v: 2 * v, x, lambda _, b: b / 2, symmetric=True)

    with precision("float64"):
        op = operator_of(halved, (4,))
        x = jnp.ones(4)
        assert op.magnitude() is None
        assert np.all(np.isposinf(op.rounded(x, 0 * x, op(x))))
        assert complaint(op) is None
    check_operator(halved, (4,))
    assert (
        "in its `custom_linear_solve` is not known: nothing will be certified" in operator_of(halved, (4,)).description
    )
    said = Halved()
    check_operator(said)
    with precision("float64"):
        np.testing.assert_array_equal(operator_of(said, (4,)).rounded(x, 0 * x, x), np.finfo(float).eps / 2)


class Halved:
    """The same, saying what its size is."""

    in_shape = out_shape = (4,)

    def __call__(self, x):
        return jax.lax.custom_linear_solve(lambda v: 2 * v, x, lambda _, b: b / 2, symmetric=True)

    adjoint = __call__

    def magnitude(self):
        return Scale(0.5, (4,))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (jnp.abs, "`abs` is not linear in its first argument: JAX cannot transpose it"),
        (jax.nn.relu, "`relu` is not linear"),
        (lambda x: x * x, "`linear` is not linear in its first argument"),
        (lambda x: x + 1.0, r"at zero it is not zero but up to 1 \(affine\?\)"),
        (lambda x: jnp.where(x[0] > 0, x, 2 * x), "is not linear in its first argument"),
    ],
)
def test_what_is_not_linear(f, message):
    found = complaint(operator_of(f, (5,)))
    assert found is not None
    assert re.search(message, found), found
