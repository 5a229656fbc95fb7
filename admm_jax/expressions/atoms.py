"""The functions that a model is written with.

Each takes expressions or numbers. With an expression among the arguments it returns an expression; on numbers alone it
computes at once, in NumPy float64, or in JAX where an argument is a JAX array.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.errors import DataError, ExpressionError, NonconvexError, ShapeError
from admm_jax.expressions import convolution, evaluate
from admm_jax.expressions.data import Sparse, is_traced
from admm_jax.expressions.node import Apply, Constant, Expr, as_expr, broadcast_shape, total


def _finish(node: Expr) -> Any:
    """The node, or its value where nothing symbolic is left in it."""
    if not all(isinstance(arg, Constant) for arg in node.args):
        return node
    values = [arg.value for arg in node.args if isinstance(arg, Constant)]
    traced = [v for v in values if isinstance(v, jax.Array)]
    if not traced:
        return evaluate.apply(node, values, np)
    dtype = jnp.result_type(*(v.dtype for v in traced))
    return evaluate.apply(node, [v if isinstance(v, Sparse) else jnp.asarray(v, dtype) for v in values], jnp)


def _elementwise(op: str, x: Any) -> Any:
    x = as_expr(x, f"the argument of {op}")
    return _finish(Apply(op, (x,), x.shape))


def sum(x: Any, axis: Any = None) -> Any:
    """sum_i x_i, or the sums along `axis` (an int or several).

    Args:
        x: Any shape.
        axis: Axes to sum over; None is all of them.

    Raises:
        ShapeError: an axis is out of range.
    """
    node = total(as_expr(x, "the argument of sum"), axis)
    return node.value if isinstance(node, Constant) else _finish(node)


def square(x: Any) -> Any:
    """x_i^2, elementwise."""
    return _elementwise("square", x)


def abs(x: Any) -> Any:
    """|x_i|, elementwise."""
    return _elementwise("abs", x)


def huber(x: Any, delta: Any = 1) -> Any:
    """x_i^2 / 2 where |x_i| <= delta, delta |x_i| - delta^2 / 2 elsewhere.

    Args:
        x: Any shape.
        delta: Positive constant, a scalar or broadcasting with x.

    Raises:
        DataError: delta is not positive.
        ExpressionError: delta holds a variable.
    """
    x, delta = as_expr(x, "the argument of huber"), _constant(delta, "delta of huber")
    if isinstance(delta, Constant) and not is_traced(delta.value) and not np.all(np.asarray(delta.value) > 0):
        raise DataError(f"delta of huber must be positive, got {delta}")
    return _finish(Apply("huber", (x, delta), broadcast_shape("huber", x, delta)))


def norm(x: Any, ord: Any = None) -> Any:
    """||x||: Euclidean (None, 2), 1 and inf for vectors; Frobenius (None, "fro") for matrices.

    The operator norms of a matrix (1, 2, inf) are computed on numbers, but have no rule for expressions.

    Args:
        x: A vector or matrix.
        ord: None, 1, 2, `inf` or "fro".

    Raises:
        DataError: an unknown `ord`.
        ShapeError: x is a scalar or has more than two dimensions.
        NonconvexError: an operator norm of an expression, with what to write instead.
    """
    x = as_expr(x, "the argument of norm")
    if not (ord is None or ord in (1, 2, np.inf, "fro")):
        raise DataError(f"ord of norm must be None, 1, 2, inf or 'fro', got {ord!r}")
    if x.ndim not in (1, 2):
        raise ShapeError(f"norm takes a vector or a matrix, got `{x}` of shape {x.shape}: write abs for a scalar")
    if x.ndim == 2 and ord in (1, 2, np.inf) and not x.is_constant:
        instead = {1: "sum(abs(x))", 2: "norm(x, 'fro')", np.inf: "norm(x.reshape(-1), inf)"}[ord]
        raise NonconvexError(
            f"norm({x}, {ord}) of a matrix is an operator norm, which has no rule: for the norm of its entries"
            f" write {instead}"
        )
    return _finish(Apply("norm", (x,), (), ord=None if ord in (2, "fro") and x.ndim == 1 else ord))


def maximum(x: Any, b: Any) -> Any:
    """max(x_i, b_i), elementwise; one of the two is constant."""
    return _extremum("maximum", x, b)


def minimum(x: Any, b: Any) -> Any:
    """min(x_i, b_i), elementwise; one of the two is constant."""
    return _extremum("minimum", x, b)


def _extremum(op: str, x: Any, b: Any) -> Any:
    x, b = as_expr(x, f"the first argument of {op}"), as_expr(b, f"the second argument of {op}")
    if x.is_constant:
        x, b = b, x
    if not b.is_constant:
        raise ExpressionError(f"one argument of {op} must be a constant, got two expressions: `{x}` and `{b}`")
    return _finish(Apply(op, (x, b), broadcast_shape(op, x, b)))


def inrange(x: Any, lb: Any, ub: Any) -> Any:
    """0 where lb_i <= x_i <= ub_i, inf elsewhere, elementwise: a constraint written as a term.

    Args:
        x: Any shape.
        lb: Lower bound, broadcasting with x; may be -inf.
        ub: Upper bound, broadcasting with x; may be inf.
    """
    x = as_expr(x, "the argument of inrange")
    lb = _constant(lb, "lb of inrange", infinite=True)
    ub = _constant(ub, "ub of inrange", infinite=True)
    return _finish(Apply("inrange", (x, lb, ub), broadcast_shape("inrange", x, lb, ub)))


def conv2d(x: Any, k: Any, mode: str = "same") -> Any:
    """(k * x)_ij = sum_pq k_pq x_{i-p, j-q}, zero outside: equal to `scipy.signal.convolve2d(x, k, mode)`.

    Args:
        x: Image, (m, n).
        k: Kernel, (p, q), a constant of any size, even ones too.
        mode: "full" (m + p - 1, n + q - 1), "same" (m, n) or "valid" (m - p + 1, n - q + 1).

    Raises:
        ShapeError: x or k is not 2-D, k is empty, or larger than x in mode "valid".
        DataError: an unknown mode.
        ExpressionError: the kernel holds a variable.
    """
    return _convolution("conv2d", x, k, mode)


def corr2d(x: Any, k: Any, mode: str = "same") -> Any:
    """sum_pq k_pq x_{i+p, j+q}, zero outside: equal to `scipy.signal.correlate2d(x, k, mode)`.

    Arguments and errors are those of `conv2d`.
    """
    return _convolution("corr2d", x, k, mode)


def _convolution(op: str, x: Any, k: Any, mode: str) -> Any:
    x = as_expr(x, f"the image of {op}")
    k = _constant(k, f"the kernel of {op}")
    if mode not in convolution.MODES:
        raise DataError(f"the mode of {op} must be 'full', 'same' or 'valid', got {mode!r}")
    if x.ndim != 2:
        raise ShapeError(f"the image of {op} must be 2-D, got `{x}` of shape {x.shape}")
    if k.ndim != 2:
        raise ShapeError(f"the kernel of {op} must be 2-D, got `{k}` of shape {k.shape}")
    if k.size == 0 or x.size == 0:
        raise ShapeError(f"{op} takes a non-empty image and kernel, got shapes {x.shape} and {k.shape}")
    if mode == "valid" and any(p > n for p, n in zip(k.shape, x.shape, strict=True)):
        raise ShapeError(
            f"the kernel of {op} is larger than the image in mode 'valid': kernel `{k}` of shape {k.shape},"
            f" image `{x}` of shape {x.shape}"
        )
    return _finish(Apply(op, (x, k), convolution.out_shape(x.shape, k.shape, mode), mode=mode))


def tv2d(x: Any, p: int = 1, weight: Any = None) -> Any:
    """Total variation of an image, by forward differences d that are zero beyond the last row and column.

    p = 1: sum_ij |d1_ij| + |d2_ij|;  p = 2: sum_ij sqrt(d1_ij^2 + d2_ij^2).

    Args:
        x: Image, (m, n).
        p: 1 (anisotropic) or 2 (isotropic). Every pixel is counted, those of the last row and column too.
        weight: Constant factor >= 0 for each pixel, (m, n), or for p = 1 each difference, (2, m, n); None is 1.

    Raises:
        ShapeError: x is not 2-D, or the weight does not fit.
        DataError: p is neither 1 nor 2.
    """
    x = as_expr(x, "the argument of tv2d")
    _check_p("tv2d", p)
    if x.ndim != 2:
        raise ShapeError(f"tv2d takes a 2-D image, got `{x}` of shape {x.shape}")
    shapes = [(), x.shape] + ([(2, *x.shape)] if p == 1 else [])
    return _total_variation("tv2d", x, p, weight, shapes)


def tv1d(x: Any, w: Any = None, p: int = 1, *, weight: Any = None) -> Any:
    """Total variation of a signal: sum_i w_i |x_{i+1} - x_i|; for p = 2, sqrt(sum_i (w_i (x_{i+1} - x_i))^2).

    Args:
        x: Signal, (n,).
        w: Constant factor >= 0, a scalar or (n - 1,); with n entries the last is unused; None is 1.
        p: 1 or 2.
        weight: Another name for `w`.

    Raises:
        ShapeError: x is not 1-D, or the weight does not fit.
        DataError: p is neither 1 nor 2, or both `w` and `weight` are given.
    """
    if w is not None and weight is not None:
        raise DataError("tv1d takes `w` or `weight`, which are one argument, got both")
    x = as_expr(x, "the argument of tv1d")
    _check_p("tv1d", p)
    if x.ndim != 1:
        raise ShapeError(f"tv1d takes a 1-D signal, got `{x}` of shape {x.shape}")
    return _total_variation("tv1d", x, p, w if weight is None else weight, [(), (x.shape[0] - 1,), x.shape])


def _check_p(op: str, p: Any) -> None:
    if isinstance(p, bool) or p not in (1, 2):
        raise DataError(f"p of {op} must be 1 or 2, got {p!r}")


def _total_variation(op: str, x: Expr, p: int, weight: Any, shapes: list[tuple[int, ...]]) -> Any:
    args = (x,)
    if weight is not None:
        weight = _constant(weight, f"the weight of {op}")
        if weight.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ShapeError(f"the weight of {op}({x}) must have shape {expected}, got `{weight}` of {weight.shape}")
        args = (x, weight)
    return _finish(Apply(op, args, (), p=int(p)))


def _constant(value: Any, what: str, *, infinite: bool = False) -> Expr:
    node = as_expr(value, what, infinite=infinite)
    if not node.is_constant:
        raise ExpressionError(f"{what} must be a constant, got `{node}`, which holds the variable {node.variables[0]}")
    return node
