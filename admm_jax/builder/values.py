"""The values that a model's parameters are given, checked."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from admm_jax.errors import DataError, ParameterError
from admm_jax.expressions.data import checked_array, is_traced, one_of_many
from admm_jax.expressions.leaves import Param
from admm_jax.expressions.node import Constr, Expr
from admm_jax.expressions.operation import operation_of


def checked(param: Param, value: Any, *, infinite: bool) -> Any:
    """The value of a parameter as an array of its shape."""
    what = f"the value of Param {param.name!r}"
    if value is None or isinstance(value, Expr):
        raise ParameterError(f"{what} must be a number or an array, got {value!r}")
    if hasattr(value, "toarray"):
        value = value.toarray()
    try:
        array = checked_array(value, what, infinite=infinite)
    except DataError as error:
        raise ParameterError(str(error)) from error
    if array.shape != param.shape:
        hint = one_of_many(array.shape, param.shape)
        raise ParameterError(f"{what} must have shape {param.shape}, got {array.shape}{hint}")
    if param.sign and not is_traced(array) and not np.all(param.sign * np.asarray(array) >= 0):
        raise ParameterError(f"{what} must be {'nonneg' if param.sign > 0 else 'nonpos'}ative, as it was declared")
    return array


def unknown(name: Any, parameters: tuple[Param, ...]) -> ParameterError:
    """The error that says that no parameter has this name, and which may have been meant."""
    own = [p.name for p in parameters]
    near = difflib.get_close_matches(name, own, 1) if isinstance(name, str) else []
    hint = f": did you mean {near[0]!r}?" if near else f"; the model has {', '.join(map(repr, own)) or 'none'}"
    return ParameterError(f"unknown Param {name!r}{hint}")


def bound_only(roots: list[Expr], constraints: tuple[Constr, ...]) -> frozenset[int]:
    """The parameters that only ever stand as bounds, where infinity has a meaning."""
    bounds = {id(side) for c in constraints for side in (c.lhs, c.rhs)}
    inner: set[int] = set()
    seen: set[int] = set()
    stack = [root for root in roots if root.args]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for i, arg in enumerate(node.args):
            if isinstance(arg, Param):
                (bounds if i in operation_of(node).bounds else inner).add(id(arg))
            stack.append(arg)
    return frozenset(bounds - inner)
