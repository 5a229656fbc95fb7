"""Images in, images out: what comes back has the place, the scale and the brightness of what went in."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from skimage.registration import phase_cross_correlation

import admm_jax as admm
from admm_jax import restore
from admm_jax.status import Status

RNG = np.random.default_rng(5)
SHAPE = (40, 36)
KERNEL = RNG.random((9, 8)) ** 3  # off its middle
KERNEL /= KERNEL.sum()
WIDE = np.zeros((SHAPE[0] + 8, SHAPE[1] + 7))
WIDE[8:30, 6:20] = 0.8
WIDE[20:, 26:] += 0.5
WIDE += 0.2
INNER = WIDE[4 : 4 + SHAPE[0], 4 : 4 + SHAPE[1]]
NOISE = 0.005 * RNG.normal(size=SHAPE)
BLURRED = scipy.signal.convolve2d(WIDE, KERNEL, "valid") + NOISE


def psnr(image, truth=INNER):
    return -10 * np.log10(np.mean((np.asarray(image, float) - truth) ** 2))


@pytest.fixture(scope="module")
def sharp():
    return restore.deblur(BLURRED.astype("float32"), KERNEL, full_output=True)


def test_deblurring_with_an_unknown_frame(sharp):
    image, (solution,) = sharp
    assert image.shape == SHAPE
    assert image.dtype == np.float32
    assert int(solution.status) in (Status.SOLVE_ESTIMATE_REACHED, Status.SOLVE_OPT_SUCCESS)
    assert psnr(image) > psnr(BLURRED) + 8
    assert abs(image.mean() - INNER.mean()) < 0.01
    border = np.ones(SHAPE, bool)
    border[3:-3, 3:-3] = False  # no ringing at the frame: it is about as good there as inside
    assert np.sqrt(np.mean((image - INNER)[border] ** 2)) < 3 * np.sqrt(np.mean((image - INNER)[~border] ** 2))


def test_it_is_not_shifted(sharp):
    """Of all small shifts of the result, none fits the truth better."""
    image, _ = sharp
    errors = {
        (i, j): np.mean((np.roll(image, (i, j), (0, 1)) - INNER)[3:-3, 3:-3] ** 2)
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    }
    assert min(errors, key=errors.get) == (0, 0)


def test_integers_come_back_in_their_scale(sharp):
    image, _ = sharp
    stored = np.round(np.clip(BLURRED / 1.6, 0, 1) * 65535).astype(np.uint16)
    ours = restore.deblur(stored, 7 * KERNEL)  # whatever the kernel's sum
    assert psnr(ours / 65535 * 1.6) > psnr(image) - 1


@pytest.mark.slow
def test_the_kernel_of_the_same_size_as_scipy_has_it():
    truth = WIDE[:40, :36]
    image = restore.deblur(scipy.signal.convolve2d(truth, KERNEL, "same") + NOISE, KERNEL, boundary="zero")
    assert psnr(image, truth) > psnr(BLURRED, INNER) + 8


@pytest.mark.parametrize(
    ("boundary", "words"),
    [
        ("circular", "wrap"),
        pytest.param("reflect", "symmetric", marks=pytest.mark.slow),
        pytest.param("replicate", "edge", marks=pytest.mark.slow),
    ],
)
def test_each_border_undoes_the_blur_that_had_it(boundary, words):
    """It is not shifted, by no tenth of a pixel, and as bright as it was, up to the border."""
    truth = WIDE[:40, :36]
    around = np.pad(truth, ((4, 4), (4, 3)), words)
    blurred = scipy.signal.convolve2d(around, KERNEL, "valid") + NOISE
    image = restore.deblur(blurred.astype("float32"), KERNEL, boundary=boundary)
    assert psnr(image, truth) > psnr(blurred, truth) + 8
    shift = phase_cross_correlation(truth, image, upsample_factor=20)[0]
    assert np.all(np.abs(shift) < 0.1)
    assert abs(image.mean() - truth.mean()) < 0.005
    border = np.ones(truth.shape, bool)
    border[3:-3, 3:-3] = False
    assert np.sqrt(np.mean((image - truth)[border] ** 2)) < 3 * np.sqrt(np.mean((image - truth)[~border] ** 2))


def test_colours():
    colours = np.stack([BLURRED, 0.5 * BLURRED[::-1], BLURRED**2], 0).astype("float32")
    first = restore.deblur(colours, KERNEL, channel_axis=0, lam=1e-3)
    last = restore.deblur(np.moveaxis(colours, 0, -1), KERNEL, channel_axis=-1, lam=1e-3)
    assert last.shape == (*SHAPE, 3)
    np.testing.assert_allclose(first, np.moveaxis(last, -1, 0))
    alone = restore.deblur(colours[1], KERNEL, lam=1e-3)
    np.testing.assert_allclose(first[1], alone, atol=1e-5)


@pytest.mark.slow
def test_denoising_is_its_model():
    noisy = (INNER + 0.1 * RNG.normal(size=SHAPE)).astype("float32")
    image = restore.denoise(noisy, lam=0.1, tv="anisotropic", tol=1e-5, stop="certificate")
    U, model = admm.Var("U", *SHAPE), admm.Model()
    model.setObjective(0.1 * admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - noisy)))
    np.testing.assert_allclose(image, model.solve(tol=1e-5)["U"], atol=2e-3)
    assert psnr(restore.denoise(noisy)) > psnr(noisy) + 5


def test_inpainting_keeps_what_is_known():
    missing = RNG.random(SHAPE) < 0.4
    holed = np.where(missing, 0, INNER).astype("float32")
    image = restore.inpaint(holed, missing)
    np.testing.assert_allclose(image[~missing], INNER[~missing], atol=1e-4)
    assert psnr(image) > psnr(holed) + 10


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: restore.deblur(np.ones((8, 8, 3)), KERNEL), admm.ShapeError, "image must have 2 axes.*channel_axis"),
        (lambda: restore.deblur(np.ones((8, 8)), KERNEL, channel_axis=-1), admm.ShapeError, "image must have 3 axes"),
        (lambda: restore.deblur(np.ones((8, 8), complex), KERNEL), admm.DataError, "floats or integers"),
        (lambda: restore.deblur(np.full((8, 8), np.nan), KERNEL), admm.DataError, "image must be finite"),
        (lambda: restore.deblur(np.ma.masked_array(BLURRED), KERNEL), admm.DataError, "without a mask"),
        (lambda: restore.deblur(BLURRED, KERNEL[0]), admm.ShapeError, "kernel must be a 2-D array"),
        (lambda: restore.deblur(BLURRED, -KERNEL), admm.DataError, "kernel must have a positive sum"),
        (lambda: restore.deblur(BLURRED, KERNEL * (1 + 1j)), admm.DataError, "kernel must be of floats or integers"),
        (lambda: restore.deblur(BLURRED, "kernel"), admm.DataError, "kernel must be of floats or integers"),
        (lambda: restore.deblur(BLURRED, KERNEL, boundary="wrap"), admm.DataError, "boundary must be 'unknown' or"),
        (lambda: restore.deblur(BLURRED, KERNEL, tv="l2"), admm.DataError, "tv must be"),
        (lambda: restore.deblur(BLURRED, KERNEL, lam="best"), admm.DataError, "lam must be 'auto'"),
        (lambda: restore.deblur(BLURRED, KERNEL, lam=-1), admm.DataError, "lam must be a number that is not negative"),
        (lambda: restore.deblur(BLURRED, KERNEL, lam=np.ones(3)), admm.DataError, r"lam must be a number .* got array"),
        (lambda: restore.deblur(BLURRED, KERNEL, lam=1j), admm.DataError, "lam must be a number that is not negative"),
        (lambda: restore.deblur(np.ones((8, 8)), KERNEL), admm.DataError, "there is none to be seen"),
        (lambda: restore.inpaint(BLURRED, np.ones(SHAPE)), admm.DataError, "mask must be an array of booleans"),
        (lambda: restore.inpaint(BLURRED, np.ones(SHAPE, bool)), admm.DataError, "all pixels are missing"),
        (lambda: restore.inpaint(BLURRED, np.zeros((3, 3), bool)), admm.ShapeError, "mask must have the shape"),
    ],
)
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_counts_keep_their_scale():
    """Whole numbers as they are, over a background; twenty photons a unit, against the blurred image."""
    counts = np.random.default_rng(0).poisson(20 * scipy.signal.convolve2d(WIDE, KERNEL, "valid") + 3)
    image, (solution,) = restore.deblur_poisson(counts, KERNEL, background=3, full_output=True)
    assert image.shape == SHAPE
    assert int(solution.status) in (Status.SOLVE_ESTIMATE_REACHED, Status.SOLVE_OPT_SUCCESS)
    assert image.min() >= 0
    assert psnr(image / 20) > psnr((counts - 3) / 20) + 3


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"counts": -np.ones(SHAPE)}, admm.DataError, "counts must not be negative, got a minimum of -1"),
        ({"counts": 1j * np.ones(SHAPE)}, admm.DataError, "counts must be of floats or integers"),
        ({"counts": np.ones(3)}, admm.ShapeError, "counts must have 2 axes"),
        ({"counts": np.ones(SHAPE)}, admm.DataError, "range of the counts, and they are all equal"),
        ({"background": -1}, admm.DataError, "background must be finite and not negative, got a minimum of -1"),
        ({"background": np.ones(3)}, admm.ShapeError, "background must be a scalar or have the shape"),
    ],
)
def test_counts_that_are_none(arguments, error, says):
    with pytest.raises(error, match=says):
        restore.deblur_poisson(**{"counts": np.arange(np.prod(SHAPE)).reshape(SHAPE), "kernel": KERNEL, **arguments})


def test_a_level_far_above_the_contrast_costs_nothing():
    """A camera's offset, in the solution's values too; solved with it, 100 took eight times the iterations."""
    noisy = (INNER + 10 * NOISE).astype("float32")
    plain, (first,) = restore.denoise(noisy, lam=0.05, full_output=True)
    for level in (100, 1e4):
        image, (solution,) = restore.denoise(noisy + np.float32(level), lam=0.05, full_output=True)
        rounding = 2e-7 * level  # of the image itself
        np.testing.assert_allclose(image - np.float32(level), plain, atol=1e-3 + rounding)
        np.testing.assert_allclose(solution["u"], image)
        assert int(solution.iterations) <= int(first.iterations) + 10


def test_an_image_that_is_not_solved_is_warned_of():
    with pytest.warns(admm.SolveWarning, match="not restored to the tolerance: SOLVE_OVER_MAX_ITER") as told:
        restore.denoise((INNER + 10 * NOISE).astype("float32"), lam=0.5, max_iterations=1)
    assert told[0].filename == __file__


def test_an_image_that_the_dtype_cannot_hold_is_refused():
    with pytest.raises(admm.DataError, match=r"squares that float32 can hold, got values up to 1\.\d+e\+30"):
        restore.denoise((1e30 * (INNER + 10 * NOISE)).astype("float32"), lam=5e28)
