"""`tv2d` and `tv1d`: total variation of images and signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.canonicalize.values import Values
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.data import ONE_IMAGE
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.operators.base import Difference, Scale
from admm_jax.prox.functions import GroupL2, L1Ball, L2Ball
from admm_jax.prox.total_variation import TotalVariation


def tv2d(x: Any, p: int = 1, weight: Any = None) -> Any:
    """Total variation of an image, by forward differences d that are zero beyond the last row and column.

    p = 1: sum_ij |d1_ij| + |d2_ij|;  p = 2: sum_ij sqrt(d1_ij^2 + d2_ij^2).

    Args:
        x: Image, (m, n).
        p: 1 (anisotropic) or 2 (isotropic). Every pixel is counted, those of the last row and column too.
        weight: Constant factor >= 0 for each pixel, (m, n), or for p = 1 each difference, (2, m, n); None is 1.

    Raises:
        ShapeError: x is not 2-D, or the weight does not fit.
        DataError: p is neither 1 nor 2.
    """
    x = as_expr(x, "the argument of tv2d")
    _check_p("tv2d", p)
    if x.ndim != 2:
        hint = ONE_IMAGE if x.ndim == 3 else ""
        raise ShapeError(f"tv2d takes a 2-D image, got `{x}` of shape {x.shape}{hint}")
    shapes = [(), x.shape] + ([(2, *x.shape)] if p == 1 else [])
    return _total_variation("tv2d", x, p, weight, shapes)


def tv1d(x: Any, w: Any = None, p: int = 1, *, weight: Any = None) -> Any:
    """Total variation of a signal: sum_i w_i |x_{i+1} - x_i|; for p = 2, sqrt(sum_i (w_i (x_{i+1} - x_i))^2).

    Args:
        x: Signal, (n,).
        w: Constant factor >= 0, a scalar or (n - 1,); with n entries the last is unused; None is 1.
        p: 1 or 2.
        weight: Another name for `w`.

    Raises:
        ShapeError: x is not 1-D, or the weight does not fit.
        DataError: p is neither 1 nor 2, or both `w` and `weight` are given.
    """
    if w is not None and weight is not None:
        raise DataError("tv1d takes `w` or `weight`, which are one argument, got both")
    x = as_expr(x, "the argument of tv1d")
    _check_p("tv1d", p)
    if x.ndim != 1:
        raise ShapeError(f"tv1d takes a 1-D signal, got `{x}` of shape {x.shape}")
    return _total_variation("tv1d", x, p, w if weight is None else weight, [(), (x.shape[0] - 1,), x.shape])


def _check_p(op: str, p: Any) -> None:
    if isinstance(p, bool) or p not in (1, 2):
        raise DataError(f"p of {op} must be 1 or 2, got {p!r}")


def _total_variation(op: str, x: Expr, p: int, weight: Any, shapes: list[tuple[int, ...]]) -> Any:
    args = (x,)
    if weight is not None:
        weight = as_constant(weight, f"the weight of {op}")
        if weight.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ShapeError(f"the weight of {op}({x}) must have shape {expected}, got `{weight}` of {weight.shape}")
        args = (x, weight)
    return apply(op, args, (), p=int(p))


def _differences(xp: Any, x: Any) -> Any:
    """Forward differences along each axis, stacked first; zero beyond the last entry."""
    pads = [[(0, int(i == axis)) for i in range(x.ndim)] for axis in range(x.ndim)]
    return xp.stack([xp.pad(xp.diff(x, axis=axis), pads[axis]) for axis in range(x.ndim)])


def _value_2d(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    d = _differences(xp, x)
    if p == 1:
        return xp.sum(xp.abs(d) if weight is None else weight * xp.abs(d))
    lengths = xp.sqrt(xp.sum(d * d, axis=0))
    return xp.sum(lengths if weight is None else weight * lengths)


def _value_1d(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    d = xp.diff(x)
    d = d if weight is None else d * (weight if weight.ndim == 0 else weight[: d.shape[0]])
    return xp.sum(xp.abs(d)) if p == 1 else xp.linalg.norm(d)


def _options(e: Expr) -> str:
    return ", p=2" if e.attrs["p"] == 2 else ""


def _latex(e: Expr, printer: Printer) -> str:
    name = r"\mathrm{TV}" + ("_2" if e.attrs["p"] == 2 else "")
    weight = rf"^{{{printer.show(e.args[1])}}}" if len(e.args) == 2 else ""
    return rf"{name}{weight}\left({printer.show(e.args[0])}\right)"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """w TV(a); the Euclidean norm of a signal's differences is a norm of a linear map."""
    scale, argument = assembly.weight(e, coefficient.scalar()), assembly.affine(e.args[0])
    weight, label = _weight(e, assembly.values), text(e, anonymous=True)
    if e.op == "tv1d" and e.attrs["p"] == 2:
        assembly.penalise(GroupL2(scale, (0, 1)), _weighted_differences(argument, weight, assembly.values), label)
    else:
        assembly.penalise(TotalVariation(scale * weight, e.attrs["p"]), argument, label)


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """TV(a) <= r as a ball of the differences, which the isotropic one of images is not."""
    limit.require(e, sense, "<=")
    if e.op == "tv2d" and e.attrs["p"] == 2:
        raise limit.refuse(f"has no rule: `{e}` can be bounded for p=1 only")
    radius, values = limit.radius(e, bound), limit.values
    image = _weighted_differences(limit.assembly.affine(e.args[0]), _weight(e, values), values)
    limit.ball(L1Ball if e.attrs["p"] == 1 else L2Ball, image, radius)


def _weight(e: Expr, values: Values) -> Any:
    """The weight map, 1 if there is none; its sign is checked where it is known."""
    if len(e.args) == 1:
        return values.array(1.0)
    weight, params = values.dense(e.args[1]), e.args[1].parameters
    least = float(np.min(np.asarray(weight), initial=0.0)) if values.is_known(weight, params) else 0.0
    if least < 0:
        raise values.refuse(f"negative weight {least:.6g} inside `{e}`: it is not convex", params)
    short = e.op == "tv1d" and weight.ndim == 1 and weight.shape != e.args[0].shape
    return values.xp.pad(weight, (0, 1)) if short else weight


def _weighted_differences(argument: Affine, weight: Any, values: Values) -> Affine:
    """The weighted differences w D a, shape (ndim, *shape)."""
    shape = argument.shape
    lifted = (len(shape), *shape)
    factor = weight if weight.ndim in (0, len(lifted)) else weight[None]
    offset = None
    if argument.offset is not None:
        offset = factor * _differences(values.xp, argument.full_offset(values))
    return Affine(argument.then(Difference(shape), Scale(factor, lifted)), offset, lifted)


TV2D = Operation(
    "tv2d",
    value=_value_2d,
    sign=always_nonnegative,
    options=_options,
    latex=_latex,
    objective=_objective,
    level=_level,
)

TV1D = Operation(
    "tv1d",
    value=_value_1d,
    sign=always_nonnegative,
    options=_options,
    latex=_latex,
    objective=_objective,
    level=_level,
)
