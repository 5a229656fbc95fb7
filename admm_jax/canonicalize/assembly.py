"""The problem that is being assembled, term by term, and the coefficient that a term carries."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from admm_jax.canonicalize.affine import Affine, Names, to_affine
from admm_jax.canonicalize.values import Values
from admm_jax.errors import NonconvexError
from admm_jax.expressions.facts import meaning, sign
from admm_jax.expressions.leaves import Var
from admm_jax.expressions.node import Expr
from admm_jax.expressions.operation import Operation, operation_of
from admm_jax.expressions.printing import text
from admm_jax.problem import Chain, LinearMap, Penalty, Problem, Quadratic
from admm_jax.prox.functions import Box

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """w in <w, e>: its value, broadcasting to the shape of e, its sign if known (else 0), the parameters in it."""

    value: Any
    sign: int = 1
    params: tuple[Expr, ...] = ()

    def scalar(self) -> Coefficient:
        """The same for a node with one entry."""
        return dataclasses.replace(self, value=self.value.reshape(()))


class Assembly:
    """Collects the terms of one problem: <coefficient, e> is added by the rule of e's operation.

    Args:
        values: The numbers.
        names: The name of each variable in the problem.
        maximised: Whether the user maximises; for messages only.
    """

    def __init__(self, values: Values, names: Names, *, maximised: bool = False) -> None:
        self.values, self.names, self.maximised = values, names, maximised
        self.quadratics: list[Quadratic] = []
        self.penalties: list[Penalty] = []
        self.linear: dict[str, Any] = {}
        self.constant: Any = values.array(0.0)
        self._bounds: dict[str, tuple[Any, Any, list[str]]] = {}
        self._shapes = {name: variable.shape for variable, name in names.items()}

    def add(self, e: Expr, coefficient: Coefficient) -> None:
        """Add <coefficient, e> to the objective."""
        weight = coefficient.value
        if e.is_constant:
            product = self.values.xp.broadcast_to(weight * self.values.dense(e), e.shape)
            self.constant = self.constant + self.values.xp.sum(product)
        elif isinstance(e, Var):
            name, cost = self.names[e], self.values.xp.broadcast_to(weight, e.shape)
            self.linear[name] = self.linear[name] + cost if name in self.linear else cost
        elif (rule := operation_of(e).objective) is not None:
            rule(e, coefficient, self)
        elif operation_of(e).linear is not None:
            self.add_linear(e, coefficient)
        else:
            same = meaning(e)
            assert same is not None  # a record without the others gives this one
            self.add(same, coefficient)

    def add_linear(self, e: Expr, coefficient: Coefficient) -> None:
        """<w, L a> = <L^T w, a>: the coefficient of a linear operation goes on to its arguments.

        So `w @ abs(x)`, `sum(abs(x)[1:])` or a nonnegative blur of `huber(x)` need no rule of their own.
        """
        operation = operation_of(e)
        for i, arg in enumerate(e.args):
            if arg.is_constant and not operation.jointly:
                continue
            value = self._adjoint(operation, e, i, coefficient.value)
            # the sign of L is that of the result for an argument >= 0
            others = () if operation.jointly else tuple(a for j, a in enumerate(e.args) if j != i)
            signs = tuple(1 if operation.jointly or j == i else int(sign(a)) for j, a in enumerate(e.args))
            turned = 0 if operation.sign is None else operation.sign(signs)
            params = coefficient.params + tuple(p for a in others for p in a.parameters)
            self.add(arg, Coefficient(value, coefficient.sign * turned, params))

    def _adjoint(self, operation: Operation, e: Expr, i: int, y: Any) -> Any:
        """L_i^T y, for e = sum_i L_i (argument i) + ... and a y that broadcasts to the shape of e."""
        if operation.adjoint is not None:
            return operation.adjoint(e, i, y, self.values)
        if self.values.xp is not np:
            return self.values.array(_through_adjoints(operation, e, i, y, self.values))
        # numbers that are known stay NumPy's and float64, also where a program is being traced
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return self.values.array(np.asarray(_through_adjoints(operation, e, i, y, self.values)))

    def affine(self, e: Expr) -> Affine:
        """`e` as a linear map and an offset; refused if it is not affine."""
        return to_affine(e, self.values, self.names)

    def add_quadratic(self, e: Expr, argument: Affine, weight: Any) -> None:
        """Add sum weight (A x + b)^2 = 1/2 sum (2 weight) (A x - d)^2, d = -b.

        Args:
            e: The term, for messages.
            argument: A x + b.
            weight: >= 0, broadcasting to A x.
        """
        data = -argument.full_offset(self.values)
        self.quadratics.append(Quadratic(argument.linear_map(), data, 2.0 * weight, text(e, anonymous=True)))

    def penalise(self, function: Any, argument: Affine, label: str) -> None:
        """Add function(A x + b); `argument` is A x + b, `label` its text."""
        self.penalties.append(Penalty(function, argument.linear_map(), argument.full_offset(self.values), label))

    def bound(self, argument: Affine, lower: Any, upper: Any, label: str) -> None:
        """Add lower <= A x + b <= upper; the bounds of a variable itself are gathered into one box.

        Args:
            argument: A x + b.
            lower: Broadcasting to it; -inf where there is none.
            upper: Likewise, inf where there is none.
            label: Its text.
        """
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

    def problem(self) -> Problem:
        """What has been collected, with one box for each bounded variable after the other penalties.

        A term of no entries, as of a mask that picks no pixel, is zero, and is left out.
        """
        boxes = [
            self._box(LinearMap((Chain((), name),), self._shapes[name]), lower, upper, labels[0])
            for name, (lower, upper, labels) in self._bounds.items()
        ]
        quadratics = tuple(part for part in self.quadratics if math.prod(part.map.out_shape))
        penalties = tuple(part for part in (*self.penalties, *boxes) if math.prod(part.map.out_shape))
        return Problem(quadratics, penalties, self.linear, self.constant, tuple(self._shapes.items()))

    def weight(self, e: Expr, coefficient: Coefficient, *, concave: bool = False) -> Any:
        """|w|, the weight of the convex (or concave) `e`, refused if its sign makes the model non-convex.

        A sign that is not known yet, of traced or absent numbers, passes.

        Args:
            e: The term.
            coefficient: w.
            concave: Whether e is concave: then w has to be <= 0.
        """
        want = -1 if concave else 1
        value = want * coefficient.value
        known = self.values.is_known(value, coefficient.params)
        least = float(np.min(np.asarray(value), initial=0.0)) if known and coefficient.sign != want else 0.0
        if coefficient.sign == -want and not (known and least == 0.0):
            raise NonconvexError(self._complaint(e, least, concave))
        if least < 0.0:
            raise self.values.refuse(self._complaint(e, least, concave), coefficient.params)
        return full_rank(value, e.shape)

    def _complaint(self, e: Expr, least: float, concave: bool) -> str:
        kind = "concave" if concave else "convex"
        verb, other = ("maximised", "minimised") if self.maximised else ("minimised", "maximised")
        if self.maximised != concave:
            return f"{verb} {kind} term `{e}`: the model is not convex; a {kind} term can only be {other}"
        shown = f" {least:.6g}" if least else ""
        return f"negative weight{shown} on the {kind} term `{e}`, which is {verb}: the model is not convex"


def full_rank(value: Any, shape: Shape) -> Any:
    """A scalar, or an array with as many axes as `shape`."""
    return value if value.ndim in (0, len(shape)) else value.reshape((1,) * (len(shape) - value.ndim) + value.shape)


def _through_adjoints(operation: Operation, e: Expr, i: int, y: Any, values: Values) -> Any:
    assert operation.linear is not None
    y = values.xp.broadcast_to(y, e.shape)
    for operator in reversed(operation.linear(e, i, values)):
        y = operator.adjoint(y)
    return y
