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
# that of decoupled problems, whose derivatives are known to a percent, or to what was asked for
SOLVED_ROUGHLY = {8: 1e-3, 4: 1e-2}
ROUNDED = {8: 1e-5, 4: 1e-2}  # entries of multipliers that are not unique, relative to the largest, that are rounding
AMBIGUOUS = 1e-3  # share of a push on the multipliers that must stay for them not to be unique


def answer(system: Linearised, r: Point, s: Duals) -> Pair:
    """`solve_system` for the right-hand sides r and s, without a derivative, and without NaN where it failed."""
    plain = replace(system, plan=dataclasses.replace(system.plan, derivative_nan=False))
    return _repeated(plain, stiff_solver(plain)[0], r, s, {name: jnp.zeros_like(value) for name, value in r.items()})


def _size(u: Duals) -> Array:
    """||u||_2, of at least one part."""
    return jnp.sqrt(sum((jnp.sum(part * part) for part in u[1:]), start=jnp.sum(u[0] * u[0])))


def unsolved(converged: np.ndarray, unique: np.ndarray, error: np.ndarray, limit: np.ndarray) -> str | None:
    """What there is to say of the solution of a linear system, None where there is nothing or `trust.py` says it.

    Args:
        converged: Whether the solve that is differentiated did.
        unique: Whether the solution is finite, as it is not where the system is known to be singular.
        error: The relative residual.
        limit: That at which the system counts as solved.
    """
    if bool(error <= limit) or not (converged and unique):
        return None
    return (
        "the derivative is NaN, for its linear system has no solution, or more than one, or is too ill-conditioned "
        f"(relative residual {float(error):.1e}): kinks of two terms lie on each other and the change pulls them "
        "apart, or multipliers were asked for that are not unique, or the data hardly see a part of the solution "
        "(the option derivative_nan=False gives what there is instead)"
    )


def ambiguous(system: Linearised, stiff_solve: Callable[[Point, Point], Point]) -> Duals:
    """Multipliers n with A^T n = 0 and J n = 0, one of many; zero where there are none.

    They are what the method of multipliers leaves of multipliers without a pattern, for right-hand sides of zero.
    `stiff_solve` is that of `stiff_solver`.
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
    # the smallest entries are rounding, and would look like sums that do not cancel
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
    """(t, u) with M t + A^T u = r and B A t - J u / sigma = s, t in T; differentiable and transposable.

    NaN, with a warning, where the system has no unique solution or was not solved to `SOLVED`. Where the solve itself
    did not converge, or its solution is not unique, `trust.py` warns and this does not.

    Args:
        system: The linear system.
        r: Right-hand side of the first line, of the shapes of x, in T.
        s: Right-hand side of the second, one array for each penalty that is not direct.
        converged: Whether the solve that is differentiated did.
        guess: Where the transposed system starts, of the shapes of x, from a similar one; None is zero.
        asked: A scalar, linear in the change of the problem, that is zero only where nothing changes.
        shadows: Zeros (CHANNELS, number of multipliers), whose cotangents are n of `ambiguity.py`; None for none.
        program: The number of the traced program, which warns once (see `tell.program_number`).
    """
    frozen, converged = lax.stop_gradient((system, converged))
    dtype = dtype_of(r)
    limit = jnp.asarray(SOLVED[dtype.itemsize], dtype)
    if system.plan.decoupled:
        limit = jnp.maximum(jnp.asarray(SOLVED_ROUGHLY[dtype.itemsize], dtype), frozen.accuracy)
    teller = Teller(unsolved)
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
            jax.debug.callback(partial(teller, mode), program, converged, finite, error, limit)
        return jax.tree.map(lambda leaf: jnp.where(error <= limit, leaf, jnp.nan), pair)

    def direct(rhs: Pair, asked: Array) -> Pair:
        pair = checked(FORWARD, _repeated(frozen, stiff_solve, *rhs, zero), rhs)
        if not (system.plan.derivative_nan and system.plan.dense):
            return pair
        # where x is not unique, r and s may be zero at this solution and not at the others: only no change has dx = 0
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

    # JAX cannot differentiate custom_linear_solve where its operator, or a part of the right-hand side, has no tangent
    # at all, as happens in second derivatives. So the right-hand side is one vector, and both are multiplied by a one
    # that depends on x, with derivative zero.
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
    """The method of multipliers on the linear system, until u settles or for `OUTER` updates.

    Args:
        system: The linear system.
        stiff_solve: (right-hand side, start) -> t, of `stiff_solver`.
        r: Right-hand side of the first line.
        s: Right-hand side of the second line.
        begin: t at the start.
        multipliers: u at the start; None is zero.
    """
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
    """How far `pair` is from solving the system for `rhs`, the larger of its two lines' relative residuals.

    Where forces cancel, A^T u is no measure of their sizes: so each is measured by A^T (+-u), too, with signs without a
    pattern.
    """
    (t, u), (r, s) = pair, rhs
    first, second = apply_system(system, pair)
    tiny = jnp.finfo(dtype_of(t)).tiny
    size = norm(r) + norm(adjoint(system, u, t)) + norm(hessian(system, t))
    for penalty, part in zip(system.general(system.problem.penalties), u, strict=True):
        size = size + norm(penalty.map.adjoint(probe_signs(part.shape, part.dtype) * part))
    worst = norm(subtract(first, r)) / jnp.maximum(size, tiny)
    if s:
        # forces over sigma are lengths, and count with the others: where nothing moves, rounding is small beside them
        left = _size(add_scaled_duals(second, -1, s))
        unit = _size(s) + _size(forward(system, t)) + (_size(u) + norm(r)) / system.sigma
        worst = jnp.maximum(worst, left / jnp.maximum(unit, tiny))
    return worst
