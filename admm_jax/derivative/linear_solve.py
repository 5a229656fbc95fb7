"""Solving the linear system of the derivative: eliminated to x, by Cholesky or by conjugate gradients on T.

    M dx + sum A^T u = r,      B A dx - J u / sigma = s

Eliminating u by u <- sigma (B A dx - s) + B u, the method of multipliers (Hestenes 1969; Powell 1969), leaves

    (M + sum sigma A^T B A) dx = r + sum A^T (sigma s - B u)

to be solved again and again with the same "stiff" matrix; what is left of the second line falls by a factor of about
sigma times the smallest eigenvalue of A M^-1 A^T each time. Multipliers that are not unique end with the least change.
Without penalties in the second line there is one system and nothing to repeat.

The transposed system has the same form: with s = B s' it gives u = B y, and y = sigma (A dx - s') + u.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from admm_jax.derivative.active import held_entries, project
from admm_jax.derivative.ambiguity import patterns
from admm_jax.derivative.conditions import (
    Duals,
    Linearised,
    Pair,
    adjoint,
    apply,
    complement,
    forward,
    hessian,
    mean_eigenvalue,
    scaled,
)
from admm_jax.derivative.tell import FORWARD, REVERSE, Teller
from admm_jax.problem import Point
from admm_jax.prox.functions import GroupL2
from admm_jax.pytree import replace
from admm_jax.solver.linear import conjugate_gradients
from admm_jax.solver.regions import region_curvature
from admm_jax.solver.rewrite import flatten, unflatten
from admm_jax.solver.vectors import add, add_scaled, dtype_of, norm, probe_signs, subtract

OUTER = 60  # updates of the multipliers
REFINEMENTS = 2  # of a direct solve
SOLVED = {8: 1e-7, 4: 1e-2}  # relative residual above which a system counts as not solved, by the width of the dtype
CG_STEPS = 3000
ROUNDED = {8: 1e-5, 4: 1e-2}  # entries of multipliers that are not unique, relative to the largest, that are rounding
AMBIGUOUS = 1e-3  # share of a push on the multipliers that must stay for them not to be unique


def pulled(system: Linearised, t: Point) -> Point:
    """(M + sum sigma A^T B A) t."""
    bent = complement(system, forward(system, t))
    return add_scaled(hessian(system, t), system.sigma, adjoint(system, bent, t))


def stiff(system: Linearised, t: Point) -> Point:
    """`pulled` on T, the identity on the rest."""
    inside = project(system.space, t)
    return add(project(system.space, pulled(system, inside)), subtract(t, inside))


def _matrix(system: Linearised, like: Point) -> Array:
    problem = system.problem

    def column(e: Array) -> Array:
        return flatten(problem, stiff(system, unflatten(problem, e)))

    return jax.vmap(column)(jnp.eye(problem.size, dtype=dtype_of(like)))


def _factor(matrix: Array) -> tuple[Callable[[Array], Array], Array]:
    """b -> the solution of the system, by Cholesky with a unit diagonal, and whether the matrix is regular."""
    eps, n = jnp.finfo(matrix.dtype).eps, len(matrix)
    diagonal = jnp.diagonal(matrix)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    scaled_matrix = scale[:, None] * (matrix + matrix.T) / 2 * scale[None, :]
    factor = jsl.cholesky(scaled_matrix + 4 * eps * jnp.eye(n, dtype=matrix.dtype), lower=True)
    pivots = jnp.diagonal(factor)

    def solved(b: Array) -> Array:
        return scale * jsl.cho_solve((factor, True), scale * b)

    return solved, jnp.min(pivots) ** 2 > 32 * n * eps  # NaN, of a matrix that is not positive, is not regular


def stiff_solver(system: Linearised) -> tuple[Callable[[Point, Point], Point], Array]:
    """(rhs, start) -> the solution of the stiff system, NaN where it has none that is unique; and whether it has.

    That is known in dense models, and taken for granted in others.
    """
    dtype = dtype_of(system.x)
    if system.plan.dense:
        inverse, is_regular = _factor(_matrix(system, system.x))

        def direct(rhs: Point, start: Point) -> Point:
            del start
            b = flatten(system.problem, rhs)
            x = jnp.zeros_like(b)
            for _ in range(REFINEMENTS):
                left = b - flatten(system.problem, stiff(system, unflatten(system.problem, x)))
                x = x + inverse(left)
            known = is_regular | ~jnp.any(b != 0)  # nothing asked, nothing answered
            if system.plan.derivative_nan:
                x = jnp.where(known, x, jnp.nan)
            return unflatten(system.problem, x)

        return direct, is_regular
    floor = 1e-11 if dtype == jnp.float64 else 1e-6
    precondition, onto = _preconditioner(system, by_size=True), partial(project, system.space)

    def iterative(rhs: Point, start: Point) -> Point:
        inside = onto(rhs)
        t = conjugate_gradients(
            partial(pulled, system),
            inside,
            onto(start),
            steps=CG_STEPS,
            floor=floor,
            precondition=precondition,
            project=onto,
        )
        return add(t, subtract(rhs, inside))

    return iterative, jnp.ones((), bool)


def _preconditioner(system: Linearised, *, by_size: bool) -> Callable[[Point], Point]:
    """Per region, the inverse of its curvature: that of the quadratics, which its size tells, and that of norms.

    Isotropic total variation cannot do without: its curvatures w / |D x| are of all sizes. For the rest it is only
    worth its compiling where many steps are made.
    """
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
    scales: dict[str, Array] = {}
    for name, space in system.space.items():
        if by_size and space.regions is not None:
            scales[name] = region_curvature(system.problem, system.x, name)(space.regions)
        elif name in weights:
            scales[name] = mean_eigenvalue(system)
        if name in weights:
            scales[name] = scales[name] + space.average(weights[name])
    if not scales:
        return lambda r: r
    # a variable, or a region, that no quadratic sees
    scales = {name: jnp.where(scale > 0, scale, 1) for name, scale in scales.items()}
    return lambda r: {name: value / scales[name] if name in scales else value for name, value in r.items()}


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


def rough(system: Linearised, push: Point, *, steps: Array, tol: float) -> Point:
    """About how x answers to a push: the stiff system alone, by a few conjugate gradient steps."""
    r = project(system.space, push)
    if system.plan.dense:
        return project(system.space, stiff_solver(system)[0](r, r))
    zero = {name: jnp.zeros_like(value) for name, value in r.items()}
    inverse = _preconditioner(system, by_size=False)
    operator, onto = partial(pulled, system), partial(project, system.space)
    return conjugate_gradients(operator, r, zero, steps=steps, tol=tol, precondition=inverse, project=onto)


def answer(system: Linearised, r: Point, s: Duals) -> Pair:
    """`solve` without a derivative, and without NaN where it failed."""
    plain = replace(system, plan=dataclasses.replace(system.plan, derivative_nan=False))
    return _repeated(plain, stiff_solver(plain)[0], r, s, {name: jnp.zeros_like(value) for name, value in r.items()})


def regular(system: Linearised) -> Array:
    """Whether the system has only one solution, as far as `stiff_solver` knows."""
    return stiff_solver(system)[1]


def _size(u: Duals) -> Array:
    """||u||_2, of at least one part."""
    return jnp.sqrt(sum((jnp.sum(part * part) for part in u[1:]), start=jnp.sum(u[0] * u[0])))


def unsolved(converged: np.ndarray, unique: np.ndarray, error: np.ndarray) -> str | None:
    """What there is to say of a system solved to a relative residual `error`, None where others say it."""
    if bool(error <= SOLVED[error.dtype.itemsize]) or not (converged and unique):
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
    force, length = apply(system, (t, u))
    left, whole = _size(u), _size(probe)
    tol = SOLVED[left.dtype.itemsize] * left / jnp.where(whole > 0, whole, 1)  # of what the probe itself would do
    unanswered = (norm(force) <= tol * norm(adjoint(system, probe, t))) & (_size(length) <= tol * whole / system.sigma)
    exists = unanswered & (left > AMBIGUOUS * whole)
    # what is no part of it is rounding, which would look as if it did not cancel
    least = ROUNDED[left.dtype.itemsize] * jnp.max(jnp.stack([jnp.max(jnp.abs(part)) for part in u]))
    return tuple(jnp.where(exists & (jnp.abs(part) > least), part, 0) for part in u)


def solve(
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
    not unique, in the channels of `ambiguity.patterns`. `program`: whose warnings are told once.
    """
    frozen, converged = lax.stop_gradient((system, converged))
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
            jax.debug.callback(partial(teller, mode), program, converged, finite, error)
        return jax.tree.map(lambda leaf: jnp.where(error <= SOLVED[error.dtype.itemsize], leaf, jnp.nan), pair)

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
        y = scaled(u, frozen.sigma, scaled(forward(frozen, project(frozen.space, t)), -1, s))
        return t, y

    def doubtful(y: Duals) -> Array:
        """n in its channels, where the gradient has anything to do with multipliers."""
        n = ravel_pytree(ambiguous(frozen, stiff_solve))[0]
        return jnp.where(_size(y) > 0, n[None, :] * patterns(n.size, n.dtype), 0)

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
        return tied * flat(lambda parts: (apply(system, parts[0]), *parts[1:]))(b)

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
            moved = _size(complement(system, scaled(new, -1, u)))
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
    first, second = apply(system, pair)
    tiny = jnp.finfo(dtype_of(t)).tiny
    size = norm(r) + norm(adjoint(system, u, t)) + norm(hessian(system, t))
    for penalty, part in zip(system.general(system.problem.penalties), u, strict=True):
        size = size + norm(penalty.map.adjoint(probe_signs(part.shape, part.dtype) * part))
    worst = norm(subtract(first, r)) / jnp.maximum(size, tiny)
    if s:
        # lengths are measured in units of the force on them, so that where nothing moves rounding counts for nothing
        left = _size(scaled(second, -1, s))
        unit = _size(s) + _size(forward(system, t)) + (_size(u) + norm(r)) / system.sigma
        worst = jnp.maximum(worst, left / jnp.maximum(unit, tiny))
    return worst
