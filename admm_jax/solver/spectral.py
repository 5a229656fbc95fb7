"""A preconditioner by FFT for convolutions with large kernels: the periodic model of the same image.

    M^-1 r = crop F^-1 [ F pad r / (sum w |k^|^2 + sum omega a^) ]

with k^ the kernel's spectrum, and a^ = 1 for a penalty on the image itself or the symbol of
D^T D for one on its differences. It is exact up to the frame of the image. Certificates need it: their systems are
ill-conditioned, and it halves their cost (measured on 15x15 motion kernels; with small kernels a step costs less
than the transforms, and under a separable Gaussian, which passes next to nothing of the high frequencies, a mean of
omega is too poor a model of them). The x-update does without: its few warm-started
steps are spent on the frame, which this model does not know, and plain conjugate gradients were twice as fast there.
Terms that it does not know are left out: it stays symmetric and positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Operator
from admm_jax.operators.window import Window
from admm_jax.problem import LinearMap, Point, Problem
from admm_jax.solver.linear import conjugate_gradients, normal
from admm_jax.solver.vectors import dtype_of

LARGE_KERNEL = 100  # taps


def _single(linear_map: LinearMap) -> tuple[Operator, ...] | None:
    """The operators of a map with one chain."""
    return linear_map.chains[0].ops if len(linear_map.chains) == 1 else None


def _large(problem: Problem) -> list[tuple[Window, Array]]:
    """(convolution, weight) of each quadratic that is one convolution of the one variable with a large kernel."""
    out = []
    for quadratic in problem.quadratics:
        ops = _single(quadratic.map)
        convolution = ops[0].convolution if ops is not None and len(ops) == 1 else None
        if convolution is not None and convolution.models_itself and convolution.axes is None:
            if math.prod(convolution.kernel_shape) >= LARGE_KERNEL:
                out.append((convolution, quadratic.weight))
    return out


def preconditioner(problem: Problem, weights: tuple[Array, ...], x: Point) -> Callable[[Point], Point] | None:
    """M^-1 for `normal(problem, weights, .)`, None where no convolution would make it worth its transforms.

    Args:
        problem: The lifted problem.
        weights: omega, one for each penalty; their means stand for them.
        x: A point, for its dtype.
    """
    found = _large(problem)
    if len(problem.variables) != 1 or not found:
        return None
    name, shape = problem.variables[0]
    dtype = dtype_of(x)
    periods, axes = found[0][0].periods, tuple(range(len(shape)))
    power = jnp.zeros((), dtype)
    for op, weight in found:
        if op.periods != periods:
            return None
        spectrum = op.symbol(periods)
        power = power + jnp.mean(weight) * (spectrum.real**2 + spectrum.imag**2)
    for penalty, omega in zip(problem.penalties, weights, strict=True):
        ops = _single(penalty.map)
        if ops is not None and len(ops) <= 1:
            symbol = ops[0].gram_symbol(periods) if ops else 1
            if symbol is not None:
                power = power + jnp.mean(omega) * (jnp.asarray(symbol, dtype) if ops else 1)
    power = power + 1e-6 * jnp.max(power)

    def apply(r: Point) -> Point:
        transformed = jnp.fft.rfftn(r[name], periods, axes) / power
        out = jnp.fft.irfftn(transformed, periods, axes)
        return {name: out[tuple(slice(n) for n in shape)].astype(dtype)}

    return apply


def solve_normal(
    problem: Problem,
    weights: tuple[Array, ...],
    rhs: Point,
    x: Point,
    *,
    steps: Array | int,
    tol: Array | float,
) -> Point:
    """Solve `normal(problem, weights, x) = rhs` from x, preconditioned where that pays.

    Args:
        problem: The lifted problem.
        weights: omega, one for each penalty.
        rhs: Of the shapes of x.
        x: Where it starts.
        steps: Conjugate gradient steps, at most.
        tol: Of the residual, relative to the first one.
    """
    operator = partial(normal, problem, weights)
    fitting = preconditioner(problem, weights, x) or (lambda r: r)
    return conjugate_gradients(operator, rhs, x, steps=steps, tol=tol, precondition=fitting)
