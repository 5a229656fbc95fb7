"""Convex inverse problems, written as in the paper, solved by ADMM in JAX with a certified duality gap."""

from math import inf

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
from admm_jax.expressions import (
    Constant,
    Constr,
    Expr,
    Param,
    Var,
    abs,
    conv2d,
    corr2d,
    huber,
    inrange,
    maximum,
    minimum,
    norm,
    penalty,
    square,
    sum,
    tv1d,
    tv2d,
)
from admm_jax.model import MAXIMIZE, MINIMIZE, Model
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
    "ShapeError",
    "Solution",
    "Status",
    "Var",
    "abs",
    "conv2d",
    "corr2d",
    "huber",
    "inf",
    "inrange",
    "maximum",
    "minimum",
    "norm",
    "penalty",
    "square",
    "sum",
    "tv1d",
    "tv2d",
]
