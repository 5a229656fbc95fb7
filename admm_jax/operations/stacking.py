"""`concatenate`, `hstack`, `vstack`: arrays one after the other; and `roll`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_jax.canonicalize.values import Values
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply, finish
from admm_jax.expressions.node import Apply, Expr, as_expr, checked_axes
from admm_jax.expressions.operation import Operation, common_sign
from admm_jax.expressions.printing import Printer
from admm_jax.operations.placing import Place


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays one after the other along `axis`: equal to `numpy.concatenate`.

    Args:
        arrays: A list of expressions or numbers, alike in shape but along the axis.
        axis: The axis, one that they have.

    Raises:
        DataError: this is no list, or an empty one.
        ShapeError: the shapes do not fit, or an axis is out of range.
    """
    return _joined(_listed(arrays, "concatenate"), axis, "concatenate")


def hstack(arrays: Sequence[Any]) -> Any:
    """The arrays side by side: along axis 1, vectors along their only one. Equal to `numpy.hstack`.

    Arguments and errors are those of `concatenate`; scalars count as vectors of one entry.
    """
    parts = [_reshaped(part, (1,)) if part.ndim == 0 else part for part in _listed(arrays, "hstack")]
    return _joined(parts, 0 if parts[0].ndim == 1 else 1, "hstack")


def vstack(arrays: Sequence[Any]) -> Any:
    """The arrays on top of each other, along axis 0; vectors are rows. Equal to `numpy.vstack`.

    Arguments and errors are those of `concatenate`.
    """
    parts = [_reshaped(part, (1, part.size)) if part.ndim < 2 else part for part in _listed(arrays, "vstack")]
    return _joined(parts, 0, "vstack")


def _listed(arrays: Any, what: str) -> list[Expr]:
    if not isinstance(arrays, list | tuple) or not arrays:
        shown = f"`{arrays}`" if isinstance(arrays, Expr) else f"{arrays!r:.60}"
        raise DataError(f"{what} takes a list of expressions or arrays, as in {what}([x, y]), got {shown}")
    return [as_expr(part, f"entry {i} of the list of {what}") for i, part in enumerate(arrays)]


def _reshaped(part: Expr, shape: tuple[int, ...]) -> Expr:
    return as_expr(finish(part.reshape(shape)))


def _joined(parts: list[Expr], axis: int, what: str) -> Any:
    first = parts[0]
    if any(part.ndim != first.ndim for part in parts):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ShapeError(f"{what} takes arrays of one number of dimensions, got shapes {shapes}")
    (own,) = checked_axes(first, (axis,), what)
    for part in parts:
        if part.shape[:own] + part.shape[own + 1 :] != first.shape[:own] + first.shape[own + 1 :]:
            raise ShapeError(
                f"{what} along axis {own} takes arrays of one shape but for that axis, got `{first}` of shape"
                f" {first.shape} and `{part}` of shape {part.shape}"
            )
    length = sum(part.shape[own] for part in parts)
    return apply("concatenate", tuple(parts), (*first.shape[:own], length, *first.shape[own + 1 :]), axis=own)


def _start(e: Expr, i: int) -> int:
    return sum(arg.shape[e.attrs["axis"]] for arg in e.args[:i])


def _linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    start = tuple(_start(e, i) if axis == e.attrs["axis"] else 0 for axis in range(e.ndim))
    return (Place(e.args[i].shape, e.shape, start),)


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    if y.ndim == 0:
        return y
    axis, start = e.attrs["axis"], _start(e, i)
    own = (slice(None),) * axis + (slice(start, start + e.args[i].shape[axis]),)
    return values.xp.broadcast_to(y, e.shape)[own]


def _latex(e: Expr, printer: Printer) -> str:
    """A matrix of blocks; along a third axis there is no such picture."""
    entries = [printer.show(arg) for arg in e.args]
    if e.ndim > 2:
        return rf"\mathrm{{concatenate}}\left({', '.join(entries)}\right)"
    between = r" \\ " if e.attrs["axis"] == 0 else " & "
    return r"\begin{bmatrix} " + between.join(entries) + r" \end{bmatrix}"


CONCATENATE = Operation(
    "concatenate",
    value=lambda xp, *parts, axis: xp.concatenate(parts, axis=axis),
    sign=common_sign,
    listed=True,
    options=lambda e: f", axis={e.attrs['axis']}" if e.attrs["axis"] else "",
    latex=_latex,
    linear=_linear,
    jointly=True,
    adjoint=_adjoint,
)


def roll(x: Any, shift: int, axis: int | None = None) -> Any:
    """x_{i - shift} along `axis`, the last entries coming first: equal to `numpy.roll`.

    Args:
        x: Any shape.
        shift: By how many places; negative is towards the beginning.
        axis: The axis; None rolls the entries in row-major order and keeps the shape.

    Raises:
        DataError: shift is no integer.
        ShapeError: the axis is out of range.
    """
    x = as_expr(x, "the argument of roll")
    if not isinstance(shift, int | np.integer) or isinstance(shift, bool):
        raise DataError(f"shift of roll must be an integer, got {shift!r}")
    own = None if axis is None else checked_axes(x, (axis,), "roll")[0]
    return apply("roll", (x,), x.shape, shift=int(shift), axis=own)


def _rolled(e: Expr) -> Expr:
    x, axis = e.args[0], e.attrs["axis"]
    if axis is None:
        flat = x.reshape(-1)
        return Apply("roll", (flat,), flat.shape, shift=e.attrs["shift"], axis=0).reshape(e.shape)
    shift = e.attrs["shift"] % x.shape[axis]
    if not shift:
        return x
    last, others = ((slice(None),) * axis + (part,) for part in (slice(-shift, None), slice(None, -shift)))
    return Apply("concatenate", (x[last], x[others]), e.shape, axis=axis)


def _roll_options(e: Expr) -> str:
    axis = "" if e.attrs["axis"] is None else f", axis={e.attrs['axis']}"
    return f", {e.attrs['shift']}{axis}"


ROLL = Operation(
    "roll",
    value=lambda xp, x, *, shift, axis: xp.roll(x, shift, axis=axis),
    options=_roll_options,
    latex=lambda e, printer: rf"\mathrm{{roll}}_{{{e.attrs['shift']}}}\left({printer.show(e.args[0])}\right)",
    meaning=_rolled,
)
