"""What can be known of an expression at once: its sign, whether it is affine, whether two are alike."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from admm_jax.expressions.data import Sparse, is_traced
from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constant, Expr

AFFINE_OPS = frozenset(
    {"add", "negative", "multiply", "divide", "matmul", "transpose", "reshape", "index", "sum", "conv2d", "corr2d"}
    | {"linear"}
)
_PRODUCTS = frozenset({"multiply", "divide", "matmul", "conv2d", "corr2d"})
_SAME_SIGN = frozenset({"transpose", "reshape", "index", "sum"})
_NONNEGATIVE = frozenset({"square", "abs", "huber", "norm", "inrange", "tv1d", "tv2d"})


def _kept(function: Callable[[Expr], int | bool]) -> Callable[[Expr], int | bool]:
    name = function.__name__

    @functools.wraps(function)
    def wrapper(e: Expr) -> int | bool:
        if name not in e._facts:
            e._facts[name] = function(e)
        return e._facts[name]

    return wrapper


@_kept
def sign(e: Expr) -> int:
    """1 if every entry is certainly >= 0, -1 if <= 0, 0 if that is not known. The number zero counts as 1."""
    if isinstance(e, Constant):
        values = e.value.values if isinstance(e.value, Sparse) else e.value
        if is_traced(values):
            return 0
        values = np.asarray(values)
        return 1 if np.all(values >= 0) else -1 if np.all(values <= 0) else 0
    if isinstance(e, Var | Param):
        return e.sign
    if e.op in _NONNEGATIVE:
        return 1
    if e.op == "linear":
        return 0
    signs = [int(sign(arg)) for arg in e.args]
    if e.op == "negative":
        return -signs[0]
    if e.op in _SAME_SIGN:
        return signs[0]
    if e.op in _PRODUCTS:
        return signs[0] * signs[1]
    if e.op == "maximum":
        return 1 if 1 in signs else -1 if signs == [-1, -1] else 0
    if e.op == "minimum":
        return -1 if -1 in signs else 1 if signs == [1, 1] else 0
    return signs[0] if all(s == signs[0] for s in signs) else 0  # add


@_kept
def is_affine(e: Expr) -> bool:
    """Whether it is affine in the variables, constants included."""
    if e.is_constant or isinstance(e, Var):
        return True
    if e.op not in AFFINE_OPS or not all(is_affine(arg) for arg in e.args):
        return False
    return e.op == "add" or sum(not arg.is_constant for arg in e.args) == 1


def alike(a: Expr, b: Expr) -> bool:
    """Whether two expressions are the same, node by node; constants are compared by value."""
    if a is b:
        return True
    if isinstance(a, Constant) and isinstance(b, Constant):
        return _same_values(a, b)
    if a.op != b.op or a.shape != b.shape or isinstance(a, Var | Param) or len(a.args) != len(b.args):
        return False
    return a.attrs == b.attrs and all(alike(x, y) for x, y in zip(a.args, b.args, strict=True))


def _same_values(a: Constant, b: Constant) -> bool:
    if a.value is b.value:
        return True
    if isinstance(a.value, Sparse) and isinstance(b.value, Sparse):
        return a.shape == b.shape and np.array_equal(a.value.dense(), b.value.dense())
    if isinstance(a.value, np.ndarray) and isinstance(b.value, np.ndarray):
        return np.array_equal(a.value, b.value)
    return False
