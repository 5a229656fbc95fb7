"""`diff`: differences of neighbours along an axis."""

from __future__ import annotations

from typing import Any

from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr, checked_axes
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer


def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """x_{i+1} - x_i along `axis`, `n` times over: equal to `numpy.diff`; each time the axis gets shorter by one.

    Args:
        x: At least one dimension.
        n: How many times, at least once.
        axis: The axis.

    Raises:
        DataError: n is no positive integer.
        ShapeError: x is a scalar, the axis is out of range, or it is not longer than n.
    """
    x = as_expr(x, "the argument of diff")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise DataError(f"n of diff must be a positive integer, got {n!r}")
    (own,) = checked_axes(x, (axis,), "diff")
    if x.shape[own] <= n:
        raise ShapeError(f"diff of `{x}` takes more than {n} entries along axis {axis}, got shape {x.shape}")
    shape = tuple(m - n if i == own else m for i, m in enumerate(x.shape))
    return apply("diff", (x,), shape, n=n, axis=own)


def _meaning(e: Expr) -> Expr:
    out, axis = e.args[0], e.attrs["axis"]
    for _ in range(e.attrs["n"]):
        later, earlier = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(None, -1)))
        out = out[later] - out[earlier]
    return out


def _options(e: Expr) -> str:
    n = "" if e.attrs["n"] == 1 else f", {e.attrs['n']}"
    return n if e.attrs["axis"] == e.ndim - 1 else f"{n}, axis={e.attrs['axis']}"


def _latex(e: Expr, printer: Printer) -> str:
    index = "" if e.ndim == 1 else f"_{{{e.attrs['axis'] + 1}}}"
    power = "" if e.attrs["n"] == 1 else f"^{{{e.attrs['n']}}}"
    return rf"D{index}{power}\left({printer.show(e.args[0])}\right)"


DIFF = Operation(
    "diff",
    value=lambda xp, x, *, n, axis: xp.diff(x, n, axis=axis),
    options=_options,
    latex=_latex,
    meaning=_meaning,
)
