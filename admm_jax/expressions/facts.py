"""What can be known of an expression at once: its sign, whether it is affine, whether two are alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from admm_jax.expressions.data import Sparse, is_traced
from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constant, Expr
from admm_jax.expressions.operation import operation_of

Fact = TypeVar("Fact")


def _kept(function: Callable[[Expr], Fact]) -> Callable[[Expr], Fact]:
    name = function.__name__

    @functools.wraps(function)
    def wrapper(e: Expr) -> Fact:
        if name not in e._facts:
            e._facts[name] = function(e)
        return e._facts[name]

    return wrapper


@_kept
def meaning(e: Expr) -> Expr | None:
    """The expression that `e` abbreviates, None if it is no abbreviation."""
    rule = operation_of(e).meaning
    return None if rule is None else rule(e)


@_kept
def sign(e: Expr) -> int:
    """1 if every entry is certainly >= 0, -1 if <= 0, 0 if that is not known. The number zero counts as 1."""
    if isinstance(e, Constant):
        values = e.value.values if isinstance(e.value, Sparse) else e.value
        if is_traced(values):
            return 0
        values = np.asarray(values)
        return 1 if np.all(values >= 0) else -1 if np.all(values <= 0) else 0
    if isinstance(e, Var | Param):
        return e.sign
    rule = operation_of(e).sign
    if rule is not None:
        return rule(tuple(sign(arg) for arg in e.args))
    same = meaning(e)
    return 0 if same is None else sign(same)


@_kept
def is_affine(e: Expr) -> bool:
    """Whether it is affine in the variables, constants included."""
    if e.is_constant or isinstance(e, Var):
        return True
    operation = operation_of(e)
    if operation.linear is None:
        same = meaning(e)
        return same is not None and is_affine(same)
    if not all(is_affine(arg) for arg in e.args):
        return False
    return operation.jointly or sum(not arg.is_constant for arg in e.args) == 1


def alike(a: Expr, b: Expr) -> bool:
    """Whether two expressions are the same, node by node; constants are compared by value."""
    if a is b:
        return True
    if isinstance(a, Constant) and isinstance(b, Constant):
        return _same_values(a, b)
    if a.op != b.op or a.shape != b.shape or isinstance(a, Var | Param) or len(a.args) != len(b.args):
        return False
    return a.attrs == b.attrs and all(alike(x, y) for x, y in zip(a.args, b.args, strict=True))


def _same_values(a: Constant, b: Constant) -> bool:
    if a.value is b.value:
        return True
    if isinstance(a.value, Sparse) and isinstance(b.value, Sparse):
        return a.shape == b.shape and np.array_equal(a.value.dense(), b.value.dense())
    if isinstance(a.value, np.ndarray) and isinstance(b.value, np.ndarray):
        return np.array_equal(a.value, b.value)
    return False
