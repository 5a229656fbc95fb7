"""`huber`: quadratic near zero, linear beyond a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient, full_rank
from admm_jax.errors import DataError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.data import is_traced
from admm_jax.expressions.node import Constant, Expr, as_expr, broadcast_shape
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.prox.functions import Huber


def huber(x: Any, delta: Any = 1) -> Any:
    """x_i^2 / 2 where |x_i| <= delta, delta |x_i| - delta^2 / 2 elsewhere.

    Args:
        x: Any shape.
        delta: Positive constant, a scalar or broadcasting with x.

    Raises:
        DataError: delta is not positive.
        ExpressionError: delta holds a variable.
    """
    x, delta = as_expr(x, "the argument of huber"), as_constant(delta, "delta of huber")
    if isinstance(delta, Constant) and not is_traced(delta.value) and not np.all(np.asarray(delta.value) > 0):
        raise DataError(f"delta of huber must be positive, got {delta}")
    return apply("huber", (x, delta), broadcast_shape("huber", x, delta))


def _value(xp: Any, x: Any, delta: Any) -> Any:
    inner = xp.clip(x, -delta, delta)
    return inner * (x - inner / 2)


def _latex(e: Expr, printer: Printer) -> str:
    return rf"\mathrm{{huber}}_{{{printer.show(e.args[1])}}}\left({printer.show(e.args[0])}\right)"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    a, delta = e.args
    values, weight = assembly.values, assembly.weight(e, coefficient)
    threshold = values.dense(delta)
    if delta.parameters and values.is_known(threshold, delta.parameters) and not np.all(np.asarray(threshold) > 0):
        raise values.refuse(f"delta of huber must be positive in `{e}`", delta.parameters)
    function = Huber(weight, full_rank(threshold, e.shape))
    assembly.penalise(function, assembly.affine(a).broadcast(e.shape), text(e, anonymous=True))


HUBER = Operation("huber", value=_value, sign=always_nonnegative, latex=_latex, objective=_objective)
