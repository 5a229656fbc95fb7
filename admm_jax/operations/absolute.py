"""`abs`: absolute values, elementwise."""

from __future__ import annotations

from typing import Any

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.expressions.build import elementwise
from admm_jax.expressions.facts import is_affine, sign
from admm_jax.expressions.node import Apply, Expr
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import text
from admm_jax.operations.weighting import weighted
from admm_jax.prox.functions import L1, L1Ball


def abs(x: Any) -> Any:
    """|x_i|, elementwise."""
    return elementwise("abs", x)


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """w |a|; of something nonnegative it is nothing."""
    inner = e.args[0]
    if not is_affine(inner) and sign(inner) == 1:
        assembly.add(inner, coefficient)
    else:
        function = L1(assembly.weight(e, coefficient))
        assembly.penalise(function, assembly.affine(inner), text(e, anonymous=True))


def _square(e: Expr, squared: Expr, coefficient: Coefficient, assembly: Assembly) -> bool:
    """|a|^2 = a^2."""
    if not is_affine(e.args[0]):
        return False
    assembly.add(Apply("square", e.args, e.shape), coefficient)
    return True


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """|a| <= r means -r <= a <= r."""
    limit.require(e, sense, "<=")
    inner = e.args[0]
    if not is_affine(inner) and sign(inner) == 1:
        limit.add(inner, sense, bound)
        return
    limit.check_nonnegative(e, bound)
    limit.bound(limit.whole(inner), -bound, bound)


def _level_of_sum(total: Expr, e: Expr, weight: Expr | None, bound: Any, limit: Limit) -> None:
    """sum w |a| <= r means ||w a||_1 <= r."""
    argument, radius = limit.assembly.affine(e.args[0]), limit.radius(total, bound)
    limit.ball(L1Ball, weighted(argument, weight, e, limit), radius)


ABS = Operation(
    "abs",
    value=lambda xp, x: xp.abs(x),
    sign=always_nonnegative,
    latex=lambda e, printer: rf"\left|{printer.show(e.args[0])}\right|",
    latex_sum=lambda e, printer: rf"\left\|{printer.show(e.args[0])}\right\|_1",
    objective=_objective,
    level=_level,
    level_of_sum=_level_of_sum,
    square=_square,
    elementwise=True,
)
