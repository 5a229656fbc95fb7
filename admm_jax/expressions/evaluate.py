"""The value of an expression, in NumPy or in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from admm_jax.expressions.data import Sparse
from admm_jax.expressions.node import Constant, Expr
from admm_jax.expressions.operation import operation_of
from admm_jax.precision import full_precision


@full_precision
def compute(expr: Expr, values: list[Any], xp: Any) -> Any:
    """The formula of `expr`'s operation on the values of its arguments."""
    operation = operation_of(expr)
    if not operation.sparse:
        values = [v.dense() if isinstance(v, Sparse) else v for v in values]
    return operation.value(xp, *values, **expr.attrs)


def value_of(expr: Expr, values: Mapping[Expr, Any], xp: Any = np) -> Any:
    """The value of `expr` where `values` gives that of each variable and parameter in it."""
    memo: dict[int, Any] = {id(leaf): xp.asarray(value) for leaf, value in values.items()}

    def walk(node: Expr) -> Any:
        key = id(node)
        if key not in memo:
            if isinstance(node, Constant):
                memo[key] = node.value
            else:
                memo[key] = compute(node, [walk(arg) for arg in node.args], xp)
        return memo[key]

    value = walk(expr)
    return value.dense() if isinstance(value, Sparse) else value
