"""Criteria against closed forms and other people's code, on trials made by hand: nothing is solved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats
from skimage import metrics

from admm_jax import learn
from admm_jax.errors import DataError, ModelError, ShapeError
from admm_jax.learn.trial import Trial

RNG = np.random.default_rng(5)
TRUTH = np.clip(RNG.normal(0.5, 0.2, (20, 26)), 0, 1).astype(np.float32)
OTHER = np.clip(TRUTH + RNG.normal(0, 0.1, TRUTH.shape), 0, 1).astype(np.float32)


class Values(dict):
    """What a trial needs of a solution."""


def trial(image, observed=None, predicted=None, **example):
    image = jnp.asarray(image)
    observed = () if observed is None else (jnp.asarray(observed),)
    predicted = (image,) * len(observed) if predicted is None else (jnp.asarray(predicted),)
    return Trial(Values(U=image), example, predicted, observed)


def test_supervised_criteria_are_those_of_scikit_image():
    shown = trial(OTHER, truth=TRUTH)
    assert learn.MSE("U")(shown) == pytest.approx(metrics.mean_squared_error(TRUTH, OTHER), rel=1e-5)
    assert -learn.PSNR("U")(shown) == pytest.approx(
        metrics.peak_signal_noise_ratio(TRUTH, OTHER, data_range=1), rel=1e-5
    )
    expected = metrics.structural_similarity(TRUTH, OTHER, data_range=1)
    assert 1 - learn.SSIM("U")(shown) == pytest.approx(expected, abs=1e-4)


def test_the_slope_of_ssim_is_the_same_when_compiled():
    def of(image):
        return learn.SSIM("U")(trial(image, truth=TRUTH))

    eager, compiled = (f(jax.grad(of))(OTHER) for f in (lambda f: f, jax.jit))
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-7)


def test_supervised_criteria_know_the_value_of_white_and_the_part_that_counts():
    shown = trial(255 * OTHER, truth=255 * TRUTH[3:-3, 2:])
    part = np.s_[3:-3, 2:]
    expected = metrics.peak_signal_noise_ratio(TRUTH[part], OTHER[part], data_range=1)
    assert -learn.PSNR("U", part=part, peak=255.0)(shown) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ShapeError, match="set `part`"):
        learn.MSE("U")(shown)


def test_supervised_criteria_need_the_truth():
    with pytest.raises(DataError, match=r"data\['truth'\]; the data have 'B'"):
        learn.MSE("U")(trial(OTHER, B=OTHER))


def threshold(data, lam):
    """argmin lam |u| + 1/2 (u - d)^2: a non-smooth estimator whose divergence is a count."""
    return np.sign(data) * np.maximum(np.abs(data) - lam, 0)


def test_sugar_estimates_the_prediction_error():
    sigma, lam, n = 0.3, 0.25, 400
    truth = np.where(np.arange(n) % 4 == 0, 1.5, 0.0).reshape(20, 20)
    rng, errors = np.random.default_rng(0), []
    for seed in range(200):
        data = truth + sigma * rng.standard_normal(truth.shape)
        criterion = learn.SUGAR(sigma, seed=seed)
        other = np.asarray(criterion.twin({"B": data})["B"])
        pair = (trial(threshold(d, lam), d, B=d) for d in (data, other))
        errors.append(float(criterion(*pair)) - np.mean((threshold(data, lam) - truth) ** 2))
    # the finite step smooths the count: it has a bias of 0.037 sigma^2 here, in closed form
    assert np.mean(errors) == pytest.approx(0.037 * sigma**2, abs=3 * np.std(errors) / np.sqrt(200))
    assert np.std(errors) < sigma**2


def test_sugar_of_a_linear_estimator_in_closed_form():
    sigma, data = 0.1, RNG.normal(size=(30, 30))
    criterion = learn.SUGAR(sigma)
    other = np.asarray(criterion.twin({"B": data})["B"])
    direction = (other - data) / (2 * sigma / 900**0.3)
    expected = np.mean((0.3 * data) ** 2) - sigma**2 + 2 * sigma**2 * 0.7 * np.mean(direction**2)
    with jax.enable_x64(True):
        value = criterion(trial(0.7 * data, data), trial(0.7 * other, other))
        turned = criterion(trial(data, -data, -0.7 * data), trial(other, -other, -0.7 * other))
    assert value == pytest.approx(expected, rel=1e-4)
    assert turned == pytest.approx(expected, rel=1e-4)  # B - K U in the model in the place of K U - B


def test_the_twin_of_sugar_is_the_same_for_the_same_seed():
    level = float(jnp.std(learn.SUGAR(0.1, seed=9).twin({"B": TRUTH})["B"] - TRUTH))
    twins = [learn.SUGAR(0.1, seed=seed).twin({"B": TRUTH})["B"] for seed in (1, 1, 2)]
    assert jnp.array_equal(twins[0], twins[1])
    assert not jnp.array_equal(twins[0], twins[2])
    assert level == pytest.approx(0.2 / TRUTH.size**0.3, rel=0.1)


def test_the_direction_of_sugar_is_not_the_noise_that_a_user_draws_from_the_same_seed():
    noise = np.random.default_rng(0).standard_normal(TRUTH.shape)
    direction = np.asarray(learn.SUGAR(0.1, seed=0).twin({"B": TRUTH})["B"]) - TRUTH
    assert abs(np.corrcoef(noise.ravel(), direction.ravel())[0, 1]) < 0.15


def test_discrepancy_is_zero_where_the_residual_is_the_noise():
    noise = RNG.normal(size=(40, 40))
    level = float(np.sqrt(np.mean(noise**2)))
    assert learn.Discrepancy(level)(trial(noise, np.zeros((40, 40)))) == pytest.approx(0, abs=1e-6)
    assert learn.Discrepancy()(trial(noise, np.zeros((40, 40)), sigma=level / 2)) == pytest.approx(np.log(4), rel=1e-5)
    assert learn.Discrepancy(level, tau=2.0)(trial(noise, np.zeros((40, 40)))) == pytest.approx(-np.log(4), rel=1e-5)


@pytest.mark.parametrize("criterion", [learn.SUGAR(), learn.Discrepancy()])
def test_a_criterion_that_needs_the_noise_level_says_so(criterion):
    shown = trial(TRUTH, OTHER, B=OTHER)
    with pytest.raises(DataError, match=r"needs the noise level.*noise_level estimates it.*Whiteness.*need none"):
        criterion(shown, shown) if isinstance(criterion, learn.SUGAR) else criterion(shown)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_a_noise_level_that_is_none(sigma):
    with pytest.raises(DataError, match="noise level > 0"):
        learn.Discrepancy(sigma)(trial(TRUTH, OTHER))


def test_autocorrelation_is_that_of_scipy():
    residual = RNG.normal(size=(9, 13))
    expected = signal.correlate2d(residual, residual) / np.sum(residual**2)
    np.testing.assert_allclose(learn.autocorrelation(residual), expected, atol=1e-5)


def test_autocorrelation_of_nothing_is_nothing():
    assert not np.any(np.asarray(learn.autocorrelation(np.zeros((4, 5)))))


def test_whiteness_prefers_white_noise_of_any_strength():
    white = RNG.normal(size=(48, 48))
    coloured = signal.convolve2d(white, np.ones((3, 3)) / 9, "same")
    criterion = learn.Whiteness()
    plain, strong, other = (float(criterion(trial(r, np.zeros((48, 48))))) for r in (white, 7 * white, coloured))
    assert plain == pytest.approx(strong, rel=1e-4)
    # each of the (2 m - 1)(2 n - 1) shifts has variance (overlap / n) / n: they sum to 1
    assert plain == pytest.approx(1, rel=0.15)
    assert other > 3 * plain
    near = [float(learn.Whiteness(reach=2)(trial(r, np.zeros((48, 48))))) for r in (white, coloured)]
    assert near[0] < 24 * 3 / 48**2  # 24 shifts
    assert near[1] > 100 * near[0]


def test_noise_whiteness_of_a_linear_estimator_in_closed_form():
    data = RNG.normal(size=(24, 30))
    criterion = learn.NoiseWhiteness(reach=3, share=0.7, seed=4)
    with jax.enable_x64(True):
        other = np.asarray(criterion.twin({"B": data})["B"])
        value = criterion(trial(0.4 * data, data), trial(0.4 * other, other))
        turned = criterion(trial(data, -data, -0.4 * data), trial(other, -other, -0.4 * other))
    residual, push = 0.6 * data, other - data
    push /= np.sqrt(np.mean(push**2))
    variance = np.sum(residual**2) / (data.size - 0.4 * np.sum(push**2))
    whole = signal.correlate2d(residual, residual) + 0.7 * variance * 0.4 * signal.correlate2d(push, push)
    near = whole[20:27, 26:33]
    assert value == pytest.approx(np.sum((near / near[3, 3]) ** 2) - 1, rel=1e-8)
    assert turned == pytest.approx(float(value), rel=1e-8)  # B - K U in the model in the place of K U - B


def test_noise_whiteness_puts_back_what_a_projection_took_of_the_noise():
    def low(image):  # onto the lowest frequencies: what it leaves of white noise is not white
        spectrum = np.fft.fft2(image)
        spectrum[16:-15], spectrum[:, 16:-15] = 0, 0
        return np.fft.ifft2(spectrum).real

    noise = RNG.normal(size=(64, 64))
    criterion = learn.NoiseWhiteness(reach=4, share=1.0)
    with jax.enable_x64(True):
        other = np.asarray(criterion.twin({"B": noise})["B"])
        shown, twin = trial(low(noise), noise), trial(low(other), other)
        restored, plain = float(criterion(shown, twin)), float(learn.Whiteness(reach=4)(shown))
    assert restored < plain / 10


def test_noise_whiteness_needs_the_observed_image():
    with pytest.raises(DataError, match=r"NoiseWhiteness perturbs data\['B'\], which is missing"):
        learn.NoiseWhiteness().twin({"image": TRUTH})
    lines = trial(TRUTH[0], TRUTH[0])
    with pytest.raises(ShapeError, match="2-D residual"):
        learn.NoiseWhiteness()(lines, lines)


def test_held_out_pixels():
    mask = learn.held_out_mask((10, 12), 0.25, seed=3)
    assert mask.sum() == 90
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(mask, learn.held_out_mask((10, 12), 0.25, seed=3))
    image, data = RNG.normal(size=(2, 10, 12))
    value = learn.HeldOut(lambda u: 2 * u, "U")(trial(image, B=data, mask=mask))
    assert value == pytest.approx(np.mean((2 * image - data)[mask == 0] ** 2), rel=1e-5)
    with pytest.raises(DataError, match="held_out_mask makes a mask"):
        learn.HeldOut(lambda u: u, "U")(trial(image, B=data))
    with pytest.raises(DataError, match="some of the 120 pixels"):
        learn.held_out_mask((10, 12), 1.0)


@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_thinning_holds_out_each_photon_or_shows_it(seed, share):
    counts = np.random.default_rng(seed).poisson(7.0, (40, 50))
    seen, held = learn.thin(counts, share, seed)
    np.testing.assert_allclose((1 - share) * seen + share * held, counts, atol=1e-9)
    assert np.all(seen >= 0)
    assert np.all(held >= 0)
    np.testing.assert_allclose(share * held, np.round(share * held), atol=1e-9)
    # what is shown says nothing of what is held out; six standard deviations
    assert abs(np.corrcoef(seen.ravel(), held.ravel())[0, 1]) < 6 / np.sqrt(counts.size)
    assert abs(held.mean() - 7) < 6 * np.sqrt(7 / share / counts.size)


def test_held_out_photons():
    held, image = RNG.poisson(3.0, (2, 10, 12))
    held[0, 0] = 0
    criterion = learn.HeldOutPhotons(lambda u: 2 * u + 1, "U")
    value = criterion(trial(image.astype(np.float32), held=held.astype(np.float32)))
    mean = 2.0 * image + 1
    assert value == pytest.approx(
        2 * np.mean(stats.poisson.logpmf(held, np.maximum(held, 1e-300)) - stats.poisson.logpmf(held, mean)), rel=1e-5
    )
    assert np.isfinite(learn.HeldOutPhotons(lambda u: 0 * u, "U")(trial(image, held=held.astype(np.float32))))
    with pytest.raises(DataError, match=r"data\['held'\], which is missing; learn.thin makes it"):
        criterion(trial(image))
    with pytest.raises(DataError, match="share must lie between 0 and 1, got 1"):
        learn.thin(held, 1)
    for wrong in (np.array([0.5]), np.array([-1]), np.array([np.nan]), np.array(["3"])):
        with pytest.raises(DataError, match="counts must be whole numbers and none negative"):
            learn.thin(wrong)


def test_a_criterion_of_the_residual_needs_one_squared_term():
    with pytest.raises(ModelError, match="0 squared terms"):
        learn.Whiteness()(trial(TRUTH))


@pytest.mark.parametrize("sigma", [1 / 255, 10 / 255, 3.0])
def test_noise_level_is_calibrated(sigma):
    rng = np.random.default_rng(11)
    found = [float(learn.noise_level(5 + sigma * rng.standard_normal((64, 64)))) for _ in range(40)]
    assert np.mean(found) == pytest.approx(sigma, rel=0.02)
    assert np.std(found) < 0.06 * sigma


def test_noise_level_ignores_edges_and_slopes():
    y, x = np.mgrid[:64, :64] / 64.0
    scene = x * y + (x > 0.3) + (y > 0.6) + ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.04)
    noisy = scene + 0.02 * np.random.default_rng(2).standard_normal(scene.shape)
    assert learn.noise_level(noisy) == pytest.approx(0.02, rel=0.1)
    assert learn.noise_level(scene) < 1e-3


def test_noise_level_of_what_is_no_image():
    with pytest.raises(ShapeError, match=r"at least 3 x 3 pixels, got shape \(2, 9\)"):
        learn.noise_level(np.zeros((2, 9)))


def test_noise_units_go_both_ways():
    assert learn.to_noise_units(learn.from_noise_units(7.0, 0.03), 0.03) == pytest.approx(7)
