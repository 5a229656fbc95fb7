"""From outside the package: an x-update that is diagonal in Fourier, for circular operators of one's own."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import LASSO, MATRIX, image_jit, lasso

# the user's code

SHAPE, RIDGE = (24, 26), 1e-2
ROWS, COLUMNS = (np.minimum(np.arange(n), n - np.arange(n)) for n in SHAPE)
KERNEL = np.exp(-(ROWS[:, None] ** 2 + COLUMNS**2) / 4.0)
BLUR = np.fft.rfft2(KERNEL / KERNEL.sum())  # next to nothing of high frequencies is left
DOWN = np.exp(2j * np.pi * np.arange(24) / 24)[:, None] - 1  # the difference to the next row, the first after the last


def in_fourier(image, factor):
    spectrum = jnp.fft.rfft2(image)
    return jnp.fft.irfft2(spectrum * factor.astype(spectrum.dtype), SHAPE)


def blur(image):
    return in_fourier(image, BLUR)


def down(image):
    return jnp.roll(image, -1, axis=0) - image


def deblurring():
    """minimise lam sum |down(u)| + 0.01 sum |u| + 1/2 |blur(u) - B|^2 + RIDGE / 2 |u|^2."""
    u, B, lam = admm.Var("u", SHAPE), admm.Param("B", SHAPE), admm.Param("lam")
    model = admm.Model()
    fit = admm.sum_squares(admm.linear(blur, u) - B) / 2 + RIDGE * admm.sum_squares(u) / 2
    model.setObjective(lam * admm.sum(abs(admm.linear(down, u))) + 0.01 * admm.sum(abs(u)) + fit)
    return model


def exact(weights, b):
    """The weights are those of |down(u)| and of |u|."""
    return {"u": in_fourier(b["u"], 1 / (abs(BLUR) ** 2 + RIDGE + weights[0] * abs(DOWN) ** 2 + weights[1]))}


# what holds


def diagonal_only(weights, b):
    return {"u": b["u"] / (np.mean(abs(BLUR) ** 2) + RIDGE + 2 * weights[0] + weights[1])}


def of_something_else(weights, b):
    return {"u": b["u"] * (1 + 9 * (jnp.arange(26) % 2))}


def broken(weights, b):
    """No number but for the weights at which it is tried."""
    return {"u": jnp.where(weights[0] == 1, b["u"], jnp.nan)}


class Counted:
    """An x-update that counts how often it is asked."""

    def __init__(self, function):
        self.function, self.count = function, 0

    def __call__(self, weights, b):
        jax.debug.callback(self._one)
        return self.function(weights, b)

    def _one(self):
        self.count += 1


@functools.cache
def observed():
    scene = np.zeros(SHAPE)
    scene[6:16, 5:15], scene[9:12, 12:22] = 1.0, 0.6
    return np.asarray(blur(jnp.asarray(scene)), float) + 0.01 * np.random.default_rng(0).normal(size=SHAPE)


@functools.cache
def solved(function):
    """(the solution in float64, how often the function was asked, per iteration)."""
    counted = None if function is None else Counted(function)
    with jax.enable_x64(True):
        solution = deblurring().solve({"B": observed(), "lam": 0.02}, x_update=counted, polish=False)
        jax.effects_barrier()
    return solution, 0 if counted is None else counted.count / int(solution.iterations)


@pytest.mark.parametrize(
    "function",
    [
        exact,
        pytest.param(diagonal_only, marks=pytest.mark.slow),
        broken,
        pytest.param(of_something_else, marks=pytest.mark.slow),
    ],
)
def test_its_answer_is_that_of_the_model_whatever_it_is(function):
    plain, _ = solved(None)
    solution, asked = solved(function)
    assert bool(plain.converged)
    assert bool(solution.converged)
    assert 0 <= float(solution.gap) <= 1e-6
    assert float(solution.objective) == pytest.approx(float(plain.objective), rel=1e-6)
    np.testing.assert_allclose(solution["u"], plain["u"], atol=2e-3)
    # conjugate gradients ask it for the first residual, then once a step
    if function is exact:
        assert asked <= 2.01
        assert int(solution.iterations) <= int(plain.iterations)
    else:
        assert asked >= 2.9


@pytest.mark.slow
def test_its_gradient_against_differences():
    model, data, weight = deblurring(), observed(), np.random.default_rng(1).normal(size=SHAPE)

    def loss(lam):
        return jnp.sum(weight * model.solve({"B": data, "lam": lam}, x_update=exact, tol=1e-8)["u"] ** 2)

    with jax.enable_x64(True):
        program, h = image_jit(jax.value_and_grad(loss)), 1e-6
        difference = float(program(0.02 + h)[0] - program(0.02 - h)[0]) / (2 * h)
        assert float(program(0.02)[1]) == pytest.approx(difference, rel=1e-4)


def test_a_small_model_is_solved_with_it_too():
    """In `optimize`, by `setOption`; the plan is told of it."""

    def solve(weights, b):
        gram = MATRIX.T @ MATRIX + weights[0] * jnp.eye(10)
        return {"x": jnp.linalg.solve(gram, b["x"])}

    model = lasso()
    model.optimize(LASSO)
    expected, x = model.ObjVal, model.variables[0].X
    model.setOption("x_update", solve)
    model.optimize(LASSO)
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    assert model.ObjVal == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(model.variables[0].X, x, atol=2e-3)
    lines = model.explain(LASSO).splitlines()
    assert "  form: matrix-free, as the x-update is one of your own" in lines
    assert "  x-update: up to 16 conjugate gradient steps, warm-started, preconditioned by solve" in lines


def raises(weights, b):
    raise ValueError("no such index")


# name: (the function, the kind of error, what it says)
REFUSED = {
    "fails": (raises, admm.DataError, "raises(weights, b) cannot be called with 2 weights and b of 'u' (24, 26): no"),
    "one argument": (lambda b: b, admm.DataError, "cannot be called with 2 weights and b of 'u' (24, 26): "),
    "an array": (lambda w, b: b["u"], admm.DataError, "a dictionary of arrays for 'u', got ShapeDtypeStruct"),
    "other names": (lambda w, b: {"x": b["u"]}, admm.DataError, "a dictionary of arrays for 'u', got 'x'"),
    "other shape": (
        lambda w, b: {"u": jnp.fft.rfft2(b["u"]).real},
        admm.ShapeError,
        "expected an array of shape (24, 26) for variable 'u', got (24, 14)",
    ),
    "no numbers": (lambda w, b: {"u": None}, admm.ShapeError, "shape (24, 26) for variable 'u', got None"),
    "complex": (lambda w, b: {"u": b["u"] * 1j}, admm.DataError, "real numbers for variable 'u', got complex64"),
    "squared": (lambda w, b: {"u": b["u"] ** 2}, admm.DataError, "expected a function that is linear in b, got one"),
    "affine": (lambda w, b: {"u": b["u"] + 1}, admm.DataError, "expected a function that is linear in b, got one"),
    "not finite": (lambda w, b: {"u": b["u"] / 0}, admm.DataError, "finite numbers for weights of one, got nan"),
    "negative": (
        lambda w, b: {"u": -b["u"]},
        admm.DataError,
        "positive definite x-update, got <b, f(w, b)> = -6.2e+02",
    ),
    "not a function": (3, admm.DataError, "option 'x_update' takes a function or None, got 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_x_update_is_refused_before_anything_is_solved(name):
    function, kind, message = REFUSED[name]
    given = {"B": observed().astype(np.float32), "lam": np.float32(0.02)}
    for solve in (
        deblurring().solve,
        jax.jit(lambda g, **options: deblurring().solve(g, **options), static_argnames="x_update"),
    ):
        with pytest.raises(kind) as error:
            solve(given, x_update=function)
        assert "option 'x_update'" in str(error.value)
        assert message in str(error.value)
