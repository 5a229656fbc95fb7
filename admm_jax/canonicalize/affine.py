"""Affine expressions as linear maps: x -> A x + b, one rule per operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from admm_jax.canonicalize.values import Values
from admm_jax.errors import NonconvexError
from admm_jax.expressions import evaluate
from admm_jax.expressions.data import Sparse
from admm_jax.expressions.leaves import Var
from admm_jax.expressions.node import Expr
from admm_jax.operators import base
from admm_jax.operators.convolution import Conv2D
from admm_jax.operators.function import FunctionOperator
from admm_jax.problem import Chain, LinearMap

Shape = tuple[int, ...]
Names = dict[Var, str]


@dataclasses.dataclass(frozen=True)
class Affine:
    """sum of chains + offset; an offset None is zero, any other broadcasts to `shape`."""

    chains: tuple[tuple[str, tuple[Any, ...]], ...]
    offset: Any
    shape: Shape

    def linear_map(self) -> LinearMap:
        """The linear part."""
        return LinearMap(tuple(Chain(ops, name) for name, ops in self.chains), self.shape)

    def then(self, *ops: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The chains, each followed by `ops`."""
        return tuple((name, done + ops) for name, done in self.chains)

    def full_offset(self, values: Values) -> Any:
        """The offset as an array of the full shape."""
        if self.offset is None:
            return values.xp.zeros(self.shape, values.dtype)
        return values.xp.broadcast_to(self.offset, self.shape)

    @property
    def variable(self) -> str | None:
        """The name of the variable if this is one, untouched, up to the offset."""
        return self.chains[0][0] if len(self.chains) == 1 and not self.chains[0][1] else None


def to_affine(e: Expr, values: Values, names: Names) -> Affine:
    """Bring an affine expression to sum_i A_i x_i + b.

    Raises:
        NonconvexError: it is not affine; the message names the smallest subexpression that is not.
    """
    if e.is_constant:
        return Affine((), values.dense(e), e.shape)
    if isinstance(e, Var):
        return Affine(((names[e], ()),), None, e.shape)
    if e.op == "add":
        return _add(e, values, names)
    free = [i for i, arg in enumerate(e.args) if not arg.is_constant]
    if e.op not in OPERATORS or len(free) != 1:
        if e.op in ("multiply", "matmul"):
            raise NonconvexError(f"product of variables: `{e}` is not affine")
        raise NonconvexError(f"`{e}` is not affine, and stands where an affine expression is needed")
    inner = to_affine(e.args[free[0]], values, names)
    ops = OPERATORS[e.op](e, free[0], values)
    offset = None
    if inner.offset is not None:
        filled = [inner.full_offset(values) if i == free[0] else values(arg) for i, arg in enumerate(e.args)]
        offset = evaluate.apply(e, filled, values.xp)
    return Affine(inner.then(*ops), offset, e.shape)


def _add(e: Expr, values: Values, names: Names) -> Affine:
    chains: tuple[Any, ...] = ()
    offset = None
    for term in e.args:
        part = to_affine(term, values, names)
        chains += part.chains if term.shape == e.shape else part.then(base.Broadcast(term.shape, e.shape))
        if part.offset is not None:
            offset = part.offset if offset is None else offset + part.offset
    return Affine(chains, offset, e.shape)


def _scaled(factor: Any, in_shape: Shape, out_shape: Shape) -> tuple[Any, ...]:
    """Multiplication by a constant, after broadcasting where the constant is the larger."""
    if factor.ndim:
        factor = factor.reshape((1,) * (len(out_shape) - factor.ndim) + factor.shape)
    scale = base.Scale(factor, out_shape)
    return (scale,) if in_shape == out_shape else (base.Broadcast(in_shape, out_shape), scale)


def _matmul(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    matrix, in_shape, side = values(e.args[1 - i]), e.args[i].shape, "right" if i == 0 else "left"
    if isinstance(matrix, Sparse):
        entries = values.array(matrix.values)
        return (base.SparseMatMul(entries, matrix.rows, matrix.cols, matrix.shape, in_shape, side),)  # pyright: ignore
    return (base.MatMul(matrix, in_shape, side),)


def _convolution(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    return (Conv2D(values.dense(e.args[1]), e.args[0].shape, e.attrs["mode"], e.op == "conv2d"),)


def _function(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    params = tuple(values.dense(arg) for arg in e.args[1:])
    return (FunctionOperator(params, e.attrs["function"], e.args[0].shape, e.shape),)


OPERATORS: dict[str, Callable[[Expr, int, Values], tuple[Any, ...]]] = {
    "negative": lambda e, i, v: (base.Scale(v.array(-1.0), e.shape),),
    "multiply": lambda e, i, v: _scaled(v.dense(e.args[1 - i]), e.args[i].shape, e.shape),
    "divide": lambda e, i, v: _scaled(1.0 / v.dense(e.args[1]), e.args[0].shape, e.shape),
    "matmul": _matmul,
    "transpose": lambda e, i, v: (base.Transpose(e.args[0].shape),),
    "reshape": lambda e, i, v: (base.Reshape(e.args[0].shape, e.shape),),
    "index": lambda e, i, v: (base.Index(e.args[0].shape, e.shape, e.attrs["index"]),),
    "sum": lambda e, i, v: (base.Sum(e.args[0].shape, e.attrs["axes"]),),
    "conv2d": _convolution,
    "corr2d": _convolution,
    "linear": _function,
}
"""What each affine operation does to its one free argument, number `i`."""
