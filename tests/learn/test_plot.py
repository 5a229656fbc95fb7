import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")
import matplotlib.pyplot as plt

from admm_jax import learn
from admm_jax.learn.outcome import Epoch, Fit
from admm_jax.learn.search import Found, SearchStep


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


STEPS = (SearchStep(0.1, 2.0, 1.0, 9), SearchStep(0.03, 1.5, -0.5, 9), SearchStep(0.05, 1.0, 0.0, 9))
FOUND = Found("lam", 0.05, 1.0, None, True, "the slope is zero", 3, STEPS)


def test_a_search_shows_its_evaluations_its_best_and_the_grid():
    ax = learn.plot.search(FOUND, curve=([0.01, 0.05, 0.2], [3.0, 1.0, 4.0]), label="error")
    labels = [line.get_label() for line in ax.lines]
    assert "lam = 0.05" in labels
    assert "3 evaluations, with slopes" in labels
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]
    assert ax.get_xscale() == "log"


def test_an_l_curve_shows_its_corner():
    t = np.geomspace(1e-3, 1e3, 31)
    ax = learn.plot.l_curve(learn.Path("lam", t, {}, t, 1 + t, 1 + 1 / t, t, t > 0, t))
    assert "corner: lam = 1" in [line.get_label() for line in ax.lines]


def test_a_fit_shows_losses_and_parameters(tmp_path):
    epochs = tuple(Epoch(i, 1.0 / i, 2.0 / i, 0.1, 0, 10, 4 * i, 0.1, {"lam": [0.1 * i]}) for i in (1, 2, 3))
    figure = learn.plot.fit(Fit({}, {}, 2 / 3, 3, True, "done", epochs), path=tmp_path / "fit.png")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["loss", "validation", "best"]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.1, 0.2, 0.3])
    assert (tmp_path / "fit.png").exists()


def test_a_map_lies_over_its_image():
    ax = learn.plot.lam_map(np.zeros((8, 9)), jnp.full((8, 9), 0.1))
    assert len(ax.images) == 2


def test_a_residual_shows_its_autocorrelation_without_the_one_at_zero():
    figure = learn.plot.residual(np.random.default_rng(0).normal(size=(20, 30)), sigma=1.0, reach=4)
    shown = figure.axes[1].images[0].get_array()
    assert shown.shape == (9, 9)
    assert np.isnan(np.asarray(shown.filled(np.nan))[4, 4])
