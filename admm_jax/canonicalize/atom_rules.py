"""Convex functions in the objective: each becomes a penalty of an affine expression."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.linear_rules import reduce_to
from admm_jax.canonicalize.terms import Coefficient, Terms, broadcast, full_rank
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.evaluate import differences
from admm_jax.expressions.facts import is_affine, sign
from admm_jax.expressions.node import Apply, Expr
from admm_jax.expressions.printing import text
from admm_jax.operators.base import Difference, Scale
from admm_jax.prox import functions
from admm_jax.prox.own import Own, Template
from admm_jax.prox.total_variation import TotalVariation


def _label(e: Expr) -> str:
    return text(e, anonymous=True)


def pull_abs(o: Terms, e: Expr, c: Coefficient) -> None:
    """|a|; of something nonnegative it is nothing."""
    a = e.args[0]
    if not is_affine(a) and sign(a) == 1:
        o.pull(a, c)
    else:
        o.penalise(functions.L1(o.weight(e, c)), o.affine(a), _label(e))


def pull_huber(o: Terms, e: Expr, c: Coefficient) -> None:
    """Huber's function of a, with its threshold."""
    a, delta = e.args
    weight, threshold = o.weight(e, c), o.values.dense(delta)
    if delta.parameters and o.values.is_known(threshold, delta.parameters) and not np.all(np.asarray(threshold) > 0):
        raise o.values.refuse(f"delta of huber must be positive in `{e}`", delta.parameters)
    o.penalise(functions.Huber(weight, full_rank(threshold, e.shape)), broadcast(o.affine(a), e.shape), _label(e))


def pull_maximum(o: Terms, e: Expr, c: Coefficient) -> None:
    """max(a, b) = b + (a - b)_+."""
    a, b = e.args
    weight = o.weight(e, c)
    excess = o.affine(Apply("add", (a, Apply("negative", (b,), b.shape)), e.shape))
    o.pull(b, c.through(reduce_to(c.value, b.shape, e.shape, o.values.xp)))
    o.penalise(functions.Hinge(weight), excess, _label(e))


def pull_minimum(o: Terms, e: Expr, c: Coefficient) -> None:
    """min(a, b) = b - (b - a)_+."""
    a, b = e.args
    weight = o.weight(e, c, concave=True)
    lack = o.affine(Apply("add", (b, Apply("negative", (a,), a.shape)), e.shape))
    o.pull(b, c.through(reduce_to(c.value, b.shape, e.shape, o.values.xp)))
    o.penalise(functions.Hinge(weight), lack, _label(e))


def pull_norm(o: Terms, e: Expr, c: Coefficient) -> None:
    """The norm of all entries of a."""
    argument, weight = o.affine(e.args[0]), o.weight(e, c.scalar())
    if e.attrs["ord"] == 1:
        function: Any = functions.L1(weight)
    elif e.attrs["ord"] == np.inf:
        function = functions.LInf(weight)
    else:
        function = functions.GroupL2(weight, tuple(range(len(argument.shape))))
    o.penalise(function, argument, _label(e))


def pull_inrange(o: Terms, e: Expr, c: Coefficient) -> None:
    """An indicator: bounds on a, where the weight is not zero."""
    a, lower, upper = e.args
    xp, weight = o.values.xp, o.weight(e, c)
    low, high = o.values.dense(lower), o.values.dense(upper)
    if weight.ndim or not o.values.is_known(weight, c.params) or float(weight) == 0:
        low, high = xp.where(weight == 0, -np.inf, low), xp.where(weight == 0, np.inf, high)
    o.bound(broadcast(o.affine(a), e.shape), low, high, _label(e))


def pull_own(o: Terms, e: Expr, c: Coefficient) -> None:
    """A function of the user's own; its infimum is a constant, for every term of a problem is >= 0."""
    template: Template = e.attrs["function"]
    argument, weight = o.affine(e.args[0]), o.weight(e, c.scalar())
    leaves = tuple(o.values.dense(leaf) for leaf in e.args[1:])
    if not (o.values.placeholders and e.parameters):
        o.constant = o.constant + weight * template.least(o.values.xp, argument.shape, o.values.dtype, leaves)
    o.penalise(Own(leaves, weight, o.values.array(1.0), template), argument, _label(e))


def pull_total_variation(o: Terms, e: Expr, c: Coefficient) -> None:
    """w TV(a); the Euclidean norm of a signal's differences is a norm of a linear map."""
    scale, argument = o.weight(e, c.scalar()), o.affine(e.args[0])
    weight = tv_weight(e, o.values)
    if e.op == "tv1d" and e.attrs["p"] == 2:
        o.penalise(functions.GroupL2(scale, (0, 1)), tv_map(argument, weight, o.values), _label(e))
    else:
        o.penalise(TotalVariation(scale * weight, e.attrs["p"]), argument, _label(e))


def tv_weight(e: Expr, values: Values) -> Any:
    """The weight map of a total variation, 1 if there is none; its sign is checked where it is known."""
    if len(e.args) == 1:
        return values.array(1.0)
    weight, params = values.dense(e.args[1]), e.args[1].parameters
    least = float(np.min(np.asarray(weight), initial=0.0)) if values.is_known(weight, params) else 0.0
    if least < 0:
        raise values.refuse(f"negative weight {least:.6g} inside `{e}`: it is not convex", params)
    short = e.op == "tv1d" and weight.ndim == 1 and weight.shape != e.args[0].shape
    return values.xp.pad(weight, (0, 1)) if short else weight


def tv_map(argument: Affine, weight: Any, values: Values) -> Affine:
    """The weighted differences w D a, shape (ndim, *shape)."""
    shape = argument.shape
    lifted = (len(shape), *shape)
    factor = weight if weight.ndim in (0, len(lifted)) else weight[None]
    offset = None
    if argument.offset is not None:
        offset = factor * differences(values.xp, argument.full_offset(values))
    return Affine(argument.then(Difference(shape), Scale(factor, lifted)), offset, lifted)
