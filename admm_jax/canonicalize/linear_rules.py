"""Linear operations in the objective: the coefficient goes on to the argument through the adjoint.

So `w @ abs(x)`, `sum(abs(x)[1:])` or a nonnegative blur of `huber(x)` need no rule of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.quadratic_rules import pull_product, pull_quadratic_form
from admm_jax.canonicalize.terms import Coefficient, Terms
from admm_jax.expressions import convolution, indexing
from admm_jax.expressions.data import Sparse
from admm_jax.expressions.node import Expr
from admm_jax.operators import on_host
from admm_jax.operators.function import FunctionOperator


def reduce_to(value: Any, shape: tuple[int, ...], full: tuple[int, ...], xp: Any) -> Any:
    """The adjoint of broadcasting `shape` to `full`, on a coefficient that itself broadcasts to `full`."""
    if shape == full:
        return value
    value = xp.broadcast_to(value, full)
    extra = len(full) - len(shape)
    axes = tuple(i for i in range(len(full)) if i < extra or shape[i - extra] != full[i])
    return xp.sum(value, axis=axes, keepdims=True).reshape(shape)


def pull_add(o: Terms, e: Expr, c: Coefficient) -> None:
    for term in e.args:
        o.pull(term, c.through(reduce_to(c.value, term.shape, e.shape, o.values.xp)))


def pull_multiply(o: Terms, e: Expr, c: Coefficient) -> None:
    a, b = e.args
    if not a.is_constant and not b.is_constant:
        return pull_product(o, e, c)
    factor, free = (a, b) if a.is_constant else (b, a)
    value = c.value * o.values.dense(factor)
    o.pull(free, c.through(reduce_to(value, free.shape, e.shape, o.values.xp), factor))
    return None


def pull_divide(o: Terms, e: Expr, c: Coefficient) -> None:
    free, factor = e.args
    value = c.value / o.values.dense(factor)
    o.pull(free, c.through(reduce_to(value, free.shape, e.shape, o.values.xp), factor))


def pull_matmul(o: Terms, e: Expr, c: Coefficient) -> None:
    a, b = e.args
    if not a.is_constant and not b.is_constant:
        return pull_quadratic_form(o, e, c)
    xp = o.values.xp
    full = xp.broadcast_to(c.value, e.shape)
    if a.is_constant:
        value = _adjoint_left(o.values(a), full, xp)
        o.pull(b, c.through(value, a))
    else:
        matrix = o.values(b)
        matrix = matrix.transpose() if isinstance(matrix, Sparse) else matrix.T
        o.pull(a, c.through(_adjoint_left(matrix, full.T, xp).T, b))
    return None


def _adjoint_left(matrix: Any, y: Any, xp: Any) -> Any:
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


def pull_index(o: Terms, e: Expr, c: Coefficient) -> None:
    xp, a = o.values.xp, e.args[0]
    key, full = indexing.decode(e.attrs["index"]), xp.broadcast_to(c.value, e.shape)
    if xp is np:
        value = np.zeros(a.shape)
        np.add.at(value, key, full)
    else:
        value = xp.zeros(a.shape, full.dtype).at[key].add(full)
    o.pull(a, c.through(value))


def pull_sum(o: Terms, e: Expr, c: Coefficient) -> None:
    a, axes = e.args[0], e.attrs["axes"]
    value = c.value if c.value.ndim == 0 else o.values.xp.expand_dims(o.values.xp.broadcast_to(c.value, e.shape), axes)
    o.pull(a, c.through(value))


def pull_convolution(o: Terms, e: Expr, c: Coefficient) -> None:
    xp, (a, k) = o.values.xp, e.args
    full = xp.broadcast_to(c.value, e.shape)
    flip = e.op == "conv2d"
    o.pull(a, c.through(convolution.adjoint(full, o.values.dense(k), a.shape, e.attrs["mode"], flip, xp), k))


def pull_linear(o: Terms, e: Expr, c: Coefficient) -> None:
    xp, (a, *params) = o.values.xp, e.args
    op = FunctionOperator(tuple(o.values.dense(p) for p in params), e.attrs["function"], a.shape, e.shape)
    value = on_host.pull(op, xp.broadcast_to(c.value, e.shape), xp)
    used = tuple(parameter for p in params for parameter in p.parameters)
    o.pull(a, Coefficient(value, 0, c.params + used))  # nothing is known of its sign but by its numbers


def pull_reshape(o: Terms, e: Expr, c: Coefficient) -> None:
    value = c.value if c.value.ndim == 0 else o.values.xp.broadcast_to(c.value, e.shape).reshape(e.args[0].shape)
    o.pull(e.args[0], c.through(value))


def pull_transpose(o: Terms, e: Expr, c: Coefficient) -> None:
    value = c.value if c.value.ndim == 0 else o.values.xp.broadcast_to(c.value, e.shape).T
    o.pull(e.args[0], c.through(value))


def pull_negative(o: Terms, e: Expr, c: Coefficient) -> None:
    o.pull(e.args[0], Coefficient(-c.value, -c.sign, c.params))
