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

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.reach import RADIUS, Reach, price, reach_of, stationarity_magnitude
from admm_jax.solver.rounding import floor, rise, value_and_error
from admm_jax.solver.sizes import Units, violation
from admm_jax.solver.vectors import add, dtype_of

# of a multiplier on its way into the stationarity: out of the prox, into dom g*, times a scaled row, and when absorbed
ROUNDINGS = 4


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
    ratio = gap / jnp.maximum(jnp.where(zero, floor / eps, jnp.abs(value)), tiny / eps)
    return jnp.where(jnp.isnan(ratio), jnp.inf, ratio)  # of an objective that is no number nothing is proved


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
