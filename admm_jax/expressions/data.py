"""Numbers at the door: what may become a constant, checked and copied."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from admm_jax.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse matrix in coordinate form, M[rows[k], cols[k]] += values[k]."""

    values: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    shape: tuple[int, int]

    def dense(self) -> np.ndarray:
        """The matrix with its zeros."""
        out = np.zeros(self.shape)
        np.add.at(out, (self.rows, self.cols), self.values)
        return out

    def transpose(self) -> Sparse:
        """The transpose."""
        return Sparse(self.values, self.cols, self.rows, (self.shape[1], self.shape[0]))


def is_sparse(value: Any) -> bool:
    """Whether `value` is a SciPy sparse matrix or array (without importing SciPy)."""
    return hasattr(value, "tocoo") and hasattr(value, "nnz")


def is_traced(value: Any) -> bool:
    """Whether `value` has no numbers yet, inside `jit`, `vmap` or `grad`."""
    return isinstance(value, Tracer)


def checked_array(value: Any, what: str, *, infinite: bool = False) -> np.ndarray | jax.Array:
    """`value` as a float64 NumPy copy, or as it is if JAX owns it.

    Args:
        value: A number, list, NumPy array or JAX array (traced or not).
        what: How to call it in an error message.
        infinite: Whether infinite entries are allowed (they are in bounds).

    Raises:
        DataError: for complex, object or string data, masked entries, NaN, and infinity where it has no meaning.
    """
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise DataError(f"{what} must be real, got complex data of dtype {value.dtype}")
        if not is_traced(value):
            _check_finite(np.asarray(value), what, infinite)
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))
    refuse_mask(value, what)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{what} must be an array of numbers, got ragged data ({error})") from error
    if array.dtype.kind == "c":
        raise DataError(f"{what} must be real, got complex data of dtype {array.dtype}")
    if array.dtype.kind not in "biuf":
        kind = {"O": "object", "U": "string", "S": "string"}.get(array.dtype.kind, str(array.dtype))
        raise DataError(f"{what} must hold numbers, got {kind} data: {type(value).__name__} {value!r:.60}")
    array = np.array(array, dtype=np.float64)
    _check_finite(array, what, infinite)
    array.flags.writeable = False
    return array


def refuse_mask(value: Any, what: str) -> None:
    """Refuse masked entries, which would count as if they were known.

    Args:
        value: Anything; only NumPy's masked arrays are looked at.
        what: How to call it in an error message.

    Raises:
        DataError: an entry is masked.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DataError(
            f"{what} must be an array without masked entries, got {np.ma.count_masked(value)} of {value.size} masked:"
            " the mask would be lost. Fill them by `.filled(0)` and give the residual there the weight zero, as in"
            " `sum(weight * square(...))`"
        )


def one_of_many(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What to write where several arrays were given in the place of one; empty where that is not what happened.

    Args:
        shape: That of what came.
        wanted: That of what was expected.
    """
    if len(shape) != len(wanted) + 1:
        return ""
    if shape[1:] == wanted:
        return f": for a batch of {shape[0]}, put the call under jax.vmap"
    if len(wanted) == 2 and shape[:-1] == wanted:
        return (
            f": for {shape[-1]} colours, put the call under jax.vmap with in_axes=-1; admm_jax.restore does so by"
            " channel_axis=-1"
        )
    return ""


ONE_IMAGE = (
    ": a model is of one image; a batch or the channels of a colour image go through it by jax.vmap, or by channel_axis"
    " of admm_jax.restore"
)


def checked_sparse(value: Any, what: str) -> Sparse:
    """A SciPy sparse matrix as coordinates, checked as `checked_array` does."""
    if len(value.shape) != 2:
        raise DataError(f"{what} must be a sparse matrix with 2 dimensions, got shape {value.shape}")
    coo = value.tocoo()
    values = checked_array(coo.data, what)
    assert isinstance(values, np.ndarray)
    rows, cols = np.asarray(coo.row, np.int32), np.asarray(coo.col, np.int32)
    return Sparse(values, rows, cols, (int(coo.shape[0]), int(coo.shape[1])))


def _check_finite(array: np.ndarray, what: str, infinite: bool) -> None:
    # one pass decides the common case; which entry is bad is looked for only then
    if array.size == 0 or np.isfinite(np.sum(array, dtype=np.float64)) or np.all(np.isfinite(array)):
        return
    nan = np.isnan(array)
    if nan.any():
        where = tuple(int(i) for i in np.argwhere(nan)[0])
        place = f", the first at {where}" if where else ""
        raise DataError(f"{what} must be finite, got {int(nan.sum())} NaN{place}")
    if not infinite:
        where = tuple(int(i) for i in np.argwhere(np.isinf(array))[0])
        raise DataError(f"{what} must be finite, got an infinite entry" + (f" at {where}" if where else ""))
