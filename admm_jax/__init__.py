"""Convex inverse problems, written as in the paper, solved by ADMM in JAX with a certified duality gap."""

from math import inf

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
