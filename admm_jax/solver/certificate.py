"""How far a point is from the optimum: a duality gap from a feasible dual point.

For the lifted problem (every g_j with a conjugate whose domain is known) the dual is

    maximise  sum -1/2 <e_i, W e_i> - <e_i, W d_i>  + sum <p_j, b_j> - g_j*(p_j) + constant
    subject to  sum Q_i^T W e_i + c + sum B_j^T p_j = 0,    p_j in dom g_j*

and for a feasible (e, p) and any x in the domain the gap is a sum of terms that are each >= 0,

    f(x) - D(e, p) = sum 1/2 ||Q_i x - d_i - e_i||_W^2 + sum [g_j(v_j) + g_j*(p_j) - <p_j, v_j>],   v_j = B_j x + b_j,

so no two large numbers are subtracted. From an iterate, e = Q x - d and p = the current duals miss the equation by a
residual r. It is absorbed in both: solve (Q^T W Q + B^T omega B) phi = -r, e += Q phi, p += omega B phi, and p is
projected onto dom g*; the parts of p that had to be projected are held fast (omega = 0) in the next round. Scaled
into dom g*, (e, p) proves a gap after any round. What is still left of r is charged at its full
price: min over x' of <r, x' - x> >= -sum |r| R, for all minimisers whose entries lie within R of those of x
(`RADIUS` times the size of x: the one assumption; it weighs rounding where the solves converged, and more where not).

"Relative" means gap / |f(x)|. No number is small beside a zero, so an optimum of zero is told by rounding: see
`relative`, the one place where `tol` gets its meaning, and `rounding`.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.problem import LinearMap, Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.rounding import floor, known, rise
from admm_jax.solver.spectral import solve_normal
from admm_jax.solver.vectors import add, dtype_of, select, subtract

RADIUS = 3.0  # minimisers are taken to lie within this many times the size of x of x, entry by entry


@pytree_dataclass
class Units:
    """The sizes of x; they only matter where x is zero, for there nothing is small beside it.

    `point`: as the data suggest it, or the largest that an iterate had; `data`: as the data suggest it, or zero.
    """

    point: Array
    data: Array

    @property
    def digits(self) -> Array:
        """What the last digits of x count from: the data, or the iterates where the data suggest nothing."""
        return jnp.where(self.data > 0, self.data, self.point)


@pytree_dataclass
class Certificate:
    """What is known of a point, and the dual point `duals` that proves it.

    `gap`: bound on |f(x) - f*|; `relative_gap`: the same over |f| (see `relative`); `floor`: what rounding leaves of f
    (see `rounding`), zero where f is not zero to rounding; `plain`: the bound that (0, 0) proves; `violation`: of the
    constraints, relative to the size of what is constrained.
    """

    objective: Array
    gap: Array
    relative_gap: Array
    floor: Array
    plain: Array
    violation: Array
    duals: tuple[Array, ...]


def terms(problem: Problem, x: Point) -> tuple[Array, Array]:
    """(the terms of f(x) that are >= 0, the linear cost and the constant); constraints left out."""
    dtype = dtype_of(x)
    positive, rest = jnp.zeros((), dtype), jnp.asarray(problem.constant, dtype)
    for quadratic in problem.quadratics:
        residual = quadratic.map(x) - quadratic.data
        positive = positive + jnp.sum(quadratic.weight * residual**2) / 2
    for penalty in problem.penalties:
        positive = positive + penalty.function(penalty.map(x) + penalty.offset)
    for name, cost in problem.linear.items():
        rest = rest + jnp.sum(cost * x[name])
    return positive, rest


def objective(problem: Problem, x: Point) -> Array:
    """f(x), constraints left out."""
    positive, rest = terms(problem, x)
    return positive + rest


def stationarity(problem: Problem, e: tuple[Array, ...], p: tuple[Array, ...], zero: Point) -> Point:
    """r = sum Q^T W e + c + sum B^T p."""
    out = {name: value + problem.linear[name] if name in problem.linear else value for name, value in zero.items()}
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        out = add(out, quadratic.map.adjoint(quadratic.weight * part))
    for penalty, part in zip(problem.penalties, p, strict=True):
        out = add(out, penalty.map.adjoint(part))
    return out


def size_of(x: Point) -> Array:
    """The largest |x_i|."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(value)) for value in x.values()]))


def probe_signs(shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """A fixed array of +1 and -1 without a pattern."""
    # the barrier keeps the compiler from computing it, which would be slow, and from storing it in the program
    one = lax.optimization_barrier(jnp.ones((), dtype))
    ramp = jnp.arange(math.prod(shape), dtype=dtype) * one
    return jnp.where(jnp.sin(1 + ramp**1.5) < 0, -one, one).reshape(shape)


def row_length(problem_map: LinearMap, dtype: jnp.dtype) -> Array:
    """Root mean square of the lengths of A's rows, estimated from A^T s for signs s (Hutchinson 1989)."""
    signs = probe_signs(problem_map.out_shape, dtype)
    return jnp.sqrt(sum(jnp.sum(row**2) for row in problem_map.adjoint(signs).values()) / max(signs.size, 1))


def initial_units(problem: Problem, point: Point) -> Units:
    """Units before the first iteration: `point` is what the quadratics say; offsets b of A x + b say |b| / ||A||.

    Of a constraint's b only what lies outside, for the rest asks nothing of x, even where A is next to nothing; but all
    of it where nothing else says anything.
    """
    dtype = dtype_of(point)
    extent, inside = size_of(point), jnp.zeros((), dtype)
    for penalty in problem.penalties:
        constraint = penalty.function.is_constraint
        if np.ndim(penalty.offset) == 0 and not constraint:
            continue  # a norm or a variation of the variables themselves: it says nothing of their size
        length = row_length(penalty.map, dtype)
        offset = jnp.broadcast_to(jnp.asarray(penalty.offset, dtype), penalty.map.out_shape)
        outside = penalty.function.violation(offset) if constraint else offset
        whole, asked = (
            jnp.where(length > 0, jnp.max(jnp.abs(b)) / jnp.where(length > 0, length, 1), 0) for b in (offset, outside)
        )
        extent, inside = jnp.maximum(extent, asked), jnp.maximum(inside, whole)
    extent = jnp.where(extent > 0, extent, inside)
    return Units(extent, extent)


def larger(old: Array, new: Array) -> Array:
    """The larger of a unit and a new size, if that is finite."""
    return jnp.where(jnp.isfinite(new), jnp.maximum(old, new), old)


def violation(problem: Problem, x: Point, units: Units) -> Array:
    """The largest violation of a constraint on A x + b, relative to the largest of |A x|, |b| and ||A|| |x|.

    ||A|| is the root mean square of the rows' lengths, estimated from one vector of signs: x - y <= 0 at x = y = 1 has
    the size 1, although x - y = 0.
    """
    worst = jnp.zeros((), dtype_of(x))
    extent = jnp.maximum(size_of(x), units.point)
    for penalty in problem.penalties:
        if penalty.function.is_constraint:
            value = penalty.map(x)
            excess = penalty.function.violation(value + penalty.offset)
            length = row_length(penalty.map, value.dtype)
            size = jnp.maximum(jnp.max(jnp.abs(value)), jnp.max(jnp.abs(penalty.offset)))
            size = jnp.maximum(size, length * extent)
            largest = jnp.max(jnp.abs(excess))
            worst = jnp.maximum(worst, jnp.where(largest > 0, largest / jnp.maximum(size, largest), 0))
    return worst


def price(x: Point, force: Point, units: Units) -> Array:
    """What `force`, missing in the stationarity at x, may cost within RADIUS."""
    total = jnp.zeros((), dtype_of(x))
    for name, part in force.items():
        extent = jnp.maximum(jnp.max(jnp.abs(x[name])), units.point)
        size = jnp.sum(jnp.abs(part))
        # nothing is known of minimisers where x and all units are zero: then a force that is left proves nothing
        cost = jnp.where(extent > 0, RADIUS * extent * size, jnp.inf)
        total = total + jnp.where(size > 0, cost, 0)
    return total


def evaluate(
    problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...], leftover: Point, units: Units
) -> Array:
    """The bound on |f(x) - f*| that (e, p) proves, p in dom g*; the leftover stationarity is charged at RADIUS.

    What rounding may hide of the terms is counted with them, so that none is smaller than it is known to be.
    """
    total = price(x, leftover, units)
    exact = {name: jnp.zeros_like(value) for name, value in x.items()}
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        r, delta = known(quadratic.map, x, exact, -quadratic.data)
        total = total + jnp.sum(quadratic.weight * (jnp.abs(r - part) + delta) ** 2) / 2
    for penalty, part in zip(problem.penalties, p, strict=True):
        v, delta = known(penalty.map, x, exact, penalty.offset)
        outside = penalty.function.violation(v)
        total = total + jnp.maximum(penalty.function.fenchel_gap(v - outside, part), 0) + 2 * rise(penalty, v, delta)
        # an infeasible x may lie below f*: by at most <p*, outside>, and p is the estimate of p*
        total = total + 2 * jnp.sum(jnp.abs(part * outside))
    return total


def relative(value: Array, gap: Array, floor: Array) -> Array:
    """gap / |f|; but where f and the gap are both rounding, gap / (floor / eps), which is some eps.

    They are where |f| <= floor and gap <= (1 + RADIUS) floor: f is known to the floor, and stationarity, which is
    charged within RADIUS of x, to RADIUS times that. Then the optimum is zero as far as the dtype can tell, and
    floor / eps is the sum of magnitudes that cancels in f. Success is this number <= tol.
    """
    eps, tiny = jnp.finfo(value.dtype).eps, jnp.finfo(value.dtype).tiny
    zero = (jnp.abs(value) <= floor) & (gap <= (1 + RADIUS) * floor)
    return gap / jnp.maximum(jnp.where(zero, floor / eps, jnp.abs(value)), tiny / eps)


def certify(
    problem: Problem,
    x: Point,
    promised: Certificate,
    unit: Array,
    units: Units,
    goal: Array,
    *,
    rounds: int,
    inner: int,
    last: int,
) -> Certificate:
    """The certificate of x with duals built from those of `promised`, in `rounds` of projecting and absorbing.

    `inner` and `last` bound the conjugate gradient steps of a round and of the last one, which absorbs to rounding.
    `unit` is the step of p against that of e. `promised` (see `promise`) brings what needs no duals. After every round
    the pair is scaled into dom g* and evaluated, with what is left of the stationarity at its full price; the best is
    kept, and the first whose relative gap is within `goal` ends it.
    """
    dtype = dtype_of(x)
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    functions = [penalty.function for penalty in problem.penalties]
    # where dom g* is zero alone, as for a weight of zero, nothing is absorbed: scaling would have to undo all of it
    ones = [jnp.ones_like(part) for part in promised.duals]
    units_of = tuple(
        jnp.where((f.project_dual(one) == 0) & (f.project_dual(-one) == 0), 0, unit)
        for f, one in zip(functions, ones, strict=True)
    )
    tight = float(jnp.finfo(dtype).eps) * 64

    def scaled(e: tuple[Array, ...], p: tuple[Array, ...], residual: Point) -> tuple:
        """(gap, e, p) of the pair scaled into dom g*; `residual` is what it misses in stationarity before."""
        scale = jnp.ones((), dtype)
        for f, part in zip(functions, p, strict=True):
            scale = jnp.minimum(scale, f.dual_scale(part))
        e, p = (tuple(scale * part for part in parts) for parts in (e, p))
        left = {name: scale * part for name, part in residual.items()}
        left |= {name: left[name] + (1 - scale) * cost for name, cost in problem.linear.items()}
        return evaluate(problem, x, e, p, left, units), e, p

    def body(carry: tuple) -> tuple:
        i, _, e, free, residual, omegas, least, *best = carry
        p = tuple(f.project_dual(part) for f, part in zip(functions, free, strict=True))
        rhs = {name: -part for name, part in residual.items()}
        for penalty, part, loose in zip(problem.penalties, p, free, strict=True):
            rhs = subtract(rhs, penalty.map.adjoint(part - loose))
        final = i > rounds
        steps = jnp.where(i == 0, 0, jnp.where(final, last, inner))  # the first one only looks at what there is
        phi = solve_normal(problem, omegas, rhs, zero, steps=steps, tol=jnp.where(final, tight, 0.01))
        e = tuple(part + quadratic.map(phi) for quadratic, part in zip(problem.quadratics, e, strict=True))
        moved = zip(problem.penalties, p, omegas, strict=True)
        free = tuple(part + omega * penalty.map(phi) for penalty, part, omega in moved)
        residual = stationarity(problem, e, free, zero)
        # absorbing may fail, where the held parts leave no way to be stationary, and so may scaling
        gap, *pair = scaled(e, free, residual)
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

    e, p = tuple(q.map(x) - q.data for q in problem.quadratics), promised.duals
    none, infinity = jnp.zeros((), bool), jnp.full((), jnp.inf, dtype)
    start = jnp.zeros((), jnp.int32), none, e, p, zero, units_of, infinity, e, p
    *_, gap, _, p = lax.while_loop(lambda carry: ~carry[1], body, start)
    return proved(promised, gap, p)


def first_look(problem: Problem, x: Point, p: tuple[Array, ...], units: Units) -> Certificate:
    """What is known of x before (e, p): as no term is below zero, (0, 0) proves that f* >= what is left beside them.

    It is the best bound where f* = 0, and useless elsewhere.
    """
    positive, rest = terms(problem, x)
    least, zero = floor(problem, x, units.digits)
    plain = positive + least + price(x, problem.linear, units)
    for penalty, part in zip(problem.penalties, p, strict=True):
        outside = penalty.function.violation(penalty.map(x) + penalty.offset)
        plain = plain + 2 * jnp.sum(jnp.abs(part * outside))  # as in `evaluate`
    value, least = positive + rest, jnp.where(zero, least, 0)
    return Certificate(value, plain, relative(value, plain, least), least, plain, violation(problem, x, units), p)


def proved(certificate: Certificate, gap: Array, p: tuple[Array, ...]) -> Certificate:
    """The certificate with the better of two bounds: `gap`, which p proves, and the plain one."""
    plain = certificate.plain < gap
    gap = jnp.where(plain, certificate.plain, gap)
    duals = tuple(jnp.where(plain, 0, part) for part in p)
    return replace(
        certificate, gap=gap, relative_gap=relative(certificate.objective, gap, certificate.floor), duals=duals
    )


def promise(problem: Problem, x: Point, p: tuple[Array, ...], units: Units) -> Certificate:
    """A certificate without the absorbing: true in objective and violation, its gap is what is left to hope for.

    It counts the Fenchel gaps of x with p as if (Q x - d, p) were feasible: cheap, and about what `certify` would find.
    """
    functions = [penalty.function for penalty in problem.penalties]
    p = tuple(f.project_dual(part) for f, part in zip(functions, p, strict=True))
    total = jnp.zeros((), dtype_of(x))
    for penalty, part in zip(problem.penalties, p, strict=True):
        value = penalty.map(x) + penalty.offset
        total = total + jnp.maximum(penalty.function.fenchel_gap(value - penalty.function.violation(value), part), 0)
    look = first_look(problem, x, p, units)
    return replace(look, gap=total, relative_gap=relative(look.objective, total, look.floor))


def certificate_of(
    problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...], zero: Point, units: Units
) -> Certificate:
    """Put the numbers together for a point x and duals that are as feasible as they will be."""
    gap = evaluate(problem, x, e, p, stationarity(problem, e, p, zero), units)
    return proved(first_look(problem, x, p, units), gap, p)
