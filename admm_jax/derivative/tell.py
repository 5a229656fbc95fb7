"""Warnings that a compiled program gives while it runs, each once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

from admm_jax.errors import DerivativeWarning


class Teller:
    """Warns once for each compiled program: made where one is traced, called whenever it runs.

    `complaint` says what there is to say of the call's arguments, None for nothing.
    """

    def __init__(self, complaint: Callable[..., str | None]) -> None:
        self.complaint = complaint
        self.lock, self.told = threading.Lock(), False

    def __call__(self, *args: object) -> None:
        """Warn, if there is something to say and it is the first time."""
        text = self.complaint(*args)
        with self.lock:
            if text is None or self.told:
                return
            self.told = True
        warnings.warn(text, DerivativeWarning, stacklevel=2)
