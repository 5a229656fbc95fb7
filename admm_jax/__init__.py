"""Convex inverse problems, written as in the paper, solved by ADMM in JAX with a certified duality gap."""

import importlib
from math import inf
from types import ModuleType

from admm_jax import operations
from admm_jax.errors import (
    ADMMError,
    DataError,
    DerivativeWarning,
    ExpressionError,
    ModelError,
    NonconvexError,
    ParameterError,
    ShapeError,
)
from admm_jax.expressions import Constant, Constr, Expr, Param, Scene, Var
from admm_jax.model import MAXIMIZE, MINIMIZE, Model
from admm_jax.operations import *  # noqa: F403 (a function is exported once, by the folder that it is in)
from admm_jax.solution import Solution
from admm_jax.status import Status

__version__ = "0.1.0"

__all__ = [
    "MAXIMIZE",
    "MINIMIZE",
    "ADMMError",
    "Constant",
    "Constr",
    "DataError",
    "DerivativeWarning",
    "Expr",
    "ExpressionError",
    "Model",
    "ModelError",
    "NonconvexError",
    "Param",
    "ParameterError",
    "Scene",
    "ShapeError",
    "Solution",
    "Status",
    "Var",
    "inf",
]
__all__ += operations.__all__

_ON_DEMAND = ("learn", "plot", "progress", "restore", "testing")  # imported when they are first used


def __getattr__(name: str) -> ModuleType:
    if name in _ON_DEMAND:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
