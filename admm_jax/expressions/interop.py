"""What NumPy's own functions do when they meet an expression: the like of them, or an error that says what to write."""

from __future__ import annotations

import operator
import sys
from typing import Any, NoReturn

import numpy as np

from admm_jax.errors import ADMMError, ExpressionError
from admm_jax.expressions.operation import find

_UFUNCS = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.matmul: operator.matmul,
    np.negative: operator.neg,
    np.positive: operator.pos,
    np.absolute: operator.abs,
    np.square: lambda x: x**2,
    np.power: operator.pow,
    np.equal: operator.eq,
    np.less_equal: operator.le,
    np.greater_equal: operator.ge,
    np.less: operator.lt,
    np.greater: operator.gt,
    np.not_equal: operator.ne,
}
_REFLECTED = {np.add: "__radd__", np.subtract: "__rsub__", np.multiply: "__rmul__", np.true_divide: "__rtruediv__",
              np.matmul: "__rmatmul__", np.power: "__rpow__", np.equal: "__eq__", np.less_equal: "__ge__",
              np.greater_equal: "__le__", np.less: "__gt__", np.greater: "__lt__", np.not_equal: "__ne__"}  # fmt: skip


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict) -> Any:
    """`ufunc(*inputs)` where some input is an expression."""
    if method == "__call__" and not kwargs and ufunc in _UFUNCS:
        if isinstance(inputs[0], np.ndarray | np.generic) and ufunc in _REFLECTED:
            return getattr(inputs[1], _REFLECTED[ufunc])(inputs[0])
        return _UFUNCS[ufunc](*inputs)
    if method == "reduce" and ufunc is np.add:
        return inputs[0].sum(kwargs.get("axis", 0))
    raise ExpressionError(_advice(f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")))


def apply_function(function: Any, expr: Any, args: tuple, kwargs: dict) -> Any:
    """`function(*args, **kwargs)` of NumPy where some argument is an expression."""
    name = function.__name__
    if function is np.sum and args and args[0] is expr and set(kwargs) <= {"axis"}:
        return expr.sum(*args[1:2], **kwargs)
    if name in ("shape", "ndim", "size") and len(args) == 1:
        return getattr(expr, name)
    if name == "transpose" and len(args) == 1 and not kwargs:
        return expr.T
    if name == "reshape" and len(args) == 2 and not kwargs:
        return expr.reshape(args[1])
    if name in ("dot", "matmul") and len(args) == 2 and not kwargs:
        return args[0] @ args[1]
    raise ExpressionError(_advice(f"np.{name}"))


# JAX's functions that look at the arguments of a function of jax.numpy, and refuse an expression in words of their own
_EXAMINERS = ("shaped_abstractify", "_arraylike", "array", "asarray")


def answer_jax(expr: Any) -> NoReturn:
    """What JAX is told that asks an expression for `__jax_array__`.

    Arrays' operators ask too, and then leave the operation to the expression: to them, and to whoever else asks, it has
    no such attribute. Only those that would go on to refuse it hear what to write instead.

    Raises:
        ADMMError: a function of jax.numpy was called. (No ExpressionError, for JAX puts a general text in the place of
            any TypeError.)
        AttributeError: else.
    """
    if sys._getframe(2).f_code.co_name not in _EXAMINERS:
        raise AttributeError(f"{type(expr).__name__!r} object has no attribute '__jax_array__'")
    raise ADMMError(
        f"functions of JAX take arrays, and `{expr}` is an expression: in the place of jnp.sum, jnp.abs and the like"
        " write admm.sum(...), admm.abs(...); what has no such atom, as jnp.log, is no part of a model, unless as a"
        " function of your own by admm.penalty(g, x), or by admm.linear(f, x) if it is linear"
    )


def _advice(name: str) -> str:
    short = name.split(".")[1]
    short = {"absolute": "abs"}.get(short, short)
    own = find(short)
    # what prints as a call is called by its name; the rest has symbols, as `+` and `@`
    is_word = own is not None and own.text is None
    advice = f"write admm.{short}(...)" if is_word else "build it from the operators and the atoms of admm_jax"
    return f"{name} does not work on an expression: {advice}"
