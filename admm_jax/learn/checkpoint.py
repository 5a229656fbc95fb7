"""A fit on disk: one .npz file, written whole or not at all, from which a later run goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.errors import DataError
from admm_jax.learn.outcome import Epoch


class Checkpoint(NamedTuple):
    """Where a fit stands between two epochs; a later run can go on from it.

    Attributes:
        params: The parameters, as the optimiser moves them.
        optimizer: Its state.
        best: The best parameters so far.
        best_loss: Their monitored loss.
        best_epoch: When it was measured.
        history: The epochs done.
    """

    params: Any
    optimizer: Any
    best: Any
    best_loss: float
    best_epoch: int
    history: tuple[Epoch, ...]


TREES = ("params", "optimizer", "best")


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write the checkpoint to an .npz file; what stood there before is replaced only when the new one is complete."""
    path = Path(path)
    arrays: dict[str, Any] = {
        f"{name}.{place}": np.asarray(leaf)
        for name in TREES
        for place, leaf in enumerate(jax.tree.leaves(getattr(checkpoint, name)))
    }
    meta = {
        "best_loss": checkpoint.best_loss,
        "best_epoch": checkpoint.best_epoch,
        "history": [epoch._asdict() for epoch in checkpoint.history],
    }
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(file, meta=np.array(json.dumps(meta)), **arrays)
    os.replace(partial, path)


def load(path: str | os.PathLike, like: Checkpoint) -> Checkpoint:
    """Read a checkpoint of the same structure as `like`.

    Raises:
        DataError: there is no such file, or it is that of a fit of other parameters or another optimiser.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file to resume a fit from")
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: no checkpoint of a fit: {error}") from error
    trees = {}
    for name in TREES:
        expected, structure = jax.tree.flatten(getattr(like, name))
        found = [arrays.get(f"{name}.{place}") for place in range(len(expected))]
        more = f"{name}.{len(expected)}" in arrays
        if more or any(f is None or f.shape != np.shape(e) for f, e in zip(found, expected, strict=True)):
            raise DataError(f"{path}: a checkpoint of other parameters or another optimiser: its {name} do not fit")
        trees[name] = jax.tree.unflatten(structure, [jnp.asarray(f) for f in found])
    history = tuple(Epoch(**epoch) for epoch in meta["history"])
    return Checkpoint(best_loss=meta["best_loss"], best_epoch=meta["best_epoch"], history=history, **trees)
