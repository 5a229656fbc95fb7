"""The functions of a decoupled problem: least squares that are diagonal, and functions on a part of a larger frame."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.operators.base import Operator
from admm_jax.prox.base import Function
from admm_jax.prox.functions import ClosedForm
from admm_jax.pytree import pytree_dataclass, static

# rho of a loss, relative to its curvature: .05 to .1 are the fastest on photographs under camera kernels in the end. In
# the first iterations the data are to be fitted: with EAGER times as much the scene is within .02 dB of its limit after
# 8 to 16 iterations in the place of 20 to 30, and the gap falls as fast.
LOSS_RATIO = 0.07
EAGER = 8.5


@pytree_dataclass
class DiagonalQuadratic(ClosedForm):
    """l(w) = 1/2 <w, c w> - <p, w>, with c >= 0 and p of w's shape."""

    curvature: Array
    pull: Array

    def __call__(self, w: Array) -> Array:
        return jnp.sum(w * (self.curvature * w / 2 - self.pull))

    def prox(self, v: Array, step: Array) -> Array:
        return (v + step * self.pull) / (1 + step * self.curvature)

    @property
    def suited_rho(self) -> Array:
        """The penalty parameters that suit it, (first, last): relative to the mean of c where it is not zero."""
        mean = jnp.sum(self.curvature) / jnp.maximum(jnp.sum(self.curvature > 0), 1)
        return jnp.asarray([EAGER, 1.0]) * LOSS_RATIO * mean


@pytree_dataclass
class Observed:
    """v -> g(S v), S picking what is seen of the `frame` of v: prox v = v + S^T (prox_g(S v) - S v), as S S^T = I.

    Args:
        function: g.
        ops: S, after the frame is cut out.
        suited_rho: the penalty parameter that suits it, a scalar: from the first iteration to the last.
        frame: the first rows and columns that g can see.
    """

    function: Function
    ops: tuple[Operator, ...]
    suited_rho: Array
    frame: tuple[int, ...] = static()

    def _seen_shape(self) -> tuple[int, ...]:
        return self.ops[-1].out_shape if self.ops else self.frame

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.function.memory(self._seen_shape(), dtype)

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        seen = see(v, self.ops, self.frame)
        z, memory = self.function.prox_from(seen, step, memory, effort)
        return v + unsee(z - seen, self.ops, v.shape), memory


@pytree_dataclass
class Framed:
    """g on the first rows and columns, the `frame`, and zero beyond it: v -> g(crop v) + [v = 0 elsewhere]."""

    function: Function
    frame: tuple[int, ...] = static()

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.function.memory(self.frame, dtype)

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        z, memory = self.function.prox_from(crop(v, self.frame), step, memory, effort)
        return pad(z, v.shape), memory


def crop(value: Array, shape: tuple[int, ...]) -> Array:
    """The first rows and columns."""
    return value if value.shape == tuple(shape) else value[tuple(slice(n) for n in shape)]


def pad(value: Array, shape: tuple[int, ...]) -> Array:
    """Zeros beyond the last row and column."""
    return jnp.pad(value, [(0, n - m) for n, m in zip(shape, value.shape, strict=True)])


def see(value: Array, ops: tuple[Operator, ...], frame: tuple[int, ...]) -> Array:
    """S v: through `ops`, of what lies on the frame."""
    value = crop(value, frame)
    for op in ops:
        value = op(value)
    return value


def unsee(value: Array, ops: tuple[Operator, ...], shape: tuple[int, ...]) -> Array:
    """S^T, onto an array of this shape."""
    for op in reversed(ops):
        value = op.adjoint(value)
    return pad(value, shape)
