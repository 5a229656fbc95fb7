"""How a function of the language makes its node: arguments checked, and numbers computed at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.errors import ExpressionError
from admm_jax.expressions import evaluate
from admm_jax.expressions.data import Sparse
from admm_jax.expressions.node import Apply, Constant, Expr, as_expr


def apply(op: str, args: tuple[Expr, ...], shape: tuple[int, ...], **attrs: Any) -> Any:
    """The operation `op` on arguments: an expression, or its value where all of them are numbers.

    Args:
        op: The operation's name, as it is registered.
        args: Expressions, see `as_expr`.
        shape: Shape of the value.
        **attrs: Static attributes, hashable.

    Returns:
        A node; on numbers alone their value, in NumPy float64, or in JAX where an argument is a JAX array.
    """
    return finish(Apply(op, args, shape, **attrs))


def finish(node: Expr) -> Any:
    """The node, or its value where nothing symbolic is left in it."""
    if not all(isinstance(arg, Constant) for arg in node.args):
        return node
    values = [arg.value for arg in node.args if isinstance(arg, Constant)]
    traced = [v for v in values if isinstance(v, jax.Array)]
    if not traced:
        return evaluate.compute(node, values, np)
    dtype = jnp.result_type(*(v.dtype for v in traced))
    return evaluate.compute(node, [v if isinstance(v, Sparse) else jnp.asarray(v, dtype) for v in values], jnp)


def elementwise(op: str, x: Any) -> Any:
    """The operation `op`, entry by entry of x."""
    x = as_expr(x, f"the argument of {op}")
    return apply(op, (x,), x.shape)


def as_constant(value: Any, what: str, *, infinite: bool = False) -> Expr:
    """`value` as a node without variables.

    Args:
        value: Numbers, or an expression in parameters.
        what: How to call it in an error message.
        infinite: Whether infinite numbers are allowed.

    Raises:
        ExpressionError: it holds a variable.
    """
    node = as_expr(value, what, infinite=infinite)
    if not node.is_constant:
        raise ExpressionError(f"{what} must be a constant, got `{node}`, which holds the variable {node.variables[0]}")
    return node
