"""Differences of neighbours along axes, each divided by the distance of the two, and their divergence."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.operators.contract import Magnitude, Shape
from admm_jax.operators.stacked import Stacks
from admm_jax.pytree import pytree_dataclass, replace, static


class _OnEdges:
    """What maps an array to its edges: one for each entry and axis, to the neighbour ahead. No fields of its own."""

    in_shape: Shape
    axes: tuple[int, ...]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        axes = tuple(range(len(self.in_shape))) if self.axes is None else self.axes
        spacing = (1.0,) * len(axes) if self.spacing is None else self.spacing
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "spacing", spacing)

    @property
    def out_shape(self) -> Shape:
        return (len(self.axes), *self.in_shape)

    def _pads(self) -> Any:
        """(an axis, 1 / its spacing, zeros after, zeros before) of each axis; None for a spacing of one."""
        for axis, h in zip(self.axes, self.spacing, strict=True):
            after = [(0, int(i == axis)) for i in range(len(self.in_shape))]
            yield axis, None if h == 1 else 1 / h, after, [pair[::-1] for pair in after]


@pytree_dataclass
class Difference(_OnEdges, Stacks):
    """x -> (x_{i+1} - x_i) / h along each of `axes`, stacked first: shape (len(axes), *in_shape).

    The difference beyond the last row, column or entry is zero, so every pixel has one along each axis.

    Args:
        in_shape: of x.
        axes: different ones; None is all.
        spacing: h of each of them, > 0; None is 1.
    """

    in_shape: Shape = static()
    axes: tuple[int, ...] = static(default=None)  # pyright: ignore[reportAssignmentType]
    spacing: tuple[float, ...] = static(default=None)  # pyright: ignore[reportAssignmentType]

    def __call__(self, x: Array) -> Array:
        parts = []
        for axis, inverse, after, _ in self._pads():
            part = jnp.pad(jnp.diff(x, axis=axis), after)
            parts.append(part if inverse is None else inverse * part)
        return jnp.stack(parts)

    def adjoint(self, y: Array) -> Array:
        out = None
        for k, (axis, inverse, after, before) in enumerate(self._pads()):
            inner = lax.slice_in_dim(jnp.asarray(y[k]), 0, y.shape[axis + 1] - 1, axis=axis)
            inner = inner if inverse is None else inverse * inner
            part = jnp.pad(inner, before) - jnp.pad(inner, after)
            out = part if out is None else out + part
        assert out is not None
        return out

    def magnitude(self) -> Magnitude:
        return _SumOfNeighbours(self.in_shape, self.axes, self.spacing)

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return self.magnitude()(error) + jnp.finfo(out.dtype).eps * jnp.abs(out)

    @property
    def edge_length(self) -> float | None:
        return max(self.spacing) if len(self.axes) == len(self.in_shape) else None

    @property
    def squared_norm(self) -> float:
        """A bound on ||D||^2, sum 4 / h^2, which large arrays nearly reach."""
        return sum(4 / h**2 for h in self.spacing)

    def gram_diagonal(self, weight: Array) -> Array:
        squares = tuple(h**2 for h in self.spacing)
        return replace(self, spacing=squares).magnitude().adjoint(weight)

    def gram_symbol(self, periods: tuple[int, ...]) -> np.ndarray | None:
        ndim = len(self.in_shape)
        if len(periods) != ndim:
            return None
        symbol = np.zeros((1,) * ndim)
        for axis, h in zip(self.axes, self.spacing, strict=True):
            frequency = (np.fft.rfftfreq if axis == ndim - 1 else np.fft.fftfreq)(periods[axis])
            own = (2 - 2 * np.cos(2 * np.pi * frequency)) / h**2
            symbol = symbol + own.reshape([-1 if i == axis else 1 for i in range(ndim)])
        return np.broadcast_to(symbol, (*periods[:-1], periods[-1] // 2 + 1))

    def describe(self, inner: str) -> str:
        return f"D {inner}"


@pytree_dataclass
class Divergence(Stacks):
    """y -> -D^T y: (y_i - y_{i-1}) / h, summed over the axes, with y zero before the first entry."""

    difference: Difference

    @property
    def in_shape(self) -> Shape:
        return self.difference.out_shape

    @property
    def out_shape(self) -> Shape:
        return self.difference.in_shape

    def __call__(self, x: Array) -> Array:
        return -self.difference.adjoint(x)

    def adjoint(self, y: Array) -> Array:
        return -self.difference(y)

    def magnitude(self) -> Magnitude:
        return _Turned(self.difference.magnitude())

    def describe(self, inner: str) -> str:
        return f"div {inner}"


@pytree_dataclass
class _Turned:
    """|A^T|, for |A|."""

    magnitude: Any

    def __call__(self, x: Array) -> Array:
        return self.magnitude.adjoint(x)

    def adjoint(self, y: Array) -> Array:
        return self.magnitude(y)


@pytree_dataclass
class _SumOfNeighbours(_OnEdges):
    """|D|: the sum of two neighbours where `Difference` has their difference, and zero where it has none."""

    in_shape: Shape = static()
    axes: tuple[int, ...] = static()
    spacing: tuple[float, ...] = static()

    def __call__(self, x: Array) -> Array:
        parts = []
        for axis, inverse, after, _ in self._pads():
            first = lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
            second = lax.slice_in_dim(x, 1, x.shape[axis], axis=axis)
            part = jnp.pad(first + second, after)
            parts.append(part if inverse is None else inverse * part)
        return jnp.stack(parts)

    def adjoint(self, y: Array) -> Array:
        out = jnp.zeros((), y.dtype)
        for k, (axis, inverse, after, before) in enumerate(self._pads()):
            inner = lax.slice_in_dim(y[k], 0, y.shape[axis + 1] - 1, axis=axis)
            inner = inner if inverse is None else inverse * inner
            out = out + jnp.pad(inner, before) + jnp.pad(inner, after)
        return out
