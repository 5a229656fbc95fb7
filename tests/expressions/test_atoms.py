"""The atoms on numbers: against SciPy, and against values that the reference library returns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import admm_jax as admm

V = np.array([1.0, -2.0, 4.0, 0.3])
X = np.array([[1.0, 2.0, 4.0], [0.0, 5.0, 3.0]])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    st.tuples(st.integers(1, 11), st.integers(1, 11)),
    st.sampled_from(["full", "same", "valid"]),
    st.booleans(),
)
def test_convolution_is_scipys(image_shape, kernel_shape, mode, flip):
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=image_shape), rng.normal(size=kernel_shape)
    atom = admm.conv2d if flip else admm.corr2d
    if mode == "valid" and any(p > n for p, n in zip(kernel_shape, image_shape, strict=True)):
        with pytest.raises(admm.ShapeError, match="larger than the image"):
            atom(image, kernel, mode)
        return
    expected = (scipy.signal.convolve2d if flip else scipy.signal.correlate2d)(image, kernel, mode)
    out = atom(image, kernel, mode)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_of_jax_arrays_stays_in_jax(mode, dtype):
    with jax.enable_x64(dtype == "float64"):
        rng = np.random.default_rng(0)
        image, kernel = rng.normal(size=(6, 5)), rng.normal(size=(2, 3))
        out = admm.conv2d(jnp.asarray(image, dtype), kernel, mode)
        assert isinstance(out, jax.Array)
        assert out.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(out, scipy.signal.convolve2d(image, kernel, mode), atol=tolerance)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_with_a_large_kernel(mode):
    """A volume, and an image of JAX's with its adjoint."""
    rng = np.random.default_rng(0)
    volume, kernel = rng.uniform(size=(7, 9, 11)), rng.uniform(size=(4, 5, 4))
    expected = scipy.signal.convolve(volume, kernel, "valid" if mode == "valid" else "full", method="direct")
    if mode == "same":
        expected = expected[1:8, 2:11, 1:12]
    np.testing.assert_allclose(admm.conv(volume, kernel, mode), expected, rtol=1e-12, atol=1e-12)

    image, square = rng.normal(size=(12, 13)), rng.normal(size=(9, 8))
    out, adjoint = jax.vjp(lambda x: admm.conv2d(x, square, mode), jnp.asarray(image))
    y = rng.normal(size=out.shape)
    np.testing.assert_allclose(out, scipy.signal.convolve2d(image, square, mode), atol=1e-4)
    assert np.vdot(y, out) == pytest.approx(np.vdot(adjoint(jnp.asarray(y, out.dtype))[0], image), rel=1e-4)


def test_convolution_of_photons_with_a_large_kernel_is_never_negative():
    image, kernel = np.zeros((16, 16)), np.full((8, 8), 0.1)
    image[3, 4] = 1e6
    assert np.min(admm.conv2d(image, kernel, "same")) == 0


REFERENCE = [
    (lambda: admm.huber(V), [0.5, 1.5, 3.5, 0.045]),
    (lambda: admm.huber(V, 2), [0.5, 2.0, 6.0, 0.045]),
    (lambda: admm.huber(V, [1, 2, 3, 4]), [0.5, 2.0, 7.5, 0.045]),
    (lambda: admm.kullback_leibler([0.0, 2.0, 3.0], [0, 2, 1]), 2 - np.log(3)),
    (lambda: admm.kullback_leibler([0.0, 2.0, -1.0], [2, 1, 1], [0, 1, 0]), 1 - np.log(2)),
    (lambda: admm.kullback_leibler([0.0, 2.0], 1), np.inf),
    (lambda: admm.norm(V), np.sqrt(21.09)),
    (lambda: admm.norm(V, 2), np.sqrt(21.09)),
    (lambda: admm.norm(V, 1), 7.3),
    (lambda: admm.norm(V, admm.inf), 4.0),
    (lambda: admm.norm(X, 1), 7.0),
    (lambda: admm.norm(X, 2), 7.10212218),
    (lambda: admm.norm(X, np.inf), 8.0),
    (lambda: admm.norm(X, "fro"), np.sqrt(55.0)),
    (lambda: admm.norm(X), np.sqrt(55.0)),
    (lambda: admm.tv2d(X), 15.0),
    (lambda: admm.tv2d(X, 1), 15.0),
    (lambda: admm.tv2d(np.ones((1, 5))), 0.0),
    (lambda: admm.tv1d(V), 12.7),
    (lambda: admm.tv1d(V, 2), 25.4),
    (lambda: admm.tv1d(V, np.array([1.0, 2.0, 3.0])), 26.1),
    (lambda: admm.tv1d(V, 1, 2), 7.66093989),
    (lambda: admm.inrange(V, 0, 1), [0.0, np.inf, np.inf, 0.0]),
    (lambda: admm.inrange(V, V, V), np.zeros(4)),
    (lambda: admm.inrange(X, 0, np.array([1, 2, 3])), [[0.0, 0.0, np.inf], [0.0, np.inf, 0.0]]),
    (lambda: admm.maximum(V, 0), [1.0, 0.0, 4.0, 0.3]),
    (lambda: admm.maximum(0, V), [1.0, 0.0, 4.0, 0.3]),
    (lambda: admm.minimum(V, 0), [0.0, -2.0, 0.0, 0.0]),
    (lambda: admm.sum(X), 15.0),
    (lambda: admm.sum(3), 3.0),
    (lambda: admm.abs(V), np.abs(V)),
    (lambda: admm.square([1, 2]), [1.0, 4.0]),
    (lambda: admm.sum_squares(X), 55.0),
    (lambda: admm.mean(X), 2.5),
    (lambda: admm.mean(X, axis=0), X.mean(0)),
    (lambda: admm.mean(X, (0, -1)), 2.5),
    (lambda: admm.diff(V), np.diff(V)),
    (lambda: admm.pad(X, 1), np.pad(X, 1)),
    (lambda: admm.pad(X, ((0, 1), (2, 0)), "reflect"), np.pad(X, ((0, 1), (2, 0)), "reflect")),
    (lambda: admm.pad(V, (1, 2), "wrap"), np.pad(V, (1, 2), "wrap")),
    (lambda: admm.roll(X, 2), np.roll(X, 2)),
    (lambda: admm.roll(X, -1, axis=1), np.roll(X, -1, axis=1)),
    (lambda: admm.concatenate([X, X[:1]]), np.concatenate([X, X[:1]])),
    (lambda: admm.concatenate([X, X[:, 1:]], axis=-1), np.concatenate([X, X[:, 1:]], axis=-1)),
    (lambda: admm.hstack([V, 3, V]), np.hstack([V, 3, V])),
    (lambda: admm.transpose(X), X.T),
    (lambda: admm.transpose(V), V),
    (lambda: admm.transpose(X.reshape(1, 2, 3), (1, 0, -1)), np.transpose(X.reshape(1, 2, 3), (1, 0, 2))),
    (lambda: admm.ravel(X), X.ravel()),
    (lambda: admm.flatten(3), [3.0]),
    (lambda: admm.norm(X, axis=0), np.linalg.norm(X, axis=0)),
    (lambda: admm.norm(X, 1, axis=1), np.linalg.norm(X, 1, axis=1)),
    (lambda: admm.norm(X, axis=(0, -1)), np.sqrt(55.0)),
    (lambda: admm.norm(X[None], "fro", axis=(1, 2)), [np.sqrt(55.0)]),
    (lambda: admm.hstack([X, X]), np.hstack([X, X])),
    (lambda: admm.vstack([X, X[0]]), np.vstack([X, X[0]])),
    (lambda: admm.diff(X, axis=0), np.diff(X, axis=0)),
    (lambda: admm.diff(V, 3), np.diff(V, 3)),
    (lambda: admm.conv2d(X, X), [[4.0, 12.0, 16.0], [10.0, 26.0, 52.0]]),
    (lambda: admm.corr2d(X, [[1, 2], [3, 4]], "same"), [[25.0, 37.0, 13.0], [10.0, 11.0, 3.0]]),
]


@pytest.mark.parametrize("case", range(len(REFERENCE)))
def test_values_are_the_reference_librarys(case):
    compute, expected = REFERENCE[case]
    np.testing.assert_allclose(compute(), expected, rtol=1e-8)


def test_isotropic_variation_counts_the_last_row_and_column():
    # the lengths of (d1, d2) at the six pixels
    lengths = [np.hypot(1, -1), np.hypot(2, 3), 1.0, 5.0, 2.0, 0.0]
    np.testing.assert_allclose(admm.tv2d(X, 2), np.sum(lengths))


def test_weights_of_total_variation():
    pixel = np.arange(6.0).reshape(2, 3)
    edge = np.stack([pixel, 10 * pixel])
    down, right = np.zeros((2, 3)), np.zeros((2, 3))
    down[:-1], right[:, :-1] = np.abs(np.diff(X, axis=0)), np.abs(np.diff(X, axis=1))
    np.testing.assert_allclose(admm.tv2d(X, weight=pixel), np.sum(pixel * (down + right)))
    np.testing.assert_allclose(admm.tv2d(X, weight=edge), np.sum(edge[0] * down + edge[1] * right))
    np.testing.assert_allclose(admm.tv2d(X, 2, weight=pixel), np.sum(pixel * np.hypot(down, right)))
    np.testing.assert_allclose(admm.tv1d(V, weight=[1, 2, 3, 99]), 26.1)


def test_sums_along_axes():
    np.testing.assert_allclose(admm.sum(X, axis=0), X.sum(0))
    np.testing.assert_allclose(admm.sum(X, axis=(0, -1)), X.sum())
    assert admm.sum(admm.Var("x", 2, 3, 4), axis=(0, 2)).shape == (3,)


def test_constants_are_copied():
    data = np.ones(3)
    expression = admm.Var("x", 3) - data
    data[:] = 7
    np.testing.assert_array_equal(expression.args[1].args[0].value, np.ones(3))
