"""Every linear operator is a matrix: here it is compared with the one that NumPy makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.operators.base import Operator, Shape

DTYPES = ("float32", "float64")


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """float64 switched on where it is wanted, and no silent promotion of types."""
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        yield


def tolerance(dtype: str, terms: int = 1) -> float:
    """A few roundings of sums of `terms` products of numbers below one."""
    return 8 * float(np.finfo(dtype).eps) * (1 + terms)


def units(shape: Shape, dtype: str) -> np.ndarray:
    size = int(np.prod(shape))
    return np.eye(size, dtype=dtype).reshape(size, *shape)


@jax.jit
def _apply(op: Operator, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(op)(x), jax.vmap(op.adjoint)(y)


def check_matrix(op: Operator, function: Callable[[np.ndarray], np.ndarray], dtype: str, terms: int) -> None:
    """`op` is `function`, and its adjoint is the transpose, to rounding; so is the identity <A x, y> = <x, A^T y>."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, op.in_shape).astype(dtype), rng.uniform(-1, 1, op.out_shape).astype(dtype)
    xs, ys = np.concatenate([units(op.in_shape, dtype), x[None]]), np.concatenate([units(op.out_shape, dtype), y[None]])
    forward, adjoint = _apply(op, jnp.asarray(xs), jnp.asarray(ys))
    assert forward.dtype == adjoint.dtype == dtype
    assert forward.shape[1:] == op.out_shape
    assert adjoint.shape[1:] == op.in_shape

    matrix = np.stack([np.ravel(function(unit)) for unit in units(op.in_shape, "float64")], axis=1)
    atol = tolerance(dtype, terms)
    np.testing.assert_allclose(np.asarray(forward[:-1]).reshape(x.size, -1).T, matrix, rtol=0, atol=atol)
    np.testing.assert_allclose(np.asarray(adjoint[:-1]).reshape(y.size, -1), matrix, rtol=0, atol=atol)
    assert abs(np.vdot(forward[-1], y) - np.vdot(x, adjoint[-1])) <= atol * (1 + np.abs(matrix).sum())
