"""Linear operators from one array to one array, each with its exact adjoint."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.contract import Operator, Shape
from admm_jax.operators.stacked import Gather, Stacks, each, stack
from admm_jax.precision import full_precision
from admm_jax.pytree import pytree_dataclass, static

__all__ = [
    "Broadcast",
    "Index",
    "MatMul",
    "Operator",
    "Reshape",
    "Scale",
    "Shape",
    "SparseMatMul",
    "Sum",
    "Transpose",
]


class _Moves(Stacks):
    """Entries that are only moved or repeated: no number is rounded."""

    def magnitude(self) -> Any:
        return self

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return self(error)


class _Products(Stacks):
    """Sums of products with the leaves: |A| is the same operator with their absolute values."""

    def magnitude(self) -> Any:
        return jax.tree.map(jnp.abs, self)


@pytree_dataclass
class Scale(_Products):
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

    @property
    def diagonal(self) -> Array:
        return self.factor

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return jnp.abs(self.factor) * error + jnp.finfo(out.dtype).eps * jnp.abs(out)

    def likeness(self) -> Hashable | None:
        return Scale, self.in_shape

    def stacked(self, ops: Sequence[Scale], *, shared: bool) -> tuple[Any, ...]:
        shape = (len(ops), *self.in_shape)
        scale = Scale(stack([op.factor for op in ops], len(self.in_shape)), shape)
        return (Broadcast(self.in_shape, shape), scale) if shared else (scale,)

    def describe(self, inner: str) -> str:
        return f"c * {inner}"


@pytree_dataclass
class Broadcast(_Moves):
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

    def describe(self, inner: str) -> str:
        return f"broadcast({inner})"


@pytree_dataclass
class Reshape(_Moves):
    """x -> x with another shape, in row-major order."""

    in_shape: Shape = static()
    out_shape: Shape = static()

    def __call__(self, x: Array) -> Array:
        return jnp.reshape(x, self.out_shape)

    def adjoint(self, y: Array) -> Array:
        return jnp.reshape(y, self.in_shape)

    @property
    def keeps_order(self) -> bool:
        return True

    def describe(self, inner: str) -> str:
        return f"reshape({inner})"


@pytree_dataclass
class Transpose(_Moves):
    """x -> x.T, all axes reversed."""

    in_shape: Shape = static()

    @property
    def out_shape(self) -> Shape:
        return self.in_shape[::-1]

    def __call__(self, x: Array) -> Array:
        return x.T

    def adjoint(self, y: Array) -> Array:
        return y.T

    def describe(self, inner: str) -> str:
        return f"{inner}.T"


@pytree_dataclass
class Sum(_Products):
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

    def describe(self, inner: str) -> str:
        return f"sum({inner})"


@pytree_dataclass
class Index(_Moves):
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

    @property
    def picks(self) -> bool:
        return _in_order(self.in_shape, self.index)

    def likeness(self) -> Hashable | None:
        return Index, self.in_shape, self.out_shape

    def stacked(self, ops: Sequence[Index], *, shared: bool) -> tuple[Any, ...]:
        count, size = len(ops), math.prod(self.in_shape)
        if not shared and all(op.index == self.index for op in ops):
            return (each(ops, shared=False),)
        source = self.in_shape if shared else (count, *self.in_shape)
        own = np.arange(size, dtype=np.int32).reshape(self.in_shape)
        places: Any = np.stack([own[op._key()] + np.int32(0 if shared else k * size) for k, op in enumerate(ops)])
        return _taken(places, source)

    def describe(self, inner: str) -> str:
        return f"{inner}[...]"


@functools.lru_cache(maxsize=256)
def _in_order(in_shape: Shape, index: tuple[int | tuple, ...]) -> bool:
    """Whether an index takes entries in their order: kept, for it is asked again in each solve."""
    places = np.arange(math.prod(in_shape), dtype=np.int32).reshape(in_shape)[Index(in_shape, (), index)._key()]
    return bool(np.all(np.diff(places.ravel()) > 0))


def _taken(places: np.ndarray, source: Shape) -> tuple[Any, ...]:
    """x -> x.ravel()[places], as a slice where the places are in a row: its adjoint adds nothing up.

    Args:
        places: Integers, of the shape of the result.
        source: The shape of x.
    """
    line, total = places.ravel(), math.prod(source)
    if not line.size or np.any(np.diff(line) != 1):
        return (Gather(places, source),)  # pyright: ignore[reportArgumentType]
    first, last = int(line[0]), int(line[-1]) + 1
    cut = () if line.size == total else (Index((total,), line.shape, (("slice", first, last, None),)),)
    flat = () if source == (total,) else (Reshape(source, (total,)),)
    return (*flat, *cut, Reshape(line.shape, places.shape))


@pytree_dataclass
class MatMul(_Products):
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

    @property
    def dense(self) -> Array | None:
        is_plain = self.side == "left" and self.matrix.ndim == 2 and len(self.in_shape) == 1
        return self.matrix if is_plain else None

    def stacked(self, ops: Sequence[MatMul], *, shared: bool) -> tuple[Any, ...]:
        if not shared or (self.side == "right" and len(self.in_shape) > 1):
            return (each(ops, shared=shared),)
        # the rows of all of them make one matrix
        rows = stack([op.matrix if op.side == "left" else op.matrix.T for op in ops])
        whole = MatMul(rows.reshape(-1, rows.shape[-1]), self.in_shape, "left")
        shape = (len(ops), *self.out_shape)
        return (whole,) if whole.out_shape == shape else (whole, Reshape(whole.out_shape, shape))

    def describe(self, inner: str) -> str:
        return f"A @ {inner}" if self.side == "left" else f"{inner} @ A"


@pytree_dataclass
class SparseMatMul(_Products):
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

    def describe(self, inner: str) -> str:
        return f"S @ {inner}"
