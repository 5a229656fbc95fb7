import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import admm_jax as admm
from admm_jax import learn
from admm_jax.errors import DataError, ShapeError


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (learn.positive(0.02), 0.02),
        (learn.positive([0.5, 3.0]), [0.5, 3.0]),
        (learn.between(2.0, 0.5, 5.0), 2.0),
        (learn.simplex(np.array([[1.0, 2.0], [4.0, 1.0]]), floor=0.0), np.array([[1.0, 2.0], [4.0, 1.0]]) / 8),
    ],
)
def test_a_parameter_starts_at_its_value_and_keeps_its_domain(parameter, value):
    np.testing.assert_allclose(learn.values({"p": parameter})["p"], value, rtol=1e-5)
    far = jax.tree.map(lambda raw: raw + 30 * np.arange(raw.size).reshape(raw.shape) - 20, parameter)
    moved = np.asarray(far.value)
    assert np.all(np.isfinite(moved))
    assert np.all(moved >= 0)
    if isinstance(parameter, learn.Simplex):
        assert moved.sum() == pytest.approx(1)
    if isinstance(parameter, learn.Between):
        assert 0.5 <= moved <= 5


def test_an_optimiser_moves_the_raw_numbers():
    params = {"lam": learn.positive(3.0), "offset": jnp.asarray(1.0)}
    loss = lambda raw: learn.values(raw)["lam"] * learn.values(raw)["offset"]  # noqa: E731
    slope = jax.grad(loss)(params)
    assert slope["lam"].raw == pytest.approx(3)  # d/dlog lam
    step = optax.apply_updates(params, jax.tree.map(lambda g: -g, slope))
    assert step["lam"].value == pytest.approx(3 * np.exp(-3))
    assert step["offset"] == pytest.approx(-2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learn.positive(0.0), "finite numbers > 0, got 0.0"),
        (lambda: learn.positive([1.0, np.nan]), "finite numbers > 0"),
        (lambda: learn.between(5.0, 0.5, 5.0), "between 0.5 and 5 must start inside, got 5.0"),
        (lambda: learn.simplex([1.0, -1e-3]), "finite numbers >= 0 with a positive sum"),
        (lambda: learn.simplex([0.0, 0.0]), "positive sum"),
    ],
)
def test_a_start_outside_the_domain_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_a_tap_of_zero_can_grow():
    assert np.all(np.isfinite(learn.simplex([0.0, 1.0]).raw))


def test_gaussian_kernel():
    kernel = learn.kernels.gaussian(1.3, (7, 9))
    i, j = np.mgrid[-3:4, -4:5]
    expected = np.exp(-(i**2 + j**2) / (2 * 1.3**2))
    np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-5)
    tall = np.asarray(learn.kernels.gaussian(jnp.array([2.0, 0.5]), 9))
    assert (tall.sum(1) @ np.arange(-4, 5) ** 2) > 5 * (tall.sum(0) @ np.arange(-4, 5) ** 2)


def test_motion_kernel_is_a_centred_segment_of_its_length_and_angle():
    kernel = np.asarray(learn.kernels.motion(6.0, 0.5, 11))
    assert kernel.sum() == pytest.approx(1)
    i, j = np.mgrid[-5:6, -5:6]
    assert np.sum(kernel * i) == pytest.approx(0, abs=1e-6)
    assert np.sum(kernel * j) == pytest.approx(0, abs=1e-6)
    moments = np.array([[np.sum(kernel * a * b) for b in (i, j)] for a in (i, j)])
    vertical, horizontal = np.linalg.eigh(moments)[1][:, 1]
    assert np.arctan(vertical / horizontal) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("kernel", [lambda t: learn.kernels.gaussian(t, 9), lambda t: learn.kernels.motion(5.0, t, 9)])
def test_the_derivative_of_a_kernel(kernel):
    slope = jax.jacfwd(kernel)(jnp.asarray(0.8))
    difference = (kernel(jnp.asarray(0.801)) - kernel(jnp.asarray(0.799))) / 0.002
    assert float(jnp.mean(jnp.abs(slope - difference))) < 0.02 * float(jnp.mean(jnp.abs(slope)))


def test_a_network_starts_at_the_scalar_lam_and_stays_within_reach():
    image = np.random.default_rng(0).uniform(size=(16, 20)).astype(np.float32)
    net = learn.network(seed=1, hidden=(3,), base=8.0)
    np.testing.assert_allclose(learn.lam_map(net, jnp.asarray(image), 0.02), 8 * 0.02**2, rtol=1e-5)
    wild = jax.tree.map(lambda leaf: leaf + 100.0, net._replace(log_base=jnp.zeros(())))._replace(log_base=net.log_base)
    weights = learn.lam_map(wild, jnp.asarray(image), 0.02, reach=1.5)
    assert weights.shape == image.shape
    assert float(jnp.max(jnp.abs(jnp.log(weights / (8 * 0.02**2))))) <= 1.5 + 1e-4
    with pytest.raises(ShapeError, match="more than 7 pixels a side"):
        learn.lam_map(net, jnp.zeros((5, 20)), 0.02)
    with pytest.raises(ShapeError, match="odd size"):
        learn.network(size=4)


def test_a_network_of_two_images_has_a_weight_for_each_difference():
    rng = np.random.default_rng(0)
    image, first = rng.uniform(size=(2, 16, 20)).astype(np.float32)
    net = learn.network(seed=1, hidden=(3,), base=8.0, images=2, edges=True)
    bent = jax.tree.map(lambda leaf: leaf + 0.01, net)
    weights = learn.lam_map(bent, (image, first), 0.02)
    assert weights.shape == (2, 16, 20)
    turned = learn.lam_map(bent, (first, image), 0.02)
    assert not np.allclose(weights, turned)
    U = admm.Var("U", 16, 20)
    assert float(admm.tv2d(image, weight=weights)) > 0
    admm.tv2d(U, weight=weights)
    with pytest.raises(ShapeError, match="made for 2 images, lam_map got 1"):
        learn.lam_map(net, image, 0.02)
    with pytest.raises(ShapeError, match=r"one shape.*\(16, 20\), \(15, 20\)"):
        learn.lam_map(net, (image, first[1:]), 0.02)


@pytest.mark.slow
def test_a_map_of_a_flat_image_can_be_differentiated():
    net = learn.network(seed=1, hidden=(3,))
    slope = jax.grad(lambda image: jnp.sum(learn.lam_map(jax.tree.map(jnp.ones_like, net), image, 0.1)))
    assert bool(jnp.all(jnp.isfinite(slope(jnp.zeros((12, 12))))))


def test_patches():
    coarse = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(learn.patches(coarse, (4, 6)), np.kron(coarse, np.ones((2, 2))))
    smooth = learn.patches(coarse, (8, 9), smooth=True)
    assert float(jnp.max(jnp.abs(jnp.diff(smooth, axis=0)))) < 3
    with pytest.raises(ShapeError):
        learn.patches(coarse, (1, 9))
