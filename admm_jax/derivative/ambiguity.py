"""Which parameters have no derivative where the multipliers of the linear system are not unique.

The system of `conditions.py` does not determine multipliers n with A^T n = 0 and J n = 0: forces of several terms
that hold the same x and cancel. With s. the right-hand side of its second line, linear in a change theta. of the
parameters,

    a change theta. has a derivative  <=>  <n, s.> = 0 for all such n     (the system has a solution)

Forward mode has the change at hand, and its system is solved or not. Reverse mode has none: it solves the transposed
system for y, any y + n solves it as well, and the gradient in theta is <y + n, ds/dtheta>. So n is sent back to the
parameters beside y, on a way of its own (`shadow`). A parameter where <n, ds/dtheta> is not zero has no derivative:
NaN. All others keep theirs. Most n contribute to no parameter: the forces round a cycle of flat pixels, or those of a
bound that is one number for many pixels, cancel in every sum.

Whether <n, ds/dtheta> is zero but for rounding is told by two comparisons: with the same sum, the parts of n multiplied
by fixed numbers without a pattern, so that they do not cancel; and with the rounding of the whole change that the
parameter makes in the terms. Each of these sums takes a channel (`in_channels`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0
from jax.flatten_util import ravel_pytree

from admm_jax.derivative.active import solution_scale
from admm_jax.derivative.conditions import Duals, Linearised, add_scaled_duals, changes, forward, system_right_hand_side
from admm_jax.derivative.tell import REVERSE, Teller
from admm_jax.problem import Penalty, Problem
from admm_jax.pytree import replace
from admm_jax.solver.rewrite import lift
from admm_jax.solver.vectors import probe_signs

CHANNELS = 4  # n, n times two patterns, and max |n| times a third
# by the width of the dtype in bytes: a sum cancels if its ratio to one with a pattern, or to the whole change of the
# terms, is no more than
CANCELS = {8: 1e-4, 4: 1e-2, 2: 5e-2}
ROUNDING = {8: 1e-10, 4: 1e-5, 2: 1e-2}

Build = Callable[[Any], tuple[Penalty, ...]]


def in_channels(n: Array) -> Array:
    """(n, a n, b n, c max |n|), (CHANNELS, *n.shape); a, b, c are without a pattern, of size 1/2 to 3/2."""
    ramp = jnp.arange(n.size, dtype=n.dtype)
    mixed = [jnp.sin(k + ramp**1.5) for k in range(1, CHANNELS)]
    first, second, third = (jnp.where(v < 0, v - 1 / 2, v + 1 / 2) for v in mixed)
    return jnp.stack([n, first * n, second * n, third * jnp.max(jnp.abs(n))])


def has_tangent(leaf: Any) -> bool:
    """Whether it is a number that can change, and no integer: real or, as a spectrum, complex."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def no_tangent(leaf: Any) -> np.ndarray:
    """The tangent of what does not change."""
    return np.zeros(np.shape(leaf), jnp.result_type(leaf)) if has_tangent(leaf) else _float0(leaf)


def _float0(leaf: Any) -> np.ndarray:
    return np.zeros(np.shape(leaf), float0)


def _as(tangent: Any, primal: Any) -> Array:
    return jnp.asarray(tangent, jnp.result_type(primal))


def floating(tree: Any) -> list:
    """The leaves that a derivative can have."""
    return [leaf for leaf in jax.tree.leaves(tree) if has_tangent(leaf)]


def with_floating(tree: Any, leaves: list) -> Any:
    """A tangent of `tree` with these leaves, and nothing for its integers."""
    given = iter(leaves)

    def chosen(leaf: Any) -> Any:
        return next(given) if has_tangent(leaf) else _float0(leaf)

    return jax.tree.map(chosen, tree)


def shadow(
    params: Any, build: Build, penalties: tuple[Penalty, ...], program: np.int32, *, warn: bool
) -> tuple[Array, ...] | None:
    """Zeros for each array of the penalties and each channel: the way on which n goes back to the parameters.

    Their tangents are zero. Transposed, their derivative takes what arrives in each channel, the sums of n for each
    array of the penalties, on to the parameters by the derivative of `build`; there `_channels` decides.

    Args:
        params: A pytree of the parameters.
        build: From the parameters to `penalties`.
        penalties: Those of the problem.
        program: The number of the traced program, which warns once.
        warn: Whether to warn where a parameter has no derivative.

    Returns:
        An array (CHANNELS, *shape) for each floating-point array of the penalties; None where no parameter is traced.
    """
    leaves, structure = jax.tree.flatten(params)
    traced = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer) and has_tangent(leaf)]
    if not traced or not penalties:
        return None
    teller = Teller(_complaint)

    def built(values: list) -> list:
        everything = list(leaves)
        for i, value in zip(traced, values, strict=True):
            everything[i] = value
        return floating(build(jax.tree.unflatten(structure, everything)))

    @jax.custom_jvp
    def zeros(*values: Array) -> tuple[Array, ...]:
        del values
        return tuple(jnp.zeros((CHANNELS, *np.shape(leaf)), jnp.result_type(leaf)) for leaf in floating(penalties))

    def rule(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        moving = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
        channels = [_channels(_as(tangents[i], primals[i]), teller, program, warn=warn) for i in moving]

        def changed(moved: list) -> list:
            values = list(primals)
            for i, value in zip(moving, moved, strict=True):
                values[i] = value
            return built(values)

        def push(channel: list) -> list:
            return jax.jvp(changed, ([primals[i] for i in moving],), (channel,))[1]

        return zeros(*primals), tuple(jax.vmap(push)(channels))

    zeros.defjvp(rule, symbolic_zeros=True)
    return zeros(*(leaves[i] for i in traced))


def arriving(problem: Problem, shadows: tuple[Array, ...], system: Linearised) -> Array:
    """s. of each channel's change of the penalties, (CHANNELS, number of multipliers).

    The last channel, which tells the size of rounding, has in its place the changes of A x + b and of the prox, added
    where s. has them subtracted. There x has `solution_scale` added to it with any sign: where x is zero but for
    rounding, the change of A x would be too.

    Args:
        problem: The problem, not lifted.
        shadows: From `shadow`: the change of each array of the penalties, (CHANNELS, *shape).
        system: The linear system.
    """
    still = jax.tree.map(no_tangent, problem)
    unit = solution_scale(problem, system.x)
    far = {name: value + unit * probe_signs(value.shape, value.dtype) for name, value in system.x.items()}

    def values(q: Problem) -> Duals:
        return tuple(penalty.map(far) + penalty.offset for penalty in system.general(lift(q).penalties))

    def of(channel: tuple[Array, ...]) -> tuple[Array, Array]:
        change = replace(still, penalties=with_floating(problem.penalties, list(channel)))
        shift, (_, s) = system_right_hand_side(problem, change, system)
        _, _, reacted = changes(problem, change, system)
        moved = jax.jvp(values, (problem,), (change,))[1]
        whole = add_scaled_duals(add_scaled_duals(moved, 1, forward(system, shift)), 1, reacted)
        return ravel_pytree(s)[0], ravel_pytree(whole)[0]

    line, whole = jax.vmap(of)(shadows)
    return jnp.concatenate([line[:-1], whole[-1:]])


def _channels(change: Array, teller: Teller, program: np.int32, *, warn: bool) -> Array:
    """Zeros, (CHANNELS, *shape), linear in the change of a parameter.

    Their transpose takes the sums that arrive in the channels to NaN where the first does not cancel, and else to zero.
    """
    width = change.dtype.itemsize

    def back(vector: Array) -> Array:
        arrived = vector.reshape(1 + CHANNELS, *change.shape)[1:]
        size = jnp.abs(arrived)
        alone = (size[0] > CANCELS[width] * jnp.maximum(size[1], size[2])) & (size[0] > ROUNDING[width] * size[3])
        if warn:
            jax.debug.callback(partial(teller, REVERSE), program, jnp.any(alone))
        nothing = jnp.zeros_like(arrived)
        return jnp.concatenate([jnp.where(alone, jnp.nan, nothing[:1]), nothing]).ravel()

    # one vector, all of it linear in the change: as the derivative and the transposed of custom_linear_solve ask
    along = jnp.stack([change, *(0 * change for _ in range(CHANNELS))]).ravel()
    solution = lax.custom_linear_solve(lambda v: v, along, lambda _, v: v, lambda _, v: back(v))
    return solution.reshape(1 + CHANNELS, *change.shape)[1:]


def _complaint(alone: np.ndarray) -> str | None:
    if not np.any(alone):
        return None
    return (
        "the derivative with respect to a parameter is NaN, for it has more than one: kinks of two terms lie on each "
        "other and a change of the parameter pulls them apart "
        "(the option derivative_nan=False gives what there is instead)"
    )
