"""`inrange`: bounds, written as a term of the objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.node import Expr, as_expr, broadcast_shape
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text


def inrange(x: Any, lb: Any, ub: Any) -> Any:
    """0 where lb_i <= x_i <= ub_i, inf elsewhere, elementwise: a constraint written as a term.

    Args:
        x: Any shape.
        lb: Lower bound, broadcasting with x; may be -inf.
        ub: Upper bound, broadcasting with x; may be inf.
    """
    x = as_expr(x, "the argument of inrange")
    lb = as_constant(lb, "lb of inrange", infinite=True)
    ub = as_constant(ub, "ub of inrange", infinite=True)
    return apply("inrange", (x, lb, ub), broadcast_shape("inrange", x, lb, ub))


def _latex(e: Expr, printer: Printer) -> str:
    x, lower, upper = map(printer.show, e.args)
    return rf"\iota_{{[{lower}, {upper}]}}\left({x}\right)"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """An indicator: bounds on a, where the weight is not zero."""
    a, lower, upper = e.args
    values, weight = assembly.values, assembly.weight(e, coefficient)
    low, high = values.dense(lower), values.dense(upper)
    if weight.ndim or not values.is_known(weight, coefficient.params) or float(weight) == 0:
        low, high = values.xp.where(weight == 0, -np.inf, low), values.xp.where(weight == 0, np.inf, high)
    assembly.bound(assembly.affine(a).broadcast(e.shape), low, high, text(e, anonymous=True))


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """An indicator is at most a bound, or equal to it, where it is zero."""
    if sense == ">=":
        raise limit.unknown(e, sense)
    a, lower, upper = e.args
    image = limit.assembly.affine(a).broadcast(e.shape)
    limit.bound(image, limit.values.dense(lower), limit.values.dense(upper))


def _level_of_sum(total: Expr, e: Expr, weight: Expr | None, bound: Any, limit: Limit) -> None:
    _level(e, "<=", bound, limit)


INRANGE = Operation(
    "inrange",
    value=lambda xp, x, lb, ub: xp.where((x >= lb) & (x <= ub), xp.zeros_like(x), np.inf),
    sign=always_nonnegative,
    latex=_latex,
    objective=_objective,
    level=_level,
    level_of_sum=_level_of_sum,
    bounds=(1, 2),
)
