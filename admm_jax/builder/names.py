"""The names of a model's variables and parameters: each once, and one for a variable that has none."""

from __future__ import annotations

import gc
from typing import Any

from admm_jax.errors import ModelError
from admm_jax.expressions.leaves import Var


def distinct(leaves: list[Any], kind: str) -> tuple[Any, ...]:
    """The leaves, each once; two with one name are refused."""
    unique = list({id(leaf): leaf for leaf in leaves}.values())
    names = [leaf.name for leaf in unique if leaf.name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(f"two different {kind} have the name {twice!r} in one model")
    return tuple(unique)


def label(variables: tuple[Var, ...], model: object) -> None:
    """Name the unnamed x1, x2, ..., in the order of the model; those that other models have named keep their names."""

    def named_elsewhere() -> list[Var]:
        return [v for v in variables if v.name is None and any(other is not model for other in v._models)]

    def names() -> list[str]:
        return [v.name for v in variables if v.name is not None] + [v._label for v in named_elsewhere()]

    if len(set(names())) < len(names()):
        gc.collect()  # a model that nobody can reach any more has named nothing
    kept, used = named_elsewhere(), set(names())
    if len(used) < len(names()):
        twice = next(name for name in names() if names().count(name) > 1)
        raise ModelError(
            f"two variables have the name {twice!r} in one model, of which other models gave one to a variable without"
            ' a name: make it with a name of its own, as in Var("U", ...)'
        )
    number = 0
    for v in variables:
        if v.name is None and not any(v is other for other in kept):
            number += 1
            while f"x{number}" in used:
                number += 1
            v._label = f"x{number}"
