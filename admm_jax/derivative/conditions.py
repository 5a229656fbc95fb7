"""The optimality conditions of the lifted problem, linearised, and the linear system that they make.

At a solution x with multipliers p_j in dg_j(v_j), v_j = A_j x + b_j, and theta whatever the problem is made of,

    F(x, p; theta) = sum Q^T W (Q x - d) + c + sum A_j^T p_j = 0                                   (stationarity)
    v_j = prox_j(v_j + p_j / sigma; theta)                        for any sigma > 0          (p_j in dg_j(v_j))

With J_j the Jacobian of the prox at v_j + p_j / sigma (symmetric, 0 <= J <= I), B_j = I - J_j, and dots for the
derivatives with respect to theta at fixed x, p and fixed argument of the prox, their derivative is

    M dx + sum A_j^T dp_j            = -F.                        M = sum Q^T W Q
    B_j A_j dx - J_j dp_j / sigma    = prox_j. - B_j v_j.         v_j. = (A_j x + b_j).

J is 0 on what a kink or a bound holds and 1 where g is linear; there the second line says A dx = (given) and
dp = (given). Where g is curved, J lies between, and the second line says dp = g'' (A dx + v.) + (g')., whatever
sigma is.

Direct penalties (see `active.py`) leave the second line: dx = displacement + t with t in T, the first line projected
onto T, and their gradient on what is not held, which is smooth there, becomes a part of F and so of M.

Implicit derivatives through such conditions: Bolte, Le, Pauwels & Silveti-Falls 2021, Nonsmooth implicit
differentiation; Bertrand et al. 2022; for cone programs Agrawal et al. 2019.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.derivative.active import (
    Reading,
    Space,
    direct_terms,
    displacement,
    project,
    read,
    spaces,
)
from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace, static
from admm_jax.solution import Solution
from admm_jax.solver.certificate import stationarity
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import lift
from admm_jax.solver.vectors import add, dtype_of, probe_signs, row_length, subtract

Duals = tuple[Array, ...]
Pair = tuple[Point, Duals]

STIFFNESS = {8: 1e3, 4: 30.0}  # sigma, relative to M / A^T A, by the width of the dtype


@pytree_dataclass
class Linearised:
    """The linear system at one solution: everything that its operator depends on.

    `accuracy` is the relative error that systems of decoupled problems may leave, `direct` tells which penalties are
    in T, `plan` how systems are solved.
    """

    problem: Problem  # lifted
    x: Point
    readings: tuple[Reading, ...]
    space: dict[str, Space]
    sigma: Array  # of the second line; much larger than the rho of the readings
    accuracy: Array
    direct: tuple[bool, ...] = static()
    plan: Plan = static()

    def general(self, values: tuple) -> tuple:
        """Those of `values` that belong to penalties which are not direct."""
        return tuple(value for value, is_direct in zip(values, self.direct, strict=True) if not is_direct)


def force(problem: Problem, x: Point, readings: tuple[Reading, ...], direct: tuple[bool, ...], p: Duals) -> Point:
    """F(x, p; theta) = sum Q^T W (Q x - d) + c + sum A^T p, of the shapes of x.

    Args:
        problem: The lifted problem.
        x: The point.
        readings: Of all penalties.
        direct: Which penalties are direct: their p is their gradient at A x + b where nothing is held, zero elsewhere.
        p: The multipliers of all others, in order.
    """
    zero = {name: jnp.zeros_like(value) for name, value in x.items()}
    e = tuple(q.map(x) - q.data for q in problem.quadratics)
    duals, others = [], iter(p)
    for penalty, reading, is_direct in zip(problem.penalties, readings, direct, strict=True):
        if not is_direct:
            duals.append(next(others))
            continue
        held = lax.stop_gradient(penalty.function.held(reading.z))
        v = jnp.where(held, 0, penalty.map(x) + penalty.offset)
        duals.append(jnp.where(held, 0, jax.grad(lambda u, g=penalty.function: g(u))(v)))
    return stationarity(problem, e, tuple(duals), zero)


def jacobian(system: Linearised, v: Duals) -> Duals:
    """J_j v_j for each penalty that is not direct."""
    out = []
    for penalty, reading, u in zip(
        system.general(system.problem.penalties), system.general(system.readings), v, strict=True
    ):
        at = reading.argument(system.sigma)
        out.append(jax.jvp(lambda w, g=penalty.function: g.prox(w, 1 / system.sigma), (at,), (u,))[1])
    return tuple(out)


def forward(system: Linearised, x: Point) -> Duals:
    """A_j x."""
    return tuple(penalty.map(x) for penalty in system.general(system.problem.penalties))


def adjoint(system: Linearised, u: Duals, like: Point) -> Point:
    """sum A_j^T u_j over the penalties that are not direct; zeros of the shapes of `like` where none acts."""
    out = {name: jnp.zeros_like(value) for name, value in like.items()}
    for penalty, part in zip(system.general(system.problem.penalties), u, strict=True):
        out = add(out, penalty.map.adjoint(part))
    return out


def complement(system: Linearised, v: Duals) -> Duals:
    """B_j v_j."""
    return tuple(a - b for a, b in zip(v, jacobian(system, v), strict=True))


def add_scaled_duals(a: Duals, factor: Array | float, b: Duals) -> Duals:
    """a + factor b."""
    return tuple(u + factor * v for u, v in zip(a, b, strict=True))


def hessian(system: Linearised, t: Point) -> Point:
    """M t."""
    p = system.general(tuple(reading.p for reading in system.readings))

    def gradient(x: Point) -> Point:
        return force(system.problem, x, system.readings, system.direct, p)

    return jax.jvp(gradient, (system.x,), (t,))[1]


def system_at(problem: Problem, plan: Plan, solution: Solution, accuracy: Array) -> Linearised:
    """The linear system at a solution of `problem`.

    Args:
        problem: The problem, not lifted.
        plan: How it is solved.
        solution: Its values and multipliers.
        accuracy: The relative error that its systems may leave, where the problem is decoupled.
    """
    direct = direct_terms(problem, plan)
    readings = read(problem, solution.values, solution.multipliers)
    space = spaces(problem, direct, readings)
    dtype = dtype_of(solution.values)
    lifted, one = lift(problem), jnp.ones((), dtype)
    system = Linearised(lifted, solution.values, readings, space, one, accuracy, direct, plan)
    mean = mean_eigenvalue(system)
    stiff, curved = jnp.zeros((), dtype), jnp.zeros((), dtype)  # largest M / A^T A, and rho, of the penalties
    for penalty, reading in zip(system.general(system.problem.penalties), system.general(readings), strict=True):
        length = row_length(penalty.map, dtype) ** 2
        stiff = jnp.maximum(stiff, jnp.where(length > 0, mean / jnp.where(length > 0, length, 1), 0))
        curved = jnp.maximum(curved, reading.rho)
    stiff = jnp.where(stiff > 0, stiff, curved)  # without quadratics only the norms are curved, by about rho
    return replace(system, sigma=lax.stop_gradient(STIFFNESS[dtype.itemsize] * stiff))


def apply_system(system: Linearised, pair: Pair) -> Pair:
    """(t, u) -> (P (M P t + A^T u) + t - P t,  B A P t - J u / sigma), with P the projection onto T."""
    x, u = pair
    t = project(system.space, x)
    pull = add(hessian(system, t), adjoint(system, u, t))
    first = add(project(system.space, pull), subtract(x, t))
    moved = complement(system, forward(system, t))
    return first, add_scaled_duals(moved, -1 / system.sigma, jacobian(system, u))


def mean_eigenvalue(system: Linearised) -> Array:
    """The mean eigenvalue of sum Q^T W Q, by one vector of signs (Hutchinson 1989)."""
    probe = {name: probe_signs(value.shape, value.dtype) for name, value in system.x.items()}
    total = jnp.zeros((), dtype_of(system.x))
    for quadratic in system.problem.quadratics:
        total = total + jnp.sum(quadratic.weight * quadratic.map(probe) ** 2)
    return total / system.problem.size


def system_right_hand_side(problem: Problem, tangent: Problem, system: Linearised) -> tuple[Point, Pair]:
    """(displacement, (r, s)): r = -F. - M displacement, projected onto T; s = prox. - B (v. + A displacement).

    Args:
        problem: The problem, not lifted.
        tangent: Its change, a `Problem` of the same structure.
        system: The linear system.
    """
    pulled, moved, reacted = changes(problem, tangent, system)
    shift = displacement(problem, tangent, system.direct, system.readings, system.space)
    moved = add_scaled_duals(moved, 1, forward(system, shift))
    r = project(system.space, {name: -value for name, value in add(pulled, hessian(system, shift)).items()})
    return shift, (r, add_scaled_duals(reacted, -1, complement(system, moved)))


def changes(problem: Problem, tangent: Problem, system: Linearised) -> tuple[Point, Duals, Duals]:
    """(F., v_j., prox_j.): how the conditions change with the problem at fixed x, p and fixed argument of the prox.

    Arguments as those of `system_right_hand_side`; F. has the shapes of x, the others are of penalties not direct.
    """
    p = system.general(tuple(reading.p for reading in system.readings))

    def conditions(q: Problem) -> tuple[Point, Duals, Duals]:
        lifted = lift(q)
        values, proxes = [], []
        for penalty, reading, is_direct in zip(lifted.penalties, system.readings, system.direct, strict=True):
            if not is_direct:
                values.append(penalty.map(system.x) + penalty.offset)
                proxes.append(penalty.function.prox(reading.argument(system.sigma), 1 / system.sigma))
        return force(lifted, system.x, system.readings, system.direct, p), tuple(values), tuple(proxes)

    return jax.jvp(conditions, (problem,), (tangent,))[1]


def multiplier_change(problem: Problem, tangent: Problem, system: Linearised, dx: Point, u: Duals) -> Duals:
    """dp of all penalties: those of the system, and of direct ones the change of their gradient where nothing is held.

    Args:
        problem: The problem, not lifted.
        tangent: Its change, a `Problem` of the same structure.
        system: The linear system.
        dx: The change of the solution.
        u: The change of the multipliers of penalties that are not direct, in order.

    Returns:
        One array for each penalty, in the shape of its multipliers.
    """
    out, others = [], iter(u)
    for penalty, change, reading, is_direct in zip(
        system.problem.penalties, lift_tangent(problem, tangent).penalties, system.readings, system.direct, strict=True
    ):
        if not is_direct:
            out.append(next(others))
            continue
        held = lax.stop_gradient(penalty.function.held(reading.z))
        v = jnp.where(held, 0, penalty.map(system.x) + penalty.offset)
        dv = jnp.where(held, 0, penalty.map(dx) + change.offset)
        change_of = jax.jvp(lambda f, u: jax.grad(lambda w: f(w))(u), (penalty.function, v), (change.function, dv))[1]
        out.append(jnp.where(held, 0, change_of))
    return tuple(out)


def lift_tangent(problem: Problem, tangent: Problem) -> Problem:
    """The change of the lifted problem."""
    return jax.jvp(lift, (problem,), (tangent,))[1]


def lagrangian(problem: Problem, x: Point, readings: tuple[Reading, ...]) -> Array:
    """q(x) + sum <p_j, A_j x + b_j> - g_j*(p_j) of the lifted problem, equal to f at a solution.

    q are the quadratics, the linear cost and the constant; z_j and p_j are those of the readings, -g_j*(p_j) is
    g_j(z_j) - <p_j, z_j>.

    Args:
        problem: The lifted problem.
        x: The point.
        readings: Of its penalties.
    """
    total = jnp.asarray(problem.constant)
    for quadratic in problem.quadratics:
        residual = quadratic.map(x) - quadratic.data
        total = total + jnp.sum(quadratic.weight * residual**2) / 2
    for name, cost in problem.linear.items():
        total = total + jnp.sum(cost * x[name])
    for penalty, reading in zip(problem.penalties, readings, strict=True):
        total = total + jnp.sum(reading.p * (penalty.map(x) + penalty.offset))
        total = total + penalty.function.minus_conjugate(reading.z, reading.p)
    return total
