"""How far a point is from the optimum: a duality gap from a feasible dual point.

For the lifted problem (every g_j with a conjugate whose domain is known) the dual is

    maximise  sum -1/2 <e_i, W e_i> - <e_i, W d_i>  + sum <p_j, b_j> - g_j*(p_j) + constant
    subject to  sum Q_i^T W e_i + c + sum B_j^T p_j = 0,    p_j in dom g_j*

and for a feasible (e, p) and any x in the domain the gap is a sum of terms that are each >= 0,

    f(x) - D(e, p) = sum 1/2 ||Q_i x - d_i - e_i||_W^2 + sum [g_j(v_j) + g_j*(p_j) - <p_j, v_j>],   v_j = B_j x + b_j,

so no two large numbers are subtracted. From an iterate, e = Q x - d and p = the current duals miss the equation by a
residual r. It is absorbed in both: solve (Q^T W Q + B^T omega B) phi = -r, e += Q phi, p += omega B phi, and p is
projected onto dom g*; the parts of p that had to be projected are held fast (omega = 0) in the next round. Scaled into
dom g*, or projected, (e, p) proves a gap after any round: what is still left of r is charged at the most that it can
cost at any minimiser (see `reach`), infinitely much where nothing bounds that. So a gap follows from weak duality and
rounding alone.

"Relative" means gap / |f(x)|. No number is small beside a zero, so an optimum of zero is told by rounding: see
`relative`, the one place where `tol` gets its meaning, and `rounding`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.linear import factorised
from admm_jax.solver.reach import RADIUS, Reach, price, reach_of, stationarity_magnitude
from admm_jax.solver.rewrite import VECTOR, matrix_of
from admm_jax.solver.rounding import floor, magnitude, rise, value_and_error
from admm_jax.solver.spectral import solve_normal
from admm_jax.solver.vectors import add, dtype_of, row_length, select, subtract

# of a multiplier on its way into the stationarity: out of the prox, into dom g*, times a scaled row, and when absorbed
ROUNDINGS = 4


@pytree_dataclass
class Units:
    """The sizes of x; they only matter where x is zero, for there nothing is small beside it.

    `point`: as the data suggest it, or the largest that an iterate had; `data`: as the data suggest it, or zero.
    `lower`, `upper`: the range of values among which minimisers are sought, infinite where none is assumed.
    """

    point: Array
    data: Array
    lower: Point
    upper: Point

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


def certifies(problem: Problem) -> bool:
    """Whether a gap can be had at all: whether the conjugate of every term is known."""
    return all(penalty.function.certifies for penalty in problem.penalties)


def terms(problem: Problem, x: Point) -> tuple[Array, Array]:
    """(the terms of f(x) that are >= 0, the linear cost and the constant); constraints left out."""
    dtype = dtype_of(x)
    positive, affine = jnp.zeros((), dtype), jnp.asarray(problem.constant, dtype)
    for quadratic in problem.quadratics:
        residual = quadratic.map(x) - quadratic.data
        positive = positive + jnp.sum(quadratic.weight * residual**2) / 2
    for penalty in problem.penalties:
        positive = positive + penalty.function(penalty.map(x) + penalty.offset)
    for name, cost in problem.linear.items():
        affine = affine + jnp.sum(cost * x[name])
    return positive, affine


def objective(problem: Problem, x: Point) -> Array:
    """f(x), constraints left out."""
    positive, affine = terms(problem, x)
    return positive + affine


def stationarity(problem: Problem, e: tuple[Array, ...], p: tuple[Array, ...], zero: Point) -> Point:
    """r = sum Q^T W e + c + sum B^T p, of the shapes of x.

    Args:
        problem: The lifted problem.
        e: Duals of the quadratics, of the shapes of Q x.
        p: Duals of the penalties, of the shapes of B x.
        zero: Zeros of the shapes of x.
    """
    out = {name: value + problem.linear[name] if name in problem.linear else value for name, value in zero.items()}
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        out = add(out, quadratic.map.adjoint(quadratic.weight * part))
    for penalty, part in zip(problem.penalties, p, strict=True):
        out = add(out, penalty.map.adjoint(part))
    return out


def size_of(x: Point) -> Array:
    """The largest |x_i|."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(value)) for value in x.values()]))


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
    unbounded = {name: jnp.full((), jnp.inf, dtype) for name in point}
    return Units(extent, extent, {name: -value for name, value in unbounded.items()}, unbounded)


def larger(old: Array, new: Array) -> Array:
    """The larger of a unit and a new size, if that is finite."""
    return jnp.where(jnp.isfinite(new), jnp.maximum(old, new), old)


def violation(problem: Problem, x: Point, units: Units) -> Array:
    """The largest violation of a row of a constraint on A x + b, relative to |A| |x| and to what the row asks for.

    A row's size is that of its own terms at x, |A| |x|, of its bounds and offset, and of |A| times the unit of x:
    x >= 0 at x = 0 has the size of the unit, and x - y <= 0 at x = y = 1 the size 2, although x - y = 0. No row is
    measured by another.

    Args:
        problem: The lifted problem.
        x: The point.
        units: The sizes of x.
    """
    worst = jnp.zeros((), dtype_of(x))
    # x may be zero but for rounding, and is then no measure of itself
    least = float(jnp.finfo(dtype_of(x)).eps) ** 0.5 * units.data
    unit = jnp.clip(size_of(x), least, jnp.where(units.data > 0, units.data, 1))
    sizes = {name: jnp.maximum(jnp.abs(value), unit) for name, value in x.items()}
    for penalty in problem.penalties:
        function = penalty.function
        if not function.has_domain:
            continue
        value = penalty.map(x) + penalty.offset
        excess = jnp.abs(function.violation(value))
        size = jnp.maximum(magnitude(penalty.map, sizes), function.extent(jnp.asarray(penalty.offset, value.dtype)))
        tied = function.ties(value.ndim)
        if tied:  # of a ball the rows are one constraint
            excess, size = jnp.max(excess), jnp.max(size)
        relative = jnp.where(excess > 0, excess / jnp.maximum(size, excess), 0)
        worst = jnp.maximum(worst, jnp.max(relative, initial=0))
    return worst


@pytree_dataclass
class Known:
    """What a point says of itself, whatever the duals: computed once, for all pairs that are tried.

    `residuals`, `images`: Q x - d and A x + b, moved into dom g; `errors` and `rises`: what they and g are known to
    within (see `rounding`); `outside`: how far A x + b is from dom g, as far as rounding lets know.
    """

    residuals: tuple[Array, ...]
    residual_errors: tuple[Array, ...]
    images: tuple[Array, ...]
    outside: tuple[Array, ...]
    rises: tuple[Array, ...]
    positive: Array
    reach: Reach


def know(problem: Problem, x: Point, p: tuple[Array, ...], units: Units) -> Known:
    """Evaluate the terms of f at x; the duals p say only how large the sums of the stationarity are."""
    exact = {name: jnp.zeros_like(value) for name, value in x.items()}
    residuals = [value_and_error(q.map, x, exact, -q.data) for q in problem.quadratics]
    images, outside, rises = [], [], []
    for penalty in problem.penalties:
        v, delta = value_and_error(penalty.map, x, exact, penalty.offset)
        out = penalty.function.violation(v)
        images.append(v - out)
        outside.append(jnp.maximum(jnp.abs(out) - delta, 0))
        rises.append(2 * rise(penalty, v, delta))
    return Known(
        tuple(r for r, _ in residuals),
        tuple(delta for _, delta in residuals),
        tuple(images),
        tuple(outside),
        tuple(rises),
        terms(problem, x)[0],
        reach_of(
            problem,
            x,
            units.point,
            stationarity_magnitude(problem, tuple(r for r, _ in residuals), p, x),
            (units.lower, units.upper),
        ),
    )


def evaluate(
    problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...], leftover: Point, here: Known
) -> Array:
    """The bound on |f(x) - f*| that (e, p) proves; the leftover stationarity is charged (`reach.price`).

    What rounding may hide of the terms is counted with them, so that none is smaller than it is known to be.

    Args:
        problem: The lifted problem.
        x: The point.
        e: Duals of the quadratics.
        p: Duals of the penalties, in dom g*.
        leftover: What (e, p) misses in stationarity, of the shapes of x.
        here: Of `know`, at x.
    """
    if not certifies(problem):
        return jnp.full((), jnp.inf, dtype_of(x))
    total, infeasible = jnp.zeros((), dtype_of(x)), jnp.zeros((), dtype_of(x))
    quadratics = zip(problem.quadratics, e, here.residuals, here.residual_errors, strict=True)
    for quadratic, part, r, delta in quadratics:
        total = total + jnp.sum(quadratic.weight * (jnp.abs(r - part) + delta) ** 2) / 2
    penalties = zip(problem.penalties, p, here.images, here.outside, here.rises, strict=True)
    for penalty, part, v, outside, risen in penalties:
        total = total + jnp.maximum(penalty.function.fenchel_gap(v, part), 0) + risen
        # an infeasible x may lie below f*: by at most <p*, outside>, and p is the estimate of p*
        infeasible = infeasible + 2 * jnp.sum(jnp.abs(part * outside))
    total = total + infeasible
    return total + price(problem, x, here.reach, leftover, total, e, here.positive + infeasible)


def likely(
    problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...], leftover: Point, units: Units
) -> Array:
    """What `evaluate` would say if all minimisers lay within `RADIUS` times the size of x of x.

    It proves nothing; of two pairs it tells which is nearer to the optimum. Arguments as of `evaluate`; `units`: the
    sizes of x.
    """
    total = jnp.zeros((), dtype_of(x))
    for name, part in leftover.items():
        total = total + RADIUS * jnp.maximum(jnp.max(jnp.abs(x[name])), units.point) * jnp.sum(jnp.abs(part))
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        total = total + jnp.sum(quadratic.weight * (quadratic.map(x) - quadratic.data - part) ** 2) / 2
    for penalty, part in zip(problem.penalties, p, strict=True):
        v = penalty.map(x) + penalty.offset
        outside = penalty.function.violation(v)
        total = total + jnp.maximum(penalty.function.fenchel_gap(v - outside, part), 0)
        total = total + 2 * jnp.sum(jnp.abs(part * outside))
    return total


def relative(value: Array, gap: Array, floor: Array) -> Array:
    """gap / |f|; but where f and the gap are both rounding, gap / (floor / eps), which is some eps.

    They are where |f| <= floor and gap <= (1 + ROUNDINGS RADIUS) floor: f is known to the floor; and stationarity,
    which is charged within RADIUS of x, to RADIUS times that for each time that its numbers are rounded. Then the
    optimum is zero as far as the dtype can tell, and floor / eps is the sum of magnitudes that cancels in f. Success is
    this number <= tol.
    """
    eps, tiny = jnp.finfo(value.dtype).eps, jnp.finfo(value.dtype).tiny
    zero = (jnp.abs(value) <= floor) & (gap <= (1 + ROUNDINGS * RADIUS) * floor)
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
        rounds: At most so many.
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


def first_look(problem: Problem, x: Point, p: tuple[Array, ...], units: Units) -> Certificate:
    """What is known of x before (e, p): as no term is below zero, (0, 0) proves that f* >= what is left beside them.

    It is the best bound where f* = 0, and useless elsewhere.
    """
    positive, affine = terms(problem, x)
    least, zero = floor(problem, x, units.digits)
    plain = positive + least + _plain_price(problem, x, positive, units)
    if not certifies(problem):
        plain = jnp.full_like(plain, jnp.inf)
    exact = {name: jnp.zeros_like(value) for name, value in x.items()}
    for penalty, part in zip(problem.penalties, p, strict=True):
        if penalty.function.has_domain:
            v, delta = value_and_error(penalty.map, x, exact, penalty.offset)
            outside = jnp.maximum(jnp.abs(penalty.function.violation(v)) - delta, 0)
            plain = plain + 2 * jnp.sum(jnp.abs(part) * outside)  # as in `evaluate`
    value, least = positive + affine, jnp.where(zero, least, 0)
    return Certificate(value, plain, relative(value, plain, least), least, plain, violation(problem, x, units), p)


def _plain_price(problem: Problem, x: Point, positive: Array, units: Units) -> Array:
    """What the linear cost may gain over all minimisers."""
    cost = {name: jnp.broadcast_to(value, x[name].shape) for name, value in problem.linear.items()}
    if not cost:
        return jnp.zeros((), dtype_of(x))
    nothing = tuple(jnp.zeros_like(q.map(x)) for q in problem.quadratics)
    size = {name: jnp.abs(value) for name, value in cost.items()}
    reach = reach_of(problem, x, units.point, size, (units.lower, units.upper))
    return price(problem, x, reach, cost, positive, nothing, positive)


def proved(certificate: Certificate, gap: Array, p: tuple[Array, ...]) -> Certificate:
    """The certificate with the better of two bounds: `gap`, which p proves, and the plain one."""
    plain = certificate.plain < gap
    gap = jnp.where(plain, certificate.plain, gap)
    # how far f(x) is below f* at a point outside is told by multipliers that are estimated: only near the constraints
    far = certificate.violation > float(jnp.finfo(gap.dtype).eps) ** 0.25
    gap = jnp.where(far, jnp.inf, gap)
    duals = tuple(jnp.where(plain, 0, part) for part in p)
    return replace(
        certificate, gap=gap, relative_gap=relative(certificate.objective, gap, certificate.floor), duals=duals
    )


def fenchel_gaps(problem: Problem, x: Point, p: tuple[Array, ...]) -> Array:
    """sum g(v) + g*(p) - <p, v>, for p in dom g* and v = A x + b moved into dom g."""
    total = jnp.zeros((), dtype_of(x))
    for penalty, part in zip(problem.penalties, p, strict=True):
        value = penalty.map(x) + penalty.offset
        total = total + jnp.maximum(penalty.function.fenchel_gap(value - penalty.function.violation(value), part), 0)
    return total


def promise(problem: Problem, x: Point, p: tuple[Array, ...], units: Units) -> Certificate:
    """A certificate without the absorbing: true in objective and violation, its gap is what is left to hope for.

    It counts the Fenchel gaps of x with p as if (Q x - d, p) were feasible: cheap, and about what `certify` would find.

    Args:
        problem: The lifted problem.
        x: The point.
        p: Duals of the penalties; they are projected onto dom g*.
        units: The sizes of x.
    """
    functions = [penalty.function for penalty in problem.penalties]
    p = tuple(f.project_dual(part) for f, part in zip(functions, p, strict=True))
    total = fenchel_gaps(problem, x, p)
    look = first_look(problem, x, p, units)
    return replace(look, gap=total, relative_gap=relative(look.objective, total, look.floor))


def certificate_of(
    problem: Problem, x: Point, e: tuple[Array, ...], p: tuple[Array, ...], zero: Point, units: Units
) -> Certificate:
    """Put the numbers together for a point x and duals that are as feasible as they will be.

    Args:
        problem: The lifted problem.
        x: The point.
        e: Duals of the quadratics.
        p: Duals of the penalties; they are projected onto dom g*.
        zero: Zeros of the shapes of x.
        units: The sizes of x.
    """
    p = tuple(penalty.function.project_dual(part) for penalty, part in zip(problem.penalties, p, strict=True))
    gap = evaluate(problem, x, e, p, stationarity(problem, e, p, zero), know(problem, x, p, units))
    return proved(first_look(problem, x, p, units), gap, p)
