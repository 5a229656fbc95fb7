"""`norm`: of a vector, of the entries of a matrix, or of groups of entries along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.errors import DataError, NonconvexError, ShapeError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr, checked_axes
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.operations.absolute import abs
from admm_jax.operations.summation import sum
from admm_jax.prox.functions import L1, GroupL2, L1Ball, L2Ball, LInf


def norm(x: Any, ord: Any = None, axis: Any = None) -> Any:
    """||x||: Euclidean (None, 2), 1 and inf for vectors; Frobenius (None, "fro") for matrices.

    The operator norms of a matrix (1, 2, inf) are computed on numbers, but have no rule for expressions.

    With `axis` it is an array of norms, as in NumPy: `sum(norm(x, axis=0))` is the sum of the norms of the columns,
    the penalty of the group lasso (Yuan and Lin 2006), also with a weight for each group.

    Args:
        x: A vector or matrix; with `axis` any shape.
        ord: None, 1, 2, `inf` or "fro"; with `axis` None, 2 or 1.
        axis: The axes inside a group, an int or several; None is one norm of all.

    Raises:
        DataError: an unknown `ord`.
        ShapeError: x is a scalar or has more than two dimensions, or an axis is out of range.
        NonconvexError: an operator norm of an expression, with what to write instead.
    """
    x = as_expr(x, "the argument of norm")
    if not (ord is None or ord in (1, 2, np.inf, "fro")):
        raise DataError(f"ord of norm must be None, 1, 2, inf or 'fro', got {ord!r}")
    if axis is not None:
        return _norms(x, ord, axis)
    if x.ndim not in (1, 2):
        raise ShapeError(f"norm takes a vector or a matrix, got `{x}` of shape {x.shape}: write abs for a scalar")
    if x.ndim == 2 and ord in (1, 2, np.inf) and not x.is_constant:
        instead = {1: "sum(abs(x))", 2: "norm(x, 'fro')", np.inf: "norm(x.reshape(-1), inf)"}[ord]
        raise NonconvexError(
            f"norm({x}, {ord}) of a matrix is an operator norm, which has no rule: for the norm of its entries"
            f" write {instead}"
        )
    return apply("norm", (x,), (), ord=None if ord in (2, "fro") and x.ndim == 1 else ord)


def _norms(x: Expr, ord: Any, axis: Any) -> Any:
    axes = checked_axes(x, axis, "norm")
    if not axes:
        raise ShapeError(f"norm takes at least one axis, got {axis!r} for `{x}` of shape {x.shape}")
    if ord == 1 and len(axes) == 1:
        return sum(abs(x), axis=axes)
    if ord not in (None, 2, "fro") or (ord == 2 and len(axes) > 1) or (ord == "fro" and len(axes) != 2):
        raise DataError(
            f"norm along {len(axes)} axes is the Euclidean one, ord=None, got ord={ord!r}: write sum(abs(x), axis=...)"
            " for the norms 1, and a bound on abs(x) for the norms inf"
        )
    if len(axes) == x.ndim <= 2:
        return norm(x)
    return apply("norm", (x,), tuple(n for i, n in enumerate(x.shape) if i not in axes), ord=None, axes=axes)


def _value(xp: Any, x: Any, *, ord: Any, axes: tuple[int, ...] | None = None) -> Any:
    if axes is not None:
        return xp.sqrt(xp.sum(x * x, axis=axes))
    if x.ndim == 2 and ord in (1, 2, np.inf):
        return xp.linalg.norm(x, ord)
    if ord == 1:
        return xp.sum(xp.abs(x))
    if ord == np.inf:
        return xp.max(xp.abs(x))
    return xp.linalg.norm(xp.ravel(x))


def _options(e: Expr) -> str:
    if "axes" in e.attrs:
        axes = e.attrs["axes"]
        return f", axis={axes[0] if len(axes) == 1 else axes}"
    order = e.attrs["ord"]
    return "" if order is None else f", {order!r}".replace("'", '"')


def _latex(e: Expr, printer: Printer) -> str:
    order, axes = e.attrs["ord"], e.attrs.get("axes")
    if axes is not None:
        return rf"\left\|{printer.show(e.args[0])}\right\|_{{2, ({', '.join(str(i + 1) for i in axes)})}}"
    if order == "fro" or (order is None and e.args[0].ndim == 2):
        symbol = "F"
    else:
        symbol = {1: "1", 2: "2", None: "2"}.get(order, r"\infty")
    return rf"\left\|{printer.show(e.args[0])}\right\|_{symbol}"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    argument, axes = assembly.affine(e.args[0]), e.attrs.get("axes")
    if axes is not None:
        groups = GroupL2(assembly.weight(e, coefficient if e.ndim else coefficient.scalar()), axes)
        assembly.penalise(groups, argument, text(e, anonymous=True))
        return
    weight = assembly.weight(e, coefficient.scalar())
    if e.attrs["ord"] == 1:
        function: Any = L1(weight)
    elif e.attrs["ord"] == np.inf:
        function = LInf(weight)
    else:
        function = GroupL2(weight, tuple(range(len(argument.shape))))
    assembly.penalise(function, argument, text(e, anonymous=True))


def _square(e: Expr, squared: Expr, coefficient: Coefficient, assembly: Assembly) -> bool:
    """||a||_2^2 = sum a^2, for each group."""
    if e.attrs["ord"] not in (None, "fro"):
        return False
    axes = e.attrs.get("axes")
    weight = assembly.weight(squared, coefficient if e.ndim else coefficient.scalar())
    if axes is not None and weight.ndim:
        weight = assembly.values.xp.expand_dims(weight, axes)
    assembly.add_quadratic(squared, assembly.affine(e.args[0]), weight)
    return True


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """||a|| <= r: a ball, or for the largest absolute value a box."""
    limit.require(e, sense, "<=")
    if e.ndim:
        raise limit.refuse(
            f"has no rule: the norms `{e}` can be bounded one at a time, each by a constraint on norm(...) of one group"
        )
    argument, radius = limit.assembly.affine(e.args[0]), limit.radius(e, bound)
    if e.attrs["ord"] != np.inf:
        limit.ball(L1Ball if e.attrs["ord"] == 1 else L2Ball, argument, radius)
    elif radius is not None:
        limit.bound(argument, -radius, radius)


NORM = Operation(
    "norm",
    value=_value,
    sign=always_nonnegative,
    options=_options,
    latex=_latex,
    objective=_objective,
    level=_level,
    square=_square,
)
