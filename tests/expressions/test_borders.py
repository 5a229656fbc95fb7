"""Borders by name are those of SciPy and NumPy; a scene is larger than its frame, and the frame is where it was."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import admm_jax as admm
from admm_jax.expressions.printing import latex

BORDERS = {"circular": "wrap", "reflect": "symmetric", "replicate": "edge"}  # NumPy's words
SIGNAL = {"circular": "wrap", "reflect": "symm"}
NDIMAGE = {"circular": "wrap", "reflect": "reflect", "replicate": "nearest"}
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))
KERNELS = st.tuples(st.integers(1, 8), st.integers(1, 8))
RNG = np.random.default_rng(0)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(SHAPES, KERNELS, st.sampled_from(list(BORDERS)), st.booleans(), st.sampled_from(["same", "full"]))
def test_the_words_are_scipys(shape, kernel_shape, boundary, flip, mode):
    """Odd and even kernels, images that are not square, kernels larger than the image."""
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=shape), rng.normal(size=kernel_shape)
    ours = (admm.conv2d if flip else admm.corr2d)(image, kernel, mode, boundary)
    function = scipy.signal.convolve2d if flip else scipy.signal.correlate2d
    if boundary in SIGNAL:
        expected = function(image, kernel, mode, SIGNAL[boundary])
    else:  # by the definition: the part of the convolution of a wider image
        around = np.pad(image, [(p - 1, p - 1) for p in kernel_shape], BORDERS[boundary])
        start = [0 if mode == "full" else (p - 1) // 2 if flip else p // 2 for p in kernel_shape]
        expected = function(around, kernel, "valid")[tuple(slice(s, s + n) for s, n in zip(start, ours.shape))]  # noqa: B905
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
    if mode == "same":
        centre = [p % 2 - 1 for p in kernel_shape]  # SciPy has two centres for even kernels
        if flip:
            other = scipy.ndimage.convolve(image, kernel, mode=NDIMAGE[boundary], origin=centre)
        else:
            other = scipy.ndimage.correlate(image, kernel, mode=NDIMAGE[boundary], origin=centre)
        np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("boundary", BORDERS)
def test_jax_arrays_stay_in_jax(boundary):
    image, kernel = RNG.normal(size=(6, 5)), RNG.normal(size=(2, 3))
    ours = admm.conv2d(jnp.asarray(image, jnp.float32), kernel, boundary=boundary)
    assert isinstance(ours, jax.Array)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, admm.conv2d(image, kernel, "same", boundary), atol=1e-5)


def test_the_border_is_printed():
    U, K = admm.Var("U", 4, 5), admm.Param("K", 3, 3)
    assert str(admm.conv2d(U, K)) == 'conv2d(U, K, "same")'
    assert str(admm.conv2d(U, K, boundary="reflect")) == 'conv2d(U, K, "same", boundary="reflect")'
    assert latex(admm.conv2d(U, K, "full", "circular")) == r"K *_{\mathrm{circular}} U"
    assert latex(admm.corr2d(U, K, boundary="replicate")) == r"K \star_{\mathrm{replicate}} U"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda U, K: admm.conv2d(U, K, boundary="wrap"),
            "boundary of conv2d must be 'zero', .*, which is 'circular' here",
        ),
        (
            lambda U, K: admm.corr2d(U, K, boundary="symm"),
            "boundary of corr2d must be 'zero', .*, which is 'reflect' here",
        ),
        (lambda U, K: admm.conv2d(U, K, boundary="nearest"), "got 'nearest', which is 'replicate' here"),
        (lambda U, K: admm.conv2d(U, K, boundary="mirror"), "'reflect' or 'replicate', got 'mirror'$"),
        (lambda U, K: admm.conv2d(U, K, boundary=3), "got 3$"),
        (
            lambda U, K: admm.conv2d(U, K, "valid", "circular"),
            "'valid' never looks outside the image.*boundary='circular'",
        ),
    ],
)
def test_other_words_are_refused(call, words):
    with pytest.raises(admm.DataError, match=words):
        call(admm.Var("U", 4, 5), np.ones((3, 3)))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(SHAPES, KERNELS)
def test_the_frame_is_where_the_data_are(shape, kernel_shape):
    """A kernel that moves nothing: the data are the frame, for odd and even kernels."""
    kernel = np.zeros(kernel_shape)
    kernel[tuple((p - 1) // 2 for p in kernel_shape)] = 1
    U = admm.Scene("U", shape, kernel_shape)
    scene = RNG.normal(size=U.shape)
    data = admm.conv2d(scene, kernel, "valid")
    assert data.shape == shape
    assert np.array_equal(U.frame(scene), data)
    assert np.array_equal(scene[U.part], data)
    # and it is the window that mode "same" has
    np.testing.assert_array_equal(admm.conv2d(scene, kernel, "same")[U.part], data)


def test_what_a_scene_takes():
    data, kernel = RNG.normal(size=(5, 4)), np.ones((3, 2))
    for like, blur in ((data, kernel), ((5, 4), (3, 2)), (admm.Param("B", 5, 4), admm.Param("K", 3, 2))):
        U = admm.Scene("U", like, blur, nonneg=True)
        assert (U.shape, U.sign, U.part) == ((7, 5), 1, (slice(1, 6), slice(1, 5)))
    batch = np.arange(70.0).reshape(2, 7, 5)
    assert np.array_equal(U.frame(batch), batch[:, 1:6, 1:5])
    assert U.frame(U).shape == (5, 4)
    assert U.frame(jnp.ones((7, 5), jnp.float32)).dtype == np.float32
    for bad, words in (
        (lambda: admm.Scene("U", (5,), kernel), r"image of the scene 'U' must be 2-D and not empty, got shape \(5,\)"),
        (lambda: admm.Scene(None, data, np.ones(3)), r"kernel of a scene must be 2-D and not empty, got shape \(3,\)"),
        (lambda: admm.Scene("U", data, np.ones((0, 3))), r"kernel of the scene 'U' .* got shape \(0, 3\)"),
        (lambda: U.frame(data), r"frame of the scene `U` is a part of shape \(7, 5\), got \(5, 4\)"),
    ):
        with pytest.raises(admm.ShapeError, match=words):
            bad()


def test_a_scene_is_solved_and_says_what_is_seen():
    kernel = np.outer([1, 2, 1], [1, 1]) / 8
    scene = np.zeros((8, 7))
    scene[2:6, 2:] = 1
    data = admm.conv2d(scene, kernel, "valid")

    def model_of(data):
        U, model = admm.Scene("U", data, kernel), admm.Model()
        model.setObjective(1e-3 * admm.tv2d(U) + 0.5 * admm.sum_squares(admm.conv2d(U, kernel, "valid") - data))
        return U, model

    U, model = model_of(data)
    assert "variables   U (8×7, of which a frame of 6×6 is seen)" in str(model)
    assert "of which a frame of 6×6 is seen" in model.explain()
    with pytest.raises(admm.ADMMError, match="no value yet"):
        U.frame()
    model.optimize()
    np.testing.assert_allclose(U.frame(), scene[1:7, 1:], atol=0.05)
    assert np.array_equal(U.frame(model.Solution), U.frame())

    def sharp(data):  # traced, so that nothing compiles
        U, model = model_of(data)
        return U.frame(model.solve(tol=1e-3))

    assert jax.eval_shape(sharp, jax.ShapeDtypeStruct(data.shape, np.float32)).shape == data.shape
