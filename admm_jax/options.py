"""The options of a solve: their names here and in the ADMM library, their ranges and defaults."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast

import jax
import numpy as np
from jax.core import Tracer

from admm_jax.errors import DataError

__all__ = ["ALIASES", "OPTIONS", "Option", "checked", "merged", "own_name"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """One option: its default (None: chosen by dtype or by the solver), range, kind and meaning.

    A `static` one decides which program is compiled: it cannot be traced, and changing it compiles anew.
    """

    default: Any
    low: float
    high: float
    kind: Any
    meaning: str
    pure: bool = True  # has a meaning in `Model.solve`, and not in `Model.optimize` only
    imperative: bool = True  # has a meaning in `Model.optimize`, and not in `Model.solve` only
    static: bool = False
    choices: tuple[str, ...] = ()


OPTIONS: dict[str, Option] = {
    "tol": Option(
        None,
        0,
        1,
        float,
        "certified relative gap to reach; 1e-6 in float64, 1e-4 in float32, 1e-3 where the x-update is by transforms; "
        "0: iterate to the limits",
    ),
    "feasibility_tol": Option(None, 0, 1, float, "relative constraint violation; 1e-8 in float64, 1e-4 in float32"),
    "max_iterations": Option(10_000, 1, 2**31 - 2, int, "ADMM iterations"),
    "polish": Option(None, 0, 1, bool, "finish on the active set; None: where tol < 1e-5, for isotropic TV 1e-6"),
    "rho": Option(0.0, 0, 1e30, float, "starting penalty parameter; 0: from the data"),
    "adapt_rho": Option(True, 0, 1, bool, "let rho follow the residuals"),
    "relaxation": Option(1.6, 1, 1.99, float, "over-relaxation; changing it compiles anew", static=True),
    "derivative": Option(
        "implicit",
        0,
        0,
        str,
        "of the solution: exact, by its optimality conditions; or by unrolling exactly `max_iterations` steps; "
        "`solve` only",
        static=True,
        imperative=False,
        choices=("implicit", "unroll"),
    ),
    "derivative_nan": Option(
        True, 0, 1, bool, "NaN for a derivative that has no basis; `solve` only", static=True, imperative=False
    ),
    "derivative_tol": Option(
        None,
        0,
        1,
        float,
        "relative accuracy to reach of a derivative where the x-update is by transforms, and regions settle only in "
        "the limit; 1e-2 in float32, 3e-4 in float64; all others go on until the active set is settled; `solve` only",
        imperative=False,
    ),
    "derivative_warning": Option(
        True, 0, 1, bool, "warn of a derivative that is in doubt; `solve` only", static=True, imperative=False
    ),
    "batching": Option(
        "auto",
        0,
        0,
        str,
        "under `jax.vmap`, problems together (parallel) or one after another (sequential); auto: by what is faster; "
        "`solve` only",
        static=True,
        imperative=False,
        choices=("auto", "sequential", "parallel"),
    ),
    "x_update": Option(
        None,
        0,
        0,
        Callable,
        "a function f(weights, b) of your own that solves, exactly or about, the linear system of the x-update, see "
        "`Model.solve`; None: the solver's own; another function compiles anew",
        static=True,
    ),
    "range": Option(
        "auto",
        -math.inf,
        math.inf,
        tuple,
        "(lowest, highest) value that the certificate seeks minimisers among, None for all; auto: three times the "
        "range of the data where the x-update is by transforms and the model has no bounds, else all",
    ),
    "stop": Option(
        "certificate",
        0,
        0,
        str,
        "what tol is of: the certified gap, or the estimate of the gap, which is sooner and proves nothing",
        choices=("certificate", "estimate"),
    ),
    "time_limit": Option(math.inf, 0, math.inf, float, "seconds; `optimize` only", pure=False),
    "verbosity": Option(0, 0, 2, int, "0 quiet, 1 a bar, 2 a table; `optimize` only", pure=False),
}

# The ADMM library's names, where they have a meaning here.
ALIASES: dict[str, str] = {
    "admm_max_iteration": "max_iterations",
    "termination_relative_primal_dual_gap": "tol",
    "termination_relative_error_threshold": "feasibility_tol",
    "initial_penalty_param_value": "rho",
    "penalty_param_auto": "adapt_rho",
    "initial_over_relaxation_param": "relaxation",
    "solver_max_time_limit": "time_limit",
    "solver_verbosity_level": "verbosity",
}


class Common(TypedDict, total=False):
    """The options of one call, by their types, for editors; what they mean is in `OPTIONS`. Numbers may be traced."""

    tol: Any
    feasibility_tol: Any
    max_iterations: Any
    polish: Any
    rho: Any
    adapt_rho: Any
    relaxation: float
    x_update: Callable[..., Any] | None
    range: tuple[float, float] | str | None
    stop: str
    admm_max_iteration: Any
    termination_relative_primal_dual_gap: Any
    termination_relative_error_threshold: Any
    initial_penalty_param_value: Any
    penalty_param_auto: Any
    initial_over_relaxation_param: float


class SolveOptions(Common, total=False):
    """Those of `Model.solve`."""

    derivative: str
    derivative_nan: bool
    derivative_tol: Any
    derivative_warning: bool
    batching: str


class OptimizeOptions(Common, total=False):
    """Those of `Model.optimize`."""

    time_limit: float
    verbosity: int
    solver_max_time_limit: float
    solver_verbosity_level: int


class _OfModel:
    """Stands for the value that the model has: what `setOption` set, else the default."""

    def __repr__(self) -> str:
        return "<the model's>"


_OF_MODEL = _OfModel()


def names_options(where: str) -> Callable[[F], F]:
    """A decorator: the signature names the options, so that a notebook completes them; `**options` stays at its end.

    Args:
        where: "solve" or "optimize", whose options they are.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        rest = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_OF_MODEL)
            for name, option in OPTIONS.items()
            if (option.pure if where == "solve" else option.imperative)
        ]
        others = [p.replace(annotation=Any) for p in rest]
        cast(Any, function).__signature__ = signature.replace(parameters=[*own, *named, *others])
        return function

    return decorate


def own_name(name: Any) -> str:
    """The name in `OPTIONS` of an option, given by it or by its name in the ADMM library.

    Raises:
        DataError: there is no such option.
    """
    own = ALIASES.get(name, name) if isinstance(name, str) else None
    if own not in OPTIONS:
        near = difflib.get_close_matches(str(name), [*OPTIONS, *ALIASES], 1)
        hint = f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(OPTIONS)}"
        raise DataError(f"unknown option {name!r}{hint}")
    return own


def checked(name: str, value: Any) -> Any:
    """The value of option `name`, in its kind and range; None where the option has an automatic setting.

    Args:
        name: One of `OPTIONS` or `ALIASES`.
        value: A Python, NumPy or JAX number.

    Raises:
        DataError: it is of the wrong kind or out of range.
    """
    option = OPTIONS[own_name(name)]
    if value is None and option.default is None:
        return None
    if option.kind is tuple:
        return _interval(name, value)
    if option.kind is Callable:
        return _function(name, value)
    if option.kind is str:
        if value not in option.choices:
            raise DataError(f"option {name!r} takes {' or '.join(map(repr, option.choices))}, got {value!r}")
        return value
    wanted = {float: "a number", int: "a whole number", bool: "True or False"}[option.kind]
    plain: Any = value.item() if isinstance(value, np.generic | np.ndarray | jax.Array) and value.ndim == 0 else value
    good = isinstance(plain, bool | int | float) and not math.isnan(plain)
    if good and option.kind is bool:
        good = plain in (0, 1)
    elif good:
        good = not isinstance(plain, bool) and (option.kind is float or float(plain).is_integer())
    if not good:
        raise DataError(f"option {name!r} takes {wanted}, got {value!r}")
    if not option.low <= plain <= option.high:
        raise DataError(f"option {name!r} must lie between {option.low:.10g} and {option.high:.10g}, got {value!r}")
    return option.kind(plain)


def _interval(name: str, value: Any) -> tuple[float, float] | str | None:
    """None, the word auto, or (low, high)."""
    if value is None or (isinstance(value, str) and value == "auto"):
        return value
    expected = f"option {name!r} takes (lowest, highest), 'auto' or None, got {value!r:.60}"
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise DataError(expected) from None
    if not low < high:
        raise DataError(expected)
    return low, high


def _function(name: str, value: Any) -> Any:
    """A function as it is: it is compared by `==` and hashed to tell which program has been compiled."""
    if not callable(value):
        raise DataError(f"option {name!r} takes a function or None, got {value!r}")
    try:
        hash(value)
    except TypeError as error:
        raise DataError(f"option {name!r} takes a function that can be hashed, got {value!r}: {error}") from error
    return value


def merged(base: Mapping[str, Any], given: Mapping[str, Any], where: str = "solve") -> dict[str, Any]:
    """The options `base` with those of one call in their place; traced values pass unchecked.

    Args:
        base: Those of the model, by their own names.
        given: Those of the call, by either name.
        where: What is called, "solve" or "optimize".

    Raises:
        DataError: an option is unknown, given twice, wrong, without a meaning in what is called, or traced where its
            value decides which program is compiled.
    """
    out, seen = dict(base), {}
    for name, value in given.items():
        own = own_name(name)
        if own in seen:
            raise DataError(f"options {seen[own]!r} and {name!r} are the same one, given twice")
        seen[own] = name
        if not (OPTIONS[own].pure if where == "solve" else OPTIONS[own].imperative):
            elsewhere = "optimize" if where == "solve" else "solve"
            raise DataError(f"option {name!r} has no meaning in {where}, only in {elsewhere}")
        if where == "optimize" and isinstance(value, Tracer):
            raise DataError(f"option {name!r} of optimize must be a value, got the traced {value!r:.60}: call solve")
        if OPTIONS[own].static and isinstance(value, Tracer):
            raise DataError(f"option {name!r} belongs to the compiled program: it cannot be traced, got {value!r:.60}")
        out[own] = value if isinstance(value, Tracer) else checked(own, value)
    return out
