"""The options of a model: names, aliases, kinds, ranges, defaults."""

from __future__ import annotations

import inspect
import math
import re

import IPython
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.options import ALIASES, OPTIONS, OptimizeOptions, SolveOptions, checked
from admm_jax.solver.settings import settings_for

# name: (default, values taken and what becomes of them, values out of range, values of the wrong kind)
TABLE = {
    "tol": (None, {0: 0.0, 1e-3: 1e-3, 1: 1.0, None: None}, [-1e-9, 1.1, math.inf], ["1e-3", True, math.nan, 1j]),
    "feasibility_tol": (None, {1e-5: 1e-5, None: None}, [-1, 2], ["small", False, [1e-3]]),
    "max_iterations": (
        10_000,
        {1: 1, 500.0: 500, 2**31 - 2: 2**31 - 2},
        [0, -3, 2**31],
        [1.5, True, "10", None, math.inf],
    ),
    "polish": (None, {True: True, 0: False, None: None}, [], [2, 0.5, "yes", math.nan]),
    "rho": (0.0, {0: 0.0, 3: 3.0}, [-1, 1e31, math.inf], [None, True, "auto", math.nan]),
    "adapt_rho": (True, {False: False, 1: True}, [], [None, 2, "no"]),
    "relaxation": (1.6, {1: 1.0, 1.99: 1.99}, [0.5, 2], [None, True, "1.6"]),
    "derivative": (
        "implicit",
        {"unroll": "unroll", "implicit": "implicit"},
        [],
        ["adjoint", None, 1, math.nan],
    ),
    "derivative_nan": (True, {False: False, 1: True}, [], [None, 2, "no"]),
    "derivative_tol": (None, {1e-3: 1e-3, None: None}, [-1e-3, 2], ["fine"]),
    "derivative_warning": (True, {False: False, 1: True}, [], [None, 2, "no"]),
    "batching": (
        "auto",
        {"sequential": "sequential", "parallel": "parallel", "auto": "auto"},
        [],
        ["together", None, 1, math.nan],
    ),
    "x_update": (None, {None: None, max: max}, [], ["cg", 3, True, math.nan, (max,)]),
    "range": (
        "auto",
        {"auto": "auto", None: None, (0, 1): (0.0, 1.0), (-math.inf, 1.5): (-math.inf, 1.5)},
        [],
        [(1.0, 0.0), (0.0,), "all", 3.0, (math.nan, 1.0)],
    ),
    "stop": ("certificate", {"estimate": "estimate", "certificate": "certificate"}, [], ["gap", None, 1, math.nan]),
    "time_limit": (math.inf, {0: 0.0, 2.5: 2.5, math.inf: math.inf}, [-1], [None, True, "1 s", math.nan]),
    "verbosity": (0, {0: 0, 1: 1, 2: 2}, [-1, 3], [0.5, True, "table", None]),
}


def test_the_options_of_one_call_are_named_in_its_signature():
    """A notebook completes them; editors read the same names from the types."""
    for call, names, typed in (
        (admm.Model.solve, {n for n, option in OPTIONS.items() if option.pure}, SolveOptions),
        (admm.Model.diagnose, {n for n, option in OPTIONS.items() if option.pure}, SolveOptions),
        (admm.Model.optimize, {n for n, option in OPTIONS.items() if option.imperative}, OptimizeOptions),
    ):
        parameters = inspect.signature(call).parameters
        own = {"self", "params", "init", "adjoint", "along", "progress", "options"}
        assert set(parameters) - own == names
        assert parameters["tol"].kind is inspect.Parameter.KEYWORD_ONLY
        assert repr(parameters["tol"].default) == "<the model's>"
        assert typed.__optional_keys__ == names | {alias for alias, name in ALIASES.items() if name in names}
        assert all(f"`{name}`" in call.__doc__ for name in names) or call is admm.Model.diagnose


def test_ipython_completes_the_options_of_one_call():
    completer = IPython.core.interactiveshell.InteractiveShell.instance().Completer
    model = admm.Model()
    assert {"derivative_warning", "tol"} <= set(completer._default_arguments(model.solve))
    assert "time_limit" in completer._default_arguments(model.optimize)


def test_the_table_names_every_option():
    assert list(TABLE) == list(OPTIONS)
    assert all(option.meaning for option in OPTIONS.values())
    assert {name for name, option in OPTIONS.items() if not option.pure} == {"time_limit", "verbosity"}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option(name):
    default, taken, out_of_range, wrong = TABLE[name]
    model = admm.Model()
    assert model.getOption(name) == default
    for value, kept in taken.items():
        model.setOption(name, value)
        assert model.getOption(name) == kept
        assert type(model.getOption(name)) is type(kept)
    last = model.getOption(name)
    for value in out_of_range:
        with pytest.raises(
            admm.DataError, match=f"option {name!r} must lie between .* and .*, got {re.escape(repr(value))}"
        ):
            model.setOption(name, value)
    for value in wrong:
        with pytest.raises(admm.DataError, match=f"option {name!r} takes .*, got {re.escape(repr(value))}"):
            model.setOption(name, value)
    assert model.getOption(name) == last  # a refused value changes nothing


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.asarray, jnp.float32, jnp.asarray])
def test_numbers_of_every_library_are_taken(kind):
    assert checked("relaxation", kind(1.5)) == 1.5
    assert type(checked("relaxation", kind(1.5))) is float


@pytest.mark.parametrize("kind", [int, np.int64, np.asarray, jnp.int32, jnp.asarray])
def test_whole_numbers_of_every_library_are_taken(kind):
    assert checked("max_iterations", kind(7)) == 7
    assert type(checked("max_iterations", kind(7))) is int


@pytest.mark.parametrize("flag", [True, np.True_, np.asarray(True), jnp.asarray(True)])
def test_a_flag_is_no_number(flag):
    assert checked("adapt_rho", flag) is True
    for name in ("tol", "rho", "max_iterations", "verbosity"):
        with pytest.raises(admm.DataError, match=r"takes a (whole )?number, got"):
            checked(name, flag)


def test_arrays_are_no_numbers():
    for value in (np.ones(1), jnp.ones(3), [1.0]):
        with pytest.raises(admm.DataError, match="option 'tol' takes a number, got"):
            checked("tol", value)


@pytest.mark.parametrize(("alias", "own"), ALIASES.items())
def test_each_name_of_the_reference_library(alias, own):
    model = admm.Model()
    value = next(value for value in TABLE[own][1] if value is not None)
    model.setOption(alias, value)
    assert model.getOption(own) == model.getOption(alias) == TABLE[own][1][value]
    with pytest.raises(admm.DataError, match=f"option {alias!r} takes"):  # a complaint speaks the user's language
        model.setOption(alias, "nonsense")


def test_unknown_names():
    model = admm.Model()
    for name, message in (
        ("tolerance", "unknown option 'tolerance'"),
        ("max_iteration", "unknown option 'max_iteration': did you mean 'max_iterations'?"),
        ("solver_max_time", "unknown option 'solver_max_time': did you mean 'solver_max_time_limit'?"),
        ("xyz", "unknown option 'xyz'; there are tol, feasibility_tol, max_iterations, polish, rho, "),
        (3, "unknown option 3; there are"),
        (None, "unknown option None; there are"),
        (["tol"], r"unknown option \['tol'\]"),
    ):
        for access in (model.getOption, lambda n: model.setOption(n, 1)):
            with pytest.raises(admm.DataError, match=message):
                access(name)


def test_options_belong_to_one_model():
    first, second = admm.Model(), admm.Model()
    first.setOption("tol", 0.5)
    assert second.getOption("tol") is None


def test_automatic_settings_follow_the_dtype():
    options = {name: option.default for name, option in OPTIONS.items()}
    single, double = (settings_for(options, np.dtype(dtype)) for dtype in ("float32", "float64"))
    assert (float(double.tol), float(double.feasibility_tol)) == (1e-6, 1e-8)
    assert float(single.tol) == pytest.approx(1e-4)
    assert float(single.feasibility_tol) == pytest.approx(1e-4)
    assert (bool(single.polish), bool(double.polish)) == (False, True)
    assert single.tol.dtype == single.rho.dtype == np.float32
    assert bool(settings_for({**options, "tol": 1e-3}, np.dtype("float64")).polish) is False
    assert bool(settings_for({**options, "tol": 1e-3, "polish": True}, np.dtype("float64")).polish) is True
