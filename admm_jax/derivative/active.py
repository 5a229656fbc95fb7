"""Which parts of a solution are held by a kink or a bound, and the space in which it can move.

A penalty g(A x + b) holds v = A x + b where its prox does not react to a change of v: a jump that is zero under TV, an
entry that is zero under l1, one that lies on a bound. Which they are is read from the pair (v, p) by the prox itself,
z = prox(v + p / rho): no threshold on v. Penalties on a variable itself ("direct" ones) then say in which space that
variable moves,

    T = {t : t constant on each flat region of a total variation, zero on each region with a held entry}

and all other penalties become equations of the linear system (`conditions.py`). Small dense models have no direct ones.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import Penalty, Point, Problem
from admm_jax.pytree import pytree_dataclass, static
from admm_jax.solver.plan import Plan
from admm_jax.solver.regions import Regions, find_regions
from admm_jax.solver.rewrite import lift
from admm_jax.solver.sizes import initial_units, larger, size_of
from admm_jax.solver.state import data_point, right_hand_side
from admm_jax.solver.vectors import dtype_of


@pytree_dataclass
class Reading:
    """One pair of the lifted problem as its prox reads it: `z` in dom g, `p` in dg(z), exactly (Moreau).

    `rho` is the penalty parameter of the reading.
    """

    z: Array
    p: Array
    rho: Array

    def argument(self, sigma: Array) -> Array:
        """z + p / sigma, of which z is the prox with step 1 / sigma."""
        return self.z + self.p / sigma


@pytree_dataclass
class Space:
    """T for one variable: its regions (None without a total variation) and the entries that are held.

    `edges`: which edges are flat, (number of axes, *shape), and None without a total variation; `axes`: those that have
    edges.
    """

    regions: Regions | None
    held: Array
    edges: Array | None = None
    axes: tuple[int, ...] = static(default=())

    def __call__(self, v: Array) -> Array:
        """The orthogonal projection onto T."""
        inside = jnp.where(self.held, 0, v)
        return inside if self.regions is None else self.regions.mean(inside)

    def average(self, v: Array) -> Array:
        """The mean over each region, held or not."""
        return v if self.regions is None else self.regions.mean(v)

    def spread(self, v: Array, pinned: Array) -> Array:
        """On each region the mean of `v` over its `pinned` entries, zero on regions without any."""
        if self.regions is None:
            return jnp.where(pinned, v, 0)
        total = self.regions.sum(jnp.where(pinned, v, 0))
        count = self.regions.sum(pinned.astype(v.dtype))
        return jnp.where(count > 0, total / jnp.maximum(count, 1), 0)


def direct_terms(problem: Problem, plan: Plan) -> tuple[bool, ...]:
    """Which penalties say directly how their variable can move: those on a variable itself, in matrix-free models.

    A second total variation on the same variable is left to the linear system: regions are those of one.
    """
    out, seen = [], set()
    for penalty in problem.penalties:
        name, function = penalty.map.identity_on, penalty.function
        direct = not plan.dense and name is not None and function.holds_entries
        if direct and function.variation() is not None:
            direct = name not in seen
            seen.add(name)
        out.append(direct)
    return tuple(out)


def has_curved_groups(problem: Problem, plan: Plan) -> bool:
    """Whether a direct penalty is curved where it does not hold: a norm of groups, isotropic total variation."""
    pairs = zip(problem.penalties, direct_terms(problem, plan), strict=True)
    return any(is_direct and penalty.function.unbounded_curvature for penalty, is_direct in pairs)


def solution_scale(problem: Problem, x: Point) -> Array:
    """max |x_i|, or the size of x that the data suggest (`initial_units`) if that is larger: a scalar, held fixed."""
    told = initial_units(problem, data_point(problem, right_hand_side(problem, dtype_of(x)))[0])
    return lax.stop_gradient(larger(told.point, size_of(x)))


def force_scale(problem: Problem, duals: tuple[Array, ...]) -> Array:
    """The largest of what balances at the solution: |W d|, |c| and |p|, a scalar, held fixed.

    Of a problem in units of its own, in which the lengths of rows are about one.
    """
    parts = [quadratic.weight * quadratic.data for quadratic in problem.quadratics]
    sizes = [jnp.max(jnp.abs(part), initial=0) for part in (*parts, *problem.linear.values(), *duals)]
    return lax.stop_gradient(jnp.max(jnp.stack(sizes), initial=0) if sizes else jnp.zeros(()))


def read(problem: Problem, x: Point, duals: tuple[Array, ...]) -> tuple[Reading, ...]:
    """z = prox(v + p / rho, 1 / rho) and p + rho (v - z), v = A x + b, for each penalty of the lifted problem.

    rho = max |p| / max |v| gives v and p / rho the same size, so that neither is lost in the other's rounding; the
    solver's own rho may be far from it. Where g holds all of v at zero, v is nothing but rounding, and where it holds
    nothing, as an inactive constraint, p is; their sizes then mean nothing, and p / rho would be noise of the size of
    v. So max |v| counts as sqrt(eps) `solution_scale` at least, and max |p| as sqrt(eps) `force_scale`.

    Args:
        problem: The problem; it is lifted here.
        x: A point, near the solution.
        duals: The duals p of the lifted problem, one array for each penalty.

    Returns:
        A reading for each penalty, differentiable in all arguments but for rho, which is held fixed.
    """
    out = []
    largest = solution_scale(problem, x)
    root = jnp.finfo(largest.dtype).eps ** 0.5
    least, weakest = root * largest, root * force_scale(problem, duals)
    for penalty, dual in zip(lift(problem).penalties, duals, strict=True):
        v = penalty.map(x) + penalty.offset
        size, force = (lax.stop_gradient(jnp.max(jnp.abs(a), initial=0)) for a in (v, dual))
        size, force = jnp.maximum(size, least), jnp.maximum(force, weakest)
        known = (size > 0) & (force > 0) & jnp.isfinite(size) & jnp.isfinite(force)
        rho = jnp.where(known, jnp.where(known, force, 1) / jnp.where(known, size, 1), 1)
        z = penalty.function.prox(v + dual / rho, 1 / rho)
        out.append(Reading(z, rho * (v - z) + dual, rho))
    return tuple(out)


def spaces(problem: Problem, direct: tuple[bool, ...], readings: tuple[Reading, ...]) -> dict[str, Space]:
    """T of each variable that a direct penalty acts on. It is piecewise constant in everything: no derivative.

    Args:
        problem: The problem, not lifted.
        direct: Which of its penalties are direct (`direct_terms`).
        readings: Of all its penalties, in the lifted problem.
    """
    flats: dict[str, tuple[Array, tuple[int, ...]]] = {}
    held: dict[str, Array] = {}
    shapes = dict(problem.variables)
    lifted = lift(problem)
    for original, penalty, reading, is_direct in zip(
        problem.penalties, lifted.penalties, readings, direct, strict=True
    ):
        if not is_direct:
            continue
        name = original.map.chains[0].variable
        entries = lax.stop_gradient(penalty.function.held(reading.z))
        variation = original.function.variation()
        if variation is not None:
            flats[name] = entries, variation.difference(shapes[name]).axes
        else:
            held[name] = held[name] | entries if name in held else entries
    out = {}
    for name in {*flats, *held}:
        pinned = held.get(name, jnp.zeros(shapes[name], bool))
        if name not in flats:
            out[name] = Space(None, pinned)
            continue
        regions = find_regions(*flats[name])
        out[name] = Space(regions, regions.any(pinned), *flats[name])
    return out


def project(space: dict[str, Space], x: Point) -> Point:
    """The projection onto T; variables without a space move freely."""
    return {name: space[name](value) if name in space else value for name, value in x.items()}


def displacement(
    problem: Problem,
    tangent: Problem,
    direct: tuple[bool, ...],
    readings: tuple[Reading, ...],
    space: dict[str, Space],
) -> Point:
    """The part of dx that T does not decide: held entries go with their bounds, regions with their offset.

    A flat region of TV(x + b) keeps x + b constant: dx = -db + (constant). A held entry has x + b = z: dx = dz - db
    with dz the change of the prox with its bounds. Where the held entries of one region ask for different changes,
    as where it is about to split, it goes with their mean.

    Args:
        problem: The problem, not lifted.
        tangent: Its change, a `Problem` of the same structure.
        direct: Which penalties are direct; all others are left out.
        readings: Of all penalties, in the lifted problem.
        space: T of each variable that has one.

    Returns:
        Of the shapes of x; zero where nothing is held.
    """
    dtype = problem.constant.dtype
    out = {name: jnp.zeros(shape, dtype) for name, shape in problem.variables}
    for penalty, change, is_direct in zip(problem.penalties, tangent.penalties, direct, strict=True):
        if is_direct and penalty.function.variation() is not None:
            name = penalty.map.chains[0].variable
            out[name] = out[name] - jnp.broadcast_to(change.offset, out[name].shape)
    asked: dict[str, tuple[Array, Array]] = {}
    for penalty, change, reading, is_direct in zip(problem.penalties, tangent.penalties, readings, direct, strict=True):
        if not is_direct or penalty.function.variation() is not None:
            continue
        name = penalty.map.chains[0].variable
        dz = _reaction(penalty, change, reading)
        pinned = lax.stop_gradient(penalty.function.held(reading.z))
        wanted = jnp.where(pinned, dz - change.offset - out[name], 0)
        before, mask = asked.get(name, (jnp.zeros_like(wanted), jnp.zeros(wanted.shape, bool)))
        asked[name] = jnp.where(pinned, wanted, before), mask | pinned
    for name, (wanted, pinned) in asked.items():
        out[name] = out[name] + space[name].spread(wanted, pinned)
    return out


def _reaction(penalty: Penalty, change: Penalty, reading: Reading) -> Array:
    """The change of z = prox(z + p / rho) with the function's own parameters, for a fixed argument."""
    v, step = reading.argument(reading.rho), 1 / reading.rho
    return jax.jvp(lambda f: f.prox(v, step), (penalty.function,), (change.function,))[1]
