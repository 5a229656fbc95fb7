"""What a force that is left in the stationarity may cost: how far from x any minimiser x' can be.

With a pair (e, p) that misses stationarity by r, weak duality says, for d = x' - x,

    f(x) - f(x')  <=  Phi(x) - <r, d>,       Phi(x) = sum 1/2 ||Q x - d_i - e||_W^2 + sum Fenchel gaps >= 0

so sup -<r, d> over all minimisers is wanted. Nothing is assumed of them but that f(x') <= f(x):

* bounds of a variable bound each entry of d;
* where a term g of the variable itself is finite, g(x' + b) <= level, what f has left for it (`Function.support`);
* total variation holds differences, and something else the mean: ||d - mean d||_2 <= TV(d) / `isoperimetric`; in one
  dimension max |d - median d| <= TV(d) / 2;
* a force that is no more than the rounding of the sums it is the rest of is zero as far as can be known. It is charged
  at `RADIUS` times the size of x, as the digits of x are.

What none of them bounds costs infinitely much: then the pair proves nothing.

The level of a term is f(x) less what the other terms must cost at x'. For a pair, 1/2 ||Q x' - d_i - e||_W^2 is at most
Phi(x) + P, where P is any bound on the price: so a price makes the levels lower, and they the next price.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.problem import LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.pytree import pytree_dataclass
from admm_jax.solver.rewrite import VECTOR, is_matrix, matrix_of
from admm_jax.solver.rounding import adjoint_magnitude, has_magnitude
from admm_jax.solver.rounding import magnitude as row_magnitude
from admm_jax.solver.vectors import dtype_of

RADIUS = 3.0  # a force within rounding is charged within this many times the size of x
TIGHTENINGS = 3  # of levels by the price that they give
UNCERTAIN = 8.0  # units of rounding to which a force is known
ROUNDING = 100.0  # units of rounding of a sum's terms, within which the sum is zero


@pytree_dataclass
class Reach:
    """What bounds the minimisers, and what rounding of the stationarity is.

    `lower`, `upper`: of each variable; `size`: of each, for rounding; `noise`: what a force is within rounding;
    `lengths`: of each quadratic ||Q 1||_W^2 and ||Q^T W Q 1||, where it reads one variable.
    """

    lower: Point
    upper: Point
    size: Point
    noise: Point
    lengths: tuple[tuple[Array, Array] | None, ...]


def interval(penalty: Penalty, ends: tuple[Array, Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """(lower, upper) of the variable that a penalty stands on: its own bounds, or those of rows of a single entry."""
    lower, upper = (jnp.broadcast_to(end - penalty.offset, penalty.map.out_shape) for end in ends)
    if penalty.map.identity_on is not None:
        return lower, upper
    matrix = matrix_of(penalty.map)
    single = (jnp.sum(matrix != 0, axis=1) == 1)[:, None] & (matrix != 0)
    safe = jnp.where(single, matrix, 1)
    both = lower.ravel()[:, None] / safe, upper.ravel()[:, None] / safe
    low, high = jnp.minimum(*both), jnp.maximum(*both)
    return (
        jnp.max(jnp.where(single, low, -jnp.inf), axis=0).reshape(shape),
        jnp.min(jnp.where(single, high, jnp.inf), axis=0).reshape(shape),
    )


def own_bounds(problem: Problem, x: Point) -> tuple[Point, Point]:
    """(lower, upper) of each variable by the problem's own constraints, infinite where there are none."""
    lower = {name: jnp.full_like(value, -jnp.inf) for name, value in x.items()}
    upper = {name: jnp.full_like(value, jnp.inf) for name, value in x.items()}
    for penalty in problem.penalties:
        name = penalty.map.chains[0].variable
        ends = penalty.function.bounds()
        if ends is not None and (penalty.map.identity_on is not None or is_matrix(penalty.map)):
            low, high = interval(penalty, ends, x[name].shape)
            lower[name], upper[name] = jnp.maximum(lower[name], low), jnp.minimum(upper[name], high)
    return lower, upper


def reach_of(problem: Problem, x: Point, unit: Array, magnitude: Point, assumed: tuple[Point, Point]) -> Reach:
    """The reach of x among minimisers with values in the range that is assumed.

    Args:
        problem: The lifted problem.
        x: The point.
        unit: The least that entries of x count as.
        magnitude: What the stationarity is a sum of (`stationarity_magnitude`), of the shapes of x.
        assumed: (lower, upper), scalars by variable, infinite where nothing is assumed.
    """
    lower, upper = own_bounds(problem, x)
    # a range that leaves out x itself is no range of its minimisers
    low, high = assumed
    lower = {n: jnp.maximum(value, jnp.minimum(low[n], x[n])) if n in low else value for n, value in lower.items()}
    upper = {n: jnp.minimum(value, jnp.maximum(high[n], x[n])) if n in high else value for n, value in upper.items()}
    size = {name: jnp.maximum(jnp.abs(value), unit) for name, value in x.items()}
    noise: Point = {}
    for name, value in x.items():
        # What an entry that only goes to zero leaves behind, p_i = w x_i / ||x||, is all of its sum. Beside the
        # largest, and in units in which entries of x are about one, it matters if a minimiser is eps^-1.5 away.
        eps = float(jnp.finfo(value.dtype).eps)
        sums = jnp.broadcast_to(magnitude.get(name, jnp.zeros((), value.dtype)), value.shape)
        noise[name] = ROUNDING * eps * jnp.maximum(sums, eps**0.5 * jnp.max(sums))
    return Reach(lower, upper, size, noise, tuple(_lengths(quadratic, x) for quadratic in problem.quadratics))


def _lengths(quadratic: Quadratic, x: Point) -> tuple[Array, Array] | None:
    names = {chain.variable for chain in quadratic.map.chains}
    if len(names) > 1:
        return None
    (name,) = names
    image = quadratic.map({name: jnp.ones_like(x[name])})
    pull = quadratic.map.adjoint(quadratic.weight * image)[name]
    return jnp.sum(quadratic.weight * image**2), jnp.sqrt(jnp.sum(pull**2))


def within_bounds(reach: Reach, x: Point, force: Point) -> Point:
    """Entry by entry the most that -<force, d> can be between the bounds; infinite where there is none."""
    out = {}
    for name, part in force.items():
        room = jnp.where(part > 0, x[name] - reach.lower[name], reach.upper[name] - x[name])
        out[name] = jnp.where(part == 0, 0, jnp.abs(part) * jnp.maximum(jnp.where(part == 0, 0, room), 0))
    return out


def bounded_price(reach: Reach, x: Point, force: Point) -> Array:
    """The price of a force by bounds alone."""
    parts = within_bounds(reach, x, force)
    return sum((jnp.sum(part) for part in parts.values()), start=jnp.zeros((), dtype_of(x)))


def stationarity_magnitude(problem: Problem, e: tuple[Array, ...], p: tuple[Array, ...], x: Point) -> Point:
    """sum |Q|^T W |e| + |c| + sum |A|^T |p|: what rounding of the stationarity is relative to."""
    out = {name: jnp.zeros_like(value) for name, value in x.items()}

    def gather(linear_map: LinearMap, part: Array) -> None:
        for name, value in adjoint_magnitude(linear_map, jnp.abs(part)).items():
            out[name] = out[name] + value

    for quadratic, part in zip(problem.quadratics, e, strict=True):
        gather(quadratic.map, quadratic.weight * part)
    for penalty, part in zip(problem.penalties, p, strict=True):
        gather(penalty.map, part)
    return {name: value + jnp.abs(problem.linear[name]) if name in problem.linear else value
            for name, value in out.items()}  # fmt: skip


def price(
    problem: Problem,
    x: Point,
    reach: Reach,
    force: Point,
    fenchel: Array,
    e: tuple[Array, ...],
    positive: Array,
) -> Array:
    """sup -<force, x' - x> over all minimisers x'; infinite where nothing bounds it.

    Args:
        problem: The lifted problem.
        x: The point.
        reach: See `reach_of`.
        force: What is missing in the stationarity, of the shapes of x.
        fenchel: Phi(x) of the pair.
        e: The duals of the quadratics.
        positive: The sum of the terms of f(x) that are >= 0.
    """
    dtype = dtype_of(x)
    total = jnp.zeros((), dtype)
    bounded = within_bounds(reach, x, force)
    cost = bounded_price(reach, x, problem.linear)  # what the linear cost may gain, which the level does not count
    level = positive + cost
    for name, part in force.items():
        finite = jnp.isfinite(bounded[name])
        left = jnp.where(finite, 0, part)
        noisy = jnp.abs(left) <= reach.noise[name]
        # the force itself is known to some units of rounding of its sum; of images, whose sums are short, that is not
        # charged pixel by pixel: it would be more than float32 has to tell of so many
        error = jnp.where(finite, 0, 0 if _has_level(problem, name) else UNCERTAIN * reach.noise[name] / ROUNDING)
        larger = jnp.where(left < 0, left - error, left + error)
        rounding = jnp.where(jnp.all(noisy), RADIUS * jnp.sum(jnp.abs(larger) * reach.size[name]), jnp.inf)
        by_level = _by_rows(problem, x, larger, level) if name == VECTOR else _unpriced(left)
        if _has_level(problem, name):

            def tightened(i: Array, before: Array, name: str = name, left: Array = left) -> Array:
                near = jnp.where(i == 0, level, fenchel + before)  # at first only the level is known
                less = jnp.where(i == 0, 0, _least(problem, e, near))
                return jnp.minimum(before, _by_level(problem, x, reach, name, left, level - less, jnp.sqrt(2 * near)))

            by_level = lax.fori_loop(0, 1 + TIGHTENINGS, tightened, by_level)  # a loop: compiled once
        total = total + jnp.sum(jnp.where(finite, bounded[name], 0)) + jnp.minimum(rounding, by_level)
        if _has_level(problem, name):
            # but their sum is, which moves the mean: under a huge weight the rounding of A^T p hides what the data want
            eps = float(jnp.finfo(dtype).eps)
            rounded = jnp.maximum(jnp.where(finite, 0, reach.noise[name] / ROUNDING), eps * jnp.abs(left))
            total = total + RADIUS * jnp.sqrt(jnp.sum(rounded**2)) * jnp.max(reach.size[name])
    return total


def _unpriced(force: Array) -> Array:
    """Infinity, unless there is no force."""
    return jnp.where(jnp.any(force != 0), jnp.inf, 0).astype(force.dtype)


def _by_rows(problem: Problem, x: Point, force: Array, level: Array) -> Array:
    """The price in a dense problem: each entry by the first term that stands on it alone, a row an entry.

    Where A picks and scales entries, <force, d> over them is <u, A d> with u = force / A.
    """
    total, level = jnp.zeros((), force.dtype), jnp.maximum(level, 0)
    for penalty in problem.penalties:
        if not is_matrix(penalty.map):
            continue
        matrix, shape = matrix_of(penalty.map), penalty.map.out_shape
        entries = matrix != 0
        picks = jnp.all(jnp.sum(entries, axis=1) == 1) & jnp.all(jnp.sum(entries, axis=0) <= 1)
        u = jnp.sum(jnp.where(entries, force[None], 0) / jnp.where(entries, matrix, 1), axis=1).reshape(shape)
        cost = penalty.function.support(u, level) + jnp.sum(u * (penalty.map(x) + penalty.offset))
        usable = picks & jnp.isfinite(cost)
        total = total + jnp.where(usable, jnp.maximum(cost, 0), 0)
        force = jnp.where(usable & jnp.any(entries, axis=0), 0, force)
    return total + _unpriced(force)


def _has_level(problem: Problem, name: str) -> bool:
    """Whether a term stands on the variable itself, or on its differences."""
    direct = [part.map.identity_on == name for part in (*problem.quadratics, *problem.penalties)]
    return any(direct) or any(
        len(p.map.chains) == 1 and p.map.chains[0].variable == name and _is_variation(p) for p in problem.penalties
    )


def _least(problem: Problem, e: tuple[Array, ...], radius: Array) -> Array:
    """What the quadratics cost at least where 1/2 ||Q x' - d - e||_W^2 <= radius."""
    total = jnp.zeros_like(radius)
    for quadratic, part in zip(problem.quadratics, e, strict=True):
        size = jnp.sqrt(jnp.sum(quadratic.weight * part**2))
        total = total + jnp.maximum(size - jnp.sqrt(2 * radius), 0) ** 2 / 2
    return total


def _by_level(problem: Problem, x: Point, reach: Reach, name: str, force: Array, level: Array, near: Array) -> Array:
    """The price by the level of any one term on the variable; `near` bounds ||Q x' - d - e||_W of each quadratic."""
    best = jnp.where(jnp.any(force != 0), jnp.inf, 0).astype(force.dtype)
    level = jnp.maximum(level, 0)
    for quadratic in problem.quadratics:
        if quadratic.map.identity_on == name:
            root = jnp.sqrt(jnp.broadcast_to(quadratic.weight, force.shape))
            stretched = jnp.where(force != 0, force / root, 0)
            length = jnp.sqrt(jnp.sum(stretched**2))
            best = jnp.minimum(best, jnp.sqrt(2 * level) * length + jnp.sum(force * (x[name] - quadratic.data)))
    for penalty in problem.penalties:
        chains = penalty.map.chains
        if penalty.map.identity_on == name:
            own = penalty.function.support(force, level) + jnp.sum(force * (x[name] + penalty.offset))
            best = jnp.minimum(best, own)
        elif len(chains) == 1 and chains[0].variable == name and _is_variation(penalty):
            best = jnp.minimum(best, _by_variation(problem, x, reach, name, penalty, force, level, near))
    return jnp.maximum(best, 0)


def _is_variation(penalty: Penalty) -> bool:
    ops = penalty.map.chains[0].ops
    return len(ops) == 1 and ops[0].edge_length is not None and ops[0].in_shape != ()


def isoperimetric(shape: tuple[int, ...]) -> float:
    """kappa with ||d - mean d||_2 <= TV(d) / kappa, TV the sum over all edges of a grid, of two dimensions or more.

    By the coarea formula it is the least number of border edges of a set of s <= N / 2 of the N pixels, over sqrt(s).

    Two dimensions, m <= n: a set has at least min(2 sqrt(s), m) border edges; kappa = min(2, sqrt(2 m / n)).

    More: along axis a of m_a pixels let P_a lines meet the set and F_a lie in it. Each of the others that meet it has a
    border edge. With theta^ndim > 1/2, not all axes can have F_a >= theta P_a: then P_a <= s / (theta m_a), and by
    s^(ndim - 1) <= prod P_a (Loomis & Whitney 1949) s >= theta^ndim N > N / 2. Where k axes have it, the border is at
    least (1 - theta) times the sum of the other P_a, which is at least (ndim - k) times the root of their product

        prod P_a  >=  s^(ndim - 1 - k) theta^k prod m_a,    over the others, m_a over the k.

    Args:
        shape: Of the grid.
    """
    if len(shape) == 2:
        small, large = sorted(shape)
        return min(2.0, (2 * small / large) ** 0.5)
    ndim, sizes = len(shape), sorted(shape)
    theta = 0.51 ** (1 / ndim)
    best = math.inf
    for k in range(ndim):
        others = ndim - k
        size = math.prod(shape) / 2 if others == 1 else 1  # of the set that has the least border for its root
        product = size ** (others - 1) * theta**k * math.prod(sizes[:k])
        best = min(best, (1 - theta) * others * product ** (1 / others) / size**0.5)
    return best


def _by_variation(
    problem: Problem,
    x: Point,
    reach: Reach,
    name: str,
    penalty: Penalty,
    force: Array,
    level: Array,
    near: Array,
) -> Array:
    """|<force, d>| <= spread of d times the force's own, and the mean of d as other terms know it."""
    difference = penalty.map.chains[0].ops[0]
    shape, dtype = force.shape, force.dtype
    odd = sum(jnp.ix_(*(jnp.arange(n) for n in shape)), start=jnp.zeros((), int)) % 2  # neighbours are never alike
    edges = difference(odd.astype(dtype)) != 0
    offset = jnp.where(edges, penalty.offset, 0)
    plain = jnp.where(edges, difference(x[name]), 0)
    far = difference.edge_length
    assert far is not None
    # sum |D x'| <= sum |D x' + b| + sum |b|, and what g has left bounds the first
    most = penalty.function.support(edges.astype(dtype), level)
    variation = far * (most + jnp.sum(jnp.abs(offset)) + jnp.sum(jnp.abs(plain)))  # of plain differences
    if len(shape) == 1:
        apart = variation / 2 * jnp.sum(jnp.abs(force))
        spread = variation / 2 * force.size**0.5
    else:
        # a single row, whose pixels are one beside the other, is a signal
        spread = variation / isoperimetric(shape) if min(shape) > 1 else variation / 2 * force.size**0.5
        apart = spread * jnp.sqrt(jnp.sum(force**2))
    total = jnp.abs(jnp.sum(force))
    ones = {other: jnp.ones_like(value) if other == name else jnp.zeros_like(value) for other, value in x.items()}
    mean = jnp.full((), jnp.inf, dtype)
    for quadratic, lengths in zip(problem.quadratics, reach.lengths, strict=True):
        if lengths is not None and quadratic.map.chains[0].variable == name:
            squared, pull = lengths
            moved = 2 * near
            size = jnp.where(squared > 0, squared, 1)
            own = moved / jnp.sqrt(size) + pull / size * spread
            mean = jnp.minimum(mean, jnp.where(squared > 0, own, jnp.inf))
    for other in problem.penalties:
        ends = other.function.bounds()
        if ends is not None and {chain.variable for chain in other.map.chains} == {name} and has_magnitude(other.map):
            lower, upper = ends
            image = other.map(ones)
            longest = row_magnitude(other.map, ones)  # sum_j |A_ij|, above the length of the row
            own = jnp.where(image != 0, (upper - lower + longest * spread) / jnp.abs(jnp.where(image != 0, image, 1)),
                            jnp.inf)  # fmt: skip
            mean = jnp.minimum(mean, jnp.min(own))
    price = jnp.where(total > 0, total * mean, 0) + apart
    return jnp.where(jnp.any(force != 0) & jnp.isfinite(most), price, _unpriced(force))
