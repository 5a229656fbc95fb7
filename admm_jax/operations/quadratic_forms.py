"""Quadratic forms: l(x)^T r(x) as a sum of squares, when it is one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.canonicalize.values import Values
from admm_jax.errors import ModelError, NonconvexError
from admm_jax.expressions.facts import alike
from admm_jax.expressions.node import Expr
from admm_jax.precision import full_precision

# an eigenvalue of a symmetric n x n matrix is negative below -n * RELATIVE * (the largest), and above it is rounding
RELATIVE = 1e-12
LARGEST = 8192  # rows of a matrix that is factorised densely


def split(e: Expr) -> tuple[Expr, list[tuple[str, Expr]]] | None:
    """Read a product as base^T M base, M the product of the constants around the base.

    Returns:
        The base, and the factors of M in order, each (kind, node): "left", a matrix, and "left.T", its transpose;
        "scale" and "over", a scalar that multiplies and one that divides; "minus", a sign. None if the two sides have
        no common base.
    """
    left, right = _peel(e.args[0]), _peel(e.args[1])
    best = None
    for i, (a, _) in enumerate(left):
        for j, (b, _) in enumerate(right):
            if (best is None or i + j < best[0]) and a.size == b.size and alike(a, b):
                best = (i + j, i, j)
    if best is None:
        return None
    _, i, j = best
    # l = L_1 ... L_i base, so l^T = base^T L_i^T ... L_1^T
    factors = [(_flip(kind), node) for _, layer in reversed(left[1 : i + 1]) for kind, node in layer]
    factors += [(kind, node) for _, layer in right[1 : j + 1] for kind, node in layer]
    return left[i][0], factors


def _flip(kind: str) -> str:
    return {"left": "left.T", "left.T": "left"}.get(kind, kind)


def _peel(e: Expr) -> list[tuple[Expr, list[tuple[str, Expr]]]]:
    """e = layer_1 layer_2 ... base, for every base on the way in: [(base, last layer before it), ...].

    The first base is e itself, which has no layer. A layer is a list of factors, as `split` returns them. All bases are
    seen as vectors.
    """
    e = _bare(e)
    out: list[tuple[Expr, list[tuple[str, Expr]]]] = [(e, [])]
    while True:
        if e.op == "negative":
            step, e = [("minus", e)], e.args[0]
        elif e.op in ("multiply", "divide") and e.args[1].is_constant and e.args[1].size == 1:
            step, e = [("scale" if e.op == "multiply" else "over", e.args[1])], e.args[0]
        elif e.op == "multiply" and e.args[0].is_constant and e.args[0].size == 1:
            step, e = [("scale", e.args[0])], e.args[1]
        elif e.op == "matmul" and e.args[0].is_constant and e.args[0].ndim == 2 and _is_vector(e.args[1]):
            step, e = [("left", e.args[0])], e.args[1]
        elif e.op == "matmul" and e.args[1].is_constant and e.args[1].ndim == 2 and _is_vector(e.args[0]):
            step, e = [("left.T", e.args[1])], e.args[0]
        else:
            return out
        e = _bare(e)
        out.append((e, step))


def _is_vector(e: Expr) -> bool:
    return e.ndim == 1 or (e.ndim == 2 and 1 in e.shape)


def _bare(e: Expr) -> Expr:
    """The vector that e is the transpose, or another shape, of."""
    while e.op in ("transpose", "reshape") and _is_vector(e) and _is_vector(e.args[0]):
        e = e.args[0]
    return e


def scale_and_matrix(factors: list[tuple[str, Expr]], values: Values) -> tuple[Any, Any]:
    """(scale, matrix) of the factors; the matrix is None where there are only scalars."""
    scale: Any = 1.0
    matrix = None
    for kind, node in factors:
        if kind == "minus":
            scale = -scale
        elif kind in ("scale", "over"):
            number = values.dense(node).reshape(())
            scale = scale * number if kind == "scale" else scale / number
        else:
            if max(node.shape) > LARGEST:
                raise ModelError(
                    f"the matrix `{node}` of a quadratic form is too large to be factorised: for Q = L.T @ L, write"
                    " sum(square(L @ x))"
                )
            factor = values.dense(node) if kind == "left" else values.dense(node).T
            matrix = factor if matrix is None else matrix @ factor
    return scale, matrix


def square_root(matrix: Any, turned: bool, e: Expr, params: tuple[Expr, ...], values: Values) -> Any:
    """The symmetric S with S S = (M + M^T) / 2, of a matrix M that has to be positive semidefinite.

    Args:
        matrix: M, square.
        turned: Whether M is minus the matrix of the form, which has a negative weight or is maximised.
        e: The form, for the message.
        params: The parameters in M.
        values: Says whether M is known, and keeps what a constant M gave.

    Raises:
        NonconvexError: M is known and has a negative eigenvalue (ParameterError if parameters made it).
    """
    key = ("square_root", id(e), turned)
    if key in values.kept:
        return values.kept[key][1]
    symmetric = (matrix + matrix.T) / 2
    if not values.is_known(symmetric, params):
        return _traceable_root(symmetric) if values.xp is jnp else symmetric
    host = np.asarray(symmetric, np.float64)
    eigenvalues, vectors = np.linalg.eigh(host)
    rounding = max(RELATIVE, 4 * float(np.finfo(values.result).eps)) * len(host) * np.abs(eigenvalues).max(initial=0.0)
    if eigenvalues[0] < -rounding:
        kind, name = ("negative", "concave") if turned else ("positive", "convex")
        worst = -eigenvalues[0] if turned else eigenvalues[0]
        raise values.refuse(
            f"the quadratic form `{e}` is not {name} as it must be here: its matrix must be {kind} semidefinite,"
            f" but has the eigenvalue {worst:.6g}",
            params,
        )
    if values.xp is jnp:
        return _traceable_root(symmetric)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    if not params:
        values.kept[key] = (e, root)  # `e` is held so that its id stays its own
    return root


@jax.custom_jvp
def _traceable_root(matrix: jax.Array) -> jax.Array:
    return _decompose(matrix)[0]


@full_precision
def _decompose(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    # a root of rounding size in place of zero changes S S by rounding only, and gives singular matrices a derivative
    info = jnp.finfo(matrix.dtype)
    floor = jnp.maximum(info.eps * jnp.max(jnp.abs(eigenvalues)), info.tiny)
    roots = jnp.sqrt(jnp.maximum(eigenvalues, floor))
    # a form that is not convex must not be solved as another one: NaN is what the solver can see
    roots = jnp.where(eigenvalues < -4 * matrix.shape[0] * floor, jnp.nan, roots)
    return (vectors * roots) @ vectors.T, roots, vectors


@_traceable_root.defjvp
@full_precision
def _traceable_root_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # S S = M: dS S + S dS = dM, which in the eigenbasis of M reads dS_ij = dM_ij / (s_i + s_j)
    root, roots, vectors = _decompose(primals[0])
    inner = vectors.T @ tangents[0] @ vectors / (roots[:, None] + roots[None, :])
    return root, vectors @ inner @ vectors.T


def no_product(e: Expr) -> NonconvexError:
    """The error for a product that no rule brings to a sum of squares."""
    return NonconvexError(
        f"product of variables: `{e}` is neither affine nor a quadratic form; write x.T @ Q @ x,"
        " (A @ x - b).T @ (A @ x - b) or sum(square(...)) for quadratic terms"
    )
