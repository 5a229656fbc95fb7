"""Polishing an isotropic TV problem, to machine precision: multipliers and Newton, then Newton on the flat regions.

Two stages work on  minimise f(x) + sum_pixels w ||(D x)_pixel||_2,  f quadratic,  lower <= x <= upper.

1. The method of multipliers. From the dual field p (and y of the bounds), with q = p + sigma D x,

       x <- argmin f(x) + 1/sigma sum_pixels h_w(|q|) + bounds,    p <- w q / max(w, |q|),

   h_w(n) = n^2 / 2 for n <= w, else w n - w^2 / 2. The new p is feasible and balances the gradient of f, so that all
   that is left of the gap is sum w ||D x|| - <p, D x>, which falls faster the larger sigma is. The pixels with
   |q| <= w are the zero set; they join it and leave it by themselves.
2. With Pi the mean over the regions that the zero set forms, minimise over x = Pi x, the other pixels' norms as they
   are: h_w for p = 0 and a sigma so large that only norms near rounding are rounded off. Those pixels merge.

Each inner problem is smooth and solved by `multipliers.minimise`. Stage 2 makes x flat where it has to be and solves
the optimality conditions to rounding, but can only merge; whether it was right shows when a dual is completed on the
zero set, as for p = 1. Where that does not succeed, the outcome of stage 1 is handed out, flattened.

Method of multipliers with semismooth Newton: Li, Sun & Toh 2018; for TV: Hintermüller & Kunisch 2004.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.prox.projections import leading_dot, safe_norm
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.certificate import likely, objective, stationarity
from admm_jax.solver.multipliers import NEWTON_STEPS, Inner, Parts, TVProblem, minimise, tv_problem_of
from admm_jax.solver.regions import Regions, boxes_of, complete, find_regions, tv_of
from admm_jax.solver.rewrite import lift
from admm_jax.solver.sizes import Units
from admm_jax.solver.vectors import select

OUTER = 12  # rounds of multipliers; 3 to 6 are usual
MERGES = 40  # Newton steps on the regions
GROWTH = 10.0  # of sigma
DUAL_STEPS = 2000  # accelerated projected gradient steps that complete the dual on the zero set


@pytree_dataclass
class FlatPoint:
    """A point that is exactly flat on `flat` (1, *shape) and on its bounds where y is not 0, and its duals."""

    x: Array
    field: Array
    y: Array
    flat: Array


@pytree_dataclass
class Polish:
    """The polish under way. `settled`: what stage 1 ended with; `gap`: its last one; `round`: of the stage."""

    inner: Inner
    settled: FlatPoint
    gap: Array
    force: Array  # the largest entry of the gradient that the last round began with
    round: Array
    merging: Array  # stage 2
    done: Array


def _settle(tv: TVProblem, regions: Regions, x: Array, y: Array) -> tuple[Array, Array]:
    """Region means, moved onto the bound where a force y holds a pixel of the region; and where that is."""
    lower, upper = regions.greatest(tv.lower), -regions.greatest(-tv.upper)
    at_lower, at_upper = regions.any(y < 0), regions.any(y > 0)
    x = jnp.clip(regions.mean(x), lower, upper)
    return jnp.where(at_lower, lower, jnp.where(at_upper, upper, x)), at_lower | at_upper


def _gap(tv: TVProblem, x: Array, parts: Parts) -> Array:
    """The duality gap where the forces balance."""
    y = parts.y
    distance = jnp.where(y > 0, tv.upper - x, jnp.where(y < 0, tv.lower - x, 0))
    return tv.gap(parts) + jnp.sum(jnp.abs(y * distance))


def _turned(tv: TVProblem, before: Inner, after: Inner) -> Array:
    """(1, *shape): where a pixel's differences turned round; the bottom of its cone is between."""
    return leading_dot(tv.parts(before).d, tv.parts(after).d) <= 0


def _round(tv: TVProblem, now: Polish, goal: Array, sharpest: Array) -> Polish:
    """One round: solve the inner problem and renew the multipliers, or take a Newton step and renew the zero set.

    Args:
        tv: The problem.
        now: The polish so far.
        goal: The gap, absolute, at which stage 1 ends.
        sharpest: The largest sigma: beyond it norms are rounded off that are not rounding.
    """
    old = now.inner
    inner, force, still = minimise(tv, old, jnp.where(now.merging, 1, NEWTON_STEPS))
    parts = tv.parts(inner)
    zero = old.flat | parts.zero | (now.merging & _turned(tv, old, inner))
    zero = zero | (safe_norm(parts.d, (0,), keepdims=True) * sharpest <= jnp.mean(tv.weight))
    gap = _gap(tv, inner.x, parts)
    count = now.round + 1
    end = ~now.merging & ((gap <= goal) | (count >= OUTER))
    reduced = now.merging | end

    regions = find_regions(jnp.broadcast_to(zero, inner.p.shape), tv.difference.axes)
    base, bound = _settle(tv, regions, inner.x, parts.y)
    base = jnp.where(old.held, regions.mean(old.base), base)
    held = (bound | old.held) & reduced
    slow = gap > now.gap / GROWTH
    sigma = jnp.minimum(jnp.where(slow, GROWTH, 1) * old.sigma, sharpest)
    following = Inner(
        base=base,
        shift=jnp.where(reduced, 0, inner.x - base),
        force=tv.curve(base) - tv.rhs,
        p=jnp.where(reduced, 0, parts.field),
        y=jnp.where(reduced, 0, parts.y),
        direction=inner.direction,
        sigma=jnp.where(reduced, sharpest, sigma),
        flat=zero & reduced,
        regions=select(reduced, regions, old.regions),
        held=held,
    )
    same = jnp.all(following.flat == old.flat) & jnp.all(held == old.held)
    return Polish(
        inner=following,
        settled=select(end, FlatPoint(base, parts.field, parts.y, zero), now.settled),
        gap=gap,
        round=jnp.where(end, 0, count),
        merging=reduced,
        force=jnp.where(end, jnp.inf, force),
        done=now.merging & ((same & still & (force > now.force / 2)) | (count >= MERGES)),
    )


def polish(
    problem: Problem, rhs: Point, point: Point, duals: tuple[Array, ...], units: Units, wanted: Array
) -> tuple[Point, tuple[Array, ...]]:
    """The polished point and duals for it, unless it is not `wanted`.

    Args:
        problem: The problem, not lifted: one image with an isotropic total variation and bounds.
        rhs: sum Q^T W d - c, of the shapes of x.
        point: Where it starts.
        duals: Of the lifted problem, one array for each penalty.
        units: The sizes of x.
        wanted: Whether this one is polished: else the loops, which are run for another element of a batch, end at once.
    """
    name, _ = problem.variables[0]
    index, _ = tv_of(problem)
    lifted = lift(problem)
    tv = tv_problem_of(problem, rhs)
    x, field = point[name], duals[index]
    dtype = field.dtype
    eps = jnp.finfo(dtype).eps
    y = sum((duals[i] for i in boxes_of(problem)), jnp.zeros_like(x))
    nowhere = jnp.zeros((1, *x.shape), bool)
    pixels = find_regions(jnp.broadcast_to(nowhere, field.shape), tv.difference.axes)

    size = jnp.abs(objective(problem, point))
    extent = jnp.maximum(jnp.max(jnp.abs(x)), units.point)
    tiny = jnp.finfo(dtype).tiny
    first = Inner(
        base=x,
        shift=jnp.zeros_like(x),
        force=tv.curve(x) - tv.rhs,
        p=field,
        y=y,
        direction=field,
        sigma=jnp.ones((), dtype),
        flat=nowhere,
        regions=pixels,
        held=nowhere[0],
    )
    gap = jnp.maximum(_gap(tv, x, tv.parts(first)), eps * size)
    # h_w rounds off at most w^2 / (2 sigma) a pixel: no more in all than the gap, and no norm that is above rounding
    sharpest = jnp.mean(tv.weight) / jnp.maximum(eps**0.75 * extent, tiny)
    sigma = jnp.minimum(jnp.sum(tv.weight**2) / jnp.maximum(2 * gap, tiny), sharpest)
    start = Polish(
        inner=replace(first, sigma=sigma),
        settled=FlatPoint(x, field, y, nowhere),
        gap=gap,
        force=gap,
        round=jnp.zeros((), jnp.int32),
        merging=jnp.zeros((), bool),
        done=~wanted,
    )
    goal = eps ** (5 / 6) * size
    last = lax.while_loop(lambda p: ~p.done, lambda p: _round(tv, p, goal, sharpest), start)

    def bound(pair: tuple[Array, tuple[Array, ...]]) -> Array:
        x, duals = pair
        here = {name: x}
        e = tuple(q.map(here) - q.data for q in lifted.quadratics)
        left = stationarity(lifted, e, duals, {name: jnp.zeros_like(x)})
        return likely(lifted, here, e, duals, left, units)

    settled = last.settled
    shares = _shared(problem, tv, duals, index, settled)
    x, flat = last.inner.base, last.inner.flat
    field = jnp.where(flat, settled.field, tv.parts(last.inner).field)
    steps = jnp.where(wanted, DUAL_STEPS, 0)
    completed = complete(problem, {name: x}, shares, index, field, flat, steps)
    # a dual that cannot be completed leaves far more than the root of rounding, one that can, less
    first, second = (settled.x, shares), (x, completed)
    bounds = lax.map(bound, jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second))
    x, completed = select(bounds[1] <= jnp.maximum(bounds[0], eps**0.5 * size), second, first)
    return {name: x}, completed


def _shared(
    problem: Problem, tv: TVProblem, duals: tuple[Array, ...], index: int, pair: FlatPoint
) -> tuple[Array, ...]:
    """The duals of a pair, y given to the constraint whose bound it is."""
    out, left = list(duals), pair.y
    out[index] = pair.field
    for i, (lower, upper, offset) in boxes_of(problem).items():
        tight_above, tight_below = upper - offset <= tv.upper, lower - offset >= tv.lower
        out[i] = jnp.where(jnp.where(left > 0, tight_above, tight_below), left, 0)
        left = left - out[i]
    return tuple(out)
