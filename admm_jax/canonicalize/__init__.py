"""From symbols to numbers: a model's expressions and the values of its parameters become a `Problem`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.canonicalize.constraints import add_constraint
from admm_jax.canonicalize.equal_terms import stack_equal_terms
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constr, Expr
from admm_jax.problem import Problem


def canonicalize(
    objective: Expr | None,
    constraints: Sequence[Constr],
    names: Mapping[Var, str],
    params: Mapping[Param, Any] | None = None,
    *,
    maximised: bool = False,
    kept: dict | None = None,
) -> Problem:
    """minimise objective (or minus it) subject to the constraints, as a `Problem`.

    Args:
        objective: An expression with one entry; None is zero.
        constraints: The constraints.
        names: The variables and their names, in the problem's order; every one that is used.
        params: The value of each parameter, NumPy or JAX arrays, traced ones too; None puts placeholders in their
            place, for a check of the structure.
        maximised: Whether to maximise; the problem is then that of minus the objective.
        kept: Facts kept between calls on the same expressions, such as factors of constant matrices.

    Returns:
        The problem, in the dtype of the JAX arrays or in float64 if there are none; its leaves are NumPy's unless they
        depend on traced numbers.

    Raises:
        NonconvexError: the model is not convex, or no rule shows that it is.
        ParameterError: the parameters' values make it non-convex.
        ModelError: a constraint cannot hold, or has no variable.
    """
    roots = [] if objective is None else [objective]
    roots += [side for c in constraints for side in (c.lhs, c.rhs)]
    values = Values(roots, params, kept)
    assembly = Assembly(values, dict(names), maximised=maximised)
    if objective is not None:
        start = -1 if maximised else 1
        assembly.add(objective, Coefficient(values.array(float(start)), start))
    for variable, name in names.items():
        if variable.sign:
            symbol, infinity = (">=", np.inf) if variable.sign > 0 else ("<=", -np.inf)
            bounds = (values.array(0.0), infinity) if variable.sign > 0 else (infinity, values.array(0.0))
            assembly.bound(assembly.affine(variable), *bounds, f"{name} {symbol} 0")
    for constraint in constraints:
        add_constraint(assembly, constraint)
    return values.finish(stack_equal_terms(assembly.problem(), values.constants()))


__all__ = ["canonicalize"]
