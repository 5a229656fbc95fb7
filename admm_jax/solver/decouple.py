"""Mask decoupling: functions of convolutions written so that an x-update is exact in one pair of transforms.

    1/2 ||S K x - d||_W^2 + g(x + b)   =   l(k * u) + g(x + b),       u = x on the frame of x, zero beyond

with k * u periodic, on a frame so large that the convolution of the problem is a part of it, and

    l(w) = 1/2 <w, S^T W S w> - <S^T W d, w> on that part, 0 beyond                     (S^T W S diagonal)

A circular convolution is periodic itself: there the frame is that of x, and nothing is beyond it.

Any other convex function h(S K x + b) with a known prox is split in the same way, S picking entries: S S^T = I, and

    prox of w -> h(S w + b)  is  w + S^T (prox_h(S w + b) - S w - b),

so that S K x + b is h's own argument wherever something is seen, and its dual S y is a dual of the problem.

All splits w = k * u and z = u are then diagonal in Fourier, whatever the border: the mask S and the frame are in the
proxes. The duals of w are zero where nothing was observed, so W (S w - d) is a dual point of the problem itself.

Almeida & Figueiredo, IEEE Trans. Image Process. 22 (2013), section IV; Matakos, Ramani & Fessler, ibid., section III.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.base import Operator
from admm_jax.operators.contract import Shape
from admm_jax.operators.convolution_forms import CircularConvolution
from admm_jax.operators.fourier import fast_size
from admm_jax.operators.window import Window
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.prox.framed import DiagonalQuadratic, Framed, Observed, crop, pad, see, unsee
from admm_jax.pytree import replace

Periods = Shape  # of the frame
Axes = tuple[int, ...] | None  # those of the transforms; None is all
LARGEST_TRANSFORM = 3  # axes
FAR = 1e4  # a step of a prox, in units in which all is about one, that leads to where a function is least
SPLIT_RATIO = 0.6  # rho of a function of a convolution, relative to its curvature; measured on photon counts, .6 to 1
TYPICAL_RESIDUAL = 0.1  # of the data, relative to its root mean square, where nothing tells


@dataclass(frozen=True)
class _Part:
    """x -> ops(factor convolution(x)): what a term sees of a convolution."""

    convolution: Any
    factor: Any
    ops: tuple[Operator, ...]


def _part(linear_map: LinearMap, *, diagonal: bool) -> _Part | None:
    """The convolution in a map and what is seen of it, None where it is no such map.

    Args:
        linear_map: The map.
        diagonal: Whether it may be seen through weights that differ from pixel to pixel.
    """
    if len(linear_map.chains) != 1 or not linear_map.chains[0].ops:
        return None
    first, *others = linear_map.chains[0].ops
    window: Window | None = first.convolution
    if window is None:
        return None
    factor, ops = 1.0, []
    for op in others:
        if op.diagonal is not None and np.ndim(op.diagonal) == 0:
            factor = factor * op.diagonal
        elif op.picks or (diagonal and op.diagonal is not None):
            ops.append(op)
        else:
            return None
    return _Part(window, factor, tuple(ops))


def _of_quadratic(quadratic: Quadratic) -> _Part | None:
    return _part(quadratic.map, diagonal=True)


def _of_penalty(penalty: Penalty) -> _Part | None:
    """None of a total variation, whose prox is not to be taken on a larger frame than it has to."""
    return _part(penalty.map, diagonal=False) if penalty.function.variation() is None else None


def periods_of(problem: Problem) -> Periods | None:
    """The periods to decouple a problem with, None where it is not of the kind.

    One image or volume, functions of convolutions of it along the same axes, and terms on the image itself, one of them
    at least. A circular convolution has the periods of the image, which are not enough for one that looks beyond it.
    Slices stay what they are.
    """
    if len(problem.variables) != 1 or all(penalty.map.identity_on is None for penalty in problem.penalties):
        return None
    found = _parts(problem)
    known = [part.convolution for part in found if part is not None]
    if not known or len(known) < len(found):
        return None
    first = known[0]
    if any(op.along != first.along for op in known) or len(first.along) > LARGEST_TRANSFORM:
        return None
    least = tuple(max(sizes) for sizes in zip(*(op.least_periods for op in known), strict=True))
    circular = [op.least_periods for op in known if op.circular]
    if not circular:
        return first.with_slices(tuple(fast_size(n) for n in least))
    return first.with_slices(least) if all(own == least for own in circular) else None


def axes_of(problem: Problem) -> Axes:
    """Those of the transforms, of a problem that has `periods_of`."""
    first = _parts(problem)[0]
    assert first is not None
    return first.convolution.axes


def _parts(problem: Problem) -> list[_Part | None]:
    """What the quadratics, and the penalties that are not on the image itself, see of convolutions."""
    others = [penalty for penalty in problem.penalties if penalty.map.identity_on is None]
    return [*map(_of_quadratic, problem.quadratics), *map(_of_penalty, others)]


def _diagonal(quadratic: Quadratic) -> DiagonalQuadratic:
    """l on the frame of the convolution: S^T W S and S^T W d."""
    part = _of_quadratic(quadratic)
    assert part is not None
    curvature = jnp.broadcast_to(quadratic.weight, quadratic.map.out_shape)
    pull = curvature * quadratic.data
    for op in reversed(part.ops):
        factor = op.diagonal
        if factor is None:
            curvature, pull = op.adjoint(curvature), op.adjoint(pull)
        else:
            curvature, pull = curvature * factor**2, pull * factor
    return DiagonalQuadratic((curvature * part.factor**2).astype(pull.dtype), pull * part.factor)


def _convolved(part: _Part, name: str, periods: Periods, dtype: Any, factor: Any = 1.0) -> LinearMap:
    """factor k * u, periodic."""
    first = part.convolution
    own = first.in_place(first.symbol(tuple(periods[axis] for axis in first.along)))
    symbol = factor * jnp.asarray(own, jnp.result_type(dtype, jnp.complex64))
    return LinearMap((Chain((CircularConvolution(symbol, periods, first.axes),), name),), periods)


def _loss(quadratic: Quadratic, name: str, periods: Periods) -> Penalty:
    part = _of_quadratic(quadratic)
    assert part is not None
    own = _diagonal(quadratic)
    dtype = own.pull.dtype
    function: Any = DiagonalQuadratic(pad(own.curvature, periods), pad(own.pull, periods))
    return Penalty(function, _convolved(part, name, periods, dtype), jnp.zeros((), dtype), quadratic.label)


def _observed(problem: Problem, penalty: Penalty, name: str, periods: Periods) -> Penalty:
    part = _of_penalty(penalty)
    assert part is not None
    frame, dtype = part.convolution.out_shape, jnp.result_type(penalty.offset)
    offset = jnp.broadcast_to(penalty.offset, penalty.map.out_shape)
    rho = SPLIT_RATIO * jnp.mean(modelled(problem, penalty).weight)
    function: Any = Observed(penalty.function, part.ops, rho, frame)
    linear_map = _convolved(part, name, periods, dtype, part.factor)
    return Penalty(function, linear_map, unsee(offset, part.ops, periods), penalty.label)


def decouple(problem: Problem, periods: Periods) -> Problem:
    """The decoupled problem on the periodic frame: its penalties are those of the problem, then the losses."""
    (name, shape) = problem.variables[0]
    identity = LinearMap((Chain((), name),), periods)
    penalties = []
    for penalty in problem.penalties:
        if penalty.map.identity_on is None:
            penalties.append(_observed(problem, penalty, name, periods))
            continue
        offset, function = penalty.offset, penalty.function
        if shape != periods:
            offset, function = pad(jnp.broadcast_to(offset, shape), periods), Framed(function, shape)
        penalties.append(Penalty(function, identity, offset, penalty.label))  # pyright: ignore[reportArgumentType]
    losses = tuple(_loss(quadratic, name, periods) for quadratic in problem.quadratics)
    linear = {key: pad(jnp.broadcast_to(cost, shape), periods) for key, cost in problem.linear.items()}
    return Problem((), (*penalties, *losses), linear, problem.constant, ((name, periods),))


def modelled(problem: Problem, penalty: Penalty) -> Quadratic:
    """About g(A x + b) in least squares: from where g is least, with the curvature that it is said to have.

    Where g does not say it, as a constraint does not, it is that at which the first of the terms on the image itself
    weighs as much as noise: weight / (10 residual^2), the rule for total variation.
    """
    function, shape = penalty.function, penalty.map.out_shape
    offset = jnp.broadcast_to(jnp.asarray(penalty.offset), shape)
    data = function.prox(offset, jnp.asarray(FAR, offset.dtype)) - offset
    size = jnp.sqrt(jnp.mean(data**2))
    residual = TYPICAL_RESIDUAL * jnp.where(size > 0, size, 1)
    own = jnp.asarray(function.secant_curvature(residual), offset.dtype)
    strengths = [p.function.strength() for p in problem.penalties if p.map.identity_on is not None]
    strength = jnp.max(jnp.stack([jnp.mean(jnp.asarray(s, offset.dtype)) for s in strengths]))
    known = jnp.any(own > 0)
    weight = jnp.where(known, own, jnp.where(strength > 0, strength, 1) / (10 * residual**2))
    return Quadratic(penalty.map, data, jnp.broadcast_to(weight, shape))


def surrogate(problem: Problem) -> Problem:
    """The problem with its functions of convolutions `modelled`: it says of what size things are."""
    direct, models = [], list(problem.quadratics)
    for penalty in problem.penalties:
        if penalty.map.identity_on is not None:
            direct.append(penalty)
        else:
            models.append(modelled(problem, penalty))
    return replace(problem, quadratics=tuple(models), penalties=tuple(direct))


def ratios(decoupled: Problem, rho: Array) -> tuple[Array, ...]:
    """(first, last) rho_j / rho of each split: 1 for those on the image, and what suits its curvature for a loss."""
    out = []
    for penalty in decoupled.penalties:
        own = jnp.ones(2, rho.dtype)
        if penalty.map.identity_on is None:
            suited = penalty.function.suited_rho  # pyright: ignore[reportAttributeAccessIssue]
            own = (own * jnp.where(suited > 0, suited / rho, 1)).astype(rho.dtype)
        out.append(own)
    return tuple(out)


def observed_start(problem: Problem, x: Point) -> Point:
    """Where no start is given (x is zero): the data, over the middle of the kernel, and its border values beyond.

    What lies outside the data's frame comes only slowly to where the total variation wants it, which is flat: from zero
    it takes hundreds of iterations more, and from the true image still half as many again. Pixels that are masked take
    the mean of the others.
    """
    ((name, value),) = x.items()
    quadratics = surrogate(problem).quadratics
    part = _of_quadratic(quadratics[0])
    assert part is not None
    first = part.convolution
    losses = [_diagonal(q) for q in quadratics if _same(_of_quadratic(q), part)]
    curvature, pull = losses[0].curvature, losses[0].pull
    for loss in losses[1:]:  # such as saturated pixels, of the same convolution
        curvature, pull = curvature + loss.curvature, pull + loss.pull
    seen = curvature > 0
    data = pull / jnp.where(seen, curvature, 1)
    mean = jnp.sum(jnp.where(seen, data, 0)) / jnp.maximum(jnp.sum(seen), 1)
    taps = first.in_place(jnp.asarray(first.taps))
    gain, size = (jnp.sum(part, first.along, keepdims=True) for part in (taps, jnp.abs(taps)))
    data = jnp.where(seen, data, mean) / jnp.where(jnp.abs(gain) > 0.1 * size, gain, jnp.inf)
    for (before, _), axis in zip(first.padding, first.along, strict=True):
        index = jnp.arange(value.shape[axis]) - _middle(jnp.abs(taps), axis) + before
        data = jnp.take(data, _within(index, data.shape[axis], first.circular), axis=axis)
    return {name: jnp.where(jnp.any(value != 0), value, data)}


def _same(part: _Part | None, other: _Part) -> bool:
    """Whether two parts are of convolutions onto one frame."""
    return part is not None and (part.convolution.out_shape, part.convolution.padding) == (
        other.convolution.out_shape,
        other.convolution.padding,
    )


def _within(index: Array, m: int, circular: bool) -> Array:
    """The places among m pixels that those beyond them are taken from."""
    return index % m if circular else jnp.clip(index, 0, m - 1)


def _middle(taps: Array, axis: int) -> Array:
    """The tap at the centre of mass along an axis."""
    line = jnp.sum(taps, axis=[i for i in range(taps.ndim) if i != axis])
    total = jnp.sum(line)
    centre = jnp.sum(line * jnp.arange(line.size)) / jnp.where(total > 0, total, 1)
    return jnp.round(centre).astype(jnp.int32)


def enter(x: Point, periods: Periods) -> Point:
    """A point of the problem as one of the decoupled problem."""
    return {name: pad(value, periods) for name, value in x.items()}


def leave(problem: Problem, x: Point) -> Point:
    """The inverse of `enter`."""
    return {name: crop(x[name], shape) for name, shape in problem.variables}


def own_part(penalty: Penalty, value: Array) -> Array:
    """Of a split of the decoupled problem, or of its dual, what belongs to the `penalty` of the problem itself."""
    if value.shape == penalty.map.out_shape:
        return value
    if penalty.map.identity_on is not None:
        return crop(value, penalty.map.out_shape)
    part = _of_penalty(penalty)
    assert part is not None  # only a split of the decoupled problem has another shape
    return see(value, part.ops, part.convolution.out_shape)


def observed(problem: Problem, w: tuple[Array, ...]) -> tuple[Array, ...]:
    """The dual point e = S w - d of each quadratic that the splits w of the losses stand for."""
    out = []
    for quadratic, value in zip(problem.quadratics, w, strict=True):
        part = _of_quadratic(quadratic)
        assert part is not None
        out.append(see(part.factor * value, part.ops, part.convolution.out_shape) - quadratic.data)
    return tuple(out)
