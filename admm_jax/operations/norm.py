"""`norm`: of a vector, or of the entries of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.errors import DataError, NonconvexError, ShapeError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.prox.functions import L1, GroupL2, L1Ball, L2Ball, LInf


def norm(x: Any, ord: Any = None) -> Any:
    """||x||: Euclidean (None, 2), 1 and inf for vectors; Frobenius (None, "fro") for matrices.

    The operator norms of a matrix (1, 2, inf) are computed on numbers, but have no rule for expressions.

    Args:
        x: A vector or matrix.
        ord: None, 1, 2, `inf` or "fro".

    Raises:
        DataError: an unknown `ord`.
        ShapeError: x is a scalar or has more than two dimensions.
        NonconvexError: an operator norm of an expression, with what to write instead.
    """
    x = as_expr(x, "the argument of norm")
    if not (ord is None or ord in (1, 2, np.inf, "fro")):
        raise DataError(f"ord of norm must be None, 1, 2, inf or 'fro', got {ord!r}")
    if x.ndim not in (1, 2):
        raise ShapeError(f"norm takes a vector or a matrix, got `{x}` of shape {x.shape}: write abs for a scalar")
    if x.ndim == 2 and ord in (1, 2, np.inf) and not x.is_constant:
        instead = {1: "sum(abs(x))", 2: "norm(x, 'fro')", np.inf: "norm(x.reshape(-1), inf)"}[ord]
        raise NonconvexError(
            f"norm({x}, {ord}) of a matrix is an operator norm, which has no rule: for the norm of its entries"
            f" write {instead}"
        )
    return apply("norm", (x,), (), ord=None if ord in (2, "fro") and x.ndim == 1 else ord)


def _value(xp: Any, x: Any, *, ord: Any) -> Any:
    if x.ndim == 2 and ord in (1, 2, np.inf):
        return xp.linalg.norm(x, ord)
    if ord == 1:
        return xp.sum(xp.abs(x))
    if ord == np.inf:
        return xp.max(xp.abs(x))
    return xp.linalg.norm(xp.ravel(x))


def _options(e: Expr) -> str:
    order = e.attrs["ord"]
    return "" if order is None else f", {order!r}".replace("'", '"')


def _latex(e: Expr, printer: Printer) -> str:
    order = e.attrs["ord"]
    if order == "fro" or (order is None and e.args[0].ndim == 2):
        symbol = "F"
    else:
        symbol = {1: "1", 2: "2", None: "2"}.get(order, r"\infty")
    return rf"\left\|{printer.show(e.args[0])}\right\|_{symbol}"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    argument, weight = assembly.affine(e.args[0]), assembly.weight(e, coefficient.scalar())
    if e.attrs["ord"] == 1:
        function: Any = L1(weight)
    elif e.attrs["ord"] == np.inf:
        function = LInf(weight)
    else:
        function = GroupL2(weight, tuple(range(len(argument.shape))))
    assembly.penalise(function, argument, text(e, anonymous=True))


def _square(e: Expr, squared: Expr, coefficient: Coefficient, assembly: Assembly) -> bool:
    """||a||_2^2 = sum a^2."""
    if e.attrs["ord"] not in (None, "fro"):
        return False
    assembly.add_quadratic(squared, assembly.affine(e.args[0]), assembly.weight(squared, coefficient.scalar()))
    return True


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """||a|| <= r: a ball, or for the largest absolute value a box."""
    limit.require(e, sense, "<=")
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
