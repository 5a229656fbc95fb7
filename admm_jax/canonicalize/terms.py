"""What the walk over a model collects, and the coefficient that it carries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from admm_jax.canonicalize.affine import Affine, Names, to_affine
from admm_jax.canonicalize.values import Values
from admm_jax.errors import NonconvexError
from admm_jax.expressions.facts import sign
from admm_jax.expressions.leaves import Var
from admm_jax.expressions.node import Expr
from admm_jax.expressions.printing import text
from admm_jax.operators.base import Broadcast
from admm_jax.problem import Chain, LinearMap, Penalty, Quadratic
from admm_jax.prox.functions import Box

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """c in <c, node>: its value, broadcasting to the node's shape, its sign if known (else 0), the parameters in it."""

    value: Any
    sign: int = 1
    params: tuple[Expr, ...] = ()

    def through(self, value: Any, *constants: Expr) -> Coefficient:
        """The coefficient of an argument, `value`, after multiplication by `constants`."""
        total, params = self.sign, self.params
        for constant in constants:
            total *= int(sign(constant))
            params += constant.parameters
        return Coefficient(value, total, params)

    def scalar(self) -> Coefficient:
        """The same for a node with one entry."""
        return dataclasses.replace(self, value=self.value.reshape(()))


class Terms:
    """Collects the terms of one problem.

    Args:
        values: The numbers.
        names: The name of each variable in the problem.
        rules: How each operation enters the objective.
        maximised: Whether the user maximises; for messages only.
    """

    def __init__(self, values: Values, names: Names, rules: Mapping[str, Rule], *, maximised: bool = False) -> None:
        self.values, self.names, self.rules, self.maximised = values, names, rules, maximised
        self.quadratics: list[Quadratic] = []
        self.penalties: list[Penalty] = []
        self.linear: dict[str, Any] = {}
        self.constant: Any = values.array(0.0)
        self._bounds: dict[str, tuple[Any, Any, list[str]]] = {}
        self._shapes = {name: variable.shape for variable, name in names.items()}

    def pull(self, e: Expr, c: Coefficient) -> None:
        """Add <c, e> to the objective."""
        if e.is_constant:
            product = self.values.xp.broadcast_to(c.value * self.values.dense(e), e.shape)
            self.constant = self.constant + self.values.xp.sum(product)
        elif isinstance(e, Var):
            name, cost = self.names[e], self.values.xp.broadcast_to(c.value, e.shape)
            self.linear[name] = self.linear[name] + cost if name in self.linear else cost
        else:
            self.rules[e.op](self, e, c)

    def affine(self, e: Expr) -> Affine:
        """`e` as a linear map and an offset; refused if it is not affine."""
        return to_affine(e, self.values, self.names)

    def add_quadratic(self, e: Expr, argument: Affine, weight: Any) -> None:
        """weight * sum (A x + b)^2 = 1/2 sum 2 weight (A x - (-b))^2."""
        data = -argument.full_offset(self.values)
        self.quadratics.append(Quadratic(argument.linear_map(), data, 2.0 * weight, text(e, anonymous=True)))

    def penalise(self, function: Any, argument: Affine, label: str) -> None:
        """function(A x + b)."""
        self.penalties.append(Penalty(function, argument.linear_map(), argument.full_offset(self.values), label))

    def bound(self, argument: Affine, lower: Any, upper: Any, label: str) -> None:
        """lower <= A x + b <= upper; bounds of a bare variable are gathered into one box."""
        xp = self.values.xp
        if argument.offset is not None:
            lower, upper = lower - argument.offset, upper - argument.offset
        name = argument.variable
        if name is not None:
            if name in self._bounds:
                low, high, labels = self._bounds[name]
                lower, upper = xp.maximum(low, lower), xp.minimum(high, upper)
                label = label if label in labels else " and ".join([*labels, label])
            self._bounds[name] = (lower, upper, [label])
            return
        self.penalties.append(self._box(argument.linear_map(), lower, upper, label))

    def _box(self, linear: LinearMap, lower: Any, upper: Any, label: str) -> Penalty:
        xp, shape = self.values.xp, linear.out_shape
        box = Box(xp.broadcast_to(lower, shape), xp.broadcast_to(upper, shape))
        return Penalty(box, linear, xp.zeros(shape, self.values.dtype), label)

    def all_penalties(self) -> tuple[Penalty, ...]:
        """The penalties, then one box for each bounded variable."""
        boxes = [
            self._box(LinearMap((Chain((), name),), self._shapes[name]), lower, upper, labels[0])
            for name, (lower, upper, labels) in self._bounds.items()
        ]
        return (*self.penalties, *boxes)

    def weight(self, e: Expr, c: Coefficient, *, concave: bool = False) -> Any:
        """|c|, the weight of the convex (or concave) `e`, refused if its sign makes the model non-convex.

        A sign that is not known yet, of traced or absent numbers, passes.
        """
        want = -1 if concave else 1
        value = want * c.value
        known = self.values.is_known(value, c.params)
        least = float(np.min(np.asarray(value), initial=0.0)) if known and c.sign != want else 0.0
        if c.sign == -want and not (known and least == 0.0):
            raise NonconvexError(self._complaint(e, least, concave))
        if least < 0.0:
            raise self.values.refuse(self._complaint(e, least, concave), c.params)
        return full_rank(value, e.shape)

    def _complaint(self, e: Expr, least: float, concave: bool) -> str:
        kind = "concave" if concave else "convex"
        verb, other = ("maximised", "minimised") if self.maximised else ("minimised", "maximised")
        if self.maximised != concave:
            return f"{verb} {kind} term `{e}`: the model is not convex; a {kind} term can only be {other}"
        shown = f" {least:.6g}" if least else ""
        return f"negative weight{shown} on the {kind} term `{e}`, which is {verb}: the model is not convex"


Rule = Callable[[Terms, Expr, Coefficient], None]


def full_rank(value: Any, shape: Shape) -> Any:
    """A scalar, or an array with as many axes as `shape`."""
    return value if value.ndim in (0, len(shape)) else value.reshape((1,) * (len(shape) - value.ndim) + value.shape)


def broadcast(argument: Affine, shape: Shape) -> Affine:
    """The affine expression repeated to `shape`."""
    if argument.shape == shape:
        return argument
    return Affine(argument.then(Broadcast(argument.shape, shape)), argument.offset, shape)
