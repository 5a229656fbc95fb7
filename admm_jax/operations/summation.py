"""`sum`: of all entries, or along axes."""

from __future__ import annotations

from typing import Any

from admm_jax.canonicalize.constraints import Limit
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.build import finish
from admm_jax.expressions.node import Constant, Expr, as_expr, multiply, total
from admm_jax.expressions.operation import SUM as BINDS_AS_SUM
from admm_jax.expressions.operation import Operation, operation_of, sign_of_first
from admm_jax.expressions.printing import Printer
from admm_jax.operators.base import Sum


def sum(x: Any, axis: Any = None) -> Any:
    """sum_i x_i, or the sums along `axis` (an int or several).

    Args:
        x: Any shape.
        axis: Axes to sum over; None is all of them.

    Raises:
        ShapeError: an axis is out of range.
    """
    node = total(as_expr(x, "the argument of sum"), axis)
    return node.value if isinstance(node, Constant) else finish(node)


def axis_option(e: Expr) -> str:
    """`, axis=...`, where it is not all axes."""
    axes = e.attrs["axes"]
    return "" if len(axes) == e.args[0].ndim else f", axis={axes[0] if len(axes) == 1 else axes}"


def _latex(e: Expr, printer: Printer) -> str:
    inner = e.args[0]
    operation = operation_of(inner) if inner.args else None
    if e.shape == () and operation is not None and operation.latex_sum is not None:
        return operation.latex_sum(inner, printer)
    is_sum = operation is not None and operation.binding == BINDS_AS_SUM
    return rf"\sum \left({printer.show(inner)}\right)" if is_sum else rf"\sum {printer.show(inner)}"


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    return y if y.ndim == 0 else values.xp.expand_dims(values.xp.broadcast_to(y, e.shape), e.attrs["axes"])


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """sum(w * f(a)) <= r, as the operation f knows it."""
    limit.require(e, sense, "<=")
    inner, weight = e.args[0], None
    while inner.op == "multiply" and any(arg.is_constant for arg in inner.args):
        factor, inner = inner.args if inner.args[0].is_constant else inner.args[::-1]
        weight = factor if weight is None else multiply(weight, factor)
    rule = operation_of(inner).level_of_sum if inner.args else None
    if e.ndim or rule is None or inner.shape != e.args[0].shape:
        raise limit.unknown(e, sense)
    rule(e, inner, weight, bound, limit)


SUM = Operation(
    "sum",
    value=lambda xp, x, *, axes: xp.sum(x, axis=axes),
    sign=sign_of_first,
    options=axis_option,
    latex=_latex,
    linear=lambda e, i, values: (Sum(e.args[0].shape, e.attrs["axes"]),),
    adjoint=_adjoint,
    level=_level,
)
