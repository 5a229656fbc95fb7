"""Affine expressions as linear maps: x -> A x + b, by the operators of each operation."""

from __future__ import annotations

import dataclasses
from typing import Any

from admm_jax.canonicalize.values import Values
from admm_jax.errors import NonconvexError
from admm_jax.expressions import evaluate
from admm_jax.expressions.facts import is_affine, meaning
from admm_jax.expressions.leaves import Var
from admm_jax.expressions.node import Expr
from admm_jax.expressions.operation import operation_of
from admm_jax.operators.base import Broadcast
from admm_jax.problem import Chain, LinearMap

Shape = tuple[int, ...]
Names = dict[Var, str]


@dataclasses.dataclass(frozen=True)
class Affine:
    """x -> A x + b.

    Attributes:
        chains: (variable, operators, first to last) of each part of A; the parts are added.
        offset: b, numbers that broadcast to `shape`; None is zero.
        shape: Of the result.
    """

    chains: tuple[tuple[str, tuple[Any, ...]], ...]
    offset: Any
    shape: Shape

    def linear_map(self) -> LinearMap:
        """The linear part."""
        return LinearMap(tuple(Chain(ops, name) for name, ops in self.chains), self.shape)

    def then(self, *ops: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The chains, each followed by `ops`."""
        return tuple((name, done + ops) for name, done in self.chains)

    def broadcast(self, shape: Shape) -> Affine:
        """The affine expression repeated to `shape`."""
        if self.shape == shape:
            return self
        return Affine(self.then(Broadcast(self.shape, shape)), self.offset, shape)

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

    Args:
        e: The expression.
        values: The numbers of its constants.
        names: The name of each variable in the problem.

    Raises:
        NonconvexError: it is not affine; the message names the smallest subexpression that is not.
    """
    if e.is_constant:
        return Affine((), values.dense(e), e.shape)
    if isinstance(e, Var):
        return Affine(((names[e], ()),), None, e.shape)
    operation = operation_of(e)
    same = meaning(e)
    if operation.linear is None and same is not None and (is_affine(same) or not all(map(is_affine, e.args))):
        return to_affine(same, values, names)
    if e.op == "add":  # its offset need not be filled up to the full shape
        return _sum(e, values, names)
    free = [i for i, arg in enumerate(e.args) if not arg.is_constant]
    if operation.linear is None or (len(free) != 1 and not operation.jointly):
        if operation.linear is not None:
            raise NonconvexError(f"product of variables: `{e}` is not affine")
        raise NonconvexError(f"`{e}` is not affine, and stands where an affine expression is needed")
    parts = {i: to_affine(e.args[i], values, names) for i in free}
    chains = tuple(chain for i, part in parts.items() for chain in part.then(*operation.linear(e, i, values)))
    offset = None
    if any(part.offset is not None for part in parts.values()) or (operation.jointly and len(free) < len(e.args)):
        filled = [parts[i].full_offset(values) if i in parts else values(arg) for i, arg in enumerate(e.args)]
        offset = evaluate.compute(e, filled, values.xp)
    return Affine(chains, offset, e.shape)


def _sum(e: Expr, values: Values, names: Names) -> Affine:
    chains: tuple[Any, ...] = ()
    offset = None
    for term in e.args:
        part = to_affine(term, values, names)
        chains += part.broadcast(e.shape).chains
        if part.offset is not None:
            offset = part.offset if offset is None else offset + part.offset
    return Affine(chains, offset, e.shape)
