"""The language in which a model is written: variables, parameters, operators and atoms."""

from admm_jax.expressions.atoms import (
    abs,
    conv2d,
    corr2d,
    huber,
    inrange,
    maximum,
    minimum,
    norm,
    square,
    sum,
    tv1d,
    tv2d,
)
from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constant, Constr, Expr
from admm_jax.expressions.own import penalty

__all__ = [
    "Constant",
    "Constr",
    "Expr",
    "Param",
    "Var",
    "abs",
    "conv2d",
    "corr2d",
    "huber",
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
