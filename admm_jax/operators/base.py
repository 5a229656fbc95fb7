"""Linear operators from one array to one array, each with its exact adjoint."""

from __future__ import annotations

from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.precision import full_precision
from admm_jax.pytree import pytree_dataclass, static

Shape = tuple[int, ...]


class Operator(Protocol):
    """x -> A x, with <A x, y> = <x, A^T y> to rounding.

    Implementations are pytrees: matrices, kernels and weights are leaves, shapes are static.
    """

    @property
    def in_shape(self) -> Shape: ...
    @property
    def out_shape(self) -> Shape: ...
    def __call__(self, x: Array) -> Array: ...
    def adjoint(self, y: Array) -> Array: ...


@pytree_dataclass
class Scale:
    """x -> factor * x, elementwise; `factor` is a scalar or broadcasts to `in_shape`."""

    factor: Array
    in_shape: Shape = static()

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    def __call__(self, x: Array) -> Array:
        return self.factor * x

    def adjoint(self, y: Array) -> Array:
        return self.factor * y


@pytree_dataclass
class Broadcast:
    """x -> x repeated to `out_shape` by NumPy's rules; the adjoint sums over the repeats."""

    in_shape: Shape = static()
    out_shape: Shape = static()

    def __call__(self, x: Array) -> Array:
        return jnp.broadcast_to(x, self.out_shape)

    def adjoint(self, y: Array) -> Array:
        extra = len(self.out_shape) - len(self.in_shape)
        padded = (1,) * extra + self.in_shape
        axes = tuple(i for i, n in enumerate(padded) if n != self.out_shape[i])
        return jnp.sum(y, axis=axes, keepdims=True).reshape(self.in_shape)


@pytree_dataclass
class Reshape:
    """x -> x with another shape, in row-major order."""

    in_shape: Shape = static()
    out_shape: Shape = static()

    def __call__(self, x: Array) -> Array:
        return jnp.reshape(x, self.out_shape)

    def adjoint(self, y: Array) -> Array:
        return jnp.reshape(y, self.in_shape)


@pytree_dataclass
class Transpose:
    """x -> x.T, all axes reversed."""

    in_shape: Shape = static()

    @property
    def out_shape(self) -> Shape:
        return self.in_shape[::-1]

    def __call__(self, x: Array) -> Array:
        return x.T

    def adjoint(self, y: Array) -> Array:
        return y.T


@pytree_dataclass
class Sum:
    """x -> sum of x over `axes` (all of them for a scalar)."""

    in_shape: Shape = static()
    axes: tuple[int, ...] = static()

    @property
    def out_shape(self) -> Shape:
        return tuple(n for i, n in enumerate(self.in_shape) if i not in self.axes)

    def __call__(self, x: Array) -> Array:
        return jnp.sum(x, axis=self.axes)

    def adjoint(self, y: Array) -> Array:
        return jnp.broadcast_to(jnp.expand_dims(y, self.axes), self.in_shape)


@pytree_dataclass
class Index:
    """x -> x[index]; `index` holds hashable integers, `slice` triples and index tuples.

    Each entry is an int, ("slice", start, stop, step), ("array", tuple of ints), ("newaxis",) or ("ellipsis",).
    """

    in_shape: Shape = static()
    out_shape: Shape = static()
    index: tuple[int | tuple, ...] = static()

    def _key(self) -> tuple:
        def decode(entry: int | tuple) -> int | slice | np.ndarray | None:
            if isinstance(entry, int):
                return entry
            kind, *rest = entry
            if kind == "slice":
                return slice(*rest)
            if kind == "array":
                return np.asarray(rest[0], dtype=np.int32)
            return None if kind == "newaxis" else ...  # pyright: ignore[reportReturnType]

        return tuple(decode(entry) for entry in self.index)

    def __call__(self, x: Array) -> Array:
        return x[self._key()]

    def adjoint(self, y: Array) -> Array:
        return jnp.zeros(self.in_shape, y.dtype).at[self._key()].add(y)


@pytree_dataclass
class MatMul:
    """x -> matrix @ x (`side="left"`) or x @ matrix (`side="right"`), for vectors and matrices x."""

    matrix: Array
    in_shape: Shape = static()
    side: str = static()

    @property
    def out_shape(self) -> Shape:
        if self.side == "left":
            return self.matrix.shape[:-1] + self.in_shape[1:]
        return self.in_shape[:-1] + self.matrix.shape[1:]

    @full_precision
    def __call__(self, x: Array) -> Array:
        return self.matrix @ x if self.side == "left" else x @ self.matrix

    @full_precision
    def adjoint(self, y: Array) -> Array:
        if self.side == "left":  # a 1-D `matrix` is a row: its adjoint is an outer product
            return self.matrix.T @ y if self.matrix.ndim == 2 else jnp.multiply.outer(self.matrix, y)
        return y @ self.matrix.T if self.matrix.ndim == 2 else jnp.multiply.outer(y, self.matrix)


@pytree_dataclass
class SparseMatMul:
    """x -> M @ x or x @ M for a sparse M in coordinate form: M[rows[k], cols[k]] += values[k]."""

    values: Array
    rows: Array
    cols: Array
    shape: tuple[int, int] = static()
    in_shape: Shape = static()
    side: str = static()

    @property
    def out_shape(self) -> Shape:
        if self.side == "left":
            return (self.shape[0], *self.in_shape[1:])
        return (*self.in_shape[:-1], self.shape[1])

    def _left(self, x: Array, rows: Array, cols: Array, size: int) -> Array:
        values = self.values.reshape((-1,) + (1,) * (x.ndim - 1))
        return jnp.zeros((size, *x.shape[1:]), jnp.result_type(x, self.values)).at[rows].add(values * x[cols])

    def __call__(self, x: Array) -> Array:
        if self.side == "left":
            return self._left(x, self.rows, self.cols, self.shape[0])
        return self._left(x.T, self.cols, self.rows, self.shape[1]).T

    def adjoint(self, y: Array) -> Array:
        if self.side == "left":
            return self._left(y, self.cols, self.rows, self.shape[1])
        return self._left(y.T, self.rows, self.cols, self.shape[0]).T


@pytree_dataclass
class Difference:
    """x -> forward differences along each axis, stacked first: shape (ndim, *in_shape).

    The difference beyond the last row, column or entry is zero, so every pixel has its own pair.
    """

    in_shape: Shape = static()

    @property
    def out_shape(self) -> Shape:
        return (len(self.in_shape), *self.in_shape)

    def __call__(self, x: Array) -> Array:
        def along(axis: int) -> Array:
            pad = [(0, int(i == axis)) for i in range(x.ndim)]
            return jnp.pad(jnp.diff(x, axis=axis), pad)

        return jnp.stack([along(axis) for axis in range(x.ndim)])

    def adjoint(self, y: Array) -> Array:
        def along(axis: int) -> Array:
            inner = y[axis]
            inner = inner[tuple(slice(0, -1) if i == axis else slice(None) for i in range(inner.ndim))]
            before = [(int(i == axis), 0) for i in range(inner.ndim)]
            after = [(0, int(i == axis)) for i in range(inner.ndim)]
            return jnp.pad(inner, before) - jnp.pad(inner, after)

        out = along(0)
        for axis in range(1, len(self.in_shape)):
            out = out + along(axis)
        return out
