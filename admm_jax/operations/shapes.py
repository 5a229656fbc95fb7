"""`transpose`, `ravel`, `.T`, `.reshape` and `[...]`: the same entries at other places."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.constraints import Limit
from admm_jax.canonicalize.values import Values
from admm_jax.errors import ShapeError
from admm_jax.expressions import indexing
from admm_jax.expressions.build import finish
from admm_jax.expressions.node import Apply, Constant, Expr, as_expr
from admm_jax.expressions.operation import ATOM, Operation, operation_of, sign_of_first
from admm_jax.expressions.printing import Printer
from admm_jax.operations.placing import Permute
from admm_jax.operators.base import Index, Reshape, Transpose


def transpose(x: Any, axes: Any = None) -> Any:
    """x with its axes in another order: equal to `numpy.transpose`.

    Args:
        x: Any shape.
        axes: Axis i of the result is axis `axes[i]` of x; None reverses them, as `x.T` does.

    Raises:
        ShapeError: `axes` is no permutation of the axes of x.
    """
    x = as_expr(x, "the argument of transpose")
    backwards = tuple(range(x.ndim))[::-1]
    if axes is None:
        order = backwards
    else:
        given = list(axes) if isinstance(axes, tuple | list) else [axes]
        order = tuple(int(i) % x.ndim for i in given if isinstance(i, int | np.integer) and -x.ndim <= i < x.ndim)
        if len(order) != len(given) or sorted(order) != sorted(backwards):
            raise ShapeError(f"axes of transpose must be a permutation of the {x.ndim} axes of `{x}`, got {axes!r}")
    if order == backwards or x.ndim < 2:
        node = x.T
    elif order == tuple(range(x.ndim)):
        node = x
    else:
        node = Apply("transpose", (x,), tuple(x.shape[i] for i in order), axes=order)
    return _numbers(node)


def ravel(x: Any) -> Any:
    """The entries of x as a vector, in row-major order: equal to `numpy.ravel`, and to `x.reshape(-1)`.

    Args:
        x: Any shape.
    """
    return _numbers(as_expr(x, "the argument of ravel").reshape(-1))


def flatten(x: Any) -> Any:
    """The entries of x as a vector, in row-major order: another name for `ravel`."""
    return ravel(x)


def _numbers(node: Expr) -> Any:
    return node.value if isinstance(node, Constant) else finish(node)


def _moved_level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """f(a)[i] = f(a[i]) for an elementwise f."""
    inner = e.args[0]
    if not operation_of(inner).elementwise:
        raise limit.unknown(e, sense)
    moved = Apply(e.op, inner.args, e.shape, **e.attrs)
    limit.add(Apply(inner.op, (moved,), e.shape, **inner.attrs), sense, bound)


def _unless_scalar(move: Any) -> Any:
    """The adjoint that applies `move`, (e, y) -> y in the places of the argument, unless y is one number for all."""

    def adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
        return y if y.ndim == 0 else move(e, values.xp.broadcast_to(y, e.shape))

    return adjoint


def _transpose_linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    axes, shape = e.attrs.get("axes"), e.args[0].shape
    return (Transpose(shape),) if axes is None else (Permute(shape, axes),)


def _transpose_text(e: Expr, printer: Printer) -> str:
    if "axes" in e.attrs:
        return f"transpose({printer.show(e.args[0])}, {e.attrs['axes']})"
    return printer.wrap(e.args[0], ATOM) + ".T"


def _transpose_latex(e: Expr, printer: Printer) -> str:
    order = "".join(str(i + 1) for i in e.attrs.get("axes", ()))
    return printer.wrap(e.args[0], ATOM) + r"^{\mathsf T" + (f"_{{{order}}}" if order else "") + "}"


def _inverse(e: Expr) -> tuple[int, ...]:
    order = e.attrs.get("axes", tuple(range(e.ndim))[::-1])
    return tuple(order.index(i) for i in range(e.ndim))


TRANSPOSE = Operation(
    "transpose",
    value=lambda xp, x, *, axes=None: xp.transpose(x, axes),
    sign=sign_of_first,
    text=_transpose_text,
    latex=_transpose_latex,
    linear=_transpose_linear,
    adjoint=_unless_scalar(lambda e, y: y.transpose(_inverse(e))),
    level=_moved_level,
)


def _reshape_text(e: Expr, printer: Printer) -> str:
    return f"{printer.wrap(e.args[0], ATOM)}.reshape({', '.join(map(str, e.shape))})"


RESHAPE = Operation(
    "reshape",
    value=lambda xp, x, *, to: x.reshape(to),
    sign=sign_of_first,
    text=_reshape_text,
    latex=lambda e, printer: rf"\mathrm{{reshape}}\left({printer.show(e.args[0])}\right)",
    linear=lambda e, i, values: (Reshape(e.args[0].shape, e.shape),),
    adjoint=_unless_scalar(lambda e, y: y.reshape(e.args[0].shape)),
    level=_moved_level,
)


def _index_adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    xp, shape = values.xp, e.args[0].shape
    key, full = indexing.decode(e.attrs["index"]), values.xp.broadcast_to(y, e.shape)
    if xp is not np:
        return xp.zeros(shape, full.dtype).at[key].add(full)
    out = np.zeros(shape)
    np.add.at(out, key, full)
    return out


def _index_latex(e: Expr, printer: Printer) -> str:
    index = indexing.text(e.attrs["index"])
    return printer.wrap(e.args[0], ATOM) + rf"_{{[{index}]}}".replace("...", r"\dots")


INDEX = Operation(
    "index",
    value=lambda xp, x, *, index: x[indexing.decode(index)],
    sign=sign_of_first,
    text=lambda e, printer: f"{printer.wrap(e.args[0], ATOM)}[{indexing.text(e.attrs['index'])}]",
    latex=_index_latex,
    linear=lambda e, i, values: (Index(e.args[0].shape, e.shape, e.attrs["index"]),),
    adjoint=_index_adjoint,
    level=_moved_level,
)
