"""`maximum` and `minimum`: with a constant, elementwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit, bounds_of
from admm_jax.errors import ExpressionError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Apply, Expr, as_expr, broadcast_shape
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer, text
from admm_jax.operations.arithmetic import reduce_to
from admm_jax.prox.functions import Hinge


def maximum(x: Any, b: Any) -> Any:
    """max(x_i, b_i), elementwise; one of the two is constant."""
    return _extremum("maximum", x, b)


def minimum(x: Any, b: Any) -> Any:
    """min(x_i, b_i), elementwise; one of the two is constant."""
    return _extremum("minimum", x, b)


def _extremum(op: str, x: Any, b: Any) -> Any:
    x, b = as_expr(x, f"the first argument of {op}"), as_expr(b, f"the second argument of {op}")
    if x.is_constant:
        x, b = b, x
    if not b.is_constant:
        raise ExpressionError(f"one argument of {op} must be a constant, got two expressions: `{x}` and `{b}`")
    return apply(op, (x, b), broadcast_shape(op, x, b))


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """max(a, b) = b + (a - b)_+ and min(a, b) = b - (b - a)_+, with (v)_+ = max(v, 0)."""
    (a, b), concave = e.args, e.op == "minimum"
    weight = assembly.weight(e, coefficient, concave=concave)
    plus, minus = (b, a) if concave else (a, b)
    excess = assembly.affine(Apply("add", (plus, Apply("negative", (minus,), minus.shape)), e.shape))
    value = reduce_to(coefficient.value, b.shape, e.shape, assembly.values.xp)
    assembly.add(b, Coefficient(value, coefficient.sign, coefficient.params))
    assembly.penalise(Hinge(weight), excess, text(e, anonymous=True))


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """max(a, b) <= c means a <= c, where b <= c: beyond that there is no solution."""
    limit.require(e, sense, "<=" if e.op == "maximum" else ">=")
    xp, other = limit.values.xp, limit.values.dense(e.args[1])
    params = limit.params + e.args[1].parameters
    possible = other <= bound if sense == "<=" else other >= bound
    if limit.values.is_known(possible, params) and not np.all(np.asarray(possible)):
        limit.refuse_empty(f"`{e.args[1]}` already violates it", params)
    nowhere = -np.inf if sense == "<=" else np.inf
    limit.bound(limit.whole(e.args[0]), *bounds_of(sense, xp.where(possible, bound, nowhere)))


def _latex(symbol: str) -> Any:
    def latex(e: Expr, printer: Printer) -> str:
        return rf"{symbol}\left({printer.show(e.args[0])}, {printer.show(e.args[1])}\right)"

    return latex


MAXIMUM = Operation(
    "maximum",
    value=lambda xp, x, b: xp.maximum(x, b),
    sign=lambda signs: 1 if 1 in signs else -1 if signs == (-1, -1) else 0,
    latex=_latex(r"\max"),
    objective=_objective,
    level=_level,
)

MINIMUM = Operation(
    "minimum",
    value=lambda xp, x, b: xp.minimum(x, b),
    sign=lambda signs: -1 if -1 in signs else 1 if signs == (1, 1) else 0,
    latex=_latex(r"\min"),
    objective=_objective,
    level=_level,
)
