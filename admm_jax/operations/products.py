"""`@`: products of matrices and vectors, and quadratic forms.

The function that makes their nodes is in `expressions.node`, where `Expr` needs it for its operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import Limit
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.data import Sparse
from admm_jax.expressions.facts import is_affine, sign
from admm_jax.expressions.node import Expr, multiply
from admm_jax.expressions.operation import ATOM, NEGATION, PRODUCT, Operation, sign_of_product
from admm_jax.expressions.printing import Printer
from admm_jax.operations import quadratic_forms
from admm_jax.operators.base import MatMul, SparseMatMul
from admm_jax.prox.functions import L2Ball


def _value(xp: Any, a: Any, b: Any) -> Any:
    if isinstance(a, Sparse):
        a = xp.asarray(a.dense(), getattr(b, "dtype", None))
    if isinstance(b, Sparse):
        b = xp.asarray(b.dense(), getattr(a, "dtype", None))
    return a @ b


def _linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    matrix, in_shape, side = values(e.args[1 - i]), e.args[i].shape, "right" if i == 0 else "left"
    if isinstance(matrix, Sparse):
        entries: Any = values.array(matrix.values)
        rows: Any = matrix.rows
        cols: Any = matrix.cols
        return (SparseMatMul(entries, rows, cols, matrix.shape, in_shape, side),)
    return (MatMul(matrix, in_shape, side),)


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    xp = values.xp
    full, matrix = xp.broadcast_to(y, e.shape), values(e.args[1 - i])
    if i == 1:
        return _transposed_times(matrix, full, xp)
    matrix = matrix.transpose() if isinstance(matrix, Sparse) else matrix.T
    return _transposed_times(matrix, full.T, xp).T


def _transposed_times(matrix: Any, y: Any, xp: Any) -> Any:
    """matrix^T y; for a row (1-D) `matrix`, the outer product."""
    if isinstance(matrix, Sparse):
        terms = matrix.values.reshape((-1,) + (1,) * (y.ndim - 1)) * y[matrix.rows]
        shape = (matrix.shape[1], *y.shape[1:])
        if xp is not np:
            return xp.zeros(shape, y.dtype).at[matrix.cols].add(terms.astype(y.dtype))
        out = np.zeros(shape)
        np.add.at(out, matrix.cols, terms)
        return out
    return matrix.T @ y if matrix.ndim == 2 else xp.multiply.outer(matrix, y)


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """w base^T M base, M a product of constants: 1/2 (2w) ||S base||^2 with S S = M."""
    if any(arg.is_constant for arg in e.args):
        assembly.add_linear(e, coefficient)
        return
    found = quadratic_forms.split(e) if e.size == 1 else None
    if found is None or not is_affine(found[0]):
        if e.ndim == 0:  # a sum of elementwise products, as in (w * x) @ x
            assembly.add(multiply(*e.args).sum(), coefficient)
            return
        raise quadratic_forms.no_product(e)
    values, (base, factors) = assembly.values, found
    scale, matrix = quadratic_forms.scale_and_matrix(factors, values)
    weight, known_sign, params = coefficient.value.reshape(()) * scale, coefficient.sign, coefficient.params
    for kind, node in factors:
        if kind in ("scale", "over"):
            known_sign, params = known_sign * int(sign(node)), params + node.parameters
        elif kind == "minus":
            known_sign = -known_sign
    argument = assembly.affine(base.reshape(-1))
    if matrix is None:
        assembly.add_quadratic(e, argument, assembly.weight(e, Coefficient(weight, known_sign, params)))
        return
    turned = known_sign < 0 or (known_sign == 0 and values.is_known(weight, params) and float(weight) < 0)
    matrix, weight = (-matrix, -weight) if turned else (matrix, weight)
    inside = params + tuple(p for kind, node in factors if kind.startswith("left") for p in node.parameters)
    root = quadratic_forms.square_root(matrix, turned, e, inside, values)
    assembly.add_quadratic(e, _rooted(argument, root, values), weight)


def _rooted(argument: Affine, root: Any, values: Values) -> Affine:
    """S (A x + b)."""
    offset = None if argument.offset is None else root @ argument.full_offset(values)
    return Affine(argument.then(MatMul(root, argument.shape, "left")), offset, argument.shape)


def _level(e: Expr, sense: str, bound: Any, limit: Limit) -> None:
    """base^T M base <= r means ||S base|| <= sqrt(r); a form bounded from below has to be a negative one."""
    if sense == "==":
        raise limit.unknown(e, sense)
    turned = sense == ">="
    bound = -bound if turned else bound
    found = quadratic_forms.split(e) if e.size == 1 else None
    if found is None or not is_affine(found[0]):
        raise quadratic_forms.no_product(e)
    values, (base, factors) = limit.values, found
    scale, matrix = quadratic_forms.scale_and_matrix(factors, values)
    inside = tuple(p for kind, node in factors if kind != "minus" for p in node.parameters)
    argument, scale = limit.assembly.affine(base.reshape(-1)), -scale if turned else scale
    if matrix is None:
        matrix = values.xp.eye(base.size, dtype=values.dtype)
    root = quadratic_forms.square_root(scale * matrix, turned, e, inside, values)
    radius = limit.radius(e, bound)
    limit.ball(L2Ball, _rooted(argument, root, values), None if radius is None else values.xp.sqrt(radius))


def _text(e: Expr, printer: Printer) -> str:
    return f"{printer.wrap(e.args[0], PRODUCT)} @ {printer.wrap(e.args[1], NEGATION)}"


def _latex(e: Expr, printer: Printer) -> str:
    """A x, and x^T y where a vector stands on the left; x^T A is a row already."""
    left, right = e.args
    is_row = left.op == "matmul" and left.args[0].ndim == 1
    first = printer.wrap(left, PRODUCT) if left.ndim == 2 or is_row else printer.wrap(left, ATOM) + r"^{\mathsf T}"
    return rf"{first} \, {printer.wrap(right, NEGATION)}"


MATMUL = Operation(
    "matmul",
    value=_value,
    sign=sign_of_product,
    text=_text,
    latex=_latex,
    binding=PRODUCT,
    linear=_linear,
    adjoint=_adjoint,
    objective=_objective,
    level=_level,
    sparse=True,
)
