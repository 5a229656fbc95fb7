"""Polishing small problems to machine precision: a semismooth Newton augmented Lagrangian method.

From an ADMM iterate (x, p) of the dense lifted problem, repeat with growing sigma

    x <- argmin_x  1/2 ||Q x - d||_W^2 + <c, x> + sum M_j(A_j x + b_j + p_j / sigma) + tau/2 ||x - x_before||^2
    p_j <- sigma (v_j - prox_{g_j / sigma}(v_j)),   v_j = A_j x + b_j + p_j / sigma

where M_j is the Moreau envelope of g_j with parameter 1/sigma. The inner problem is once differentiable, with

    gradient  H x - h + sum A_j^T pi_j(x) + tau (x - x_before),    pi_j = sigma (v_j - prox(v_j))
    Hessian   H + sum sigma A_j^T (I - J_j) A_j + tau I,           J_j in the generalised Jacobian of the prox

so a Newton step is one Cholesky factorisation, and for piecewise linear-quadratic models both loops end in a few
steps: the active set is found, not guessed (Rockafellar 1976; Li, Sun & Toh 2018, SSNAL). pi_j is in dom g_j* always.

A step that would go far beyond the minimum along it ends there: the slope asks for prox and products with vectors only.
While the multipliers still move far, the inner problems are solved roughly. So the linear program of
`tests/benchmarks/matrices.py` takes 68 factorisations in the place of 523.

The residuals Q x - d and A_j x + b_j are carried from step to step by what each step adds, and formed anew for each
set of multipliers only. Near the end a step is smaller than the last digit of x; e = Q x - d and p_j still follow it,
so that together they are stationary to the rounding of e and p, and not of Q^T W Q x.

The two loops and the line search are one loop over trial points, so that the model is traced and compiled once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.problem import Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.reach import RADIUS
from admm_jax.solver.rewrite import VECTOR, matrix_of
from admm_jax.solver.vectors import select
from admm_jax.solver.x_update import Workspace

TRIALS = 150  # evaluations of the inner problem in all
TRIALS_OF_SMALL = 500  # where one takes microseconds, and what it settles spares hundreds of iterations
SMALL = 100  # unknowns
NEWTON = 40  # accepted steps for one set of multipliers
LEAST_STEP = 2.0**-13  # of a Newton step
SHORTEST = 0.1  # of the step tried before
DAMPING = 1e-2  # of the Hessian, times the length of the gradient
OVERSHOT = 0.1  # the slope that a full step may have against that of the start: beyond, the minimum is sought
HALVINGS = 8  # for it
OUTER = 30  # updates of the multipliers
ROUGH = 0.1  # of a gradient at which the multipliers move on, relative to how far they still are, in its units
EXACT_BELOW = 1e-6  # of that distance: from there on every inner problem is solved to rounding
GROWTH = 3.0  # of sigma, at each of them after which the multipliers had not settled fast enough
FAST = 0.02  # how much of the multipliers' last movement may be left
CEILING = 1e7  # of sigma, relative to its start
NEAR = 2.0  # of two sets of multipliers that prove about the same, the later is taken


@pytree_dataclass
class _Place:
    """A point, and what is carried with it: `e` = Q x - d for each quadratic, `images` A x + b for each penalty."""

    x: Array
    e: tuple[Array, ...]
    images: tuple[Array, ...]


@pytree_dataclass
class _Search:
    """One trial: `at` is accepted, `at + t step` is tried.

    `value`, `slope` along the step and `steepness`, the length of the gradient, belong to `at`. The outer loop has
    `solved`, the place that solved the last inner problem, `p`, `sigma` and `moved`: how far the last update moved
    p / sigma, relative to A x + b; and the `best` pair so far by the gap that it proves, the least of which is `least`.
    """

    at: _Place
    step: _Place
    t: Array
    value: Array
    slope: Array
    steepness: Array
    solved: _Place
    p: tuple[Array, ...]
    sigma: Array
    moved: Array
    best: tuple[_Place, tuple[Array, ...]]
    least: Array
    trials: Array
    newton: Array
    outer: Array
    done: Array


def _place(problem: Problem, x: Array) -> _Place:
    """The residuals of x, formed anew."""
    point = {VECTOR: x}
    e = tuple(q.map(point) - q.data for q in problem.quadratics)
    return _Place(x, e, tuple(penalty.map(point) + penalty.offset for penalty in problem.penalties))


def _step(problem: Problem, direction: Array) -> _Place:
    """What a step in this direction adds to a place."""
    point = {VECTOR: direction}
    e = tuple(q.map(point) for q in problem.quadratics)
    return _Place(direction, e, tuple(penalty.map(point) for penalty in problem.penalties))


def _moved(at: _Place, t: Array, step: _Place) -> _Place:
    return jax.tree.map(lambda a, b: a + t * b, at, step)


def polish(
    problem: Problem, workspace: Workspace, x: Array, p: tuple[Array, ...], rho: Array
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """(x, p) of a dense lifted problem -> a more accurate x, and (e, p) stationary to rounding, p in dom g*.

    Args:
        problem: The dense lifted problem, of n unknowns.
        workspace: Its Gram matrices.
        x: Where it starts, (n,).
        p: Duals to start from, one array for each penalty.
        rho: The penalty parameter to start from; it grows while the multipliers still move.
    """
    gram, cost = workspace.gram, problem.linear[VECTOR]
    dtype, eps = x.dtype, jnp.finfo(x.dtype).eps
    tiny = jnp.finfo(dtype).tiny
    identity = jnp.eye(x.size, dtype=dtype)

    most = TRIALS_OF_SMALL if x.size <= SMALL else TRIALS

    def unfinished(s: _Search) -> Array:
        return ~s.done & (s.trials < most)

    def body(s: _Search) -> _Search:
        sigma = s.sigma
        trial = _moved(s.at, s.t, s.step)
        tau = 1e-9 * (jnp.trace(gram) + sigma * jnp.trace(workspace.penalty_gram)) / x.size
        drift = trial.x - s.solved.x
        value = cost @ trial.x + tau * jnp.sum(drift**2) / 2
        gradient = cost + tau * drift
        size, extent = jnp.linalg.norm(cost), jnp.abs(trial.x)
        noise = jnp.abs(cost) + tau * extent  # over eps: what the gradient is a sum of
        slack = jnp.abs(s.value) + (jnp.abs(cost) + tau * jnp.abs(drift)) @ extent  # over eps: and the value
        for quadratic, e in zip(problem.quadratics, trial.e, strict=True):
            q, weight = matrix_of(quadratic.map), quadratic.weight
            force = q.T @ (weight * e)
            value = value + jnp.sum(weight * e**2) / 2
            gradient = gradient + force
            size = jnp.maximum(size, jnp.linalg.norm(force))
            # e is worth eps of what Q x - d is a sum of: its own rounding matters down to there
            summed = jnp.abs(e) + eps * (jnp.abs(q) @ extent + jnp.abs(quadratic.data))
            noise = noise + jnp.abs(q).T @ (weight * summed)
        moved = jnp.zeros((), dtype)  # of the multipliers, over sigma: the primal error A x + b - prox(v)
        proved = moved  # the gap that the pair proves
        multipliers, curved = [], []
        for penalty, image, dual in zip(problem.penalties, trial.images, s.p, strict=True):
            a, g = matrix_of(penalty.map), penalty.function
            v = image + dual / sigma
            z, jvp = jax.linearize(lambda u, g=g, sigma=sigma: g.prox(u, 1 / sigma), v)
            ja = jax.vmap(lambda column, f=jvp, shape=v.shape: f(column.reshape(shape)).ravel(), 1, 1)(a)
            pi = g.project_dual(sigma * (v - z))  # in dom g* but for rounding, which a large sigma magnifies
            force = penalty.map.adjoint(pi)[VECTOR]
            value = value + g(z) + jnp.sum(pi * pi) / (2 * sigma)
            gradient = gradient + force
            curved.append(a - ja)
            size = jnp.maximum(size, jnp.linalg.norm(force))
            noise = noise + sigma * (jnp.abs(curved[-1]).T @ jnp.abs(v).ravel())
            slack = slack + jnp.sum(jnp.abs(pi * v))
            change = jnp.max(jnp.abs(pi - dual)) / sigma
            whole = jnp.max(jnp.abs(a) @ extent) + jnp.max(jnp.abs(penalty.offset))
            moved = jnp.maximum(moved, change / jnp.maximum(jnp.maximum(whole, change), tiny))
            outside = g.violation(image)
            proved = proved + jnp.maximum(g.fenchel_gap(image - outside, pi), 0) + 2 * jnp.sum(jnp.abs(pi * outside))
            multipliers.append(pi)
        # as the certificate will count it
        proved = proved + RADIUS * jnp.max(extent) * jnp.sum(jnp.abs(gradient - tau * drift))

        steepness = jnp.linalg.norm(gradient)
        accepted = (value <= s.value + 1e-4 * s.t * s.slope + 16 * eps * slack) | (s.t < LEAST_STEP)
        # down to rounding, and then until a step gains nothing more
        small = steepness <= eps * jnp.maximum(8 * size, jnp.linalg.norm(noise))
        rough = (moved > EXACT_BELOW) & (steepness <= ROUGH * moved * size) & (s.newton > 0)
        update = accepted & (rough | (small & (steepness >= s.steepness / 2)) | (s.newton >= NEWTON))

        def along(line: _Place) -> Array:
            """How far to go: to the minimum, where a full step goes beyond it. Cheap, for nothing but prox is asked."""
            straight = gradient @ line.x  # of all terms but for the envelopes it changes by `bend` t
            bend = tau * jnp.sum(line.x**2)
            for quadratic, qd in zip(problem.quadratics, line.e, strict=True):
                bend = bend + jnp.sum(quadratic.weight * qd**2)

            def slope(t: Array) -> Array:
                total = straight + bend * t
                parts = zip(problem.penalties, trial.images, line.images, s.p, multipliers, strict=True)
                for penalty, image, ad, dual, pi in parts:
                    v = image + t * ad + dual / sigma
                    total = total + jnp.sum((sigma * (v - penalty.function.prox(v, 1 / sigma)) - pi) * ad)
                return total

            def narrower(ends: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                low, high, count = ends
                middle = (low + high) / 2
                below = slope(middle) < 0
                return jnp.where(below, middle, low), jnp.where(below, high, middle), count + 1

            zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
            beyond = slope(one) > OVERSHOT * jnp.abs(straight)

            def wide(ends: tuple[Array, Array, Array]) -> Array:
                low, high, count = ends
                return beyond & ((count < HALVINGS) | ((low == 0) & (high > LEAST_STEP)))

            low, _, _ = lax.while_loop(wide, narrower, (zero, one, jnp.zeros((), jnp.int32)))
            return jnp.where(beyond, jnp.maximum(low, LEAST_STEP), 1)

        def newton() -> tuple[_Place, Array]:
            hessian = gram + tau * identity
            for penalty, part in zip(problem.penalties, curved, strict=True):
                hessian = hessian + sigma * (matrix_of(penalty.map).T @ part)
            # no step is longer than 1 / DAMPING, in units in which x is about one
            shift = eps * jnp.trace(hessian) + DAMPING * steepness
            factor = jsl.cholesky((hessian + hessian.T) / 2 + shift * identity, lower=True)
            direction = -jsl.cho_solve((factor, True), gradient)
            direction = jnp.where(jnp.all(jnp.isfinite(direction)), direction, -gradient)
            line = _step(problem, direction)
            return line, along(line)

        # most of the work, and of no use to a trial that is rejected or the last for these multipliers
        still_there = jax.tree.map(jnp.zeros_like, s.step), jnp.ones((), dtype)
        line, far = lax.cond(accepted & ~update, newton, lambda: still_there)

        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(trial.x))
        s = replace(s, trials=s.trials + 1, done=~finite & (s.trials == 0))
        # the parabola through what is known says how much shorter
        over = value - s.value - s.t * s.slope
        shorter = -s.slope * s.t**2 / jnp.where(over > 0, 2 * over, 1)
        shorter = jnp.where((over > 0) & jnp.isfinite(over), shorter, SHORTEST * s.t)
        halved = replace(s, t=jnp.clip(shorter, SHORTEST * s.t, s.t / 2))
        stepped = replace(
            s,
            at=trial,
            step=line,
            t=far,
            value=value,
            slope=gradient @ line.x,
            steepness=steepness,
            newton=s.newton + 1,
        )
        still = (moved <= 32 * eps) & ((moved >= s.moved / 2) | (moved <= eps))
        pull = tau * jnp.linalg.norm(drift)  # of the proximal term: an error in stationarity
        pair = trial, tuple(multipliers)
        fresh = replace(
            s,
            at=_place(problem, trial.x),
            step=jax.tree.map(jnp.zeros_like, s.step),
            value=jnp.full_like(value, jnp.inf),
            slope=jnp.zeros_like(value),
            steepness=jnp.full_like(value, jnp.inf),
            solved=trial,
            p=pair[1],
            # the multipliers are sigma times a difference that is rounded: no larger than they need it to settle
            sigma=jnp.where(
                (moved > FAST * s.moved) | (s.outer == 0), jnp.minimum(sigma * GROWTH, CEILING * rho), sigma
            ),
            moved=moved,
            best=select(proved <= NEAR * s.least, pair, s.best),
            least=jnp.minimum(proved, s.least),
            newton=jnp.zeros_like(s.newton),
            outer=s.outer + 1,
            done=(s.outer + 1 >= OUTER) | (still & (pull <= 8 * eps * size)),
        )
        return jax.tree.map(lambda a, b, c: jnp.where(update, a, jnp.where(accepted, b, c)), fresh, stepped, halved)

    zero = jnp.zeros((), dtype)
    count = jnp.zeros((), jnp.int32)
    place = _place(problem, x)
    start = _Search(
        at=place,
        step=jax.tree.map(jnp.zeros_like, place),
        t=zero + 1,
        value=zero + jnp.inf,
        slope=zero,
        steepness=zero + jnp.inf,
        solved=place,
        p=p,
        sigma=rho,
        moved=zero + jnp.inf,
        best=(place, p),
        least=zero + jnp.inf,
        trials=count,
        newton=count,
        outer=count,
        done=count > 0,
    )
    end = lax.while_loop(unfinished, body, start)
    place, p = end.best
    return place.x, place.e, p
