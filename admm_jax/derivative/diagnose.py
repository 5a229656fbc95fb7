"""A certificate for the derivative: what it rests on, how well its system was solved, how far the next kink is."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from admm_jax.derivative import linear_solve, trust
from admm_jax.derivative.active import has_curved_groups, project
from admm_jax.derivative.conditions import Linearised, adjoint, complement, forward, hessian, jacobian, system_at
from admm_jax.derivative.stiff import augmented_hessian, stiff, stiff_solver
from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass
from admm_jax.solution import Solution, html_table
from admm_jax.solver.plan import Plan
from admm_jax.solver.regions import find_regions
from admm_jax.solver.settings import Settings, finishing
from admm_jax.solver.solve import solve
from admm_jax.solver.state import State
from admm_jax.solver.vectors import add_scaled, dot, norm, probe_signs

POWER_STEPS = 20
INVERSE_STEPS = 3
HALVINGS = 11  # of the logarithm of a distance: to about a percent
REACH = 1e-6  # the smallest distance looked for, relative to the parameter


@pytree_dataclass
class Diagnosis:
    """What the derivative of a solution rests on; a pytree, so that it can be read inside `jit` and `vmap`.

    Attributes:
        converged: the solve reached its tolerance; without it a derivative has no basis.
        settled: its certified gap is so small that the parts of x which kinks and bounds hold are the optimum's own.
        unique: the linear system is regular: x is the only solution near it.
        gap: the certified relative gap at which the derivative is taken.
        regions: flat regions of the total variations of variables.
        held: entries held by other kinks and bounds.
        residual: relative, of the linear system solved for a push in all directions.
        condition: estimate of the linear system's condition number.
        error: estimate of the derivative's relative error; zero where the active set is settled.
        kinks: for each parameter asked for, how far it can go (down, up) before the active set changes; at most its
            own size.
    """

    converged: Array
    settled: Array
    unique: Array
    gap: Array
    regions: Array
    held: Array
    residual: Array
    condition: Array
    error: Array
    kinks: dict[str, Array]

    @property
    def trustworthy(self) -> Array:
        """Whether derivatives here are exact, to the residual."""
        return self.converged & self.settled & self.unique

    def _rows(self) -> list[tuple[str, str]]:
        def yes(flag: Array) -> str:
            return "yes" if bool(flag) else "NO"

        rows = [
            ("solve converged", f"{yes(self.converged)}, certified gap {float(self.gap):.1e}"),
            ("active set settled", yes(self.settled)),
            ("solution unique", yes(self.unique)),
            ("flat regions", str(int(self.regions))),
            ("held entries", str(int(self.held))),
            ("linear system", f"residual {float(self.residual):.1e}, condition about {float(self.condition):.1e}"),
            ("estimated error", self._error()),
        ]
        for name, (down, up) in self.kinks.items():
            rows.append((f"same set for {name}", f"as far as {float(down):.2g} below and {float(up):.2g} above"))
        return rows

    def _error(self) -> str:
        error = float(self.error)
        if error > 0:
            return f"{error:.1e} (relative)" if math.isfinite(error) else "unknown, as the solve did not converge"
        return "none, as the active set is settled" if bool(self.settled) else "not known: an estimate found nothing"

    def _short(self) -> str | None:
        if isinstance(self.gap, Tracer):
            return "<Diagnosis, traced>"
        if np.ndim(self.gap) > 0:
            return f"<Diagnosis: a batch of {np.size(self.gap)}, {int(np.sum(self.trustworthy))} trustworthy>"
        return None

    def __repr__(self) -> str:
        short = self._short()
        if short is not None:
            return short
        return "Diagnosis of the derivative\n" + "\n".join(f"  {key:<24}{value}" for key, value in self._rows())

    def _repr_html_(self) -> str:
        short = self._short()
        if short is not None:
            return html.escape(short)
        return html_table(self._rows())


@partial(jax.jit, static_argnames=("plan", "dtype"))
def diagnose(
    problem: Problem,
    directions: Mapping[str, tuple[Problem, Array]],
    settings: Settings,
    x: Point,
    state: State | None,
    *,
    plan: Plan,
    dtype: np.dtype,
) -> Diagnosis:
    """Solve as for a derivative, and examine it.

    Args:
        problem: The problem, as `solver.solve.prepare` made it.
        directions: By name of a scalar parameter: the change of the problem with it, and the size of the parameter,
            which is as far as kinks are looked for.
        settings: Of the solve.
        x: Where it starts.
        state: The state of an earlier solve that it starts from; None for none.
        plan: How it is solved.
        dtype: Of the solve.
    """
    aim = finishing(settings, plan, size=problem.size, curved=has_curved_groups(problem, plan))

    def solved(q: Problem) -> Solution:
        return solve(q, aim, x, state, plan=plan, dtype=dtype)[0]

    solution = solved(problem)
    system = system_at(problem, plan, solution, aim.accuracy)
    trusted = trust.assess(problem, plan, solution, aim)
    push = {name: _push(value.shape, dtype) for name, value in x.items()}
    none = tuple(jnp.zeros_like(reading.z) for reading in system.general(system.readings))
    answer = linear_solve.answer(system, project(system.space, push), none)
    residual = linear_solve.residual(system, answer, (project(system.space, push), none))
    return Diagnosis(
        converged=solution.converged,
        settled=trusted.settled,
        unique=trusted.unique,
        gap=solution.gap,
        regions=_regions(problem, system),
        held=_held(problem, system),
        residual=residual,
        condition=_condition(system, push),
        error=trusted.error,
        kinks={
            name: _distances(problem, change, reach, trust.active_set(problem, solution), solved)
            for name, (change, reach) in directions.items()
        },
    )


def _push(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """A force on every entry; of different sizes, so that it cancels on no region."""
    return probe_signs(shape, dtype) * (1 + jnp.linspace(0, 1, math.prod(shape), dtype=dtype).reshape(shape))


def _regions(problem: Problem, system: Linearised) -> Array:
    """The number of flat regions of all total variations of variables."""
    count = jnp.zeros((), jnp.int32)
    for original, penalty, reading in zip(problem.penalties, system.problem.penalties, system.readings, strict=True):
        variation = original.function.variation()
        if variation is not None and original.map.identity_on is not None:
            difference = variation.difference(original.map.out_shape)
            labels = find_regions(penalty.function.held(reading.z), difference.axes).labels
            count = count + jnp.sum(labels == jnp.arange(labels.size))
    return count.astype(jnp.int32)


def _held(problem: Problem, system: Linearised) -> Array:
    """The number of held entries of all other penalties."""
    count = jnp.zeros((), jnp.int32)
    for original, penalty, reading in zip(problem.penalties, system.problem.penalties, system.readings, strict=True):
        if original.function.variation() is None:
            count = count + jnp.sum(penalty.function.held(reading.z))
    return count.astype(jnp.int32)


def _condition(system: Linearised, push: Point) -> Array:
    """Largest curvature on T, by power iteration, over the smallest of the system, by inverse iteration.

    The curvature is M and what curved functions add to it, about sigma A^T B J A. At a vertex of a linear program that
    is zero, and the largest eigenvalue of the system takes its place.
    """

    def unit(v: Point) -> Point:
        size = norm(v)
        return {name: value / jnp.where(size > 0, size, 1) for name, value in v.items()}

    def curvature(v: Point) -> Point:
        bent = complement(system, jacobian(system, forward(system, v)))
        return add_scaled(hessian(system, v), system.sigma, adjoint(system, bent, v))

    def greatest(operator: Callable[[Point], Point]) -> Array:
        def rise(_: int, v: Point) -> Point:
            return unit(project(system.space, operator(project(system.space, v))))

        top = lax.fori_loop(0, POWER_STEPS, rise, unit(project(system.space, push)))
        return dot(top, operator(top))

    curved = greatest(curvature)
    largest = jnp.where(curved > 0, curved, greatest(partial(augmented_hessian, system)))
    inverse, _ = stiff_solver(system)

    def fall(_: int, v: Point) -> Point:
        return unit(project(system.space, inverse(v, v)))

    low = lax.fori_loop(0, INVERSE_STEPS, fall, unit(project(system.space, push)))
    smallest = dot(low, stiff(system, low))
    return jnp.where(smallest > 0, largest / jnp.where(smallest > 0, smallest, 1), jnp.inf)


def _distances(problem: Problem, change: Problem, reach: Array, here: tuple[Array, ...], again: Any) -> Array:
    """How far down and up `problem + t change` keeps its active set, by bisection of log t on solves at t.

    Where the problem is affine in t and its penalties are polyhedral, the t with one active set form an interval, for
    the pairs (t, p) of feasible multipliers are a convex set: a set that is the same at t is the same up to t.

    Args:
        problem: The problem at t = 0.
        change: Its derivative in t.
        reach: The largest t looked at.
        here: The active set at t = 0, from `trust.active_set`.
        again: From a problem to its solution.

    Returns:
        (down, up), both >= 0; `REACH` times `reach` is the least that is told from zero.
    """

    def same(t: Array) -> Array:
        moved = jax.tree.map(lambda a, b: a + t * b if jnp.issubdtype(a.dtype, jnp.inexact) else a, problem, change)
        there = trust.active_set(moved, again(moved))
        return jnp.all(jnp.stack([jnp.all(a == b) for a, b in zip(here, there, strict=True)]))

    def towards(sign: Array) -> Array:
        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = jnp.sqrt(low * high)
            kept = same(sign * middle)
            return jnp.where(kept, middle, low), jnp.where(kept, high, middle)

        low, high = lax.fori_loop(0, HALVINGS, halve, (REACH * reach, reach))
        return jnp.where(low > REACH * reach, low, jnp.where(high < reach, 0, low))

    return lax.map(towards, jnp.asarray([-1.0, 1.0], reach.dtype))
