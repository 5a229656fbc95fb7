"""Operators applied to numbers at hand, in NumPy float64, for what is computed before a solve."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from admm_jax.operators.contract import Operator

_apply = jax.jit(lambda op, x: op(x))
_apply_adjoint = jax.jit(lambda op, y: op.adjoint(y))


def apply(op: Operator, x: Any, xp: Any) -> Any:
    """A x: NumPy's, in float64 whatever JAX's configuration is, if `xp` is numpy; else JAX's, in the dtype of x."""
    return _on_host(_apply, op, x) if xp is np else op(x)


def apply_adjoint(op: Operator, y: Any, xp: Any) -> Any:
    """A^T y, with `xp` as in `apply`."""
    return _on_host(_apply_adjoint, op, y) if xp is np else op.adjoint(y)


def _on_host(function: Any, op: Operator, value: Any) -> np.ndarray:
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        return np.asarray(function(op, np.asarray(value, np.float64)))
