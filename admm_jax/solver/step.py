"""One ADMM iteration. This is the only place where the iteration is written.

    x   <- argmin  sum 1/2 ||Q x - d||_W^2 + <c, x> + sum rho/2 ||A_j x + b_j - z_j + y_j / rho||^2
    v_j <- alpha (A_j x + b_j) + (1 - alpha) z_j + y_j / rho                    (over-relaxation, alpha in (1, 2))
    z_j <- prox_{g_j / rho}(v_j)
    y_j <- rho (v_j - z_j)                                                    so that y_j is in dg_j(z_j), always

Boyd, Parikh, Chu, Peleato & Eckstein 2011, sections 3.1-3.4; over-relaxation: Eckstein & Bertsekas 1992.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Problem
from admm_jax.pytree import replace
from admm_jax.solver.plan import Plan
from admm_jax.solver.state import RHO_RANGE, State, rhos_of
from admm_jax.solver.vectors import add, dtype_of, norm, row_length
from admm_jax.solver.x_update import Workspace


def step(problem: Problem, plan: Plan, workspace: Workspace, state: State) -> State:
    """One iteration: state in, state out.

    Args:
        problem: The iterated problem.
        plan: How it is solved.
        workspace: What its x-update has prepared.
        state: The iterate before.
    """
    x, images = plan.x_update(problem, workspace, state, exact=plan.unroll > 0)
    zs, ys, fields = [], [], []
    # each prox that is no closed form starts its momentum anew, so that a fixed number of steps would in the end be
    # plain projected gradient
    # (reverse mode needs a number that is known)
    effort = plan.prox_steps if plan.unroll else plan.effort(state.iteration)
    splits = zip(problem.penalties, images, state.z, state.y, state.fields, rhos_of(problem, state), strict=True)
    for penalty, value, z, y, field, rho in splits:
        v = plan.relaxation * value + (1 - plan.relaxation) * z + y / rho
        z, field = penalty.function.prox_from(v, 1 / rho, field, effort)
        zs.append(z)
        ys.append(rho * (v - z))
        fields.append(field)
    return replace(state, x=x, z=tuple(zs), y=tuple(ys), fields=tuple(fields), iteration=state.iteration + 1)


def row_lengths(problem: Problem, dtype: jnp.dtype) -> tuple[Array, ...]:
    """Of the map of each penalty, the length of its rows: once for a run, as each costs a product with the map."""
    return tuple(row_length(penalty.map, dtype) for penalty in problem.penalties)


def residuals(
    problem: Problem, before: State, after: State, lengths: tuple[Array, ...], unit: Array | float = 0.0
) -> tuple[Array, Array]:
    """Relative primal and dual residuals of the step from `before` to `after`.

    ||A x + b - z|| / max(||A x + b||, ||z||)   and   ||sum A^T rho (z - z_before)|| / sqrt(sum (a ||y||)^2)

    (Boyd et al. 2011, section 3.3, normalised as Wohlberg 2017, with a = ||A|| ~ the length of its rows in the place of
    A^T y): they do not change with the scale of the data. Without quadratics the forces A_j^T y_j balance to nothing,
    and where there is one term only, its own vanishes; rho would fall without end.

    Args:
        problem: The iterated problem.
        before: The iterate before.
        after: The iterate.
        lengths: Of the rows of each A_j (`row_lengths`).
        unit: The size that x has as a rule: where A x + b goes to zero, sqrt(eps) ||A|| times it is the least that the
            primal residual is relative to.
    """
    dtype = dtype_of(after.x)
    tiny, eps = jnp.finfo(dtype).tiny, jnp.finfo(dtype).eps
    gap = value_size = split_size = least = jnp.zeros((), dtype)
    change = {name: jnp.zeros_like(value) for name, value in after.x.items()}
    force = gap
    splits = zip(problem.penalties, before.z, after.z, after.y, rhos_of(problem, after), lengths, strict=True)
    for penalty, old, new, y, rho, length in splits:
        value = penalty.map(after.x) + penalty.offset
        gap = gap + jnp.sum((value - new) ** 2)
        value_size = value_size + jnp.sum(value**2)
        split_size = split_size + jnp.sum(new**2)
        least = least + eps * (length * unit) ** 2 * new.size
        change = add(change, penalty.map.adjoint(rho * (new - old)))
        force = force + length**2 * jnp.sum(y * y)
    primal = jnp.sqrt(gap / jnp.maximum(jnp.maximum(value_size, split_size), jnp.maximum(least, tiny)))
    return primal, norm(change) / jnp.maximum(jnp.sqrt(force), tiny)


def adapt_rho(plan: Plan, workspace: Workspace, state: State, start: Array, residual: tuple[Array, Array]) -> State:
    """Balance the relative residuals when they are more than a factor apart (He, Yang & Wang 2000; Wohlberg 2017).

    Args:
        plan: How the problem is solved.
        workspace: What its x-update has prepared.
        state: The iterate.
        start: The rho of the first iterate, from which it stays within `RHO_RANGE`.
        residual: (primal, dual), of `residuals`.
    """
    factor = jnp.sqrt(residual[0] / jnp.maximum(residual[1], jnp.finfo(state.rho.dtype).tiny))
    limit = plan.rho_tolerance
    off = jnp.isfinite(factor) & ((factor > limit) | (factor < 1 / limit))
    # residuals that are rounding say nothing of rho, which would be driven up or down without end
    off = off & (jnp.maximum(*residual) > 16 * jnp.finfo(state.rho.dtype).eps)
    factor = jnp.where(off, jnp.clip(factor, 0.1, 10.0), 1)
    rho = jnp.clip(state.rho * factor, start / RHO_RANGE, start * RHO_RANGE)
    return replace(state, rho=rho, factor=plan.x_update.factor(workspace, rho))
