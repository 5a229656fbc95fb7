"""`tv`, `tv2d` and `tv1d`: total variation of volumes, images with channels, images and signals."""

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
from admm_jax.expressions.node import Expr, as_expr, checked_axes
from admm_jax.expressions.operation import Operation, always_nonnegative
from admm_jax.expressions.printing import Printer, text
from admm_jax.operations.neighbours import differences, edges_of, written_edges
from admm_jax.operators.base import Scale
from admm_jax.operators.difference import Difference
from admm_jax.prox.functions import GroupL2, L1Ball, L2Ball
from admm_jax.prox.total_variation import TotalVariation


def tv(
    x: Any, p: int = 1, axes: Any = None, spacing: Any = None, weight: Any = None, channel_axis: int | None = None
) -> Any:
    """Total variation by differences d_a = (x_{i+1} - x_i) / h_a along `axes`, zero beyond the last entry.

    p = 1: sum_i w_i sum_a |d_a|_i;  p = 2: sum_i w_i (sum_a d_a^2)_i^(1/2), over all entries i. With `channel_axis` and
    p = 2 the inner sum is over the channels too, and i goes over pixels: edges of a colour image then lie where they
    lie in the other colours (Bresson & Chan, Inverse Probl. Imaging 2 (2008)).

    Args:
        x: A signal, an image, a volume, or several of them: all axes that are not among `axes` count one by one.
        p: 1 (anisotropic) or 2 (isotropic).
        axes: An axis or several; None is all but `channel_axis`.
        spacing: h, the distance of neighbours: a number > 0, or one for each axis; None is 1.
        weight: Constant factor >= 0: a scalar or one for each entry, of x's shape; for p = 1 also for each difference,
            (number of axes, *x's shape). With `channel_axis` one for each pixel, of x's shape without it; then, for
            p = 2, only this. None is 1.
        channel_axis: Of the channels.

    Raises:
        ShapeError: x is a scalar, an axis is out of range, or the weight does not fit.
        DataError: p is neither 1 nor 2; axes are repeated or hold `channel_axis`; spacing does not fit or is not > 0.
    """
    x = as_expr(x, "the argument of tv")
    _check_p("tv", p)
    channel = None if channel_axis is None else checked_axes(x, (channel_axis,), "tv")[0]
    if axes is None:
        axes = tuple(i for i in range(x.ndim) if i != channel)
    own, h = edges_of("tv", x, axes, spacing)
    if channel in own:
        raise DataError(f"the axes of tv must not hold its channel_axis {channel_axis}, got axes={axes!r}")
    shapes = [()] if channel is None else [(), tuple(n for i, n in enumerate(x.shape) if i != channel)]
    shapes += [x.shape] if channel is None or p == 1 else []
    shapes += [(len(own), *x.shape)] if p == 1 else []
    return _total_variation("tv", x, p, weight, shapes, axes=own, spacing=h, channel=channel)


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


def _total_variation(op: str, x: Expr, p: int, weight: Any, shapes: list[tuple[int, ...]], **attrs: Any) -> Any:
    args = (x,)
    if weight is not None:
        weight = as_constant(weight, f"the weight of {op}")
        if weight.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ShapeError(f"the weight of {op}({x}) must have shape {expected}, got `{weight}` of {weight.shape}")
        args = (x, weight)
    return apply(op, args, (), p=int(p), **attrs)


def _value(
    xp: Any,
    x: Any,
    weight: Any = None,
    *,
    p: int,
    axes: tuple[int, ...],
    spacing: tuple[float, ...],
    channel: int | None,
) -> Any:
    d = differences(xp, x, axes, spacing)
    by_pixel = weight is not None and channel is not None and weight.ndim == x.ndim - 1 and weight.ndim > 0
    if p == 1:
        weight = xp.expand_dims(weight, channel) if by_pixel else weight
        return xp.sum(xp.abs(d) if weight is None else weight * xp.abs(d))
    lengths = xp.sqrt(xp.sum(d * d, axis=0 if channel is None else (0, 1 + channel)))
    return xp.sum(lengths if weight is None else weight * lengths)


def _value_2d(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    return _value(xp, x, weight, p=p, axes=(0, 1), spacing=(1.0, 1.0), channel=None)


def _value_1d(xp: Any, x: Any, weight: Any = None, *, p: int) -> Any:
    d = xp.diff(x)
    d = d if weight is None else d * (weight if weight.ndim == 0 else weight[: d.shape[0]])
    return xp.sum(xp.abs(d)) if p == 1 else xp.linalg.norm(d)


def _options(e: Expr) -> str:
    return ", p=2" if e.attrs["p"] == 2 else ""


def _text(e: Expr, printer: Printer) -> str:
    """As it is written, without what is not given."""
    x, channel = e.args[0], e.attrs["channel"]
    out = printer.show(x) + _options(e) + written_edges(e, tuple(i for i in range(x.ndim) if i != channel))
    if len(e.args) == 2:
        out += f", weight={printer.show(e.args[1])}"
    return f"tv({out}{'' if channel is None else f', channel_axis={channel}'})"


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
        assembly.penalise(_function(e, scale * weight, assembly.values), argument, label)


def _function(e: Expr, weight: Any, values: Values) -> TotalVariation:
    """w TV; `weight` has one of the shapes of the atom."""
    p, ndim = e.attrs["p"], e.args[0].ndim
    axes, spacing, channel = (e.attrs.get(name) for name in ("axes", "spacing", "channel"))
    if e.op != "tv":
        return TotalVariation(weight, p)
    axes = None if axes == tuple(range(ndim)) else axes
    if _together(e):
        return TotalVariation(weight, 2, axes, None if set(spacing) == {1.0} else spacing, channel)
    return TotalVariation(_by_edge(e, weight, values), 1, axes)


def _together(e: Expr) -> bool:
    """Whether differences count together at all."""
    return e.attrs["p"] == 2 and (e.op != "tv" or len(e.attrs["axes"]) > 1 or e.attrs["channel"] is not None)


def _by_edge(e: Expr, weight: Any, values: Values) -> Any:
    """w / h of `tv`, broadcasting to the differences."""
    ndim, channel, spacing = e.args[0].ndim, e.attrs["channel"], e.attrs["spacing"]
    if channel is not None and weight.ndim == ndim - 1 and weight.ndim > 0:
        weight = values.xp.expand_dims(weight, channel)
    if set(spacing) == {1.0}:
        return weight
    inverse = 1 / np.reshape(np.asarray(spacing, values.dtype), (-1,) + (1,) * ndim)
    return weight * inverse


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """TV(a) <= r as a ball of the differences, which the isotropic one of images is not."""
    limit.require(e, sense, "<=")
    if e.op != "tv1d" and _together(e):
        raise limit.refuse(f"has no rule: `{e}` can be bounded for p=1 only")
    radius, values = limit.radius(e, bound), limit.values
    weight, axes = _weight(e, values), e.attrs.get("axes")
    weight = _by_edge(e, weight, values) if e.op == "tv" else weight
    image = _weighted_differences(limit.assembly.affine(e.args[0]), weight, values, axes)
    limit.ball(L2Ball if e.op == "tv1d" and e.attrs["p"] == 2 else L1Ball, image, radius)


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


def _weighted_differences(argument: Affine, weight: Any, values: Values, axes: tuple[int, ...] | None = None) -> Affine:
    """The weighted differences w D a along `axes`, stacked first; None is all axes."""
    difference = Difference(argument.shape, axes)  # pyright: ignore[reportArgumentType]
    lifted = difference.out_shape
    factor = weight if weight.ndim in (0, len(lifted)) else weight[None]
    offset = None
    if argument.offset is not None:
        offset = factor * differences(values.xp, argument.full_offset(values), axes)
    return Affine(argument.then(difference, Scale(factor, lifted)), offset, lifted)


TV = Operation(
    "tv",
    value=_value,
    sign=always_nonnegative,
    text=_text,
    latex=_latex,
    objective=_objective,
    level=_level,
)

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
