"""`square`, and `**2`: the terms that become quadratics."""

from __future__ import annotations

from typing import Any

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.errors import NonconvexError
from admm_jax.expressions.build import elementwise
from admm_jax.expressions.facts import is_affine
from admm_jax.expressions.node import Expr
from admm_jax.expressions.operation import Operation, always_nonnegative, operation_of
from admm_jax.expressions.printing import Printer
from admm_jax.operations.weighting import weighted
from admm_jax.prox.functions import L2Ball


def square(x: Any) -> Any:
    """x_i^2, elementwise."""
    return elementwise("square", x)


def _latex(e: Expr, printer: Printer) -> str:
    inner = e.args[0]
    body = printer.show(inner)
    return body + "^2" if inner.op in ("variable", "norm") else rf"\left({body}\right)^2"


def _latex_sum(e: Expr, printer: Printer) -> str:
    return rf"\left\|{printer.show(e.args[0])}\right\|_{'F' if e.ndim == 2 else '2'}^2"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """w a^2 for an affine a, or for one whose operation knows its square, such as a norm."""
    inner = e.args[0]
    operation = operation_of(inner) if inner.args else None
    if operation is not None and operation.square is not None and operation.square(inner, e, coefficient, assembly):
        return
    # of a linear operation on something that is not affine, `affine` names the smallest guilty part
    if is_affine(inner) or (operation is not None and operation.linear is not None):
        assembly.add_quadratic(e, assembly.affine(inner), assembly.weight(e, coefficient))
        return
    raise NonconvexError(f"there is no rule for the square of `{inner}`, which is not affine, in `{e}`")


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """a^2 <= r means |a| <= sqrt(r)."""
    limit.require(e, sense, "<=")
    limit.check_nonnegative(e, bound)
    root, inner = limit.values.xp.sqrt(bound), e.args[0]
    if inner.op == "norm":
        limit.add(inner, sense, root)
        return
    limit.bound(limit.whole(inner), -root, root)


def _level_of_sum(total: Expr, e: Expr, weight: Expr | None, bound: Any, limit: Limit) -> None:
    """sum w a^2 <= r means ||sqrt(w) a|| <= sqrt(r)."""
    argument, radius = limit.assembly.affine(e.args[0]), limit.radius(total, bound)
    radius = None if radius is None else limit.values.xp.sqrt(radius)
    limit.ball(L2Ball, weighted(argument, weight, e, limit, limit.values.xp.sqrt), radius)


SQUARE = Operation(
    "square",
    value=lambda xp, x: x * x,
    sign=always_nonnegative,
    latex=_latex,
    latex_sum=_latex_sum,
    objective=_objective,
    level=_level,
    level_of_sum=_level_of_sum,
    elementwise=True,
)
