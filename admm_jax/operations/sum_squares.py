"""`sum_squares`: the square of a Euclidean norm."""

from __future__ import annotations

from typing import Any

from admm_jax.expressions.build import apply
from admm_jax.expressions.node import as_expr
from admm_jax.expressions.operation import Operation
from admm_jax.operations.square import square


def sum_squares(x: Any) -> Any:
    """sum_i x_i^2, the square of the Euclidean (for a matrix the Frobenius) norm: `sum(square(x))` in one word.

    Args:
        x: Any shape.
    """
    return apply("sum_squares", (as_expr(x, "the argument of sum_squares"),), ())


SUM_SQUARES = Operation(
    "sum_squares",
    value=lambda xp, x: xp.sum(x * x),
    latex=lambda e, printer: rf"\left\|{printer.show(e.args[0])}\right\|_{'F' if e.args[0].ndim == 2 else '2'}^2",
    meaning=lambda e: square(e.args[0]).sum(),
)
