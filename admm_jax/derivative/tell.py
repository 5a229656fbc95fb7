"""Warnings that a compiled program gives while it runs, each once."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from admm_jax.errors import DerivativeWarning

FORWARD, REVERSE = "forward", "reverse"
_programs = itertools.count(1)


def program_number(owner: int) -> np.int32:
    """The number under which a warning is given once: a new one for each trace, minus `owner` where nothing is traced.

    JAX keeps the traces of inner functions and uses them in many programs. So a program's number cannot be a constant
    of what is traced in it: it is passed in as data.
    """
    return np.int32(next(_programs) if isinstance(jnp.zeros(()), Tracer) else -owner)


class Teller:
    """Warns once for each program, and outside of programs once in each mode of differentiation.

    `complaint` says what there is to say of the call's arguments, None for nothing.
    """

    def __init__(self, complaint: Callable[..., str | None]) -> None:
        self.complaint = complaint
        self.lock = threading.Lock()
        self.told: set[tuple[int, str]] = set()

    def __call__(self, mode: str, program: np.ndarray, *args: object) -> None:
        """Warn, if there is something to say and it is the first time."""
        text, number = self.complaint(*args), int(program)
        key = number, (mode if number <= 0 else "")
        with self.lock:
            if text is None or key in self.told:
                return
            self.told.add(key)
        warnings.warn(text, DerivativeWarning, stacklevel=2)


def announced(vector: Array, teller: Teller, program: Array, *args: Any) -> Array:
    """v -> v, linear, which calls the teller in forward mode and, transposed, in reverse mode.

    Args:
        vector: v.
        teller: Warns, if there is something to say.
        program: The number under which it warns once.
        *args: What its complaint reads.
    """
    args = lax.stop_gradient(args)

    def through(mode: str, v: Array) -> Array:
        jax.debug.callback(partial(teller, mode), program, *args)
        return v

    return lax.custom_linear_solve(
        lambda v: v, vector, lambda _, v: through(FORWARD, v), lambda _, v: through(REVERSE, v)
    )
