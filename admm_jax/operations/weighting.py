"""Weights inside the sums that constraints bound, as in sum(w * abs(a)) <= r."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.constraints import Limit
from admm_jax.expressions.node import Expr
from admm_jax.operators.base import Scale


def weighted(
    argument: Affine, weight: Expr | None, e: Expr, limit: Limit, of_weight: Callable[[Any], Any] | None = None
) -> Affine:
    """The argument of f with a weight w >= 0 inside: of abs, w |a| = |w a|; of square, w a^2 = (sqrt(w) a)^2.

    Args:
        argument: a in sum(w f(a)).
        weight: w, a constant expression; None is 1.
        e: f(a), for the message.
        limit: The constraint that it is part of.
        of_weight: The function of w by which a is multiplied, the root for squares; None is w itself.

    Raises:
        NonconvexError: w is negative (ParameterError if parameters made it).
    """
    if weight is None:
        return argument
    values = limit.values
    factor = values.dense(weight)
    if values.is_known(factor, weight.parameters) and np.min(np.asarray(factor)) < 0:
        least = np.min(np.asarray(factor))
        raise values.refuse(f"negative weight {least:.6g} on `{e}` in `{limit.constraint}`", weight.parameters)
    factor = factor if of_weight is None else of_weight(factor)
    factor = factor.reshape((1,) * (e.ndim - factor.ndim) + factor.shape) if factor.ndim else factor
    offset = None if argument.offset is None else factor * argument.offset
    return Affine(argument.then(Scale(factor, argument.shape)), offset, argument.shape)
