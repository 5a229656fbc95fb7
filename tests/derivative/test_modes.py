"""Forward and reverse mode say the same: values, NaN and warnings; without a quadratic, and with several terms."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import quick_jit

LOSS = np.array([1, 2, -1, 0.5, 3])
DATA = np.array([1, -0.4, 2, 0.3, -1.2])
ALONG = np.linspace(1, 2, 5)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def told(program, *args):
    """(what the program finds, the warnings of derivatives that it gives)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = jax.block_until_ready(program(*args))
        jax.effects_barrier()
    return out, [str(w.message) for w in caught if issubclass(w.category, admm.DerivativeWarning)]


def both(of, at, direction=1.0):
    """(derivative along `direction`, warnings) in forward and in reverse mode, each in a program of its own."""
    at, direction = jnp.asarray(at, float), jnp.asarray(direction, float)
    forward = told(quick_jit(lambda v: jax.jvp(of, (v,), (direction,))[1]), at)
    reverse = told(quick_jit(lambda v: jnp.sum(jax.grad(of)(v) * direction)), at)
    return forward, reverse


def agree(of, at, direction, expected, tol=1e-6):
    """Both modes find what is expected, and warn of nothing."""
    for value, warned in both(of, at, direction):
        assert float(value) == pytest.approx(expected, abs=tol)
        assert warned == []


def loss_of(model, **fixed):
    """Parameters -> a linear loss of x."""

    def of(**values):
        return jnp.dot(LOSS, model.solve({**fixed, **values}, tol=1e-9)["x"])

    return of


def huber_line(n):
    """min sum huber(x_0 + i x_1 - b_i), i < n."""
    x, b = admm.Var("x", 2), admm.Param("b", n)
    model = admm.Model()
    rows = np.stack([np.ones(n), np.arange(n)], axis=1)
    model.setObjective(admm.sum(admm.huber(rows @ x - b, 0.7)))
    return lambda value: model.solve({"b": value}, tol=1e-9)["x"][1], model


class TestHuber:
    @pytest.mark.slow
    def test_a_line(self):
        """No other term: forces sum to zero, and the curvature is that of the Huber function alone."""
        slope_of, model = huber_line(5)
        at, direction = np.array([0, 1.2, 1.8, 3.3, 9]), np.array([1, -1, 2, 0.5, 1])
        agree(slope_of, at, direction, 0.15, tol=1e-9)
        inner = slice(0, 4)  # the last row is an outlier: the others are fitted by least squares, with its pull of 0.7
        rows = np.stack([np.ones(5), np.arange(5)], axis=1)
        expected = np.linalg.solve(rows[inner].T @ rows[inner], rows[inner].T)[1] @ direction[inner]
        assert expected == pytest.approx(0.15)
        second = quick_jit(jax.hessian(slope_of))(jnp.asarray(at))
        np.testing.assert_allclose(second, 0.0, atol=1e-6)
        diagnosis = quick_jit(lambda b: model.diagnose({"b": b}))(jnp.asarray(at))
        assert bool(diagnosis.trustworthy)
        curved = np.linalg.eigvalsh(rows[inner].T @ rows[inner])
        assert float(diagnosis.condition) == pytest.approx(curved[1] / curved[0], rel=0.1)

    @pytest.mark.slow
    def test_a_variation(self):
        """min sum huber(y - C, .7) + lam TV(y); central differences of C give 10.5."""
        y, C, lam = admm.Var("x", 5), admm.Param("C", 5), admm.Param("lam")
        model = admm.Model()
        model.setObjective(admm.sum(admm.huber(y - C, 0.7)) + lam * admm.tv1d(y))

        def of(lam, C):
            return jnp.dot(jnp.arange(5.0), model.solve({"C": C, "lam": lam}, tol=1e-9)["x"])

        C = jnp.array([0, 0.2, 3, 3.1, 2.5])
        agree(lambda v: of(v, C), 0.3, 1.0, -2.5)
        agree(lambda v: of(0.3, v), C, [1, 2, -1, 1, 3], 10.5)

    @pytest.mark.slow
    def test_a_line_that_is_not_unique(self):
        """No change of b is felt by the flat optimum: zero is one answer of many."""
        for value, warned in both(huber_line(4)[0], [0, 1.2, 1.8, 9], [1, 1, 2, 0.5]):
            assert np.isnan(value)
            assert len(warned) == 1
            assert "not the only one" in warned[0]


def singular():
    x, q = admm.Var("x", 2), admm.Param("q")
    model = admm.Model()
    model.setObjective(admm.square(admm.sum(x) - q))
    return model


def smallest_sum():
    x, q = admm.Var("x", 2), admm.Param("q")
    model = admm.Model()
    model.setObjective(admm.norm(x, 1))
    model.addConstr(admm.sum(x) == q)
    return model


def tied():
    x, q = admm.Var("x", 2, nonneg=True), admm.Param("q")
    model = admm.Model()
    model.setObjective(q * admm.sum(x))
    model.addConstr(admm.sum(x) >= 1)
    return model


def equal_columns():
    x, q = admm.Var("x", 3), admm.Param("q")
    model = admm.Model()
    matrix = np.array([[1.0, 1, 0], [2, 2, 1], [0, 0, 1]])
    model.setObjective(0.5 * admm.sum(admm.square(matrix @ x - np.array([1, 2, 0.5]))) + q * admm.norm(x, 1))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("case", [singular, smallest_sum, tied, equal_columns])
def test_what_is_not_unique_is_told_in_both_modes(case):
    model = case()

    def of(q):
        return jnp.sum(model.solve({"q": q})["x"] ** 2)

    for value, warned in both(of, 0.3):
        assert np.isnan(value)
        assert len(warned) == 1
        assert "the solution that was differentiated is not the only one: its" in warned[0]


def test_the_objective_has_a_derivative_all_the_same():
    """min (x_1 + x_2 - q)^2 is 0 whatever q is."""
    model = singular()
    for value, warned in both(lambda q: model.solve({"q": q}).objective, 0.3):
        assert float(value) == pytest.approx(0.0, abs=1e-7)
        assert len(warned) == 1


@pytest.mark.slow
def test_without_programs_each_mode_warns_once():
    model = singular()

    def of(q):
        return jnp.sum(model.solve({"q": q})["x"] ** 2)

    def forward(q):
        return jax.jvp(of, (q,), (1.0,))[1]

    counts = [len(told(mode, 0.3)[1]) for mode in (forward, forward, jax.grad(of), jax.grad(of))]
    assert counts == [1, 0, 1, 0]


def variation(constraint=None, penalty=None, size=None):
    """1/2 |x - c|^2 + .1 TV(x) + a penalty, under a constraint: both of x and of a parameter "e"."""
    x, c, e = admm.Var("x", 5), admm.Param("c", 5), admm.Param("e") if size is None else admm.Param("e", size)
    model = admm.Model()
    objective = 0.5 * admm.sum(admm.square(x - c)) + 0.1 * admm.tv1d(x)
    model.setObjective(objective if penalty is None else objective + penalty(x, e))
    if constraint is not None:
        model.addConstr(constraint(x, e))
    return loss_of(model)


class TestVariationAndAnotherTerm:
    """The last difference of a signal is zero whatever x is: the force on it is free, and bears on nothing."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("of", "at", "direction", "expected"),
        [
            (variation(lambda x, e: admm.sum(x) == e), 0.5, 1.0, 1.1),
            (variation(lambda x, e: x <= e), 1.2, 1.0, -1.0),
            (variation(penalty=lambda x, e: 0.3 * admm.norm(x - e, 2), size=5), np.arange(5) / 5, ALONG, 0.804721),
            (variation(penalty=lambda x, e: 0.25 * admm.norm(x - e, 1), size=5), [0.9, -1, 0, 0, 0], ALONG, 1.0),
        ],
        ids=["sum", "bound", "distance", "reference"],
    )
    def test_its_offset(self, of, at, direction, expected):
        agree(lambda e: of(c=DATA, e=e), at, direction, expected)

    @pytest.mark.slow
    def test_a_bound_on_a_flat_region(self):
        """x_0 to x_2 are held together by the variation and at the bound: one number moves all of them.

        A bound of its own for each would pull them apart: of these there is no derivative, of the data there is.
        """
        data = jnp.array([1, 1.1, 2, 0.3, -1.2])
        of = variation(lambda x, e: x <= e)
        agree(lambda e: of(c=data, e=e), 0.6, 1.0, LOSS[:3].sum())
        apart = variation(lambda x, e: x <= e, size=5)
        program = quick_jit(jax.grad(lambda p: apart(**p)))
        gradient, warned = told(program, {"c": data, "e": jnp.full(5, 0.6)})
        np.testing.assert_array_equal(np.isnan(gradient["e"]), [True, True, True, False, False])
        np.testing.assert_allclose(gradient["e"][3:], 0.0, atol=1e-9)
        np.testing.assert_allclose(gradient["c"], [0, 0, 0, 0.5, 3.0], atol=1e-9)
        assert len(warned) == 1
        assert "pulls them apart" in warned[0]
        forward, warned = told(
            quick_jit(lambda e: jax.jvp(lambda v: apart(c=data, e=v), (e,), (jnp.eye(5)[0],))[1]), jnp.full(5, 0.6)
        )
        assert np.isnan(forward)
        assert len(warned) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["bound", "sum"])
    def test_images(self, kind):
        """6x6 pixels go through dense matrices; all parameters in one gradient, against differences."""
        rng = np.random.default_rng(1)
        image = np.zeros((6, 6))
        image[2:4, 2:5] = 1
        image += 0.1 * rng.normal(size=image.shape)
        weights = rng.normal(size=image.shape)
        U, B, e, lam = admm.Var("U", 6, 6), admm.Param("B", 6, 6), admm.Param("e"), admm.Param("lam")
        model = admm.Model()
        model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - B)))
        model.addConstr(e >= U if kind == "bound" else admm.sum(U) == e)

        def of(p):
            return jnp.sum(weights * model.solve(p, tol=1e-13)["U"])

        at = {"B": jnp.asarray(image), "e": jnp.asarray(0.6 if kind == "bound" else 7.0), "lam": jnp.asarray(0.08)}
        way = {"B": jnp.asarray(weights), "e": jnp.asarray(1.0), "lam": jnp.asarray(0.1)}
        program = quick_jit(jax.value_and_grad(of))
        (_, gradient), warned = told(program, at)
        assert warned == []
        for name, step in way.items():
            h = 1e-5
            ahead, behind = (program({**at, name: at[name] + sign * h * step})[0] for sign in (1, -1))
            slope = float(ahead - behind) / (2 * h)
            assert float(jnp.sum(gradient[name] * step)) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


@pytest.mark.slow
def test_a_norm_and_its_ball():
    """1/2 |x - b|^2 + lam |x|_1, |x|_1 <= r: both hold the zeros. x = soft(b, t), with t by the ball where it binds."""
    x, b, r, lam = admm.Var("x", 5), admm.Param("b", 5), admm.Param("r"), admm.Param("lam")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + lam * admm.norm(x, 1))
    model.addConstr(admm.norm(x, 1) <= r)
    of = loss_of(model)
    at = {"b": jnp.array([2, -1.5, 0.1, 0.2, -1]), "r": jnp.asarray(1.8), "lam": jnp.asarray(0.2)}
    gradient, warned = told(quick_jit(jax.grad(lambda p: of(**p))), at)
    assert warned == []
    active, signs = np.array([True, True, False, False, True]), np.array([1, -1, 0, 0, -1.0])
    mean = LOSS @ signs / 3  # t moves by (sum of sign db - dr) / 3
    np.testing.assert_allclose(gradient["b"], np.where(active, LOSS, 0) - mean * signs, atol=1e-8)
    assert float(gradient["r"]) == pytest.approx(mean, abs=1e-8)
    assert float(gradient["lam"]) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.slow
def test_one_parameter_in_two_terms():
    """1/2 |x + 1|^2 + |x - a| over x >= a: both terms hold x at a, and move with it; they part for two parameters."""
    x, a, b = admm.Var("x", 1), admm.Param("a"), admm.Param("b")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x + 1)) + admm.norm(x - a, 1))
    model.addConstr(x >= b)
    apart = quick_jit(jax.grad(lambda p: jnp.sum(model.solve(p)["x"])))
    gradient, warned = told(apart, {"a": jnp.asarray(0.2), "b": jnp.asarray(0.2)})
    assert np.isnan(gradient["a"])
    assert np.isnan(gradient["b"])
    assert len(warned) == 1
    together, y = admm.Model(), admm.Var("y", 1)
    together.setObjective(0.5 * admm.sum(admm.square(y + 1)) + admm.norm(y - a, 1))
    together.addConstr(y >= a)
    agree(lambda v: jnp.sum(together.solve({"a": v})["y"]), 0.2, 1.0, 1.0)
