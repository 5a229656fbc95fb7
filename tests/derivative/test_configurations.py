"""Derivatives under other configurations of JAX: float32 with 64-bit numbers enabled, checks of NaN and of ranks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import quick_jit

LOSS = np.array([1, 2, -1, 0.5], np.float32)
DATA = np.array([1, -0.4, 2, 0.3], np.float32)
ROWS = np.array([[1, 2, 0, 1], [0, 1, 1, -1]], np.float32)


def model_of(terms, constraint=None):
    x, c, lam = admm.Var("x", 4), admm.Param("c", 4), admm.Param("lam")
    model = admm.Model()
    model.setObjective(terms(x, c, lam))
    if constraint is not None:
        model.addConstr(constraint(x, lam))
    return model


def nearby(x, c):
    return 0.5 * admm.sum(admm.square(x - c))


MODELS = {
    "norm in a box": model_of(lambda x, c, lam: nearby(x, c) + lam * admm.norm(x, 1), lambda x, lam: x <= 0.5),
    "variation": model_of(lambda x, c, lam: nearby(x, c) + lam * admm.tv1d(x), lambda x, lam: admm.sum(x) == 0.3),
    "huber": model_of(lambda x, c, lam: admm.sum(admm.huber(x - c, 0.7)) + lam * admm.norm(x, 2)),
    "balls": model_of(lambda x, c, lam: nearby(x, c) + lam * admm.norm(x, 1), lambda x, lam: admm.norm(x, 2) <= 0.9),
    "equations": model_of(
        lambda x, c, lam: nearby(x, c) + lam * admm.sum(admm.maximum(x, 0)),
        lambda x, lam: ROWS @ x == np.float32([0.2, 0.1]),
    ),
}


def alike(found, expected):
    """Equal but for rounding, in float32 both."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(np.max(np.abs(b)))))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_single_precision_is_the_same_with_64_bit_numbers_enabled(name):
    model = MODELS[name]

    def of(p):
        return jnp.dot(jnp.asarray(LOSS), model.solve(p)["x"])

    def everything(p):
        value, gradient = jax.value_and_grad(of)(p)
        return value, gradient, jax.jvp(of, (p,), (p,))[1]

    outcomes = []
    for double in (False, True):
        with jax.enable_x64(double):
            p = {"c": jnp.asarray(DATA), "lam": jnp.asarray(0.1, jnp.float32)}
            outcomes.append(jax.tree.map(np.asarray, quick_jit(everything)(p)))
    alike(outcomes[1], outcomes[0])
    assert np.all(np.isfinite(outcomes[0][2]))


@pytest.mark.slow
def test_a_batch_and_a_second_derivative_in_single_precision():
    model = MODELS["norm in a box"]

    def of(c):
        return jnp.sum(model.solve({"c": c, "lam": jnp.float32(0.1)})["x"] ** 2)

    outcomes = []
    for double in (False, True):
        with jax.enable_x64(double):
            batch = jnp.stack([jnp.asarray(DATA), 2 * jnp.asarray(DATA)])
            gradients = quick_jit(jax.vmap(jax.grad(of)))(batch)
            second = quick_jit(jax.hessian(of))(batch[0])
            outcomes.append(jax.tree.map(np.asarray, (gradients, second)))
    alike(outcomes[1], outcomes[0])
    np.testing.assert_allclose(outcomes[1][1], np.diag([0, 2, 0, 2]), atol=1e-4)  # soft thresholds below the bound


@pytest.mark.slow
def test_an_image_in_single_precision():
    U, B, e = admm.Var("U", 21, 21), admm.Param("B", 21, 21), admm.Param("e")
    model = admm.Model()
    model.setObjective(0.1 * admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - B)))
    model.addConstr(admm.sum(U) == e)
    image = np.zeros((21, 21), np.float32)
    image[5:12, 6:14] = 1

    def of(p):
        return jnp.sum(model.solve(p)["U"] ** 2)

    outcomes = []
    for double in (False, True):
        with jax.enable_x64(double):
            p = {"B": jnp.asarray(image), "e": jnp.asarray(60, jnp.float32)}
            outcomes.append(jax.tree.map(np.asarray, quick_jit(jax.value_and_grad(of))(p)))
    alike(outcomes[1], outcomes[0])


def loss_of(model):
    return lambda c: jnp.dot(jnp.asarray(LOSS), model.solve({"c": c, "lam": 0.1})["x"])


@pytest.mark.slow
def test_finite_gradients_pass_the_check_of_nan():
    """It looks at what a program returns: so not inside one."""
    with jax.debug_nans(True):
        gradient = jax.grad(loss_of(MODELS["variation"]))(jnp.asarray(DATA))
    assert np.all(np.isfinite(gradient))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["variation", "huber"])
def test_no_arithmetic_on_arrays_of_different_rank(name):
    with jax.numpy_rank_promotion("raise"):
        c = jnp.asarray(DATA)
        gradient = quick_jit(jax.grad(loss_of(MODELS[name])))(c)
        slope = quick_jit(lambda c: jax.jvp(loss_of(MODELS[name]), (c,), (c,))[1])(c)
    assert float(slope) == pytest.approx(float(jnp.dot(gradient, c)), abs=1e-4)


@pytest.mark.slow
def test_what_is_nan_is_found_by_the_check():
    x, q = admm.Var("x", 2), admm.Param("q")
    model = admm.Model()
    model.setObjective(admm.square(admm.sum(x) - q))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        jax.grad(lambda q: jnp.sum(model.solve({"q": q}, derivative_warning=False)["x"]))(0.3)


def test_parameters_are_keys_of_a_pytree():
    """JAX sorts the keys of a dict, and compares those of two."""
    x, lam, c = admm.Var("x", 4), admm.Param("lam"), admm.Param("c", 4)
    model = admm.Model()
    model.setObjective(nearby(x, c) + lam * admm.norm(x, 1))
    at = {lam: jnp.float32(0.1), c: jnp.asarray(DATA)}
    of = quick_jit(jax.value_and_grad(lambda p: jnp.sum(model.solve(p)["x"])))
    value, gradient = of(at)
    assert float(value) == pytest.approx(np.sum(np.sign(DATA) * (np.abs(DATA) - 0.1)), abs=1e-5)
    assert float(gradient[lam]) == pytest.approx(-np.sum(np.sign(DATA)), abs=1e-5)
    np.testing.assert_allclose(gradient[c], 1.0, atol=1e-5)
    assert jax.tree.structure(gradient) == jax.tree.structure(at)
    with pytest.raises(admm.ExpressionError, match="strict inequality"):
        _ = lam < x
