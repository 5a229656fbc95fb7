"""`mean`: of all entries, or along axes."""

from __future__ import annotations

from typing import Any

from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr, checked_axes, total
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer
from admm_jax.operations.summation import axis_option


def mean(x: Any, axis: Any = None) -> Any:
    """sum_i x_i / n, or the means along `axis` (an int or several): equal to `numpy.mean`.

    Args:
        x: Any shape.
        axis: Axes to average over; None is all of them.

    Raises:
        ShapeError: an axis is out of range.
    """
    x = as_expr(x, "the argument of mean")
    axes = checked_axes(x, axis, "mean")
    return apply("mean", (x,), tuple(n for i, n in enumerate(x.shape) if i not in axes), axes=axes)


def _meaning(e: Expr) -> Expr:
    added = total(e.args[0], e.attrs["axes"])
    return added / (e.args[0].size / e.size)


def _latex(e: Expr, printer: Printer) -> str:
    return rf"\mathrm{{mean}}\left({printer.show(e.args[0])}\right)"


MEAN = Operation(
    "mean",
    value=lambda xp, x, *, axes: xp.mean(x, axis=axes),
    options=axis_option,
    latex=_latex,
    meaning=_meaning,
)
