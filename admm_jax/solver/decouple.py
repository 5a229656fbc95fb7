"""Mask decoupling: least squares of convolutions written so that an x-update is exact in one pair of transforms.

    1/2 ||S K x - d||_W^2 + g(x + b)   =   l(k * u) + g(x + b),       u = x on the frame of x, zero beyond

with k * u periodic, on a frame so large that the convolution of the problem is a part of it, and

    l(w) = 1/2 <w, S^T W S w> - <S^T W d, w> on that part, 0 beyond                     (S^T W S diagonal)

A circular convolution is periodic itself: there the frame is that of x, and nothing is beyond it.

All splits w = k * u and z = u are then diagonal in Fourier, whatever the border: the mask S and the frame are in the
proxes. The duals of w are zero where nothing was observed, so W (S w - d) is a dual point of the problem itself.

Almeida & Figueiredo, IEEE Trans. Image Process. 22 (2013), section IV; Matakos, Ramani & Fessler, ibid., section III.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.contract import Shape
from admm_jax.operators.convolution_forms import CircularConv2D, Window
from admm_jax.operators.correlation import fast_size
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.prox.framed import DiagonalQuadratic, Framed, crop, pad

Periods = Shape  # of the frame
Axes = tuple[int, ...] | None  # those of the transforms; None is all


def _convolution(quadratic: Quadratic) -> Window | None:
    """The convolution of a least squares term that is one, seen through a mask or weights at most."""
    if len(quadratic.map.chains) != 1 or not quadratic.map.chains[0].ops:
        return None
    first, *others = quadratic.map.chains[0].ops
    return first.convolution if all(op.diagonal is not None for op in others) else None


def periods_of(problem: Problem) -> Periods | None:
    """The periods to decouple a problem with, None where it is not of the kind.

    One image or volume, least squares of convolutions of it along the same axes, and terms on the image itself, one of
    them at least. A circular convolution has the periods of the image, which are not enough for one that looks beyond
    it. Slices stay what they are.
    """
    if len(problem.variables) != 1 or not problem.quadratics:
        return None
    if not problem.penalties or any(penalty.map.identity_on is None for penalty in problem.penalties):
        return None
    found = [_convolution(quadratic) for quadratic in problem.quadratics]
    known = [op for op in found if op is not None]
    if len(known) < len(found):
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
    first: Any = problem.quadratics[0].map.chains[0].ops[0].convolution
    return first.axes


def _diagonal(quadratic: Quadratic) -> DiagonalQuadratic:
    """l on the frame of the convolution: S^T W S and S^T W d."""
    first, *masks = quadratic.map.chains[0].ops
    curvature = jnp.broadcast_to(quadratic.weight, first.out_shape)
    pull = curvature * quadratic.data
    for mask in masks:
        factor: Any = mask.diagonal
        curvature, pull = curvature * factor**2, pull * factor
    return DiagonalQuadratic(curvature.astype(pull.dtype), pull)


def _loss(quadratic: Quadratic, name: str, periods: Periods) -> Penalty:
    first: Any = quadratic.map.chains[0].ops[0].convolution
    own = _diagonal(quadratic)
    dtype = own.pull.dtype
    own_periods = tuple(periods[axis] for axis in first.along)
    symbol = jnp.asarray(first.in_place(first.symbol(own_periods)), jnp.result_type(dtype, jnp.complex64))
    function: Any = DiagonalQuadratic(pad(own.curvature, periods), pad(own.pull, periods))
    chain = Chain((CircularConv2D(symbol, periods, first.axes),), name)
    return Penalty(function, LinearMap((chain,), periods), jnp.zeros((), dtype), quadratic.label)


def decouple(problem: Problem, periods: Periods) -> Problem:
    """The decoupled problem on the periodic frame: its penalties are those of the problem, then the losses."""
    (name, shape) = problem.variables[0]
    identity = LinearMap((Chain((), name),), periods)
    penalties = []
    for penalty in problem.penalties:
        offset, function = penalty.offset, penalty.function
        if shape != periods:
            offset, function = pad(jnp.broadcast_to(offset, shape), periods), Framed(function, shape)
        penalties.append(Penalty(function, identity, offset, penalty.label))  # pyright: ignore[reportArgumentType]
    losses = tuple(_loss(quadratic, name, periods) for quadratic in problem.quadratics)
    linear = {key: pad(jnp.broadcast_to(cost, shape), periods) for key, cost in problem.linear.items()}
    return Problem((), (*penalties, *losses), linear, problem.constant, ((name, periods),))


LARGEST_TRANSFORM = 3  # axes
LOSS_RATIO = 0.1  # rho of a loss, relative to its curvature; measured on photographs and camera kernels, .05 to .2


def ratios(decoupled: Problem, rho: Array) -> tuple[Array, ...]:
    """rho_j / rho of each split: 1 for those of the problem, and what suits its curvature for a loss."""
    out = []
    for penalty in decoupled.penalties:
        own = jnp.ones_like(rho)
        if penalty.map.identity_on is None:
            curvature = penalty.function.curvature  # pyright: ignore[reportAttributeAccessIssue]
            seen = jnp.maximum(jnp.sum(curvature > 0), 1)
            typical = jnp.sum(curvature) / seen
            own = jnp.where(typical > 0, LOSS_RATIO * typical / rho, 1).astype(rho.dtype)
        out.append(own)
    return tuple(out)


def observed_start(problem: Problem, x: Point) -> Point:
    """Where no start is given (x is zero): the data, over the middle of the kernel, and its border values beyond.

    What lies outside the data's frame comes only slowly to where the total variation wants it, which is flat: from zero
    it takes hundreds of iterations more, and from the true image still half as many again. Pixels that are masked take
    the mean of the others.
    """
    ((name, value),) = x.items()
    quadratic = problem.quadratics[0]
    first: Any = quadratic.map.chains[0].ops[0].convolution
    loss = _diagonal(quadratic)
    seen = loss.curvature > 0
    data = loss.pull / jnp.where(seen, loss.curvature, 1)
    mean = jnp.sum(jnp.where(seen, data, 0)) / jnp.maximum(jnp.sum(seen), 1)
    taps = first.in_place(jnp.asarray(first.taps))
    gain, size = (jnp.sum(part, first.along, keepdims=True) for part in (taps, jnp.abs(taps)))
    data = jnp.where(seen, data, mean) / jnp.where(jnp.abs(gain) > 0.1 * size, gain, jnp.inf)
    for (before, _), axis in zip(first.padding, first.along, strict=True):
        index = jnp.arange(value.shape[axis]) - _middle(jnp.abs(taps), axis) + before
        data = jnp.take(data, _within(index, data.shape[axis], first.circular), axis=axis)
    return {name: jnp.where(jnp.any(value != 0), value, data)}


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


def observed(problem: Problem, w: tuple[Array, ...]) -> tuple[Array, ...]:
    """The dual point e = S w - d of each quadratic that the splits w of the losses stand for."""
    out = []
    for quadratic, part in zip(problem.quadratics, w, strict=True):
        first, *masks = quadratic.map.chains[0].ops
        value = crop(part, first.out_shape)
        for mask in masks:
            value = mask(value)
        out.append(value - quadratic.data)
    return tuple(out)
