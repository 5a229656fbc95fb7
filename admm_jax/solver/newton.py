"""Polishing small problems to machine precision: a semismooth Newton augmented Lagrangian method.

From an ADMM iterate (x, p) of the dense lifted problem, repeat with growing sigma

    x <- argmin_x  1/2 ||Q x - d||_W^2 + <c, x> + sum M_j(A_j x + b_j + p_j / sigma) + tau/2 ||x - x_before||^2
    p_j <- sigma (v_j - prox_{g_j / sigma}(v_j)),   v_j = A_j x + b_j + p_j / sigma

where M_j is the Moreau envelope of g_j with parameter 1/sigma. The inner problem is once differentiable, with

    gradient  H x - h + sum A_j^T pi_j(x) + tau (x - x_before),    pi_j = sigma (v_j - prox(v_j))
    Hessian   H + sum sigma A_j^T (I - J_j) A_j + tau I,           J_j in the generalised Jacobian of the prox

so a Newton step is one Cholesky factorisation, and for piecewise linear-quadratic models both loops end in a few
steps: the active set is found, not guessed (Rockafellar 1976; Li, Sun & Toh 2018, SSNAL). pi_j is in dom g_j* always.

The two loops and the line search are one loop over trial points, so that the model is traced and compiled once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.problem import Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.rewrite import VECTOR
from admm_jax.solver.state import Workspace, matrix_of

TRIALS = 150  # evaluations of the inner problem in all
NEWTON = 15  # accepted steps for one set of multipliers
HALVINGS = 12
OUTER = 14  # updates of the multipliers
GROWTH = 10.0  # of sigma, at each of them
CEILING = 1e7  # of sigma, relative to its start


@pytree_dataclass
class _Search:
    """One trial: `x` is accepted, `x + t direction` is tried.

    `value`, `slope` along the direction and `steepness` (the length of the gradient) belong to x; `centre`, `p` and
    `sigma` to the outer loop.
    """

    x: Array
    direction: Array
    t: Array
    value: Array
    slope: Array
    steepness: Array
    centre: Array
    p: tuple[Array, ...]
    sigma: Array
    trials: Array
    newton: Array
    outer: Array
    done: Array


def polish(
    problem: Problem, workspace: Workspace, x: Array, p: tuple[Array, ...], rho: Array
) -> tuple[Array, tuple[Array, ...]]:
    """(x, p) of a dense lifted problem -> a more accurate pair, p in dom g* and stationary to rounding.

    `rho` is the penalty parameter to start from; it grows while the multipliers still move.
    """
    gram, rhs = workspace.gram, workspace.rhs[VECTOR]
    dtype, eps = x.dtype, jnp.finfo(x.dtype).eps
    tiny = jnp.finfo(dtype).tiny
    identity = jnp.eye(x.size, dtype=dtype)

    def unfinished(s: _Search) -> Array:
        return ~s.done & (s.trials < TRIALS)

    def body(s: _Search) -> _Search:
        sigma = s.sigma
        trial = s.x + s.t * s.direction
        tau = 1e-9 * (jnp.trace(gram) + sigma * jnp.trace(workspace.penalty_gram)) / x.size
        value = trial @ (gram @ trial) / 2 - rhs @ trial + tau * jnp.sum((trial - s.centre) ** 2) / 2
        gradient = gram @ trial - rhs + tau * (trial - s.centre)
        hessian = gram + tau * identity
        size = jnp.linalg.norm(rhs)
        extent = jnp.abs(trial)
        noise = jnp.abs(gram) @ extent + jnp.abs(rhs)  # over eps: what the gradient is a sum of
        slack = jnp.abs(s.value)  # over eps: and the value
        moved = jnp.zeros((), dtype)  # of the multipliers, over sigma: the primal error A x + b - prox(v)
        multipliers = []
        for penalty, dual in zip(problem.penalties, s.p, strict=True):
            a, g = matrix_of(penalty.map), penalty.function
            image = penalty.map({VECTOR: trial}) + penalty.offset
            whole = (jnp.abs(a) @ extent).reshape(image.shape) + jnp.abs(penalty.offset)
            v = image + dual / sigma
            z, jvp = jax.linearize(lambda u, g=g, sigma=sigma: g.prox(u, 1 / sigma), v)
            ja = jax.vmap(lambda column, f=jvp, shape=v.shape: f(column.reshape(shape)).ravel(), 1, 1)(a)
            pi = sigma * (v - z)
            force = penalty.map.adjoint(pi)[VECTOR]
            value = value + g(z) + jnp.sum(pi * pi) / (2 * sigma)
            gradient = gradient + force
            hessian = hessian + sigma * (a.T @ (a - ja))
            size = jnp.maximum(size, jnp.linalg.norm(force))
            change = jnp.max(jnp.abs(pi - dual)) / sigma
            relative = change / jnp.maximum(jnp.maximum(jnp.max(whole), change), tiny)
            whole = whole + jnp.abs(dual) / sigma
            noise = noise + sigma * (jnp.abs(a).T @ whole.ravel())
            slack = slack + jnp.sum(jnp.abs(pi) * whole)
            moved = jnp.maximum(moved, relative)
            multipliers.append(pi)

        steepness = jnp.linalg.norm(gradient)
        accepted = (value <= s.value + 1e-4 * s.t * s.slope + 16 * eps * slack) | (s.t < 2.0**-HALVINGS)
        # down to rounding, and then until a step gains nothing more
        small = steepness <= eps * jnp.maximum(8 * size, jnp.linalg.norm(noise))
        solved = (small & (steepness > s.steepness / 2)) | (s.newton >= NEWTON)
        update = accepted & solved
        shift = eps * jnp.trace(hessian)
        factor = jsl.cholesky((hessian + hessian.T) / 2 + shift * identity, lower=True)
        direction = -jsl.cho_solve((factor, True), gradient)
        direction = jnp.where(jnp.all(jnp.isfinite(direction)), direction, -gradient)

        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(trial))
        s = replace(s, trials=s.trials + 1, done=~finite & (s.trials == 0))
        halved = replace(s, t=s.t / 2)
        stepped = replace(
            s,
            x=trial,
            direction=direction,
            t=jnp.ones_like(s.t),
            value=value,
            slope=gradient @ direction,
            steepness=steepness,
            newton=s.newton + 1,
        )
        pull = tau * jnp.linalg.norm(trial - s.centre)  # of the proximal term: an error in stationarity
        fresh = replace(
            s,
            x=trial,
            direction=jnp.zeros_like(trial),
            value=jnp.full_like(value, jnp.inf),
            slope=jnp.zeros_like(value),
            steepness=jnp.full_like(value, jnp.inf),
            centre=trial,
            p=tuple(multipliers),
            sigma=jnp.minimum(sigma * GROWTH, CEILING * rho),
            newton=jnp.zeros_like(s.newton),
            outer=s.outer + 1,
            done=(s.outer + 1 >= OUTER) | ((moved <= 32 * eps) & (pull <= 8 * eps * size)),
        )
        return jax.tree.map(lambda a, b, c: jnp.where(update, a, jnp.where(accepted, b, c)), fresh, stepped, halved)

    zero = jnp.zeros((), dtype)
    count = jnp.zeros((), jnp.int32)
    start = _Search(
        x=x,
        direction=jnp.zeros_like(x),
        t=zero + 1,
        value=zero + jnp.inf,
        slope=zero,
        steepness=zero + jnp.inf,
        centre=x,
        p=p,
        sigma=rho,
        trials=count,
        newton=count,
        outer=count,
        done=count > 0,
    )
    end = lax.while_loop(unfinished, body, start)
    return end.x, end.p
