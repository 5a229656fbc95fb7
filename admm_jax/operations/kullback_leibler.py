"""`kullback_leibler`: how far a mean is from photon counts, by Poisson's law."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient, full_rank
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.data import is_traced
from admm_jax.expressions.node import Constant, Expr, as_expr
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.prox.functions import KullbackLeibler

ARGUMENTS = ("counts", "weight")


def kullback_leibler(x: Any, counts: Any, weight: Any = None) -> Any:
    """sum_i w_i (x_i - counts_i log x_i + counts_i log counts_i - counts_i), with 0 log 0 = 0; infinite outside x >= 0.

    It is >= 0, zero where x = counts, and up to a constant minus the log likelihood of counts that follow Poisson's law
    with the mean x. Where counts are zero it is w x, exactly. Where they are not, x = 0 is infinite too. In a count of
    zero its own derivative is minus infinity, and is left out; that of the solution is not concerned.

    Args:
        x: The mean in the units of the counts, such as `conv2d(U, kernel) + background`; affine, of any shape.
        counts: Constant >= 0, a scalar or of the shape of x; need not be whole numbers.
        weight: Constant w >= 0, a scalar or of the shape of x; None is 1. A pixel of weight zero says nothing of x.

    Returns:
        An expression with one entry, or its value where there is nothing symbolic in it.

    Raises:
        DataError: counts or weights are negative (ParameterError where parameters made them so).
        ShapeError: counts or weights do not fit x.
        ExpressionError: counts or weights hold a variable.

    Csiszár, Ann. Statist. 19 (1991); for images Bertero et al., Inverse Problems 25 (2009).
    """
    x = as_expr(x, "the argument of kullback_leibler")
    args = [x]
    for name, given in zip(ARGUMENTS, (counts, weight), strict=True):
        if given is None and name == "weight":
            continue
        value = as_constant(given, f"{name} of kullback_leibler")
        if value.shape not in ((), x.shape):
            raise ShapeError(
                f"{name} of kullback_leibler must be a scalar or have the shape {x.shape} of `{x}`,"
                f" got `{value}` of shape {value.shape}"
            )
        if isinstance(value, Constant) and not is_traced(value.value):
            least = np.min(np.asarray(value.value), initial=0)
            if least < 0:
                raise DataError(f"{name} of kullback_leibler must not be negative, got a minimum of {least:.6g}")
        args.append(value)
    return apply("kullback_leibler", tuple(args), ())


def _value(xp: Any, x: Any, counts: Any, weight: Any = None) -> Any:
    counted = counts > 0
    b, inside = xp.where(counted, counts, 1), x > 0
    terms = xp.where(counted, x - b - b * xp.log(xp.where(inside, x, 1) / b), x)
    terms = xp.where((x < 0) | (counted & ~inside), np.inf, terms)
    return xp.sum(terms if weight is None else xp.where(weight == 0, 0, weight * xp.where(weight == 0, 0, terms)))


def _latex(e: Expr, printer: Printer) -> str:
    shown = [printer.show(arg) for arg in e.args]
    weight = f"_{{{shown[2]}}}" if len(shown) > 2 else ""
    return rf"\mathrm{{KL}}{weight}\left({shown[1]}, {shown[0]}\right)"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    x, *constants = e.args
    values, factor = assembly.values, assembly.weight(e, coefficient.scalar())
    numbers = []
    for name, constant in zip(ARGUMENTS, constants, strict=False):
        number = values.dense(constant)
        if values.is_known(number, constant.parameters) and np.min(np.asarray(number), initial=0) < 0:
            raise values.refuse(f"{name} of kullback_leibler must not be negative in `{e}`", constant.parameters)
        numbers.append(full_rank(number, x.shape))
    weight = factor if len(numbers) == 1 else factor * numbers[1]
    assembly.penalise(KullbackLeibler(weight, numbers[0]), assembly.affine(x), text(e, anonymous=True))


KULLBACK_LEIBLER = Operation(
    "kullback_leibler",
    value=_value,
    sign=always_nonnegative,
    latex=_latex,
    objective=_objective,
)
