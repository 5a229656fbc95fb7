"""Fits through real solves, in batches of two: one program for the gradients, one for the validation."""

import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import admm_jax as admm
from admm_jax import learn
from admm_jax.errors import DataError, LearningError, ShapeError
from admm_jax.learn.display import EpochTable
from tests.models import KERNEL, deblurring

SIGMA = 0.1
RNG = np.random.default_rng(8)
TRUTHS = np.zeros((5, 24, 24), np.float32)
for place in range(5):
    TRUTHS[place, 4 + place : 16, 6 : 12 + 2 * place] = 1.0
    TRUTHS[place, 10:20, 3:11] = 0.5
BLURRED = np.stack([np.asarray(admm.conv2d(truth, KERNEL, "same")) for truth in TRUTHS])
BLURRED = (BLURRED + SIGMA * RNG.standard_normal(BLURRED.shape)).astype(np.float32)
TRAIN = {"B": BLURRED[:3], "truth": TRUTHS[:3]}
HELD = {"B": list(BLURRED[3:]), "truth": list(TRUTHS[3:])}


@pytest.fixture(scope="module")
def model():
    return deblurring()


def run(model, data=TRAIN, *, start=0.005, loss=None, **arguments):
    arguments = {"batch_size": 2, "epochs": 4, "optimizer": optax.adam(0.5), **arguments}
    return learn.fit(model, loss or learn.MSE("U"), {"lam": learn.positive(start)}, data, **arguments)


@pytest.fixture(scope="module")
def fitted(model):
    return run(model, epochs=6, validation=HELD)


def test_a_fit_lowers_the_loss_and_keeps_the_best(fitted):
    validation = [epoch.validation for epoch in fitted.history]
    assert fitted.loss == min(validation) < 0.8 * validation[0]
    assert fitted.epoch == 1 + int(np.argmin(validation))
    assert fitted.params["lam"] == pytest.approx(fitted.history[fitted.epoch - 1].parameters["lam"][0], rel=1e-6)
    assert fitted.solves == 6 * (3 + 2)
    assert all(epoch.failed == 0 for epoch in fitted.history)
    text = repr(fitted)
    assert "all 6 epochs done; best loss" in text
    assert "lam = 0.0" in text


@pytest.mark.slow
def test_the_gradient_of_a_batch_is_the_mean_of_its_images(model):
    """In one program or one after the other, images stop and start on their own."""
    two = {k: v[:2] for k, v in TRAIN.items()}
    together = run(model, epochs=1, optimizer=optax.sgd(1.0), batch_size=2, data=two, together=True)
    alone = [
        run(model, epochs=1, optimizer=optax.sgd(1.0), batch_size=2, data={k: v[[i, i]] for k, v in TRAIN.items()})
        for i in range(2)
    ]
    steps = [float(fit.last["lam"].raw) - math.log(0.005) for fit in (together, *alone)]
    assert steps[0] == pytest.approx((steps[1] + steps[2]) / 2, rel=1e-3)
    assert together.history[0].loss == pytest.approx(np.mean([fit.history[0].loss for fit in alone]), rel=1e-5)


@pytest.mark.slow
def test_a_resumed_fit_is_the_fit_that_was_not_interrupted(model, fitted, tmp_path):
    file = tmp_path / "fit.npz"
    run(model, epochs=2, validation=HELD, checkpoint=file)
    resumed = run(model, epochs=6, validation=HELD, resume=file)
    assert len(resumed.history) == 6
    assert [e.loss for e in resumed.history[:2]] == pytest.approx([e.loss for e in fitted.history[:2]], rel=1e-6)
    assert resumed.params["lam"] == pytest.approx(float(fitted.params["lam"]), rel=2e-2)
    assert resumed.solves == fitted.solves
    with pytest.raises(DataError, match="a checkpoint of other parameters or another optimiser: its optimizer"):
        run(model, resume=file, optimizer=optax.sgd(0.1, momentum=0.9, nesterov=True))
    with pytest.raises(DataError, match="no such file"):
        run(model, resume=tmp_path / "none.npz")
    file.write_text("nothing")
    with pytest.raises(DataError, match="no checkpoint of a fit"):
        run(model, resume=file)


def test_seeds_decide_the_order_and_nothing_else(model):
    first, again, other = (run(model, epochs=2, seed=seed) for seed in (1, 1, 4))
    losses = [[epoch.loss for epoch in fit.history] for fit in (first, again, other)]
    # accelerators add in no fixed order
    assert losses[0] == (losses[1] if jax.default_backend() == "cpu" else pytest.approx(losses[1], rel=1e-5))
    assert losses[0] != pytest.approx(losses[2], rel=1e-5)


def test_a_function_predicts_the_parameters(model):
    def predict(units, example):
        return {"lam": jnp.exp(units["a"] + units["b"] * jnp.log(example["sigma"])), "B": example["B"]}

    units = {"a": jnp.asarray(2.0), "b": jnp.asarray(2.0)}
    data = {**TRAIN, "sigma": np.full(3, SIGMA, np.float32)}
    fit = learn.fit(model, learn.SUGAR(), units, data, predict=predict, epochs=2, batch_size=2)
    assert fit.solves == 2 * 2 * 3
    assert np.isfinite(fit.loss)
    assert set(fit.history[0].parameters) == {"a", "b"}


def test_early_stopping(model):
    fit = run(model, epochs=40, optimizer=optax.sgd(0.0), patience=2, start=0.05)
    assert fit.converged
    assert len(fit.history) < 10
    assert fit.message == "no better loss for 2 epochs"


def test_a_loss_that_becomes_nan_keeps_the_best_so_far(model):
    seen = []

    def loss(trial):
        seen.append(None)
        return jnp.mean((trial["U"] - trial.example["truth"]) ** 2) + (jnp.nan if len(seen) > 8 else 0)

    with pytest.raises(LearningError, match=r"epoch 3: no image of a batch has a finite loss.*2 losses") as failed:
        run(model, loss=loss, epochs=5, together=False)
    result = failed.value.result
    assert len(result.history) == 2
    assert np.isfinite(result.loss)
    assert result.params["lam"] > 0.005


def test_one_image_that_fails_is_left_out_and_counted(model):
    def loss(trial):
        broken = trial.example["broken"]
        return jnp.mean((trial["U"] - trial.example["truth"]) ** 2) / jnp.where(broken > 0, jnp.nan, 1.0)

    fit = run(model, {**TRAIN, "broken": np.array([0.0, 1.0, 0.0], np.float32)}, loss=loss, epochs=2, batch_size=3)
    assert [epoch.failed for epoch in fit.history] == [1, 1]
    assert np.isfinite(fit.loss)


def test_a_diverging_loss_is_an_error_with_the_best_so_far(model):
    with pytest.raises(LearningError, match=r"epoch 3: the loss grew from .*lower the learning rate") as failed:
        run(
            model,
            start=0.05,
            loss=lambda trial: trial.solution.objective**2,
            optimizer=optax.sgd(-3e-2),
            batch_size=3,
        )
    assert failed.value.result.params["lam"] == pytest.approx(0.05)


def test_ctrl_c_hands_out_the_best_so_far(model):
    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    fit = run(model, progress=stop)
    assert fit.message == "interrupted"
    assert len(fit.history) == 2


def test_the_displays(model, capsys):
    run(model, epochs=2, progress="table")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    stream = io.StringIO()
    table = EpochTable(stream)
    assert not stream.getvalue()
    assert callable(table)
    with pytest.raises(ValueError, match="'table', 'bar', 'none'"):
        run(model, progress="tables")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({}, DataError, "data must be a mapping"),
        ({"B": [], "truth": []}, DataError, "data is empty: there is no image to learn from"),
        ({"B": BLURRED[:0], "truth": TRUTHS[:0]}, DataError, "data is empty"),
        (
            {"B": [BLURRED[0], BLURRED[1][:20]], "truth": TRUTHS[:2]},
            ShapeError,
            r"different sizes, \(20, 24\), \(24, 24\)",
        ),
        ({"B": BLURRED[:3], "truth": TRUTHS[:2]}, DataError, "differ in their number of images: {'B': 3, 'truth': 2}"),
        ({"B": BLURRED * np.nan, "truth": TRUTHS}, DataError, r"data\['B'\] holds NaN"),
        ({"B": BLURRED, "truth": 1.0}, DataError, "images along its first axis"),
        ({"truth": TRUTHS}, DataError, "no value for Param 'B'"),
    ],
)
def test_data_that_cannot_be_learned_from(model, data, error, message):
    with pytest.raises(error, match=message):
        run(model, data)


def test_nothing_to_learn(model):
    with pytest.raises(DataError, match="no parameter to learn"):
        learn.fit(model, learn.MSE("U"), {}, TRAIN)


def test_a_network_of_ones_own_plugs_in():
    equinox = pytest.importorskip("equinox")
    net = equinox.nn.MLP(1, 1, 3, 1, key=jax.random.key(0))
    arrays, static = equinox.partition(net, equinox.is_inexact_array)

    def predict(arrays, example):
        level = jnp.log(example["sigma"])[None]
        return {"lam": jnp.exp(equinox.combine(arrays, static)(level)[0] + 2 * level[0]), "B": example["B"]}

    data = {**TRAIN, "sigma": np.full(3, SIGMA, np.float32)}
    fit = learn.fit(deblurring(), learn.MSE("U"), arrays, data, predict=predict, epochs=2, batch_size=2)
    assert np.isfinite(fit.loss)
    assert not np.array_equal(fit.last.layers[0].weight, arrays.layers[0].weight)
