"""The value of an expression: one plain formula per operation, in NumPy or in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from admm_jax.expressions import convolution, indexing
from admm_jax.expressions.data import Sparse
from admm_jax.expressions.node import Constant, Expr
from admm_jax.precision import full_precision


def _matmul(xp: Any, a: Any, b: Any) -> Any:
    if isinstance(a, Sparse):
        a = xp.asarray(a.dense(), getattr(b, "dtype", None))
    if isinstance(b, Sparse):
        b = xp.asarray(b.dense(), getattr(a, "dtype", None))
    return a @ b


def _add(xp: Any, *terms: Any) -> Any:
    value = terms[0]
    for term in terms[1:]:
        value = value + term
    return value


def _huber(xp: Any, x: Any, delta: Any) -> Any:
    inner = xp.clip(x, -delta, delta)
    return inner * (x - inner / 2)


def _norm(xp: Any, x: Any, *, ord: Any) -> Any:
    if x.ndim == 2 and ord in (1, 2, np.inf):
        return xp.linalg.norm(x, ord)
    if ord == 1:
        return xp.sum(xp.abs(x))
    if ord == np.inf:
        return xp.max(xp.abs(x))
    return xp.linalg.norm(xp.ravel(x))


def differences(xp: Any, x: Any) -> Any:
    """Forward differences along each axis, stacked first; zero beyond the last entry."""
    pads = [[(0, int(i == axis)) for i in range(x.ndim)] for axis in range(x.ndim)]
    return xp.stack([xp.pad(xp.diff(x, axis=axis), pads[axis]) for axis in range(x.ndim)])


def _total_variation(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    d = differences(xp, x)
    if p == 1:
        return xp.sum(xp.abs(d) if weight is None else weight * xp.abs(d))
    lengths = xp.sqrt(xp.sum(d * d, axis=0))
    return xp.sum(lengths if weight is None else weight * lengths)


def _tv1d(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    d = xp.diff(x)
    d = d if weight is None else d * (weight if weight.ndim == 0 else weight[: d.shape[0]])
    return xp.sum(xp.abs(d)) if p == 1 else xp.linalg.norm(d)


FORMULAS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "negative": lambda xp, x: -x,
    "multiply": lambda xp, a, b: a * b,
    "divide": lambda xp, a, b: a / b,
    "matmul": _matmul,
    "transpose": lambda xp, x: x.T,
    "reshape": lambda xp, x, shape: x.reshape(shape),
    "index": lambda xp, x, *, index: x[indexing.decode(index)],
    "sum": lambda xp, x, *, axes: xp.sum(x, axis=axes),
    "conv2d": lambda xp, x, k, *, mode: convolution.convolve(x, k, mode, True, xp),
    "corr2d": lambda xp, x, k, *, mode: convolution.convolve(x, k, mode, False, xp),
    "square": lambda xp, x: x * x,
    "abs": lambda xp, x: xp.abs(x),
    "huber": _huber,
    "norm": _norm,
    "maximum": lambda xp, x, b: xp.maximum(x, b),
    "minimum": lambda xp, x, b: xp.minimum(x, b),
    "inrange": lambda xp, x, lb, ub: xp.where((x >= lb) & (x <= ub), xp.zeros_like(x), np.inf),
    "penalty": lambda xp, x, *leaves, function: function.value(xp, x, leaves),
    "tv2d": _total_variation,
    "tv1d": _tv1d,
}


@full_precision
def apply(expr: Expr, values: list[Any], xp: Any) -> Any:
    """The formula of `expr`'s operation on the values of its arguments."""
    if expr.op not in ("matmul",):
        values = [v.dense() if isinstance(v, Sparse) else v for v in values]
    if expr.op == "reshape":
        return FORMULAS["reshape"](xp, values[0], expr.shape)
    return FORMULAS[expr.op](xp, *values, **expr.attrs)


def evaluate(expr: Expr, values: Mapping[Expr, Any], xp: Any = np) -> Any:
    """The value of `expr` where `values` gives that of each variable and parameter in it."""
    memo: dict[int, Any] = {id(leaf): xp.asarray(value) for leaf, value in values.items()}

    def walk(node: Expr) -> Any:
        key = id(node)
        if key not in memo:
            if isinstance(node, Constant):
                memo[key] = node.value
            else:
                memo[key] = apply(node, [walk(arg) for arg in node.args], xp)
        return memo[key]

    value = walk(expr)
    return value.dense() if isinstance(value, Sparse) else value
