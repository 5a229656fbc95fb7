"""The optimality conditions of the lifted problem, linearised, and the linear system that they make.

At a solution x with multipliers p_j in dg_j(v_j), v_j = A_j x + b_j, and theta whatever the problem is made of,

    F(x, p; theta) = sum Q^T W (Q x - d) + c + sum A_j^T p_j = 0                                   (stationarity)
    v_j = prox_j(v_j + p_j / sigma; theta)                        for any sigma > 0          (p_j in dg_j(v_j))

With J_j the Jacobian of the prox at v_j + p_j / sigma (symmetric, 0 <= J <= I), B_j = I - J_j, and dots for the
derivatives with respect to theta at fixed x, p and fixed argument of the prox, their derivative is

    M dx + sum A_j^T dp_j            = -F.                        M = sum Q^T W Q
    B_j A_j dx - J_j dp_j / sigma    = prox_j. - B_j v_j.         v_j. = (A_j x + b_j).

J is 0 on what a kink or a bound holds and 1 where g is linear; there the second line says A dx = (given) and
dp = (given). Where g is curved, J lies between, and the second line says dp = g'' (A dx + v.) + (g'). whatever sigma is.

Direct penalties (see `active.py`) leave the second line: dx = displacement + t with t in T, the first line projected
onto T, and their gradient on what is not held, which is smooth there, becomes a part of F and so of M.

Eliminating dp by p <- sigma (B A dx - s) + B p, the method of multipliers (Hestenes 1969; Powell 1969), leaves

    (M + sum sigma A^T B A) dx = r + sum A^T (sigma s - B p)

to be solved again and again with the same matrix; the error falls by a factor of about sigma times the smallest
eigenvalue of A M^-1 A^T each time. Multipliers that are not unique end with the least change.

Implicit derivatives through such conditions: Bertrand et al. 2022; Bolte et al. 2021, Nonsmooth implicit
differentiation; for cone programs Agrawal et al. 2019. The elimination is ours.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.derivative.active import Reading, Space, displacement, held_entries, project
from admm_jax.problem import Point, Problem
from admm_jax.prox.functions import GroupL2
from admm_jax.pytree import pytree_dataclass, replace, static
from admm_jax.solver.certificate import row_length, signs, stationarity
from admm_jax.solver.linear import conjugate_gradients
from admm_jax.solver.rewrite import flatten, lift, unflatten
from admm_jax.solver.vectors import add, add_scaled, dtype_of, norm, subtract

Duals = tuple[Array, ...]
Pair = tuple[Point, Duals]

OUTER = 60  # updates of the multipliers
REFINEMENTS = 2  # of a direct solve
STIFFNESS = {8: 1e3, 4: 30.0}  # sigma, relative to M / A^T A, by the width of the dtype
SOLVED = {8: 1e-7, 4: 1e-2}  # relative residual above which a system counts as not solved
CG_STEPS = 3000


@pytree_dataclass
class Linearised:
    """The linear system at one solution: everything that its operator depends on.

    `direct` tells which penalties are in T, `dense` how systems are solved.
    """

    problem: Problem  # lifted
    x: Point
    readings: tuple[Reading, ...]
    space: dict[str, Space]
    sigma: Array
    direct: tuple[bool, ...] = static()
    dense: bool = static()

    def general(self, values: tuple) -> tuple:
        """Those of `values` that belong to penalties which are not direct."""
        return tuple(value for value, is_direct in zip(values, self.direct, strict=True) if not is_direct)


def force(problem: Problem, x: Point, readings: tuple[Reading, ...], direct: tuple[bool, ...], p: Duals) -> Point:
    """F(x, p; theta) of the lifted problem: direct penalties by their gradient on what is not held, others by p."""
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    e = tuple(q.map(x) - q.data for q in problem.quadratics)
    duals, others = [], iter(p)
    for penalty, reading, is_direct in zip(problem.penalties, readings, direct, strict=True):
        if not is_direct:
            duals.append(next(others))
            continue
        held = lax.stop_gradient(held_entries(penalty.function, reading.z))
        v = jnp.where(held, 0, penalty.map(x) + penalty.offset)
        duals.append(jnp.where(held, 0, jax.grad(lambda u, g=penalty.function: g(u))(v)))
    return stationarity(problem, e, tuple(duals), zero)


def _argument(reading: Reading, sigma: Array) -> Array:
    return reading.z + reading.p / sigma


def jacobian(system: Linearised, v: Duals) -> Duals:
    """J_j v_j for each penalty that is not direct."""
    out = []
    for penalty, reading, u in zip(
        system.general(system.problem.penalties), system.general(system.readings), v, strict=True
    ):
        at = _argument(reading, system.sigma)
        out.append(jax.jvp(lambda w, g=penalty.function: g.prox(w, 1 / system.sigma), (at,), (u,))[1])
    return tuple(out)


def _forward(system: Linearised, x: Point) -> Duals:
    """A_j x."""
    return tuple(penalty.map(x) for penalty in system.general(system.problem.penalties))


def _adjoint(system: Linearised, u: Duals, like: Point) -> Point:
    """sum A_j^T u_j."""
    out = {name: jnp.zeros_like(value) for name, value in like.items()}
    for penalty, part in zip(system.general(system.problem.penalties), u, strict=True):
        out = add(out, penalty.map.adjoint(part))
    return out


def _complement(system: Linearised, v: Duals) -> Duals:
    """B_j v_j."""
    return tuple(a - b for a, b in zip(v, jacobian(system, v), strict=True))


def _scaled(a: Duals, factor: Array, b: Duals) -> Duals:
    """a + factor b."""
    return tuple(u + factor * v for u, v in zip(a, b, strict=True))


def hessian(system: Linearised, t: Point) -> Point:
    """M t."""
    p = system.general(tuple(reading.p for reading in system.readings))

    def gradient(x: Point) -> Point:
        return force(system.problem, x, system.readings, system.direct, p)

    return jax.jvp(gradient, (system.x,), (t,))[1]


def apply(system: Linearised, pair: Pair) -> Pair:
    """The operator of the system on (t, dp); what is not in T maps to itself."""
    x, u = pair
    t = project(system.space, x)
    pull = add(hessian(system, t), _adjoint(system, u, t))
    first = add(project(system.space, pull), subtract(x, t))
    moved = _complement(system, _forward(system, t))
    return first, _scaled(moved, -1 / system.sigma, jacobian(system, u))


def _apply_transposed(system: Linearised, pair: Pair) -> Pair:
    x, y = pair
    t = project(system.space, x)
    pull = add(hessian(system, t), _adjoint(system, _complement(system, y), t))
    first = add(project(system.space, pull), subtract(x, t))
    return first, _scaled(_forward(system, t), -1 / system.sigma, jacobian(system, y))


def _stiff(system: Linearised, t: Point) -> Point:
    """(M + sum sigma A^T B A) t on T, the identity on the rest."""
    inside = project(system.space, t)
    pulled = hessian(system, inside)
    bent = _complement(system, _forward(system, inside))
    pulled = add_scaled(pulled, system.sigma, _adjoint(system, bent, inside))
    return add(project(system.space, pulled), subtract(t, inside))


def _matrix(system: Linearised, like: Point) -> Array:
    problem = system.problem

    def column(e: Array) -> Array:
        return flatten(problem, _stiff(system, unflatten(problem, e)))

    return jax.vmap(column)(jnp.eye(problem.size, dtype=dtype_of(like)))


def _factor(matrix: Array) -> tuple[Array, Array]:
    """Cholesky factor, and whether the matrix is regular."""
    eps = jnp.finfo(matrix.dtype).eps
    largest = jnp.max(jnp.diagonal(matrix))
    factor = jsl.cholesky((matrix + matrix.T) / 2 + 4 * eps * largest * jnp.eye(len(matrix), dtype=matrix.dtype), True)
    pivots = jnp.diagonal(factor)
    return factor, jnp.min(pivots) ** 2 > 32 * len(matrix) * eps * largest


def _solver(system: Linearised) -> Callable[[Point, Point], Point]:
    """(rhs, start) -> the solution of the stiff system, NaN where it has none that is unique."""
    dtype = dtype_of(system.x)
    if system.dense:
        factor, regular = _factor(_matrix(system, system.x))

        def direct(rhs: Point, start: Point) -> Point:
            del start
            b = flatten(system.problem, rhs)
            x = jnp.zeros_like(b)
            for _ in range(REFINEMENTS):
                left = b - flatten(system.problem, _stiff(system, unflatten(system.problem, x)))
                x = x + jsl.cho_solve((factor, True), left)
            return unflatten(system.problem, jnp.where(regular, x, jnp.nan))

        return direct
    tol = 1e-11 if dtype == jnp.float64 else 1e-6
    precondition = _preconditioner(system)

    def iterative(rhs: Point, start: Point) -> Point:
        def operator(t: Point) -> Point:
            return _stiff(system, t)

        return conjugate_gradients(operator, rhs, start, steps=CG_STEPS, tol=tol, precondition=precondition)

    return iterative


def _preconditioner(system: Linearised) -> Callable[[Point], Point]:
    """Per region, the inverse of its mean diagonal: what isotropic total variation needs, whose weights are w/|Dx|."""
    weights: dict[str, Array] = {}
    for penalty, reading, is_direct in zip(system.problem.penalties, system.readings, system.direct, strict=True):
        function = penalty.function
        if not is_direct or not isinstance(function, GroupL2):
            continue
        chain = penalty.map.chains[0]
        held = held_entries(function, reading.z)
        v = jnp.where(held, 0, penalty.map(system.x) + penalty.offset)
        size = jnp.sqrt(jnp.sum(v * v, axis=function.axes, keepdims=True))
        weight = jnp.asarray(function.weight)
        weight = jnp.expand_dims(weight, function.axes) if weight.ndim else weight
        inverse = jnp.where(size > 0, weight / jnp.where(size > 0, size, 1), 0)
        curvature = jnp.where(held, 0, inverse * (1 - jnp.where(size > 0, v / jnp.where(size > 0, size, 1), 0) ** 2))
        diagonal = _difference_diagonal(curvature) if chain.ops else curvature
        weights[chain.variable] = weights.get(chain.variable, jnp.zeros_like(diagonal)) + diagonal
    if not weights:
        return lambda r: r
    mean = _mean_eigenvalue(system)

    def apply_inverse(r: Point) -> Point:
        return {
            name: value / (mean + system.space[name].mean(weights[name])) if name in weights else value
            for name, value in r.items()
        }

    return apply_inverse


def _difference_diagonal(curvature: Array) -> Array:
    """The diagonal of D^T diag(curvature) D."""
    out = jnp.zeros(curvature.shape[1:], curvature.dtype)
    for axis in range(out.ndim):
        # the last difference along each axis is zero whatever x is: it has no weight
        n = out.shape[axis]
        inner = lax.slice_in_dim(curvature[axis], 0, n - 1, axis=axis)
        ahead = [(int(i == axis), 0) for i in range(out.ndim)]
        here = [(0, int(i == axis)) for i in range(out.ndim)]
        out = out + jnp.pad(inner, here) + jnp.pad(inner, ahead)
    return out


def _mean_eigenvalue(system: Linearised) -> Array:
    """The mean eigenvalue of sum Q^T W Q, by one vector of signs (Hutchinson 1989)."""
    probe = {name: signs(value.shape, value.dtype) for name, value in system.x.items()}
    total = jnp.zeros((), dtype_of(system.x))
    for quadratic in system.problem.quadratics:
        total = total + jnp.sum(quadratic.weight * quadratic.map(probe) ** 2)
    return total / system.problem.size


def linearise(
    problem: Problem,
    x: Point,
    readings: tuple[Reading, ...],
    space: dict[str, Space],
    rho: Array,
    direct: tuple[bool, ...],
    dense: bool,
) -> Linearised:
    """The system at (x, readings) of a problem that is not lifted; `rho` bounds sigma from below."""
    lifted = lift(problem)
    system = Linearised(lifted, x, readings, space, rho, direct, dense)
    mean = _mean_eigenvalue(system)
    sigma = rho
    for penalty in system.general(lifted.penalties):
        length = row_length(penalty.map, rho.dtype) ** 2
        stiff = STIFFNESS[rho.dtype.itemsize] * mean / jnp.where(length > 0, length, 1)
        sigma = jnp.maximum(sigma, jnp.where(length > 0, stiff, 0))
    return replace(system, sigma=lax.stop_gradient(sigma))


def _size(u: Duals) -> Array:
    return jnp.sqrt(sum((jnp.sum(part * part) for part in u), start=jnp.zeros(())))


def solve(system: Linearised, r: Point, s: Duals) -> Pair:
    """(t, dp) with the system's operator mapping it to (r, s); differentiable and transposable.

    NaN where the system has no unique solution or was not solved to the accuracy asked for: told, not guessed.
    """
    frozen = lax.stop_gradient(system)
    stiff_solve = _solver(frozen)

    def direct(_: object, rhs: Pair) -> Pair:
        return _multipliers(frozen, stiff_solve, *rhs)

    def transposed(_: object, rhs: Pair) -> Pair:
        r, s = rhs
        t, u = _multipliers(frozen, stiff_solve, r, _complement(frozen, s))
        y = _scaled(u, frozen.sigma, _scaled(_forward(frozen, project(frozen.space, t)), -1, s))
        return t, y

    return lax.custom_linear_solve(lambda pair: apply(system, pair), (r, s), direct, transposed)


def _multipliers(system: Linearised, stiff_solve: Callable[[Point, Point], Point], r: Point, s: Duals) -> Pair:
    """The method of multipliers on the linear system."""
    dtype = dtype_of(r)
    sigma, zero = system.sigma, {name: jnp.zeros_like(value) for name, value in r.items()}

    def update(t: Point, u: Duals) -> tuple[Point, Duals]:
        pull = _adjoint(system, tuple(sigma * c - d for c, d in zip(s, _complement(system, u), strict=True)), r)
        t = stiff_solve(add(r, project(system.space, pull)), t)
        bent = _complement(system, _forward(system, project(system.space, t)))
        return t, tuple(sigma * (b - c) + d for b, c, d in zip(bent, s, _complement(system, u), strict=True))

    if not s:
        t, u = stiff_solve(r, zero), ()
    else:
        goal = 64 * float(jnp.finfo(dtype).eps)

        def unfinished(carry: tuple) -> Array:
            i, _, _, moved, size = carry
            return (i < OUTER) & ~(moved <= goal * size)

        def body(carry: tuple) -> tuple:
            i, t, u, _, _ = carry
            t, new = update(t, u)
            moved = _size(_complement(system, _scaled(new, -1, u)))
            return i + 1, t, new, moved, _size(new)

        infinity = jnp.full((), jnp.inf, dtype)
        start = (jnp.zeros((), jnp.int32), zero, tuple(jnp.zeros_like(v) for v in s), infinity, jnp.zeros((), dtype))
        _, t, u, *_ = lax.while_loop(unfinished, body, start)
    good = residual(system, (t, u), (r, s)) <= SOLVED[dtype.itemsize]
    return jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), (t, u))


def residual(system: Linearised, pair: Pair, rhs: Pair) -> Array:
    """How far `pair` is from solving the system, the larger of its two lines' relative residuals."""
    (t, u), (r, s) = pair, rhs
    first, second = apply(system, pair)
    tiny = jnp.finfo(dtype_of(t)).tiny
    pull = _adjoint(system, u, t)
    size = norm(r) + norm(pull) + norm(hessian(system, t))
    worst = norm(subtract(first, r)) / jnp.maximum(size, tiny)
    if s:
        # lengths are measured in units of the force on them, so that where nothing moves rounding counts for nothing
        left = _size(_scaled(second, -1, s))
        unit = _size(s) + _size(_forward(system, t)) + (_size(u) + norm(r)) / system.sigma
        worst = jnp.maximum(worst, left / jnp.maximum(unit, tiny))
    return worst


def right_hand_side(
    problem: Problem, tangent: Problem, system: Linearised, rho: Array
) -> tuple[Point, Pair]:
    """(displacement, right-hand side of the system) for a change `tangent` of the problem."""
    sigma = system.sigma
    p = system.general(tuple(reading.p for reading in system.readings))

    def conditions(q: Problem) -> tuple[Point, Duals, Duals]:
        lifted = lift(q)
        values, proxes = [], []
        for penalty, reading, is_direct in zip(lifted.penalties, system.readings, system.direct, strict=True):
            if not is_direct:
                values.append(penalty.map(system.x) + penalty.offset)
                proxes.append(penalty.function.prox(_argument(reading, sigma), 1 / sigma))
        return force(lifted, system.x, system.readings, system.direct, p), tuple(values), tuple(proxes)

    pulled, moved, reacted = jax.jvp(conditions, (problem,), (tangent,))[1]
    shift = displacement(problem, tangent, system.direct, system.readings, system.space, rho)
    moved = _scaled(moved, 1, _forward(system, shift))
    r = project(system.space, {name: -value for name, value in add(pulled, hessian(system, shift)).items()})
    return shift, (r, _scaled(reacted, -1, _complement(system, moved)))


def multipliers(problem: Problem, tangent: Problem, system: Linearised, dx: Point, u: Duals) -> Duals:
    """dp of all penalties: those of the system, and of direct ones what their gradient says where nothing is held."""
    out, others = [], iter(u)
    for penalty, change, reading, is_direct in zip(
        system.problem.penalties, lift_tangent(problem, tangent).penalties, system.readings, system.direct, strict=True
    ):
        if not is_direct:
            out.append(next(others))
            continue
        held = lax.stop_gradient(held_entries(penalty.function, reading.z))
        v = jnp.where(held, 0, penalty.map(system.x) + penalty.offset)
        dv = jnp.where(held, 0, penalty.map(dx) + change.offset)
        change_of = jax.jvp(lambda f, u: jax.grad(lambda w: f(w))(u), (penalty.function, v), (change.function, dv))[1]
        out.append(jnp.where(held, 0, change_of))
    return tuple(out)


def lift_tangent(problem: Problem, tangent: Problem) -> Problem:
    """The change of the lifted problem."""
    return jax.jvp(lift, (problem,), (tangent,))[1]
