"""The one form that every model is brought to, and that the solver reads.

    minimise over x   sum_i 1/2 <Q_i x - d_i, w_i (Q_i x - d_i)> + <c, x> + constant + sum_j g_j(A_j x + b_j)

x is a dict of arrays, one a variable; Q_i and A_j are linear maps with exact adjoints; w_i >= 0; each g_j is convex
with a known prox and carries its own weight. A constraint is an indicator g_j. Arrays are pytree leaves, everything
else is structure: problems of equal structure and shapes share one compiled program.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators.base import Operator, Shape
from admm_jax.prox.base import Function
from admm_jax.pytree import pytree_dataclass, static

Point = dict[str, Array]


@pytree_dataclass
class Chain:
    """x[variable] -> op_n(... op_2(op_1(x))); no operators is the identity."""

    ops: tuple[Operator, ...]
    variable: str = static()

    def __call__(self, x: Point) -> Array:
        value = x[self.variable]
        for op in self.ops:
            value = op(value)
        return value

    def adjoint(self, y: Array) -> Array:
        for op in reversed(self.ops):
            y = op.adjoint(y)
        return y


@pytree_dataclass
class LinearMap:
    """x -> sum of its chains, all of shape `out_shape`."""

    chains: tuple[Chain, ...]
    out_shape: Shape = static()

    def __call__(self, x: Point) -> Array:
        value = self.chains[0](x)
        for chain in self.chains[1:]:
            value = value + chain(x)
        return value

    @property
    def identity_on(self) -> str | None:
        """The variable's name, if the map is the identity on one variable."""
        return self.chains[0].variable if len(self.chains) == 1 and not self.chains[0].ops else None

    def adjoint(self, y: Array) -> Point:
        """A^T y: contributions to the variables that the map reads (others are absent, meaning zero)."""
        out: Point = {}
        for chain in self.chains:
            part = chain.adjoint(y)
            out[chain.variable] = out[chain.variable] + part if chain.variable in out else part
        return out


@pytree_dataclass
class Quadratic:
    """1/2 sum w (Q x - d)^2, elementwise weight w >= 0 (a scalar or broadcasting to the residual).

    `terms`: how many of the user's it is, stacked on its leading axis.
    """

    map: LinearMap
    data: Array
    weight: Array
    label: str = static(default="")
    terms: int = static(default=1)


@pytree_dataclass
class Penalty:
    """g(A x + b). `label` is the user's subexpression, for explanations and errors.

    `members`: of terms that are stacked on its leading axis, their places among all terms as the user wrote them; empty
    for a single one.
    """

    function: Function
    map: LinearMap
    offset: Array
    label: str = static(default="")
    members: tuple[int, ...] = static(default=())

    @property
    def terms(self) -> int:
        """How many of the user's terms it is."""
        return max(len(self.members), 1)


@pytree_dataclass
class Problem:
    """The canonical problem. `variables` lists (name, shape) in the model's order."""

    quadratics: tuple[Quadratic, ...]
    penalties: tuple[Penalty, ...]
    linear: Point  # c: one array for each variable that has a linear cost
    constant: Array
    variables: tuple[tuple[str, Shape], ...] = static()

    @property
    def size(self) -> int:
        """The number of scalar unknowns."""
        return sum(math.prod(shape) for _, shape in self.variables)

    def term_by_term(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """An array for each term as the user wrote it, from one for each penalty: of stacked terms the parts."""
        parts: dict[int, Any] = {}
        single: list[Any] = []
        for penalty, array in zip(self.penalties, arrays, strict=True):
            if penalty.members:  # of NumPy's arrays not NumPy's scalars
                own = list(array) if isinstance(array, jax.Array) else map(np.asarray, array)
                parts.update(zip(penalty.members, own, strict=True))
            else:
                single.append(array)
        rest = iter(single)
        return tuple(parts[i] if i in parts else next(rest) for i in range(len(parts) + len(single)))

    def zeros(self, dtype: jnp.dtype) -> Point:
        return {name: jnp.zeros(shape, dtype) for name, shape in self.variables}
