import sys
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")
import matplotlib.pyplot as plt

from admm_jax import plot


class History(NamedTuple):
    iteration: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    primal_residual: np.ndarray
    dual_residual: np.ndarray
    rho: np.ndarray


class Solution(NamedTuple):
    history: History


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def history():
    iteration = np.arange(0, 50, 10)
    decay = 10.0 ** -np.arange(5)
    gap = np.where(np.arange(5) % 2 == 0, decay, np.nan)  # measured at every other record
    return History(iteration, 9.0 + decay, gap, decay, 2 * decay, np.ones(5))


PICTURE = np.linspace(0, 1, 20 * 30).reshape(20, 30)


def test_convergence_draws_measured_points_only(history):
    ax = plot.convergence(history, tol=1e-4)
    curves = {line.get_label(): line for line in ax.lines}
    assert set(curves) == {"certified gap", "objective above the best", "primal residual", "dual residual", "tolerance"}
    np.testing.assert_array_equal(curves["certified gap"].get_xdata(), [0, 20, 40])
    np.testing.assert_allclose(curves["certified gap"].get_ydata(), [1, 1e-2, 1e-4])
    np.testing.assert_array_equal(curves["objective above the best"].get_xdata(), [0, 10, 20, 30])
    assert ax.get_yscale() == "log"
    assert ax.get_legend() is not None


def test_convergence_takes_a_solution_and_given_axes(history):
    ax = plt.subplots()[1]
    assert plot.convergence(Solution(history), ax) is ax
    assert len(plt.get_fignums()) == 1


def test_convergence_of_nothing_measured(history):
    unmeasured = history._replace(**{name: np.full(5, np.nan) for name in history._fields[1:]})
    assert not plot.convergence(unmeasured).lines


def test_convergence_of_a_batch_is_refused(history):
    batch = history._replace(iteration=np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"one solve.*\(3, 5\)"):
        plot.convergence(batch)


def test_images_share_one_grey_scale_and_are_saved(tmp_path):
    figure = plot.images([PICTURE, 0.5 * PICTURE], ["bright", "dark"], path=tmp_path / "images.png")
    drawn = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in drawn] == ["bright", "dark"]
    assert [ax.images[0].get_clim() for ax in drawn] == [(0.0, 1.0)] * 2
    assert (tmp_path / "images.png").stat().st_size > 1000


def test_images_in_rows_and_in_colour():
    figure = plot.images([PICTURE, np.stack([PICTURE] * 3, axis=-1) * 2 - 0.5, PICTURE], columns=2)
    assert len(figure.axes) == 4
    colour = figure.axes[1].images[0].get_array()
    assert colour.shape == (20, 30, 3)
    assert (colour.min(), colour.max()) == (0, 1)


def test_images_need_one_title_each():
    with pytest.raises(ValueError, match="got 1 for 2 images"):
        plot.images([PICTURE, PICTURE], ["one"])


def test_inset_shows_the_part_where_it_lies():
    ax = plot.image(PICTURE)
    child = plot.inset(ax, PICTURE, (5, 10, 4, 6), corner="upper left")
    np.testing.assert_array_equal(child.images[0].get_array(), PICTURE[5:9, 10:16])
    assert child.images[0].get_extent() == [9.5, 15.5, 8.5, 4.5]
    assert child.get_xlim() == (9.5, 15.5)
    assert child.get_ylim() == (8.5, 4.5)


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 28, 4, 4), (0, 0, 0, 4)])
def test_inset_outside_the_image_is_refused(box):
    with pytest.raises(ValueError, match="inside 20 x 30 pixels"):
        plot.inset(plot.image(PICTURE), PICTURE, box)


def test_inset_in_an_unknown_corner_is_refused():
    with pytest.raises(ValueError, match="corner"):
        plot.inset(plot.image(PICTURE), PICTURE, (0, 0, 4, 4), corner="middle")


def test_deblurring(history, tmp_path):
    figure = plot.deblurring(
        PICTURE, PICTURE, PICTURE, Solution(history), zoom=(0, 0, 4, 4), tol=1e-4, path=tmp_path / "figure.png"
    )
    assert [ax.get_title() for ax in figure.axes] == ["original", "blurred", "recovered", "convergence"]
    assert (tmp_path / "figure.png").exists()


def test_deblurring_without_an_original(history):
    figure = plot.deblurring(None, PICTURE, PICTURE, history)
    assert [ax.get_title() for ax in figure.axes] == ["blurred", "recovered", "convergence"]


def test_without_matplotlib_it_says_what_to_do(monkeypatch, history):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot.convergence(history)
