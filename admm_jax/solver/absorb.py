"""Absorbing what a dual point misses in stationarity: rounds that lead from an iterate to a pair that proves its gap.

Solve (Q^T W Q + B^T omega B) phi = -r, then e += Q phi and p += omega B phi, and p is projected onto dom g*; the parts
of p that had to be projected are held fast (omega = 0) in the next round (see `certificate.py`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.solver.certificate import Certificate, evaluate, know, proved, relative, stationarity
from admm_jax.solver.linear import factorised
from admm_jax.solver.rewrite import VECTOR, matrix_of
from admm_jax.solver.sizes import Units
from admm_jax.solver.spectral import solve_normal
from admm_jax.solver.vectors import add, dtype_of, select, subtract


def certify(
    problem: Problem,
    x: Point,
    promised: Certificate,
    unit: Array,
    units: Units,
    goal: Array,
    *,
    rounds: Array | int,
    inner: int,
    last: int,
    e: tuple[Array, ...] | None = None,
    gram: Array | None = None,
) -> Certificate:
    """The certificate of x with duals built from those of `promised`, in rounds of projecting and absorbing.

    After every round the pair, scaled into dom g* or projected, is evaluated with what is left of the stationarity at
    its full price; the best is kept, and the first whose relative gap is within `goal` ends it.

    Args:
        problem: The lifted problem.
        x: The point.
        promised: Of `promise` or another look at x: the duals to start from, and what needs no duals.
        unit: The step of p against that of e: omega on all that is not held, a scalar.
        units: The sizes of x.
        goal: Of the relative gap.
        rounds: At most so many; below zero, the pair is only looked at.
        inner: Conjugate gradient steps of a round, at most.
        last: Those of the last round, which absorbs to rounding.
        e: Where e starts; None for Q x - d.
        gram: sum Q^T W Q of a dense problem, (n, n): systems are then solved by Cholesky. None for conjugate gradients.
    """
    dtype = dtype_of(x)
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    functions = [penalty.function for penalty in problem.penalties]
    # where dom g* is zero alone, as for a weight of zero, nothing is absorbed: scaling would have to undo all of it
    ones = [jnp.ones_like(part) for part in promised.duals]
    units_of = tuple(
        jnp.where((f.project_dual(one) == 0) & (f.project_dual(-one) == 0), 0, unit) * one
        for f, one in zip(functions, ones, strict=True)
    )
    tight = float(jnp.finfo(dtype).eps) * 64

    here = know(problem, x, promised.duals, units)

    def scaled(e: tuple[Array, ...], p: tuple[Array, ...], residual: Point) -> tuple:
        """(e, p, residual) of the pair scaled into dom g*; `residual` is what it misses in stationarity before."""
        scale = jnp.ones((), dtype)
        for f, part in zip(functions, p, strict=True):
            scale = jnp.minimum(scale, f.into_domain(part))
        e, p = (tuple(scale * part for part in parts) for parts in (e, p))
        left = {name: scale * part for name, part in residual.items()}
        left |= {name: left[name] + (1 - scale) * cost for name, cost in problem.linear.items()}
        return e, p, left

    def projected(e: tuple[Array, ...], loose: tuple[Array, ...], residual: Point) -> tuple:
        """(e, p, residual) of the pair projected onto dom g*: where a sign is wrong by rounding, no scale would do."""
        p = tuple(f.project_dual(part) for f, part in zip(functions, loose, strict=True))
        left = residual
        for penalty, new, old in zip(problem.penalties, p, loose, strict=True):
            left = add(left, penalty.map.adjoint(new - old))
        return e, p, left

    def prove(pair: tuple) -> Array:
        e, p, left = pair
        return evaluate(problem, x, e, p, left, here)

    def attempt(e: tuple[Array, ...], p: tuple[Array, ...], residual: Point) -> tuple:
        """(gap, e, p): the better of the two pairs, of which one will do where all of dom g* is balanced."""
        first = scaled(e, p, residual)
        if all(f.is_balanced for f in functions):
            return prove(first), *first[:2]
        second = projected(e, p, residual)
        gaps = lax.map(prove, jax.tree.map(lambda *parts: jnp.stack(parts), first, second))  # compiled once
        # what is no number proves nothing
        better = ~(gaps[0] <= gaps[1])
        return jnp.fmin(*gaps), *select(better, second[:2], first[:2])

    def body(carry: tuple) -> tuple:
        i, _, e, free, residual, omegas, least, *best = carry
        p = tuple(f.project_dual(part) for f, part in zip(functions, free, strict=True))
        rhs = {name: -part for name, part in residual.items()}
        for penalty, part, loose in zip(problem.penalties, p, free, strict=True):
            rhs = subtract(rhs, penalty.map.adjoint(part - loose))
        final = i > rounds
        steps = jnp.where(i == 0, 0, jnp.where(final, last, inner))  # the first one only looks at what there is
        if gram is None:
            phi = solve_normal(problem, omegas, rhs, zero, steps=steps, tol=jnp.where(final, tight, 0.01))
        else:
            weights = tuple(omega.ravel() for omega in omegas)
            matrices = [matrix_of(penalty.map) for penalty in problem.penalties]
            solved = factorised(gram, matrices, weights, rhs[VECTOR])
            phi = {VECTOR: jnp.where((i > 0) & jnp.all(jnp.isfinite(solved)), solved, 0)}
        e = tuple(part + quadratic.map(phi) for quadratic, part in zip(problem.quadratics, e, strict=True))
        moved = zip(problem.penalties, p, omegas, strict=True)
        free = tuple(part + omega * penalty.map(phi) for penalty, part, omega in moved)
        residual = stationarity(problem, e, free, zero)
        # absorbing may fail, where the held parts leave no way to be stationary, and so may scaling
        gap, *pair = attempt(e, free, residual)
        best = select(gap <= least, pair, best)
        least = jnp.fmin(gap, least)
        done = final | (relative(promised.objective, least, promised.floor) <= goal)
        # what has to be projected now is held fast in the next round; at first, what is on the border of dom g*: the
        # signs of jumps are right long before the rest
        reach = jnp.where(i == 0, 1.0001, 1)
        omegas = tuple(
            jnp.where(f.project_dual(reach * part) == reach * part, own, 0)
            for f, part, own in zip(functions, free, units_of, strict=True)
        )
        return i + 1, done, e, free, residual, omegas, least, *best

    e = tuple(q.map(x) - q.data for q in problem.quadratics) if e is None else e
    p = promised.duals
    none, infinity = jnp.zeros((), bool), jnp.full((), jnp.inf, dtype)
    start = jnp.zeros((), jnp.int32), none, e, p, zero, units_of, infinity, e, p
    *_, gap, _, p = lax.while_loop(lambda carry: ~carry[1], body, start)
    return proved(promised, gap, p)
