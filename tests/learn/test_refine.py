import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn
from admm_jax.errors import ShapeError

SHARP = transform.resize(data.camera() / 255, (64, 64), anti_aliasing=True).astype(np.float32)
SIGMA = 2 / 255


def blur(kernel):
    noise = SIGMA * np.random.default_rng(1).standard_normal(SHARP.shape)
    return (np.asarray(admm.conv2d(SHARP, np.asarray(kernel), "same")) + noise).astype(np.float32)


def test_a_width_is_recovered_to_two_per_cent():
    blurred = blur(learn.kernels.gaussian(1.4, 7))
    found = learn.refine(
        lambda p: learn.kernels.gaussian(p["width"], 7), {"width": learn.positive(2.8)}, blurred, SHARP
    )
    assert found.converged
    assert found.params["width"] == pytest.approx(1.4, rel=0.02)
    assert found.residual == pytest.approx(SIGMA, rel=0.05)
    assert "width = 1." in repr(found)


def test_free_taps_are_recovered_from_a_flat_start():
    true = np.array([[0, 1, 0], [4, 2, 0], [1, 0, 3]]) / 11
    found = learn.refine(lambda taps: taps, learn.simplex(np.ones((3, 3))), np.stack([blur(true)] * 2), [SHARP] * 2)
    assert found.converged
    assert float(jnp.linalg.norm(found.kernel - true)) < 0.05 * np.linalg.norm(true)
    assert float(jnp.min(found.kernel)) >= 0
    assert float(jnp.sum(found.kernel)) == pytest.approx(1, rel=1e-5)


def test_what_lies_beyond_the_border_does_not_matter():
    """Only pixels that see the known scene count: darkness beyond the frame changes nothing."""
    true = learn.kernels.motion(4.0, 0.4, 7)
    scene = np.pad(SHARP, 3, mode="reflect")
    blurred = np.asarray(admm.conv2d(scene, np.asarray(true), "valid"))
    found = learn.refine(
        lambda p: learn.kernels.motion(p["length"], p["angle"], 7),
        {"length": learn.positive(2.5), "angle": jnp.asarray(0.2)},
        blurred,
        SHARP,
    )
    assert found.params["length"] == pytest.approx(4.0, rel=1e-2)
    assert found.params["angle"] == pytest.approx(0.4, abs=1e-2)


def test_pairs_must_match():
    with pytest.raises(ShapeError, match=r"\(5, 6\) and \(64, 64\)"):
        learn.refine(lambda taps: taps, learn.simplex(np.ones((3, 3))), np.zeros((5, 6)), SHARP)
