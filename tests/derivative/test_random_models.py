"""Derivatives of random models of every atom and constraint, in random directions, against differences of solves.

As they come, and with every variable, row and term and the cost in units of its own, from 10^-SPAN to 10^SPAN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.dtypes import float0

from admm_jax.derivative.rule import differentiable_solve
from admm_jax.problem import Chain, LinearMap, Quadratic
from admm_jax.prox.functions import Box
from admm_jax.pytree import replace
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare
from admm_jax.status import Status
from tests.models import quick_jit
from tests.solver.random_models import random_case
from tests.solver.scaled_models import random_units, scaled

STRUCTURES, SEEDS = range(75), range(5)
RIDGED = {1, 2, 3, 4}  # most models as they come have many solutions: with these seeds they have one
TOGETHER = {2, 3, 4}  # and with these, kinks that lie on each other stay there: apart, most have no derivative
SAMPLE = [3, 7, 13, 19]
STEPS = 1e-5, 1e-3
SPAN = 6.0


def a_change(problem, scale, rng, *, apart=True):
    """A random change of every number of the problem by about a tenth, that keeps what is equal equal.

    With `apart`, offsets of zero change too: of two terms that hold the same entries, each then asks for another thing.
    With a `scale` of zero no number that is zero changes.
    """

    def relative(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.zeros(leaf.shape, float0)
        return 0.1 * jnp.asarray(rng.normal(size=leaf.shape)) * jnp.where(jnp.isfinite(leaf), leaf, 0)

    def moved(leaf):
        return relative(leaf) + 0.01 * scale * jnp.asarray(rng.normal(size=leaf.shape)) * (jnp.ndim(leaf) > 0)

    change = jax.tree.map(relative, problem)  # weights of zero stay zero, and bounds do not cross
    quadratics = tuple(replace(step, data=moved(q.data)) for q, step in zip(problem.quadratics, change.quadratics,
                                                                           strict=True))  # fmt: skip
    penalties = []
    for penalty, step in zip(problem.penalties, change.penalties, strict=True):
        if apart and not penalty.function.is_constraint:
            step = replace(step, offset=moved(penalty.offset))
        if isinstance(penalty.function, Box):
            lower, upper = (jnp.broadcast_to(b, penalty.map.out_shape) for b in
                            (penalty.function.lower, penalty.function.upper))  # fmt: skip
            if bool(jnp.any(lower == upper)):  # equations may be redundant: they move with x, so that they still hold
                step = jax.tree.map(_nothing, step)
        penalties.append(step)
    return replace(change, quadratics=quadratics, penalties=tuple(penalties))


def with_ridge(problem, scale, rng, units, cost):
    """The problem with sum 0.1 ||x - c||^2 / 2, so that no two x are equally good; in x^ = units x, f^ = cost f."""
    ridge = tuple(
        Quadratic(LinearMap((Chain((), name),), shape), units[name] * scale * rng.normal(size=shape),
                  0.1 * cost / np.broadcast_to(units[name], shape) ** 2)
        for name, shape in problem.variables
    )  # fmt: skip
    return replace(problem, quadratics=problem.quadratics + ridge)


def _nothing(leaf):
    return leaf if leaf.dtype == float0 else jnp.zeros_like(leaf)


@dataclass
class Line:
    """A random model, and a direction in which every number of it changes.

    `numbers`: what `solved` takes of them, alike for all seeds of a structure, which share the programs below;
    `static`: plan and dtype; `units`: from a solution to those of the objective and the probe.
    """

    log: tuple
    numbers: tuple
    static: dict
    units: Callable


def line(structure: int, seed: int, span: float = 0.0, **options) -> Line:
    """The line through a random model, prepared as `Model.solve` would; call it with 64-bit numbers enabled.

    With a `span` the model is in random units; its objective and the probe are in those of the base model.
    """
    case = random_case(structure, seed)
    rng = np.random.default_rng([7, structure, seed])
    options = {**case.model._options, "derivative_warning": False, **options}
    other = scaled(case, random_units(structure, seed, span)) if span else None
    problem = (case.model if other is None else other.model).problem(case.params)
    cost, own = (1.0, dict.fromkeys(dict(problem.variables), 1.0)) if other is None else (other.cost, other.units)
    problem = with_ridge(problem, case.scale, rng, own, cost) if seed in RIDGED else problem
    problem, plan, dtype = prepare(problem, options)
    problem = jax.tree.map(jnp.asarray, problem)
    # of other units no absolute change is known
    change = a_change(problem, 0.0 if span else case.scale, rng, apart=seed not in TOGETHER)
    weights = {name: jnp.asarray(rng.normal(size=shape) / own[name]) for name, shape in problem.variables}

    def units(solution):
        extent = sum(float(jnp.sum(jnp.abs(weights[name] * solution[name]))) for name in weights)
        return np.array([abs(float(solution.objective)) / cost + 1e-2 * case.scale**2, extent + case.scale])

    pushes = [leaf for leaf in jax.tree.leaves(change) if leaf.dtype != float0]
    numbers = problem, pushes, weights, jnp.asarray(cost), settings_for(options, dtype, plan)
    return Line(case.log, numbers, {"plan": plan, "dtype": dtype}, units)


def solved(numbers, t, tol, plan, dtype):
    """(the objective and a random probe of x, the solution) of the model at `t`."""
    problem, pushes, weights, cost, settings = numbers
    leaves, structure = jax.tree.flatten(problem)
    settings = replace(settings, tol=jnp.asarray(tol, dtype), target=jnp.asarray(tol, dtype))

    def moved_by(t):
        given = iter(pushes)
        floating = (jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
        moved = [leaf + t * next(given) if moves else leaf for leaf, moves in zip(leaves, floating, strict=True)]
        return jax.tree.unflatten(structure, moved)

    made_of = t, lambda t: moved_by(t).penalties
    zero = problem.zeros(dtype)
    solution = differentiable_solve(moved_by(t), settings, zero, None, plan=plan, dtype=dtype, made_of=made_of)
    probe = sum(jnp.sum(weights[name] * solution[name]) for name in weights)
    return jnp.stack([solution.objective / cost, probe]), solution


_program = functools.partial(quick_jit, static_argnames=("plan", "dtype"))


@_program
def _moving(numbers, t, tol, plan, dtype):
    """(the objective and the probe, their derivatives, the solution)."""
    return jax.jvp(lambda s: solved(numbers, s, tol, plan, dtype), (t,), (jnp.ones_like(t),), has_aux=True)


@_program
def _slope(numbers, t, plan, dtype):
    return jax.grad(lambda s: solved(numbers, s, 1e-6, plan, dtype)[0][1])(t)


def tangent_of(along: Line):
    """t -> the derivative of (objective, probe), and the solution there."""
    return lambda t: _moving(along.numbers, jnp.asarray(float(t)), 1e-6, **along.static)[1:]


def slopes_of(along: Line):
    """(h, the differences over four intervals around 0); None where none of the STEPS has all its solutions.

    A change may leave no solution; and where a whole term is held at a kink, its size nearby is STEP and its part of
    the objective less than any gap that can be certified, so that a longer one is tried.
    """
    for h in STEPS:
        around = [_moving(along.numbers, jnp.asarray(k * h), 1e-9, **along.static) for k in (-2, -1, 0, 1, 2)]
        if {int(solution.status) for _, _, solution in around} == {Status.SOLVE_OPT_SUCCESS.value}:
            return h, np.diff(np.stack([np.asarray(value) for value, _, _ in around]), axis=0) / h
    return None


def check(structure: int, seed: int, span: float = 0.0) -> str:
    """What was shown of this model's derivative: "exact"; "kink", between the one-sided ones; "flagged", NaN where
    there is none; "cautious", NaN although differences agree; "edge", nothing, for there are no differences.
    """
    with jax.enable_x64(True):
        along = line(structure, seed, span)
        tangent_at = tangent_of(along)
        tangent, solution = tangent_at(0.0)
        assert Status(int(solution.status)) is Status.SOLVE_OPT_SUCCESS, along.log
        differences, units = slopes_of(along), along.units(solution)
        if differences is None:
            return "edge"
        h, slopes = differences
        beside = [np.asarray(tangent_at(k * h)[0]) for k in (-2, -1, 1, 2)]
    outcome = "exact"
    for i, found in enumerate(np.asarray(tangent)):
        if i == 1 and np.isnan(found):
            smooth = np.ptp(slopes[:, 1]) <= 1e-4 * max(np.abs(slopes[:, 1]).max(), 0.1 * units[1])
            return "cautious" if smooth else "flagged"
        size = max(abs(found), 0.1 * units[i])
        middle = (slopes[1, i] + slopes[2, i]) / 2
        if abs(found - middle) <= 1e-4 * size:
            continue
        if i == 1 and np.isnan(beside).any():
            return "edge"  # x is not unique beside 0: its differences are those of any two solutions
        low, high = slopes[:, i].min(), slopes[:, i].max()
        assert low - 1e-4 * size <= found <= high + 1e-4 * size, (along.log, i, found, slopes[:, i])
        outcome = "kink"
    return outcome


def compare_with_unrolling(structure: int, seed: int) -> str:
    """ "agrees", "flagged", "unsettled", "kink" or "edge": derivatives of many plain iterations against implicit ones.

    Those are compared which another half as many iterations do not change. Where they differ it has to be at a kink,
    with the implicit one between the one-sided ones (see `check`): there iterations find another element.
    """
    with jax.enable_x64(True):
        tangent, solution = tangent_of(along := line(structure, seed))(0.0)
        fewer, more = (
            tangent_of(line(structure, seed, derivative="unroll", max_iterations=count))(0.0)[0]
            for count in (2000, 3000)
        )
        units = along.units(solution)
    if np.isnan(tangent[1]):
        return "flagged"
    size = np.maximum(np.abs(tangent), 0.1 * units)
    if not np.all(np.abs(more - fewer) <= 1e-5 * size):
        return "unsettled"
    if np.all(np.abs(more - tangent) <= 1e-3 * size):
        return "agrees"
    outcome = check(structure, seed)
    assert outcome in ("kink", "edge"), (along.log, tangent, more)
    return outcome


def modes_agree(structure: int, seed: int) -> None:
    """Forward and reverse mode find the same derivative of the probe, or both NaN."""
    with jax.enable_x64(True):
        along = line(structure, seed)
        forward = tangent_of(along)(0.0)[0][1]
        reverse = _slope(along.numbers, jnp.asarray(0.0), **along.static)
    size = max(abs(float(forward)), 1e-3)
    np.testing.assert_allclose(float(reverse), float(forward), rtol=0, atol=1e-6 * size, err_msg=str(along.log))


# kinks of several terms lie on each other in the first; in the last, the solution is not the only one
@pytest.mark.slow
@pytest.mark.parametrize(("structure", "seed"), [(8, 2), (4, 1)])
def test_sample_of_modes(structure, seed):
    modes_agree(structure, seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all_modes(structure):
    for seed in SEEDS:
        modes_agree(structure, seed)


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE)
def test_sample(structure):
    assert check(structure, 0) == "exact"


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all(structure):
    for seed in SEEDS:
        check(structure, seed)


# in the second, no entry of a constraint is active: its multipliers are rounding, and say nothing of what is held
@pytest.mark.slow
@pytest.mark.parametrize("structure", [7, 5])
def test_sample_in_other_units(structure):
    assert check(structure, 1, SPAN) == "exact"


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all_in_other_units(structure):
    for seed in SEEDS:
        check(structure, seed, SPAN)


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE[:1])
def test_sample_against_unrolling(structure):
    assert compare_with_unrolling(structure, 0) == "agrees"


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all_against_unrolling(structure):
    compare_with_unrolling(structure, 0)
