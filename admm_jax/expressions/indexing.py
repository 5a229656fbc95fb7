"""NumPy's indexing, brought to a hashable form and checked against a shape."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from admm_jax.errors import ShapeError

Shape = tuple[int, ...]


def encode(shape: Shape, key: Any, what: str) -> tuple[tuple, Shape]:
    """`x[key]` as (entries, shape of the result); the entries are those of `operators.base.Index`.

    Integers, slices, `...`, `None`, integer arrays and boolean masks (turned to integer arrays) are understood.
    """
    parts = key if isinstance(key, tuple) else (key,)
    _check_masks(shape, parts, what)
    entries: list[Any] = []
    for part in parts:
        entries.extend(_encode_part(part, what))
    encoded = tuple(entries)
    try:
        out = np.broadcast_to(np.float64(0), shape)[decode(encoded)]
    except IndexError as error:
        raise ShapeError(f"cannot index {what} of shape {shape} with {key!r}: {error}") from error
    return encoded, out.shape


def _check_masks(shape: Shape, parts: tuple, what: str) -> None:
    """Refuse a mask whose shape is not that of the axes it stands for: its places would be those of another array."""
    masks = [np.asarray(p) if isinstance(p, np.ndarray | jax.Array | list | tuple) else None for p in parts]
    masks = [mask if mask is not None and mask.dtype == bool and mask.ndim > 0 else None for mask in masks]
    widths = [
        mask.ndim if mask is not None else int(part is not None and part is not Ellipsis)
        for part, mask in zip(parts, masks, strict=True)
    ]
    axis = 0
    for part, mask, width in zip(parts, masks, widths, strict=True):
        if part is Ellipsis:
            axis += max(len(shape) - sum(widths), 0)
        elif mask is not None and mask.shape != shape[axis : axis + width]:
            raise ShapeError(
                f"a mask must have the shape of what it selects from: {what} has shape {shape}, of which a mask here is"
                f" {shape[axis : axis + width]}, got {mask.shape}"
            )
        axis += width


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
