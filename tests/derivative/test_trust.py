"""What is said of derivatives that cannot be trusted: NaN, warnings, diagnoses."""

from __future__ import annotations

import linecache
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.derivative.diagnose import Diagnosis
from admm_jax.derivative.tell import NOWHERE, program_number
from admm_jax.derivative.trust import Trust, complaint
from tests.models import DEBLURRING, IMAGE, KERNEL, LASSO, deblurring, lasso, quick_jit


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def run(program, *args):
    """The program's outcome, after everything that it has to say."""
    out = jax.block_until_ready(program(*args))
    jax.effects_barrier()
    return out


def slope_of(model, name, **options):
    def of(lam):
        return jnp.sum(model.solve({**(DEBLURRING if name == "U" else LASSO), "lam": lam}, **options)[name] ** 2)

    return quick_jit(jax.grad(of))


def test_not_converged_is_nan_with_a_warning():
    gradient = slope_of(deblurring(), "U", max_iterations=5)
    with pytest.warns(admm.DerivativeWarning, match=r"did not converge \(SOLVE_OVER_MAX_ITER") as told:
        slope = run(gradient, 0.1)
    assert np.isnan(slope)
    assert len(told) == 1
    assert str(told[0].message).startswith("minimise lam * tv2d(U")
    line = linecache.getline(told[0].filename, told[0].lineno)
    assert told[0].filename == __file__
    assert "return jnp.sum(model.solve({**(DEBLURRING if name" in line  # where the user called it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(run(gradient, 0.2))  # the same program says it once


def test_both_can_be_turned_off():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = run(slope_of(deblurring(), "U", max_iterations=5, derivative_warning=False, derivative_nan=False), 0.1)
    assert np.isfinite(quiet)


def test_a_solution_that_is_not_unique():
    """min (x_1 + x_2 - y)^2: its objective has a derivative, its solution has none."""
    x, y = admm.Var("x", 2), admm.Param("y")
    model = admm.Model()
    model.setObjective(admm.square(admm.sum(x) - y) + admm.abs(y - admm.sum(x)))

    def of(y):
        solution = model.solve({"y": y})
        return jnp.sum(solution["x"] ** 2), solution.objective

    with pytest.warns(admm.DerivativeWarning, match="not the only one"):
        slopes = run(quick_jit(jax.jacrev(of)), 1.0)
    assert np.isnan(slopes[0])
    assert float(slopes[1]) == pytest.approx(0.0, abs=1e-8)
    diagnosis = model.diagnose({"y": 1.0})
    assert not bool(diagnosis.unique)
    assert not bool(diagnosis.trustworthy)


@pytest.mark.slow
def test_kinks_that_a_change_pulls_apart():
    """min 1/2 (x + 1/2)^2 + |x - a| over x >= 0 at a = 0: x = max(a, 0) nearby, and both terms hold it there."""
    x, a, c = admm.Var("x", 1, nonneg=True), admm.Param("a"), admm.Param("c")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x + c)) + admm.norm(x - a, 1))

    def of(a, c):
        return jnp.sum(model.solve({"a": a, "c": c})["x"])

    modes = {mode: quick_jit(mode(of)) for mode in (jax.jacfwd, jax.jacrev)}
    with pytest.warns(admm.DerivativeWarning, match=r"NaN, .* pulls them apart"):
        slopes = [run(slope, 0.0, 0.5) for slope in modes.values()]
    assert np.all(np.isnan(slopes))
    for mode, slope in modes.items():
        for a, expected in ((0.25, 1.0), (-0.25, 0.0)):  # away from there
            assert float(run(slope, a, 0.5)) == pytest.approx(expected, abs=1e-9)
        # nor where the kinks stay: two terms may hold the same entry, as l1 and a bound of zero do
        assert float(run(quick_jit(mode(of, argnums=1)), 0.0, 0.5)) == pytest.approx(0.0, abs=1e-9)


def test_an_active_set_in_doubt_is_warned_of(monkeypatch):
    """A loose solve that is not allowed to go on: a warning with the estimated error and the remedy."""
    from admm_jax.solver import loop, settings

    monkeypatch.setattr(settings, "FINISHED", {8: 1e-10, 4: 1e-10})
    monkeypatch.setattr(settings, "OVERTIME", 0.0)
    monkeypatch.setattr(loop, "LEAST_OVERTIME", 0)
    shape = (23, 24)  # of no other test: what is compiled with these settings is used by none
    data = np.cumsum(np.random.default_rng(0).normal(size=shape), axis=1) / 5
    U, B, lam, model = admm.Var("U", shape), admm.Param("B", shape), admm.Param("lam"), admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum_squares(admm.conv2d(U, KERNEL) - B))

    def of(lam):
        return jnp.sum(model.solve({"B": data, "lam": lam}, tol=0.05)["U"] ** 2)

    with pytest.warns(admm.DerivativeWarning, match=r"in doubt by about \d\.\de[+-]\d\d .* a tighter tol"):
        run(quick_jit(jax.grad(of)), 0.01)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0.0, ", by how much is not known (an estimate found nothing): "),
        (0.25, " by about 2.5e-01 (relative, estimated): "),
        (np.inf, ", by how much is not known: "),
    ],
)
def test_a_doubt_is_worded_by_what_was_estimated(error, said):
    yes, no = np.array(True), np.array(False)
    text = complaint(np.array(1), np.array(1e-5), np.array(0.0), Trust(yes, no, yes, np.array(error), yes))
    assert f"the derivative is in doubt{said}with a certified gap of 1.0e-05" in text
    assert "0.0e+00" not in text


@pytest.mark.parametrize(("dtype", "says"), [("float32", False), ("float64", True)])
def test_a_slight_doubt_is_worth_a_warning_in_float64_only(monkeypatch, dtype, says):
    """JAX hands the numbers of a program in float64 to a callback in float32, if that has a thread of its own."""
    from admm_jax.derivative import trust

    yes, no = jnp.asarray(True), jnp.asarray(False)
    doubt = Trust(yes, no, yes, jnp.asarray(1e-4, dtype), yes)
    monkeypatch.setattr(trust, "assess", lambda *_: doubt)

    def narrow(leaf):
        return leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf

    solution = SimpleNamespace(status=jnp.asarray(1), gap=jnp.asarray(1e-13, dtype))

    def of(v):
        told = trust.Announcer(None, None, solution, None, program_number(NOWHERE))
        told.told, told.trust = jax.tree.map(narrow, (told.told, told.trust))
        return jnp.sum(told(v) ** 2)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run(jax.jit(jax.grad(of)), jnp.ones(3, dtype))
    assert [w.category for w in said] == [admm.DerivativeWarning] * says


@pytest.mark.parametrize(
    ("error", "settled", "said"),
    [
        (0.0, True, "none, as"),
        (0.0, False, "not known"),
        (0.25, False, "2.5e-01 (relative)"),
        (np.inf, False, "unknown"),
    ],
)
def test_a_diagnosis_words_its_error_by_what_was_estimated(error, settled, said):
    one = np.array(1)
    flags = np.array(True), np.array(settled), np.array(True)
    text = repr(Diagnosis(*flags, one, one, one, one, one, np.array(error), {}))
    assert f"estimated error         {said}" in text


def test_a_warning_is_at_the_line_of_a_gradient_without_jit():
    x, lam = admm.Var("x", 3), admm.Param("lam")
    model = admm.Model()
    model.setObjective(admm.sum(admm.square(x - np.arange(1.0, 4.0))) + lam * admm.norm(x, 1))
    with pytest.warns(admm.DerivativeWarning, match=r"^minimise sum\(square\(x - array\(3\)\)\) \+ lam") as told:
        run(jax.grad(lambda lam: jnp.sum(model.solve({"lam": lam}, max_iterations=1, rho=1e-9)["x"])), 0.5)
    assert "max_iterations=1, rho=1e-9" in linecache.getline(told[0].filename, told[0].lineno)


@pytest.mark.slow
def test_a_diagnosis_of_an_image():
    model = deblurring()
    diagnosis = model.diagnose(DEBLURRING)
    assert bool(diagnosis.trustworthy)
    U = np.asarray(model.solve(DEBLURRING, tol=1e-9)["U"])
    assert int(diagnosis.regions) == len(np.unique(np.round(U, 9)))
    assert float(diagnosis.residual) < 1e-9
    assert float(diagnosis.error) == 0
    assert 1 <= float(diagnosis.condition) < 1e4
    text = repr(diagnosis)
    for word in ("solve converged", "active set settled", "flat regions", "condition", "estimated error"):
        assert word in text
    assert "<table>" in diagnosis._repr_html_()


def test_a_diagnosis_says_how_far_the_next_kink_is():
    """x = soft(b, lam): the support changes where lam passes an |b_i|."""
    x, b, lam = admm.Var("x", 5), admm.Param("b", 5), admm.Param("lam")
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(x - b)) + lam * admm.norm(x, 1))
    diagnosis = model.diagnose({"b": [0.1, -0.75, 1.0, 0.4, -2.0], "lam": 0.5}, along=["lam"])
    down, up = np.asarray(diagnosis.kinks["lam"])
    assert 0.95 * 0.1 <= down <= 0.1
    assert 0.95 * 0.25 <= up <= 0.25
    assert int(diagnosis.held) == 2
    assert "same set for lam" in repr(diagnosis)


@pytest.mark.slow
def test_flags_can_be_read_inside_jit_and_vmap():
    model = lasso()
    trusted = quick_jit(jax.vmap(lambda lam: model.diagnose({**LASSO, "lam": lam})))(jnp.asarray([0.5, 1.0]))
    assert np.all(trusted.trustworthy)
    assert "a batch of 2, 2 trustworthy" in repr(trusted)


def test_what_cannot_be_asked_for():
    model = deblurring()
    with pytest.raises(admm.DataError, match="along takes scalar parameters"):
        model.diagnose(DEBLURRING, along=["B"])
    with pytest.raises(admm.ParameterError, match="unknown Param 'mu'"):
        model.diagnose(DEBLURRING, along=["mu"])
    with pytest.raises(admm.DataError, match="'derivative' takes 'implicit' or 'unroll'"):
        model.solve(DEBLURRING, derivative="adjoint")
    with pytest.raises(admm.DataError, match="adjoint names 'V'"):
        model.solve(DEBLURRING, adjoint={"V": IMAGE})


def test_a_solve_of_no_numbers_has_no_derivative_in_any_parameter():
    """Traced data that are NaN: on a solution without edges nothing else would carry that to the gradient in lam."""
    U, B, lam, model = admm.Var("U", 8, 8), admm.Param("B", 8, 8), admm.Param("lam"), admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum_squares(U - B))
    gradient = quick_jit(jax.grad(lambda p: jnp.sum(model.solve(p)["U"] ** 2)))
    with pytest.warns(admm.DerivativeWarning, match="did not converge"):
        slopes = run(gradient, {"B": jnp.full((8, 8), jnp.nan), "lam": jnp.asarray(0.1)})
    assert np.all(np.isnan(slopes["B"]))
    assert np.isnan(slopes["lam"])
