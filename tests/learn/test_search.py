"""Searches through real solves: one 24 x 24 model, so that each kind of solve is compiled once."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import admm_jax as admm
from admm_jax import learn
from admm_jax.errors import DataError, LearningError, ParameterError
from admm_jax.learn.search import SearchStep, _display
from admm_jax.learn.trial import blank, default_bind, evaluate_criterion, solve_trial, usable
from tests.models import IMAGE, KERNEL, deblurring, quick_jit

SIGMA = 0.1
RNG = np.random.default_rng(3)
TRUTH = np.zeros((24, 24), np.float32)
TRUTH[6:18, 8:20] = 1.0
TRUTH[2:9, 3:12] = 0.5
BLURRED = (np.asarray(admm.conv2d(TRUTH, KERNEL, "same")) + SIGMA * RNG.standard_normal((24, 24))).astype(np.float32)
DATA = {"B": BLURRED, "truth": TRUTH}


@pytest.fixture(scope="module")
def model():
    return deblurring()


@pytest.fixture(scope="module")
def curve(model):
    """The solutions on a grid."""
    return learn.path(model, "lam", np.geomspace(1.0, 3e-3, 40), DATA)


@pytest.mark.slow
def test_a_path_is_its_solves_one_by_one(model, curve):
    alone = model.solve({"lam": jnp.float32(curve.parameter[25]), "B": BLURRED})
    assert curve["U"].shape == (40, 24, 24)
    assert curve.converged.all()
    assert curve.objective[25] == pytest.approx(float(alone.objective), rel=3e-4)
    residual = admm.conv2d(curve["U"][25], KERNEL, "same") - BLURRED
    assert curve.data_term[25] == pytest.approx(0.5 * np.sum(residual**2), rel=1e-4)
    variation = np.abs(np.diff(curve["U"][25], axis=0)).sum() + np.abs(np.diff(curve["U"][25], axis=1)).sum()
    assert curve.penalty[25] == pytest.approx(variation, rel=1e-2)
    assert np.all(np.diff(curve.data_term) < 1e-3 * curve.data_term[:-1])  # it never decreases in lam
    assert re.match(r"\s+lam\s+data term\s+penalty\s+gap\s+iterations", repr(curve))


def test_the_corner_of_an_l_curve(curve):
    corner = curve.corner()
    assert 0.3 < corner.value / (10 * SIGMA**2) < 3
    assert corner.value == curve.parameter[corner] == curve.parameter[corner.index]
    assert repr(corner) == f"lam = {corner.value:.6g} (index {corner.index})"
    again = pickle.loads(pickle.dumps(corner))
    assert (again, again.value, again.name) == (corner, corner.value, "lam")


def test_the_corner_of_a_curve_with_a_known_corner():
    t = np.geomspace(1e-3, 1e3, 31)
    made = learn.Path("lam", t, {}, t, 1 + t, 1 + 1 / t, t, t > 0, t)  # log-log: two straight arms that meet at 1
    assert made.parameter[made.corner()] == pytest.approx(1)
    with pytest.raises(DataError, match="three points"):
        learn.Path(*(x[:2] if isinstance(x, np.ndarray) else x for x in made)).corner()


@pytest.mark.parametrize("values", [[], [1.0, -1.0], [np.inf]])
def test_a_path_needs_positive_values(model, values):
    with pytest.raises(DataError, match="finite values > 0"):
        learn.path(model, "lam", values, DATA)


@pytest.mark.slow
def test_supervised_search_finds_what_a_grid_finds(model, curve):
    seen = []
    found = learn.search(model, "lam", learn.MSE("U"), DATA, progress=seen.append)
    assert tuple(seen) == found.history
    errors = np.mean((curve["U"] - TRUTH) ** 2, axis=(1, 2))
    assert found.converged
    assert found.solves <= 12
    assert found.criterion <= 1.005 * errors.min()
    assert found.criterion == min(step.criterion for step in found.history)
    assert float(jnp.mean((found.solution["U"] - TRUTH) ** 2)) == pytest.approx(found.criterion, rel=1e-5)
    assert repr(found).startswith(f"converged: lam = {found.value:.6g}")


def test_the_table_of_a_search(capsys):
    table = _display("table", "lam", 12)
    for value in (0.5, 0.25):
        table(SearchStep(value, 1e-3, -2e-4, 40))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["lam", "0.5", "0.25"]
    assert len({len(line) for line in lines}) == 1


def test_a_word_that_is_no_display(model):
    with pytest.raises(ValueError, match="a function of each SearchStep, got 'tables'"):
        learn.search(model, "lam", learn.MSE("U"), DATA, progress="tables")


@pytest.mark.slow
def test_a_search_with_an_unknown_frame_ends_with_a_certified_solve():
    """On the way, solves by transforms stop by an estimate; what is found is what a grid of full solves finds."""
    rng = np.random.default_rng(4)
    kernel = rng.random((9, 8)) * (rng.random((9, 8)) < 0.8)
    kernel /= kernel.sum()
    truth = np.zeros((40, 36))
    truth[8:28, 6:24] = 1.0
    truth[16:, 20:] += 0.5
    observed = scipy.signal.convolve2d(truth, kernel, "valid")
    observed = (observed + SIGMA * rng.standard_normal(observed.shape)).astype("float32")
    U, B, lam = admm.Var("U", truth.shape), admm.Param("B", observed.shape), admm.Param("lam")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "valid") - B)))
    found = learn.search(model, "lam", learn.MSE("U"), {"B": observed, "truth": truth})
    assert bool(found.solution.converged)
    assert found.criterion == pytest.approx(float(np.mean((np.asarray(found.solution["U"]) - truth) ** 2)), rel=1e-5)
    solve = jax.jit(lambda value: model.solve({"B": observed, "lam": value})["U"])
    grid = [np.mean((solve(jnp.float32(v)) - truth) ** 2) for v in found.value * np.geomspace(0.3, 3, 9)]
    assert found.criterion <= 1.01 * min(grid)


def test_the_start_does_not_decide(model):
    best = [learn.search(model, "lam", learn.MSE("U"), DATA, start=start).criterion for start in (1e-3, 0.7)]
    assert best[0] == pytest.approx(best[1], rel=5e-3)


def test_discrepancy_search_ends_where_the_residual_is_the_noise(model):
    found = learn.search(model, "lam", learn.Discrepancy(SIGMA), DATA)
    residual = admm.conv2d(found.solution["U"], KERNEL, "same") - BLURRED
    assert found.converged
    assert float(jnp.mean(residual**2)) == pytest.approx(SIGMA**2, rel=5e-3)
    assert found.solves <= 8


def test_a_noise_level_that_no_lam_explains(model):
    found = learn.search(model, "lam", learn.Discrepancy(5.0), {**DATA, "sigma": SIGMA}, bounds=(1e-3, 10.0))
    assert not found.converged
    assert "no root" in found.message
    assert found.history[-1].value == pytest.approx(10)
    assert found.value > 1  # the nearest is still handed out


@pytest.mark.parametrize(
    "criterion",
    [
        learn.SUGAR(SIGMA, seed=2),
        pytest.param(learn.Whiteness(), marks=pytest.mark.slow),
        pytest.param(learn.NoiseWhiteness(seed=2), marks=pytest.mark.slow),
    ],
)
def test_search_without_the_truth_comes_near_the_best(model, curve, criterion):
    found = learn.search(model, "lam", criterion, {"B": BLURRED})
    assert found.converged
    assert found.solves == (1 if isinstance(criterion, learn.Whiteness) else 2) * len(found.history)
    best = max(float(learn.psnr(u, TRUTH)) for u in curve["U"])
    assert float(learn.psnr(found.solution["U"], TRUTH)) > best - 0.7  # 576 pixels say no more


@pytest.mark.slow
def test_search_by_held_out_pixels_through_a_masked_model(curve):
    U, B, mask, lam = (
        admm.Var("U", *TRUTH.shape),
        admm.Param("B", *TRUTH.shape),
        admm.Param("mask", *TRUTH.shape),
        admm.Param("lam"),
    )
    masked = admm.Model()
    residual = mask * (admm.conv2d(U, KERNEL, "same") - B)
    masked.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(residual)))
    criterion = learn.HeldOut(lambda u: admm.conv2d(u, KERNEL, "same"), U)
    seen = learn.held_out_mask(TRUTH.shape, 0.2, seed=1).astype(np.float32)
    # a product of the mask and the data is no image whose noise level could be read: the search is told where to begin
    found = learn.search(masked, "lam", criterion, {"B": BLURRED, "mask": seen}, start=10 * SIGMA**2)
    assert found.converged
    whole = masked.solve({"lam": jnp.float32(found.value), "B": BLURRED, "mask": np.ones(TRUTH.shape, np.float32)})
    best = max(float(learn.psnr(u, TRUTH)) for u in curve["U"])
    assert float(learn.psnr(whole[U], TRUTH)) > best - 0.7


@pytest.mark.slow
def test_search_by_held_out_photons():
    """Of counts, without a start: what it finds restores all photons almost as well as the best of a grid."""
    background = 1.0
    counts = np.random.default_rng(2).poisson(20 * admm.conv2d(TRUTH, KERNEL, "same") + background)
    U, B, lam = admm.Var("U", *TRUTH.shape, nonneg=True), admm.Param("B", *TRUTH.shape), admm.Param("lam")
    expected = admm.conv2d(U, KERNEL, "same") + background
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + admm.kullback_leibler(expected, B))
    criterion = learn.HeldOutPhotons(lambda u: admm.conv2d(u, KERNEL, "same") + background, U)
    seen, held = (part.astype(np.float32) for part in learn.thin(counts, 0.3))
    found = learn.search(model, "lam", criterion, {"B": seen, "held": held})
    assert found.converged

    def score(weight):
        whole = model.solve({"lam": np.float32(weight), "B": counts.astype(np.float32)})
        return float(learn.psnr(whole[U] / 20, TRUTH))

    assert score(found.value) > max(score(weight) for weight in np.geomspace(0.02, 2, 13)) - 0.7


SMOOTH = [
    learn.MSE("U"),
    learn.SUGAR(SIGMA),
    learn.Whiteness(),
    learn.NoiseWhiteness(),
    learn.Discrepancy(SIGMA),
]


@pytest.mark.slow
@pytest.mark.parametrize("criterion", SMOOTH)
def test_the_slope_is_the_slope_of_the_criterion(criterion):
    with jax.enable_x64(True):
        model = deblurring()
        example = {name: jnp.asarray(value, jnp.float64) for name, value in DATA.items()}
        bind, options = default_bind(model), {"tol": 1e-10}
        init = blank(model, bind({"lam": jnp.asarray(0.1)}, example), options)

        def value(t):
            return evaluate_criterion(model, criterion, bind, {"lam": jnp.exp(t)}, example, init, options)[0]

        at, step = jnp.log(jnp.asarray(0.0812)), 1e-5
        along = quick_jit(lambda t: jax.jvp(value, (t,), (jnp.ones_like(t),)))
        slope = along(at)[1]
        pairs = [along(at + sign * step)[0] for sign in (1, -1)]
        assert float(slope) == pytest.approx(float((pairs[0] - pairs[1]) / (2 * step)), rel=1e-3)


def test_the_almost_everywhere_derivative_of_sure_would_mislead(model):
    """That of |r|^2 never is negative, while SUGAR's is, below its minimum."""
    low = learn.search(model, "lam", learn.SUGAR(SIGMA), DATA, start=5e-3, max_evaluations=1)
    fit = learn.search(model, "lam", lambda trial: jnp.mean(trial.residual**2), DATA, start=5e-3, max_evaluations=1)
    assert low.history[0].slope < 0 < fit.history[0].slope


def test_a_solve_that_fails_is_no_place_to_start(model):
    example = {"B": BLURRED, "lam": jnp.float32(0.1)}
    empty = blank(model, example, {})
    good = solve_trial(model, example, example, empty, {}).solution
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, good)
    kept = usable(broken, good)
    assert np.array_equal(kept["U"], good["U"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("lam", learn.MSE("U"), {"B": BLURRED}), DataError, "needs the true image"),
        (("lam", learn.MSE("U"), {"truth": TRUTH}), DataError, "no value for Param 'B'"),
        (("lam", learn.MSE("U"), {}), DataError, "data must be a mapping"),
        (("lamb", learn.MSE("U"), DATA), ParameterError, "did you mean 'lam'"),
        (("lam", learn.SUGAR(), DATA), DataError, "SUGAR needs the noise level"),
        (("lam", learn.SUGAR(SIGMA, data="Y"), DATA), DataError, r"data\['Y'\], which is missing"),
        (("lam", lambda trial: trial["U"], DATA), LearningError, r"must be a scalar, got shape \(24, 24\)"),
    ],
)
def test_what_cannot_be_searched(model, arguments, error, message):
    with pytest.raises(error, match=message):
        learn.search(model, *arguments)


def test_a_criterion_that_is_finite_nowhere(model):
    with pytest.raises(LearningError, match=r"not finite at the start.*raise max_iterations"):
        learn.search(model, "lam", lambda trial: jnp.sum(trial["U"]) * jnp.nan, DATA)


def test_bounds_and_start_are_checked(model):
    with pytest.raises(LearningError, match="0 < lower < upper"):
        learn.search(model, "lam", learn.MSE("U"), DATA, bounds=(1.0, 0.1))
    for wrong in ({"start": 1.0, "bounds": (0.001, 0.1)}, {"max_evaluations": 0}, {"tol": -1.0}):
        with pytest.raises(LearningError, match=next(iter(wrong))):
            learn.search(model, "lam", learn.MSE("U"), DATA, **wrong)
    assert IMAGE.shape == (24, 24)
