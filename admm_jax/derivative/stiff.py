"""The stiff systems of the derivative: Cholesky factors of small ones, conjugate gradients on T for the others.

(M + sum sigma A^T B A) t = b        for t in T; the identity on the rest
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array

from admm_jax.derivative.active import Space, project
from admm_jax.derivative.conditions import Linearised, adjoint, complement, forward, hessian, mean_eigenvalue
from admm_jax.operators.base import Operator
from admm_jax.problem import Point
from admm_jax.solver.linear import conjugate_gradients
from admm_jax.solver.regions import Regions, find_regions, region_curvature
from admm_jax.solver.rewrite import flatten, unflatten
from admm_jax.solver.vectors import add, add_scaled, dtype_of, subtract

REFINEMENTS = 2  # of a direct solve
CG_STEPS = 3000
FLOOR = {8: 1e-11, 4: 1e-6}  # of the residual, relative, by the width of the dtype
# Where a step costs two pairs of transforms, and the solution is known to no more: relative to the accuracy that is
# wanted of the derivative.
ROUGH_SHARE = {8: 3e-4, 4: 0.1}
RIGID = 20.0  # times the mean curvature of the quadratics: edges that are stiffer move as one in the coarse space


def augmented_hessian(system: Linearised, t: Point) -> Point:
    """(M + sum sigma A^T B A) t."""
    bent = complement(system, forward(system, t))
    return add_scaled(hessian(system, t), system.sigma, adjoint(system, bent, t))


def stiff(system: Linearised, t: Point) -> Point:
    """`augmented_hessian` on T, the identity on the rest."""
    inside = project(system.space, t)
    return add(project(system.space, augmented_hessian(system, inside)), subtract(t, inside))


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
    """((rhs, start) -> the solution of the stiff system, whether the system is regular).

    In dense models that is known, and where it is not regular the solution is NaN; in others it is taken for granted.
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
    rough_floor = ROUGH_SHARE[dtype.itemsize] * system.accuracy
    floor = rough_floor if system.plan.decoupled else FLOOR[dtype.itemsize]
    precondition, onto = _preconditioner(system, by_size=True), partial(project, system.space)

    def iterative(rhs: Point, start: Point) -> Point:
        inside = onto(rhs)
        t = conjugate_gradients(
            partial(augmented_hessian, system),
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
    """Per region, the inverse of its curvature: that of the quadratics and that of norms.

    Isotropic total variation cannot do without: its curvatures w / |D x| are of all sizes. Other models need it only
    where many steps are made, for it takes time to compile: with `by_size` the curvature of the quadratics is estimated
    from the size of each region (`region_curvature`), and edges that are almost flat have a space of their own
    (`_coarse`); else one number stands for it, where there are norms.
    """
    weights: dict[str, Array] = {}
    coarse: dict[str, Callable[[Array], Array]] = {}
    of_regions = {
        name: region_curvature(system.problem, system.x, name)
        for name, space in system.space.items()
        if by_size and space.regions is not None
    }
    for penalty, reading, is_direct in zip(system.problem.penalties, system.readings, system.direct, strict=True):
        if not is_direct or not penalty.function.unbounded_curvature:
            continue
        chain = penalty.map.chains[0]
        held = penalty.function.held(reading.z)
        curvature = penalty.function.hessian_diagonal(jnp.where(held, 0, penalty.map(system.x) + penalty.offset), held)
        diagonal = chain.ops[0].gram_diagonal(curvature) if chain.ops else curvature
        if diagonal is None:
            continue
        name = chain.variable
        weights[name] = weights.get(name, jnp.zeros_like(diagonal)) + diagonal
        flat = system.space[name].edges if name in of_regions else None
        if flat is not None and curvature.shape == flat.shape:
            rigid = flat | (curvature > RIGID * mean_eigenvalue(system))
            coarse[name] = _coarse(system.space[name], rigid, curvature, chain.ops[0], of_regions[name])
    scales: dict[str, Array] = {}
    for name, space in system.space.items():
        if name in of_regions and space.regions is not None:
            scales[name] = of_regions[name](space.regions)
        elif name in weights:
            scales[name] = mean_eigenvalue(system)
        if name in weights:
            scales[name] = scales[name] + space.average(weights[name])
    if not scales:
        return lambda r: r
    # zero is the curvature of a variable, or a region, that no quadratic sees
    scales = {name: jnp.where(scale > 0, scale, 1) for name, scale in scales.items()}

    def precondition(r: Point) -> Point:
        fine = {name: value / scales[name] if name in scales else value for name, value in r.items()}
        return {name: value + coarse[name](r[name]) if name in coarse else value for name, value in fine.items()}

    return precondition


def _coarse(
    space: Space, rigid: Array, curvature: Array, difference: Operator, of_regions: Callable[[Regions], Array]
) -> Callable[[Array], Array]:
    """r -> P C^T diag(c)^-1 C P r, C the means over regions that edges which are flat, or almost, hold together.

    An edge with |D x| near zero is a spring of stiffness w / |D x|. What stiff springs hold moves as one, and many
    steps of conjugate gradients go by until all of it has moved, unless the preconditioner knows it as one: an additive
    correction by a coarse space (Nicolaides 1987). With it, photographs under isotropic total variation take a third
    to a fifth of the steps.

    Args:
        space: T of the variable; r is in it, and so is the result.
        rigid: Which edges are flat, or almost, (number of axes, *shape).
        curvature: Of the norm along each edge, of the shape of `rigid`.
        difference: D, from the variable to its edges.
        of_regions: The curvature of the quadratics on regions (`region_curvature`).
    """
    found = find_regions(rigid, space.axes)
    labels = found.labels.reshape(rigid.shape[1:])
    across = difference(labels.astype(curvature.dtype)) != 0
    between = difference.gram_diagonal(jnp.where(across, curvature, 0))
    assert between is not None  # as it was of the curvature itself
    scale = of_regions(found) + found.mean(between)
    scale = jnp.where(scale > 0, scale, 1)
    return lambda r: space(found.mean(r) / scale)


def rough(system: Linearised, push: Point, *, steps: Array, tol: float) -> Point:
    """About how x answers to a force on it: the stiff system alone, by a few conjugate gradient steps.

    Args:
        system: The linear system.
        push: The force, of the shapes of x; it is projected onto T.
        steps: At most so many; dense models are solved exactly.
        tol: The relative residual to stop at.
    """
    r = project(system.space, push)
    if system.plan.dense:
        return project(system.space, stiff_solver(system)[0](r, r))
    zero = {name: jnp.zeros_like(value) for name, value in r.items()}
    inverse = _preconditioner(system, by_size=False)
    operator, onto = partial(augmented_hessian, system), partial(project, system.space)
    return conjugate_gradients(operator, r, zero, steps=steps, tol=tol, precondition=inverse, project=onto)


def regular(system: Linearised) -> Array:
    """Whether the system has only one solution, as far as `stiff_solver` knows."""
    return stiff_solver(system)[1]
