"""Products of matrices at the precision of their numbers, on every device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, with no product of matrices that it does or traces rounded to less than its numbers' precision.

    Accelerators multiply float32 matrices with 10 bits of mantissa or fewer unless told otherwise. No certificate below
    1e-3 could be trusted then.
    """

    @wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return within
