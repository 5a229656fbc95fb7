"""Solving the linear system of the derivative: eliminated to x, and again and again.

    M dx + sum A^T u = r,      B A dx - J u / sigma = s

Eliminating u by u <- sigma (B A dx - s) + B u, the method of multipliers (Hestenes 1969; Powell 1969), leaves

    (M + sum sigma A^T B A) dx = r + sum A^T (sigma s - B u)

to be solved again and again with the same "stiff" matrix (see `stiff.py`); what is left of the second line falls by
a factor of about sigma times the smallest eigenvalue of A M^-1 A^T each time. Multipliers that are not unique end with
the least change. Without penalties in the second line there is one system and nothing to repeat.

The transposed system has the same form: with s = B s' it gives u = B y, and y = sigma (A dx - s') + u.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from admm_jax.derivative.active import project
from admm_jax.derivative.ambiguity import in_channels
from admm_jax.derivative.conditions import (
    Duals,
    Linearised,
    Pair,
    add_scaled_duals,
    adjoint,
    apply_system,
    complement,
    forward,
    hessian,
)
from admm_jax.derivative.stiff import stiff_solver
from admm_jax.derivative.tell import FORWARD, REVERSE, Teller
from admm_jax.problem import Point
from admm_jax.pytree import replace
from admm_jax.solver.vectors import add, dtype_of, norm, probe_signs, subtract

OUTER = 60  # updates of the multipliers
SOLVED = {8: 1e-7, 4: 1e-2}  # relative residual above which a system counts as not solved, by the width of the dtype
SOLVED_ROUGHLY = {8: 1e-3, 4: 1e-2}  # that of decoupled problems, whose derivatives are known to a percent
ROUNDED = {8: 1e-5, 4: 1e-2}  # entries of multipliers that are not unique, relative to the largest, that are rounding
AMBIGUOUS = 1e-3  # share of a push on the multipliers that must stay for them not to be unique


def answer(system: Linearised, r: Point, s: Duals) -> Pair:
    """`solve_system` without a derivative, and without NaN where it failed."""
    plain = replace(system, plan=dataclasses.replace(system.plan, derivative_nan=False))
    return _repeated(plain, stiff_solver(plain)[0], r, s, {name: jnp.zeros_like(value) for name, value in r.items()})


def _size(u: Duals) -> Array:
    """||u||_2, of at least one part."""
    return jnp.sqrt(sum((jnp.sum(part * part) for part in u[1:]), start=jnp.sum(u[0] * u[0])))


def unsolved(limit: float, converged: np.ndarray, unique: np.ndarray, error: np.ndarray) -> str | None:
    """What there is to say of a system solved to a relative residual `error`, None where others say it."""
    if bool(error <= limit) or not (converged and unique):
        return None
    return (
        "the derivative is NaN, for its linear system has no solution, or more than one "
        f"(relative residual {float(error):.1e}): kinks of two terms lie on each other and the change pulls them "
        "apart, or multipliers were asked for that are not unique "
        "(the option derivative_nan=False gives what there is instead)"
    )


def ambiguous(system: Linearised, stiff_solve: Callable[[Point, Point], Point]) -> Duals:
    """Multipliers n of the system that nothing answers, A^T n = 0 and J n = 0; zero where there are none.

    They are what is left of a push on the multipliers in all directions.
    """
    t = {name: jnp.zeros_like(value) for name, value in system.x.items()}
    line, part_of = ravel_pytree(forward(system, t))
    probe = complement(system, part_of(jnp.sin(1 + jnp.arange(line.size, dtype=line.dtype) ** 1.5)))
    none = tuple(jnp.zeros_like(part) for part in probe)
    t, u = _repeated(system, stiff_solve, t, none, t, probe)
    force, length = apply_system(system, (t, u))
    left, whole = _size(u), _size(probe)
    tol = SOLVED[left.dtype.itemsize] * left / jnp.where(whole > 0, whole, 1)  # of what the probe itself would do
    unanswered = (norm(force) <= tol * norm(adjoint(system, probe, t))) & (_size(length) <= tol * whole / system.sigma)
    exists = unanswered & (left > AMBIGUOUS * whole)
    # what is no part of it is rounding, which would look as if it did not cancel
    least = ROUNDED[left.dtype.itemsize] * jnp.max(jnp.stack([jnp.max(jnp.abs(part)) for part in u]))
    return tuple(jnp.where(exists & (jnp.abs(part) > least), part, 0) for part in u)


def solve_system(
    system: Linearised,
    r: Point,
    s: Duals,
    converged: Array,
    guess: Point | None = None,
    *,
    asked: Array,
    shadows: Array | None = None,
    program: Array | None = None,
) -> Pair:
    """(t, dp) with the system's operator mapping it to (r, s); differentiable and transposable.

    NaN where the system has no unique solution or was not solved to the accuracy asked for: told, not guessed. Of a
    solve that has not `converged`, or has no unique solution, others tell.

    `guess` is where the transposed system starts, for those who have solved a similar one. `asked`: a number, linear in
    the change, that is zero only where nothing changes. `shadows`: zeros, whose cotangents are the multipliers that are
    not unique, in the channels of `ambiguity.py`. `program`: whose warnings are told once.
    """
    frozen, converged = lax.stop_gradient((system, converged))
    limit = (SOLVED if system.plan.periods is None else SOLVED_ROUGHLY)[dtype_of(r).itemsize]
    teller = Teller(partial(unsolved, limit))
    program = jnp.zeros((), jnp.int32) if program is None else program
    stiff_solve, unique = stiff_solver(frozen)
    zero = {name: jnp.zeros_like(value) for name, value in r.items()}
    begin = zero if guess is None else project(frozen.space, lax.stop_gradient(guess))

    def checked(mode: str, pair: Pair, rhs: Pair) -> Pair:
        if not system.plan.derivative_nan:
            return pair
        error = residual(frozen, pair, rhs)
        if system.plan.derivative_warning:
            finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(pair)]))
            jax.debug.callback(partial(teller, mode), program, converged, finite, error)
        return jax.tree.map(lambda leaf: jnp.where(error <= limit, leaf, jnp.nan), pair)

    def direct(rhs: Pair, asked: Array) -> Pair:
        pair = checked(FORWARD, _repeated(frozen, stiff_solve, *rhs, zero), rhs)
        if not (system.plan.derivative_nan and system.plan.dense):
            return pair
        # a change that asks nothing of one solution may still ask something of the others
        known = unique | (asked == 0)
        return jax.tree.map(lambda leaf: jnp.where(known, leaf, jnp.nan), pair)

    def transposed(rhs: Pair) -> Pair:
        r, s = rhs
        bent = complement(frozen, s)
        t, u = checked(REVERSE, _repeated(frozen, stiff_solve, r, bent, begin), (r, bent))
        y = add_scaled_duals(u, frozen.sigma, add_scaled_duals(forward(frozen, project(frozen.space, t)), -1, s))
        return t, y

    def doubtful(y: Duals) -> Array:
        """n in its channels, where the gradient has anything to do with multipliers."""
        return jnp.where(_size(y) > 0, in_channels(ravel_pytree(ambiguous(frozen, stiff_solve))[0]), 0)

    def forward_solve(b: tuple) -> tuple:
        rhs, asked, shadows = b
        return direct(rhs, asked), asked, shadows

    def reverse_solve(b: tuple) -> tuple:
        rhs, asked, shadows = b
        pair = transposed(rhs)
        return pair, jnp.zeros_like(asked), shadows if shadows is None else doubtful(pair[1])

    # The derivative of custom_linear_solve cannot take a right-hand side and an operator where a part, or both, have no
    # tangent at all, as happens in second derivatives. So it is one vector, and both are tied to x, with one of zero.
    vector, parts_of = ravel_pytree(((r, s), asked, shadows))
    tied = 1 + 0 * ravel_pytree(system.x)[0][0]

    def flat(f: Callable[[tuple], tuple]) -> Callable[[Array], Array]:
        return lambda b: ravel_pytree(f(parts_of(b)))[0]

    def operator(b: Array) -> Array:
        return tied * flat(lambda parts: (apply_system(system, parts[0]), *parts[1:]))(b)

    solution = lax.custom_linear_solve(
        operator, tied * vector, lambda _, b: flat(forward_solve)(b), lambda _, b: flat(reverse_solve)(b)
    )
    return parts_of(tied * solution)[0]


def _repeated(
    system: Linearised,
    stiff_solve: Callable[[Point, Point], Point],
    r: Point,
    s: Duals,
    begin: Point,
    multipliers: Duals | None = None,
) -> Pair:
    """The method of multipliers on the linear system, from t = `begin` and u = `multipliers`, zero unless given."""
    dtype, sigma = dtype_of(r), system.sigma

    def update(t: Point, u: Duals) -> tuple[Point, Duals]:
        pull = adjoint(system, tuple(sigma * c - d for c, d in zip(s, complement(system, u), strict=True)), r)
        t = stiff_solve(add(r, project(system.space, pull)), t)
        bent = complement(system, forward(system, project(system.space, t)))
        return t, tuple(sigma * (b - c) + d for b, c, d in zip(bent, s, complement(system, u), strict=True))

    if not s:
        t, u = stiff_solve(r, begin), ()
    else:
        goal = 64 * float(jnp.finfo(dtype).eps)

        def unfinished(carry: tuple) -> Array:
            i, _, _, moved, size = carry
            return (i < OUTER) & ~(moved <= goal * size)

        def body(carry: tuple) -> tuple:
            i, t, u, _, _ = carry
            t, new = update(t, u)
            moved = _size(complement(system, add_scaled_duals(new, -1, u)))
            return i + 1, t, new, moved, _size(new)

        infinity = jnp.full((), jnp.inf, dtype)
        first = tuple(jnp.zeros_like(v) for v in s) if multipliers is None else multipliers
        start = (jnp.zeros((), jnp.int32), begin, first, infinity, jnp.zeros((), dtype))
        _, t, u, *_ = lax.while_loop(unfinished, body, start)
    return t, u


def residual(system: Linearised, pair: Pair, rhs: Pair) -> Array:
    """How far `pair` is from solving the system, the larger of its two lines' relative residuals.

    Forces that sum to nothing leave nothing to compare with: so the size of each is that of A^T u with signs in u.
    """
    (t, u), (r, s) = pair, rhs
    first, second = apply_system(system, pair)
    tiny = jnp.finfo(dtype_of(t)).tiny
    size = norm(r) + norm(adjoint(system, u, t)) + norm(hessian(system, t))
    for penalty, part in zip(system.general(system.problem.penalties), u, strict=True):
        size = size + norm(penalty.map.adjoint(probe_signs(part.shape, part.dtype) * part))
    worst = norm(subtract(first, r)) / jnp.maximum(size, tiny)
    if s:
        # lengths are measured in units of the force on them, so that where nothing moves rounding counts for nothing
        left = _size(add_scaled_duals(second, -1, s))
        unit = _size(s) + _size(forward(system, t)) + (_size(u) + norm(r)) / system.sigma
        worst = jnp.maximum(worst, left / jnp.maximum(unit, tiny))
    return worst
