"""Images stacked for a batch, and the order in which an epoch goes through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.data import refuse_mask


class Batch(NamedTuple):
    """Some images of a data set: their places in it, and 1 for those that count, 0 for those that fill up."""

    places: np.ndarray
    weight: np.ndarray


def stacked(data: Mapping[str, Any], what: str = "data") -> tuple[dict[str, Array], int]:
    """Each entry as one array with the images along the first axis, and the number of images.

    Args:
        data: By name, an array (k, ...) or a list of k arrays of one shape.
        what: For messages.

    Raises:
        DataError: there is no entry or no image, the entries differ in their number of images, or a number is
            masked or not finite.
        ShapeError: the images of an entry differ in shape.
    """
    if not isinstance(data, Mapping) or not data:
        raise DataError(f'{what} must be a mapping such as {{"B": images, "truth": images}}, got {data!r:.60}')
    out, counts = {}, {}
    for key, entry in data.items():
        name = str(getattr(key, "name", key))
        for one in entry if isinstance(entry, list | tuple) else [entry]:
            refuse_mask(one, f"{what}[{name!r}]")
        if isinstance(entry, list | tuple):
            shapes = sorted({np.shape(one) for one in entry})
            if len(shapes) > 1:
                raise ShapeError(
                    f"{what}[{name!r}] has images of different sizes, {', '.join(map(str, shapes))}: one model "
                    "takes one size. Cut them to patches of one size, or fit each size with a model of its own"
                )
            entry = np.stack([np.asarray(one) for one in entry]) if entry else np.zeros((0,))
        array = jnp.asarray(entry)
        if array.ndim == 0:
            raise DataError(f"{what}[{name!r}] must have the images along its first axis, got one number")
        if not bool(jnp.all(jnp.isfinite(array))):
            raise DataError(f"{what}[{name!r}] holds NaN or infinity")
        out[name], counts[name] = array, array.shape[0]
    if len(set(counts.values())) > 1:
        raise DataError(f"the entries of {what} differ in their number of images: {counts}")
    count = next(iter(counts.values()))
    if count == 0:
        raise DataError(f"{what} is empty: there is no image to learn from")
    return out, count


def batches(count: int, size: int, seed: tuple[int, ...] | None) -> Iterator[Batch]:
    """All images in batches of one size; the last is filled up with images that do not count.

    Args:
        count: Images in all.
        size: Images in a batch.
        seed: Of the order; None keeps it.
    """
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    for first in range(0, count, size):
        index = order[first : first + size]
        filled = np.concatenate([index, order[: size - len(index)]])
        yield Batch(filled, (np.arange(size) < len(index)).astype(np.float32))


def take(tree: Any, index: np.ndarray) -> Any:
    """The given images of a stack."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def put(tree: Any, index: np.ndarray, new: Any) -> Any:
    """The stack with some images replaced."""
    return jax.tree.map(lambda leaf, value: leaf.at[index].set(value), tree, new)


def repeated(tree: Any, count: int) -> Any:
    """A stack of `count` equal entries."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), tree)
