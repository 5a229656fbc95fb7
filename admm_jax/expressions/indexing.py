"""NumPy's indexing, brought to a hashable form and checked against a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.errors import ShapeError

Shape = tuple[int, ...]


def encode(shape: Shape, key: Any, what: str) -> tuple[tuple, Shape]:
    """`x[key]` as (entries, shape of the result); the entries are those of `operators.base.Index`.

    Integers, slices, `...`, `None`, integer arrays and boolean masks (turned to integer arrays) are understood.
    """
    entries: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        entries.extend(_encode_part(part, what))
    encoded = tuple(entries)
    try:
        out = np.broadcast_to(np.float64(0), shape)[decode(encoded)]
    except IndexError as error:
        raise ShapeError(f"cannot index {what} of shape {shape} with {key!r}: {error}") from error
    return encoded, out.shape


def decode(entries: tuple) -> tuple:
    """The key that NumPy and JAX understand."""

    def part(entry: Any) -> Any:
        if isinstance(entry, int):
            return entry
        kind, *rest = entry
        if kind == "slice":
            return slice(*rest)
        if kind == "array":
            return np.asarray(rest[0], dtype=np.int32)
        return None if kind == "newaxis" else ...

    return tuple(part(entry) for entry in entries)


def _encode_part(part: Any, what: str) -> list[Any]:
    if part is None:
        return [("newaxis",)]
    if part is Ellipsis:
        return [("ellipsis",)]
    if isinstance(part, slice):
        bounds = (part.start, part.stop, part.step)
        return [("slice", *(None if bound is None else int(bound) for bound in bounds))]
    if isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_):
        return [int(part)]
    array = np.asarray(part)
    if array.dtype == bool and array.ndim > 0:
        return [("array", tuple(axis.tolist())) for axis in np.nonzero(array)]
    if array.size == 0:
        return [("array", ())]
    if array.dtype.kind not in "iu":
        raise ShapeError(f"an index of {what} must be an integer, slice, mask or integer array, got {part!r}")
    return [("array", _nested(array.tolist()))]


def _nested(value: Any) -> Any:
    return tuple(_nested(v) for v in value) if isinstance(value, list) else value


def text(entries: tuple) -> str:
    """The entries as the user wrote them, long arrays shortened."""

    def part(entry: Any) -> str:
        if isinstance(entry, int):
            return str(entry)
        kind, *rest = entry
        if kind == "slice":
            start, stop, step = ("" if bound is None else str(bound) for bound in rest)
            return f"{start}:{stop}" + (f":{step}" if step else "")
        if kind == "array":
            return str(list(rest[0])) if len(rest[0]) <= 4 else f"indices({len(rest[0])})"
        return "None" if kind == "newaxis" else "..."

    return ", ".join(part(entry) for entry in entries)
