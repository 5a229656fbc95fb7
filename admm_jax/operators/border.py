"""An array with a border made of its own entries, and the adjoint, which adds the border up where it came from.

Along one axis a border is a few runs of the entries: forwards, backwards, or one of them repeated. They are slices, put
side by side; the adjoint is sums of slices. (On a CPU a gather takes no longer, but its adjoint five times as long.)
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.contract import Defaults, Shape
from admm_jax.pytree import pytree_dataclass, static

Width = tuple[tuple[int, int], ...]


@functools.lru_cache(maxsize=512)
def _runs(n: int, pair: tuple[int, int], mode: str) -> tuple[tuple[int, int, int], ...]:
    """(first entry, how many, step -1, 0 or 1) of each run, for `pair` entries before and after n of them."""
    source = np.pad(np.arange(n), pair, mode)  # pyright: ignore[reportArgumentType, reportCallIssue]
    runs: list[tuple[int, int, int]] = []
    for part in np.split(source, np.cumsum((pair[0], n))):
        start = 0
        while start < part.size:
            step = int(part[start + 1] - part[start]) if start + 1 < part.size else 0
            step = step if step in (-1, 0, 1) else 0  # a lone entry, before a jump
            end = start + 1
            while end < part.size and part[end] == part[end - 1] + step:
                end += 1
            runs.append((int(part[start]), end - start, step if end - start > 1 else 0))
            start = end
    return tuple(runs)


def _along(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def extend(x: Any, width: Width, mode: str, xp: Any) -> Any:
    """`numpy.pad(x, width, mode)`.

    Args:
        x: Of any shape without zeros.
        width: (before, after) of each axis, of any size.
        mode: "edge", "reflect", "symmetric" or "wrap".
        xp: numpy or jax.numpy.
    """
    for axis, pair in enumerate(width):
        if not any(pair):
            continue
        pieces = []
        for first, count, step in _runs(x.shape[axis], pair, mode):
            if step == 0:
                piece = _along(x, axis, first, first + 1)
                pieces.append(xp.broadcast_to(piece, (*x.shape[:axis], count, *x.shape[axis + 1 :])))
            elif step == 1:
                pieces.append(_along(x, axis, first, first + count))
            else:
                pieces.append(xp.flip(_along(x, axis, first - count + 1, first + 1), axis))
        x = xp.concatenate(pieces, axis=axis)
    return x


def fold(y: Any, shape: Shape, width: Width, mode: str, xp: Any) -> Any:
    """The adjoint of `extend`: each entry of the border is added to the one that it repeats.

    Args:
        y: Of the shape of `extend`'s result.
        shape: Of its argument.
        width: As of `extend`.
        mode: As of `extend`.
        xp: numpy or jax.numpy.
    """
    for axis, pair in reversed(list(enumerate(width))):
        if not any(pair):
            continue
        parts, at = [], 0  # (where it begins, what is added from there on)
        for first, count, step in _runs(shape[axis], pair, mode):
            piece = _along(y, axis, at, at + count)
            at += count
            if step == 0:
                parts.append((first, xp.sum(piece, axis=axis, keepdims=True)))
            else:
                parts.append((first, piece) if step == 1 else (first - count + 1, xp.flip(piece, axis)))
        cuts = sorted({low for low, _ in parts} | {low + piece.shape[axis] for low, piece in parts})
        segments = []
        for start, stop in pairwise(cuts):
            own = [
                _along(p, axis, start - low, stop - low)
                for low, p in parts
                if low <= start and stop <= low + p.shape[axis]
            ]
            segments.append(functools.reduce(lambda a, b: a + b, own))
        y = xp.concatenate(segments, axis=axis)
    return y


@pytree_dataclass
class Border(Defaults):
    """x -> x with a border of its own entries, `numpy.pad(x, width, mode)`; no number is rounded.

    Args:
        in_shape: Of x.
        width: (before, after) of each axis.
        mode: "edge", "reflect", "symmetric" or "wrap".
    """

    in_shape: Shape = static()
    width: Width = static()
    mode: str = static()

    @property
    def out_shape(self) -> Shape:
        return tuple(before + n + after for n, (before, after) in zip(self.in_shape, self.width, strict=True))

    def __call__(self, x: Array) -> Array:
        return extend(x, self.width, self.mode, jnp)

    def adjoint(self, y: Array) -> Array:
        return fold(y, self.in_shape, self.width, self.mode, jnp)

    def magnitude(self) -> Any:
        return self

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        return self(error)

    def describe(self, inner: str) -> str:
        return f"pad({inner})"
