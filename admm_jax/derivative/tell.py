"""Warnings that a compiled program gives while it runs, each once."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from admm_jax.errors import DerivativeWarning

FORWARD, REVERSE = "forward", "reverse"
_programs = itertools.count(1)


class Origin(NamedTuple):
    """Where a solve comes from, for its warnings.

    Attributes:
        owner: A number of the model.
        model: The model in short.
        file: Of the line of the user's that called for it.
        line: Its number there.
    """

    owner: int
    model: str
    file: str
    line: int


NOWHERE = Origin(0, "", "<unknown>", 0)
_KEPT = 10_000  # origins, so that a process that traces without end does not grow without end
_lock = threading.Lock()
_origins: dict[int, Origin] = {}  # by the number of a program
_shown: dict[str, dict] = {}  # by file, what `warnings` has shown there, as it keeps for each module
# what stands between a user's line and the solve: this package, JAX, and what they decorate functions with
_BETWEEN = (
    *(str(Path(file).parent) + os.sep for file in (Path(__file__).parent, str(jax.__file__))),
    *(str(module.__file__) for module in (contextlib, functools)),
)


def called_from() -> tuple[str, int]:
    """The file and the number of the innermost line of the running ones that is neither of this package nor of JAX."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return (NOWHERE.file, NOWHERE.line) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def program_number(origin: Origin) -> np.int32:
    """The number under which a warning is given once: a new one for each trace, minus the owner's where none is traced.

    JAX keeps the traces of inner functions and uses them in many programs. So a program's number cannot be a constant
    of what is traced in it: it is passed in as data.
    """
    number = next(_programs) if isinstance(jnp.zeros(()), Tracer) else -origin.owner
    with _lock:
        _origins[number] = origin
        if len(_origins) > _KEPT:
            del _origins[next(iter(_origins))]
    return np.int32(number)


class Teller:
    """Warns once for each program, and outside of programs once in each mode of differentiation.

    A warning runs long after the line that asked for the derivative, from within JAX: it is shown at the user's line
    where `solve` was called (traced, within `jit`), and begins with the model.

    `complaint` says what there is to say of the call's arguments, which are NumPy's, None for nothing.
    """

    def __init__(self, complaint: Callable[..., str | None]) -> None:
        self.complaint = complaint
        self.lock = threading.Lock()
        self.told: set[tuple[int, str]] = set()

    def __call__(self, mode: str, program: Array, *args: Array) -> None:
        """Warn, if there is something to say and it is the first time.

        Meanwhile the program that called it holds a thread of XLA's. A comparison of JAX's arrays would be a program
        of its own and wait for a thread, for ever where there is no other one: NumPy's arrays are compared instead.
        """
        text, number = self.complaint(*jax.tree.map(np.asarray, args)), int(np.asarray(program))
        key = number, (mode if number <= 0 else "")
        with self.lock:
            if text is None or key in self.told:
                return
            self.told.add(key)
        origin = _origins.get(number, NOWHERE)
        text = f"{origin.model}: {text}" if origin.model else text
        shown = _shown.setdefault(origin.file, {})
        warnings.warn_explicit(text, DerivativeWarning, origin.file, origin.line, registry=shown)


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
