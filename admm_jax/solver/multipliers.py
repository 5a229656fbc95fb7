"""The smooth inner problem of isotropic polishing, by a primal-dual Newton method with conjugate gradients.

    minimise f(x) + 1/sigma sum_pixels h_w(|q|) + sigma/2 dist^2(x + y/sigma, bounds)   over x = Pi x, fixed where held,

    q = p + sigma D x,   h_w(n) = n^2 / 2 for n <= w, else w n - w^2 / 2.

The second term has the gradient D^T P with P = w q / max(w, |q|), the third Y = sigma (x + y/sigma - its projection).

Newton on P itself would have the Hessian D^T E D with E = sigma where |q| <= w, elsewhere sigma w/|q| (I - u u^T),
u = q / |q|, which is a good model only very near. The linearisation of  max(w, |q|) pi = w q  in x and pi instead gives
E = sigma w/|q| (I - (a u^T + u a^T) / 2), a = pi / w kept in the unit ball: the primal-dual method of Chan, Golub &
Mulet 1999, symmetrised and projected as Hintermüller & Stadler 2006. On photographs it took a third of Newton's steps
and few of them had to be shortened. E is positive semidefinite, so that a line search makes it safe.

The systems are preconditioned by their diagonal and, added to it, that of their action on the regions' means.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.difference import Difference
from admm_jax.problem import Point, Problem
from admm_jax.prox.projections import leading_dot, project_l2_ball, safe_norm
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.linear import conjugate_gradients, normal
from admm_jax.solver.reach import RADIUS
from admm_jax.solver.regions import Regions, boxes_of, find_regions, tv_of
from admm_jax.solver.vectors import probe_signs, select

NEWTON_STEPS = 30
CG_STEPS = 1000
CG_TOL = 0.1
EXACT_TOL = 1e-3  # on the regions, where a few steps are all that is left
HALVINGS = 14  # of a Newton step


@pytree_dataclass
class Inner:
    """An inner problem and where it stands, x = base + shift; `direction` is pi, `force` the gradient H base - rhs.

    The base is flat and on its bounds where x nearly is. sigma D x is then made of small numbers there, and not of
    the rounding of large ones. `flat` (1, *shape) makes the `regions` of Pi.
    """

    base: Array
    shift: Array
    force: Array
    p: Array
    y: Array
    direction: Array
    sigma: Array
    flat: Array
    regions: Regions
    held: Array

    @property
    def x(self) -> Array:
        """The point."""
        return self.base + self.shift

    def project(self, v: Array) -> Array:
        """Pi v, 0 where held."""
        return jnp.where(self.held, 0, self.regions.mean(v))


@pytree_dataclass
class Parts:
    """D x, q and |q|, and the new multipliers P and Y that they give; `zero` (1, *shape): |q| <= w."""

    d: Array
    q: Array
    length: Array
    field: Array
    y: Array
    zero: Array


@dataclass(frozen=True)
class TVProblem:
    """The problem as polishing sees it. `weight` is (1, *shape); `mean` and `constant` are curvatures of f."""

    problem: Problem
    rhs: Array
    name: str
    difference: Difference
    weight: Array
    lower: Array
    upper: Array
    mean: Array
    constant: Array

    def curve(self, v: Array) -> Array:
        """H v, H = Q^T W Q."""
        nothing = tuple(jnp.zeros((), v.dtype) for _ in self.problem.penalties)
        return normal(self.problem, nothing, {self.name: v})[self.name]

    def parts(self, inner: Inner) -> Parts:
        """D x, q, P and Y."""
        d = self.difference(inner.base) + self.difference(inner.shift)
        q = inner.p + inner.sigma * d
        length = safe_norm(q, (0,), keepdims=True)
        below = inner.y + inner.sigma * ((inner.base - self.lower) + inner.shift)
        above = inner.y + inner.sigma * ((inner.base - self.upper) + inner.shift)
        y = jnp.where(inner.held, 0, jnp.minimum(below, 0) + jnp.maximum(above, 0))
        zero = (length <= self.weight) & (self.weight > 0)
        return Parts(d, q, length, project_l2_ball(q, self.weight, (0,)), y, zero)

    def energy(self, inner: Inner) -> Array:
        """The inner objective."""
        x = inner.x
        total = jnp.zeros((), x.dtype)
        if self.name in self.problem.linear:
            total = total + jnp.sum(self.problem.linear[self.name] * x)
        for quadratic in self.problem.quadratics:
            residual = quadratic.map({self.name: x}) - quadratic.data
            total = total + jnp.sum(quadratic.weight * residual**2) / 2
        parts = self.parts(inner)
        inside = jnp.minimum(parts.length, self.weight)
        rounded = inside * (parts.length - inside / 2)
        return total + (jnp.sum(rounded) + jnp.sum(parts.y**2) / 2) / inner.sigma

    def gap(self, parts: Parts) -> Array:
        """sum w ||D x|| - <P, D x>: the duality gap of the TV where the forces balance."""
        return jnp.sum(self.weight * safe_norm(parts.d, (0,), keepdims=True)) - jnp.sum(parts.field * parts.d)


def tv_problem_of(problem: Problem, rhs: Point) -> TVProblem:
    """Read the one variable's TV and bounds."""
    name, shape = problem.variables[0]
    _, variation = tv_of(problem)
    difference = variation.difference(shape)
    b = rhs[name]
    lower, upper = jnp.full(shape, -jnp.inf, b.dtype), jnp.full(shape, jnp.inf, b.dtype)
    for low, high, offset in boxes_of(problem).values():
        lower, upper = jnp.maximum(lower, low - offset), jnp.minimum(upper, high - offset)
    weight = jnp.broadcast_to(jnp.asarray(variation.weight, b.dtype), shape)[None]
    tv = TVProblem(problem, b, name, difference, weight, lower, upper, b, b)
    probe, ones = probe_signs(shape, b.dtype), jnp.ones_like(b)
    mean, constant = (jnp.sum(v * tv.curve(v)) / b.size for v in (probe, ones))
    return replace(tv, mean=mean, constant=jnp.maximum(mean, constant))


def _newton(tv: TVProblem, inner: Inner, parts: Parts, gradient: Array) -> tuple[Array, Array]:
    """The Newton step in x, and pi after it."""
    sigma, weight = inner.sigma, tv.weight
    length = jnp.where(parts.length > 0, parts.length, 1)
    u = jnp.where(parts.zero, 0, parts.q / length)
    a = inner.direction / jnp.where(weight > 0, weight, 1)
    stiffness = jnp.where(parts.zero, sigma, sigma * weight / length)
    pressed = jnp.where(parts.y != 0, sigma, 0)

    def edges(d: Array) -> Array:
        along, across = leading_dot(u, d), leading_dot(a, d)
        return stiffness * (d - (u * across + a * along) / 2)

    def operator(v: Point) -> Point:
        d = tv.difference(v[tv.name])
        return {tv.name: tv.curve(v[tv.name]) + tv.difference.adjoint(edges(d)) + pressed * v[tv.name]}

    # steps in the range of Pi are those that a preconditioner Pi C Pi makes; the operator needs no Pi then
    reduced = jnp.any(inner.flat)
    joined = select(
        reduced, inner.regions, find_regions(jnp.broadcast_to(parts.zero & ~reduced, u.shape), tv.difference.axes)
    )
    shape = inner.base.shape
    own = stiffness * (1 - u * a)
    between = own * (tv.difference(joined.labels.reshape(shape)) != 0)
    diagonal = tv.mean + tv.difference.gram_diagonal(own) + pressed
    on_region = jnp.minimum(tv.mean * joined.sizes[joined.labels].reshape(shape), tv.constant)
    coarse = joined.mean(on_region + tv.difference.gram_diagonal(between) + pressed)
    alone = (inner.regions.sizes[inner.regions.labels].reshape(shape) == 1) & ~inner.held
    by_pixel = jnp.where(alone, 1 / jnp.where(diagonal > 0, diagonal, 1), 0)
    by_region = jnp.where(inner.held, 0, 1 / jnp.where(coarse > 0, coarse, 1))

    def precondition(r: Point) -> Point:
        return {tv.name: by_pixel * r[tv.name] + by_region * joined.mean(r[tv.name])}

    zero = {tv.name: jnp.zeros_like(gradient)}
    rhs = {tv.name: -gradient}
    tol = jnp.where(reduced, EXACT_TOL, CG_TOL).astype(gradient.dtype)
    step = conjugate_gradients(operator, rhs, zero, steps=CG_STEPS, tol=tol, precondition=precondition)[tv.name]
    moved = sigma * tv.difference(step)
    outer = (weight * (parts.q + moved) - inner.direction * leading_dot(u, moved)) / length
    return step, project_l2_ball(jnp.where(parts.zero, parts.q + moved, outer), weight, (0,))


def minimise(tv: TVProblem, inner: Inner, steps: Array) -> tuple[Inner, Array, Array]:
    """At most `steps` Newton steps, until what is left of the gradient costs a tenth of the gap or is rounding.

    Args:
        tv: The problem.
        inner: The inner problem, and where it starts.
        steps: At most so many.

    Returns:
        (the inner problem at its end, the largest entry of the first gradient, whether the last step promised no more
        than rounding).
    """
    eps = jnp.finfo(inner.shift.dtype).eps
    scale = jnp.max(jnp.abs(tv.rhs))

    def look(inner: Inner) -> tuple[Parts, Array]:
        parts = tv.parts(inner)
        force = tv.curve(inner.shift) + inner.force + tv.difference.adjoint(parts.field) + parts.y
        return parts, inner.project(force)

    def body(carry: tuple) -> tuple:
        i, inner, energy, parts, gradient, _, _ = carry
        step, pi = _newton(tv, inner, parts, gradient)
        slope = jnp.sum(gradient * step)
        slack = 8 * eps * jnp.abs(energy)

        def too_long(carry: tuple) -> Array:
            t, value = carry
            return ~(value <= energy + 1e-4 * t * slope + slack) & (t > 0.5**HALVINGS)

        def halve(carry: tuple) -> tuple:
            t = carry[0] / 2
            return t, tv.energy(replace(inner, shift=inner.shift + t * step))

        # the first halving of 2 is the full step
        t, value = lax.while_loop(too_long, halve, (jnp.full_like(energy, 2), jnp.full_like(energy, jnp.inf)))
        t = jnp.where(jnp.isfinite(value), t, 0)
        new = replace(inner, shift=inner.shift + t * step, direction=inner.direction + t * (pi - inner.direction))
        parts, after = look(new)
        charge = RADIUS * jnp.max(jnp.abs(new.x)) * jnp.sum(jnp.abs(after))
        enough = (charge <= tv.gap(parts) / 10) | (jnp.max(jnp.abs(after)) <= eps * scale)
        return i + 1, new, value, parts, after, -slope <= slack, enough

    parts, gradient = look(inner)
    no = jnp.zeros((), bool)
    start = jnp.zeros((), jnp.int32), inner, tv.energy(inner), parts, gradient, no, no
    _, inner, *_, still, _ = lax.while_loop(lambda carry: (carry[0] < steps) & ~carry[-1], body, start)
    return inner, jnp.max(jnp.abs(gradient)), still
