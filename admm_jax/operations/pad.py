"""`pad`: an array with a border."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.values import Values
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import Operation, sign_of_first
from admm_jax.expressions.printing import Printer
from admm_jax.operations.placing import Place
from admm_jax.operators.border import Border, fold

MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: Any, width: Any, mode: str = "constant") -> Any:
    """x with a border around it: equal to `numpy.pad`.

    Args:
        x: At least one dimension.
        width: How many entries before and after: one number for all, a pair (before, after) for all axes, or a pair
            for each axis.
        mode: What the border holds: "constant", zeros; "edge", the last entries; "reflect" and "symmetric", a mirror
            image, without and with the last entries; "wrap", the entries of the other end.

    Raises:
        DataError: an unknown mode, or widths that are no integers >= 0.
        ShapeError: x is a scalar, or the widths do not fit its axes.
    """
    x = as_expr(x, "the argument of pad")
    if mode not in MODES:
        raise DataError(f"the mode of pad must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if x.ndim == 0:
        raise ShapeError(f"pad takes at least one dimension, got the scalar `{x}`")
    given = np.asarray(width)
    if given.dtype.kind not in "iu" or np.any(given < 0):
        raise DataError(f"the width of pad must be made of integers >= 0, got {width!r}")
    try:
        pairs = tuple((int(a), int(b)) for a, b in np.broadcast_to(given, (x.ndim, 2)))
    except ValueError as error:
        raise ShapeError(f"the width of pad must fit ({x.ndim}, 2), got {width!r} for `{x}`") from error
    shape = tuple(a + n + b for n, (a, b) in zip(x.shape, pairs, strict=True))
    return apply("pad", (x,), shape, width=pairs, mode=mode)


def _linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    shape, width = e.args[0].shape, e.attrs["width"]
    if e.attrs["mode"] == "constant":
        return (Place(shape, e.shape, tuple(before for before, _ in width)),)
    return (Border(shape, width, e.attrs["mode"]),)


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    if e.attrs["mode"] == "constant" and y.ndim == 0:
        return y
    y, shape, width = values.xp.broadcast_to(y, e.shape), e.args[0].shape, e.attrs["width"]
    if e.attrs["mode"] == "constant":
        return y[tuple(slice(a, a + n) for n, (a, _) in zip(shape, width, strict=True))]
    return fold(y, shape, width, e.attrs["mode"], values.xp)


def _options(e: Expr) -> str:
    pairs = e.attrs["width"]
    numbers = {n for pair in pairs for n in pair}
    shown = numbers.pop() if len(numbers) == 1 else pairs[0] if len(set(pairs)) == 1 else pairs
    return f", {shown}" + ("" if e.attrs["mode"] == "constant" else f', "{e.attrs["mode"]}"')


def _latex(e: Expr, printer: Printer) -> str:
    below = "" if e.attrs["mode"] == "constant" else rf"_{{\mathrm{{{e.attrs['mode']}}}}}"
    return rf"\mathrm{{pad}}{below}\left({printer.show(e.args[0])}\right)"


PAD = Operation(
    "pad",
    value=lambda xp, x, *, width, mode: xp.pad(x, width, mode),
    sign=sign_of_first,
    options=_options,
    latex=_latex,
    linear=_linear,
    adjoint=_adjoint,
)
