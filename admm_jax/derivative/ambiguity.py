"""Which parameters have no derivative where the multipliers of the linear system are not unique.

The system of `conditions.py` leaves undecided the multipliers n with A^T n = 0 and J n = 0: forces of several terms
that hold the same x and cancel. With s. the right-hand side of its second line, linear in a change of the parameters,

    a change theta. has a derivative  <=>  <n, s.> = 0 for all such n     (the system has a solution)

Forward mode meets the change and finds out. Reverse mode meets none: any of its answers y + n is as good as another,
and the gradient of theta is <y + n, ds/dtheta>. So n is sent back beside y on a way of its own, and where it arrives
at a parameter, there is no derivative with respect to this parameter: NaN. All others keep theirs. Most of what is not
unique arrives nowhere: the forces round a cycle of flat pixels, or of a bound that is one number for many pixels.

What arrives is compared with what would if the parts of n did not cancel, those of n times numbers without a pattern,
and with the rounding of what the parameter does to all terms.
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

CHANNELS = 4  # n, n in two patterns, and the largest |n| everywhere
CANCELS = {8: 1e-4, 4: 1e-2, 2: 5e-2}  # left of a sum that cancels, of one that does not, by width of the dtype
ROUNDING = {8: 1e-10, 4: 1e-5, 2: 1e-2}  # of a sum, relative to the whole change of the terms

Build = Callable[[Any], tuple[Penalty, ...]]


def in_channels(n: Array) -> Array:
    """(CHANNELS, *n.shape): n, then n, and its largest entry, times numbers of size 1/2 to 3/2 without a pattern."""
    ramp = jnp.arange(n.size, dtype=n.dtype)
    mixed = [jnp.sin(k + ramp**1.5) for k in range(1, CHANNELS)]
    first, second, third = (jnp.where(v < 0, v - 1 / 2, v + 1 / 2) for v in mixed)
    return jnp.stack([n, first * n, second * n, third * jnp.max(jnp.abs(n))])


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _float0(leaf: Any) -> np.ndarray:
    return np.zeros(np.shape(leaf), float0)


def _as(tangent: Any, primal: Any) -> Array:
    return jnp.asarray(tangent, jnp.result_type(primal))


def floating(tree: Any) -> list:
    """The leaves that a derivative can have."""
    return [leaf for leaf in jax.tree.leaves(tree) if _is_floating(leaf)]


def with_floating(tree: Any, leaves: list) -> Any:
    """A tangent of `tree` with these leaves, and nothing for its integers."""
    given = iter(leaves)

    def chosen(leaf: Any) -> Any:
        return next(given) if _is_floating(leaf) else _float0(leaf)

    return jax.tree.map(chosen, tree)


def shadow(
    params: Any, build: Build, penalties: tuple[Penalty, ...], program: np.int32, *, warn: bool
) -> tuple[Array, ...] | None:
    """Zeros, one for each number of the penalties and each channel: the way back from n to the parameters.

    Their derivative says how the penalties change with `params`, in each of the channels; nothing ever goes forward
    there. `build`: from the parameters to the `penalties`.
    """
    leaves, structure = jax.tree.flatten(params)
    traced = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer) and _is_floating(leaf)]
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
    """What the second line's right-hand side becomes in each channel, (CHANNELS, all its entries).

    In the last it is the change of A x + b and of the prox before they cancel, at an x whose entries are all as large
    as the largest: where x is zero but for rounding, so is the change of A x.
    """
    still = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if _is_floating(leaf) else _float0(leaf), problem)
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
    """Zeros, (CHANNELS, *shape), whose transposed gives NaN where the first channel does not cancel."""
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
