"""`+`, `-`, `*` and `/`: sums, and products with one factor constant or both alike.

The functions that make their nodes are in `expressions.node`, where `Expr` needs them for its operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import OPPOSITE, Limit
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.facts import alike, is_affine, sign
from admm_jax.expressions.node import Apply, Constant, Expr, divide, multiply
from admm_jax.expressions.operation import (
    NEGATION,
    PRODUCT,
    SUM,
    Operation,
    common_sign,
    sign_of_product,
)
from admm_jax.expressions.printing import Printer, signed_terms
from admm_jax.operations.quadratic_forms import no_product
from admm_jax.operators.base import Broadcast, Scale

Shape = tuple[int, ...]


def reduce_to(y: Any, shape: Shape, full: Shape, xp: Any) -> Any:
    """The adjoint of broadcasting to a larger shape: y summed over the repeats.

    Args:
        y: Numbers that broadcast to `full`.
        shape: Before the broadcast, and of the result; where it is `full`, y is returned as it is.
        full: After it.
        xp: numpy or jax.numpy.
    """
    if shape == full:
        return y
    y = xp.broadcast_to(y, full)
    extra = len(full) - len(shape)
    axes = tuple(i for i in range(len(full)) if i < extra or shape[i - extra] != full[i])
    return xp.sum(y, axis=axes, keepdims=True).reshape(shape)


def _stretched(e: Expr, i: int) -> tuple[Any, ...]:
    return () if e.args[i].shape == e.shape else (Broadcast(e.args[i].shape, e.shape),)


# a + b + ...


def _add_value(xp: Any, *terms: Any) -> Any:
    value = terms[0]
    for term in terms[1:]:
        value = value + term
    return value


def _add_level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """a + b <= c means a <= c - b, for one term a with variables."""
    if sum(not term.is_constant for term in e.args) != 1:
        raise limit.unknown(e, sense)
    (free,) = (term for term in e.args if not term.is_constant)
    for term in e.args:
        if term is not free:
            bound = bound - limit.values.dense(term)
            limit.params += term.parameters
    limit.add(free, sense, bound)


ADD = Operation(
    "add",
    value=_add_value,
    sign=common_sign,
    text=signed_terms,
    latex=signed_terms,
    binding=SUM,
    linear=lambda e, i, values: _stretched(e, i),
    jointly=True,
    adjoint=lambda e, i, y, values: reduce_to(y, e.args[i].shape, e.shape, values.xp),
    level=_add_level,
)


# -a


def _negative_text(e: Expr, printer: Printer) -> str:
    return "-" + printer.wrap(e.args[0], NEGATION)


def _square_of_negative(e: Expr, squared: Expr, coefficient: Coefficient, assembly: Assembly) -> bool:
    assembly.add(Apply("square", e.args, e.shape), coefficient)
    return True


NEGATIVE = Operation(
    "negative",
    value=lambda xp, x: -x,
    sign=lambda signs: -signs[0],
    text=_negative_text,
    latex=_negative_text,
    binding=NEGATION,
    linear=lambda e, i, values: (Scale(values.array(-1.0), e.shape),),
    adjoint=lambda e, i, y, values: -y,
    level=lambda e, sense, bound, limit: limit.add(e.args[0], OPPOSITE[sense], -bound),
    square=_square_of_negative,
)


# a * b and a / b


def _scale(factor: Any, e: Expr, i: int) -> tuple[Any, ...]:
    """Multiplication by a constant, after broadcasting where the constant is the larger."""
    if 0 < factor.ndim < e.ndim:
        factor = factor.reshape((1,) * (e.ndim - factor.ndim) + factor.shape)
    return (*_stretched(e, i), Scale(factor, e.shape))


def _multiply_adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    return reduce_to(y * values.dense(e.args[1 - i]), e.args[i].shape, e.shape, values.xp)


def _divide_adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    return reduce_to(y / values.dense(e.args[1]), e.args[0].shape, e.shape, values.xp)


def _multiply_objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """A product of two expressions: constant factors times the square of one affine expression."""
    if any(arg.is_constant for arg in e.args):
        assembly.add_linear(e, coefficient)
        return
    free: list[Expr] = []
    constant = _collect(e, free)
    if len(free) != 2 or free[0].shape != free[1].shape or not alike(*free):
        raise no_product(e)
    square = Apply("square", (free[0],), free[0].shape)
    assembly.add(square if constant is None else multiply(constant, square), coefficient)


def _collect(e: Expr, free: list[Expr]) -> Expr | None:
    """Take a product apart: its constant factors multiplied, the others appended to `free`."""
    if e.is_constant:
        return e
    if e.op == "negative":
        inner = _collect(e.args[0], free)
        return multiply(Constant(-1.0), inner) if inner is not None else Constant(-1.0)
    if e.op == "divide":
        inner = _collect(e.args[0], free)
        return divide(inner if inner is not None else Constant(1.0), e.args[1])
    if e.op == "multiply":
        left, right = (_collect(arg, free) for arg in e.args)
        return right if left is None else left if right is None else multiply(left, right)
    free.append(e)
    return None


def _multiply_level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """w a <= c means a <= c / w for w > 0; a * a is a square."""
    if any(arg.is_constant for arg in e.args):
        _scaled_level(e, sense, bound, limit)
        return
    limit.require(e, sense, "<=")
    if not alike(*e.args):
        raise no_product(e)
    limit.add(Apply("square", e.args[:1], e.shape), sense, bound)


def _scaled_level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    values = limit.values
    factor, free = e.args if e.args[0].is_constant else e.args[::-1]
    number = values.dense(factor)
    limit.params += factor.parameters
    turned = sign(factor) == -1
    if values.is_known(number, factor.parameters):
        turned = bool(np.all(np.asarray(number) < 0))
        if not turned and not np.all(np.asarray(number) > 0):
            message = f"the factor of `{free}` in `{limit.constraint}` must not be zero or change sign"
            raise values.refuse(message, factor.parameters)
    bound = bound / number if e.op == "multiply" else bound * number
    limit.add(free, OPPOSITE[sense] if turned else sense, bound)


def _square_of_scaled(e: Expr, squared: Expr, coefficient: Coefficient, assembly: Assembly) -> bool:
    """(w a)^2 = w^2 a^2, for an a that is not affine; the rest is a square of an affine expression."""
    if is_affine(e) or not any(arg.is_constant for arg in e.args):
        return False
    factors = tuple(Apply("square", (arg,), arg.shape) for arg in e.args)
    assembly.add(Apply(e.op, factors, e.shape), coefficient)
    return True


def _scaled_text(symbol: str) -> Any:
    def text(e: Expr, printer: Printer) -> str:
        return f"{printer.wrap(e.args[0], PRODUCT)}{symbol}{printer.wrap(e.args[1], NEGATION)}"

    return text


def _multiply_latex(e: Expr, printer: Printer) -> str:
    return _scaled_text(r" \odot " if e.args[0].ndim and e.args[1].ndim else r" \, ")(e, printer)


MULTIPLY = Operation(
    "multiply",
    value=lambda xp, a, b: a * b,
    sign=sign_of_product,
    text=_scaled_text(" * "),
    latex=_multiply_latex,
    binding=PRODUCT,
    linear=lambda e, i, values: _scale(values.dense(e.args[1 - i]), e, i),
    adjoint=_multiply_adjoint,
    objective=_multiply_objective,
    level=_multiply_level,
    square=_square_of_scaled,
)

DIVIDE = Operation(
    "divide",
    value=lambda xp, a, b: a / b,
    sign=sign_of_product,
    text=_scaled_text(" / "),
    latex=lambda e, printer: rf"\frac{{{printer.show(e.args[0])}}}{{{printer.show(e.args[1])}}}",
    binding=PRODUCT,
    linear=lambda e, i, values: _scale(1.0 / values.dense(e.args[1]), e, i),
    adjoint=_divide_adjoint,
    level=_scaled_level,
    square=_square_of_scaled,
)
