"""`.T`, `.reshape` and `[...]`: the same entries at other places."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.constraints import Limit
from admm_jax.canonicalize.values import Values
from admm_jax.expressions import indexing
from admm_jax.expressions.node import Apply, Expr
from admm_jax.expressions.operation import ATOM, Operation, operation_of, sign_of_first
from admm_jax.expressions.printing import Printer
from admm_jax.operators.base import Index, Reshape, Transpose


def _moved_level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """f(a)[i] = f(a[i]) for an elementwise f."""
    inner = e.args[0]
    if not operation_of(inner).elementwise:
        raise limit.unknown(e, sense)
    moved = Apply(e.op, inner.args, e.shape, **e.attrs)
    limit.add(Apply(inner.op, (moved,), e.shape, **inner.attrs), sense, bound)


def _unless_scalar(move: Any) -> Any:
    """`move` as an adjoint: a coefficient that is one number for all entries stays one."""

    def adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
        return y if y.ndim == 0 else move(e, values.xp.broadcast_to(y, e.shape))

    return adjoint


TRANSPOSE = Operation(
    "transpose",
    value=lambda xp, x: x.T,
    sign=sign_of_first,
    text=lambda e, printer: printer.wrap(e.args[0], ATOM) + ".T",
    latex=lambda e, printer: printer.wrap(e.args[0], ATOM) + r"^{\mathsf T}",
    linear=lambda e, i, values: (Transpose(e.args[0].shape),),
    adjoint=_unless_scalar(lambda e, y: y.T),
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
