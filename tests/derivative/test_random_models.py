"""Derivatives of random models of every atom and constraint, in random directions, against differences of solves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.dtypes import float0

from admm_jax.derivative.rule import solve
from admm_jax.prox.functions import Box
from admm_jax.pytree import replace
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare
from admm_jax.status import Status
from tests.models import quick_jit
from tests.solver.random_models import random_case

STRUCTURES, SEEDS = range(75), range(3)
SAMPLE = [3, 7, 13, 19]
STEP = 1e-5


def a_change(problem, scale, rng):
    """A random change of every number of the problem by about a tenth, that keeps what is equal equal."""

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
        if not penalty.function.is_constraint:
            step = replace(step, offset=moved(penalty.offset))
        if isinstance(penalty.function, Box):
            lower, upper = (jnp.broadcast_to(b, penalty.map.out_shape) for b in
                            (penalty.function.lower, penalty.function.upper))  # fmt: skip
            if bool(jnp.any(lower == upper)):  # equations may be redundant: they move with x, so that they still hold
                step = jax.tree.map(_nothing, step)
        penalties.append(step)
    return replace(change, quadratics=quadratics, penalties=tuple(penalties))


def _nothing(leaf):
    return leaf if leaf.dtype == float0 else jnp.zeros_like(leaf)


def check(structure: int, seed: int) -> str:
    """ "exact", "kink", or "flagged": what was shown of this model's derivative."""
    case = random_case(structure, seed)
    rng = np.random.default_rng([7, structure, seed])
    with jax.enable_x64(True):
        options = {**case.model._options, "derivative_warning": False}
        problem, plan, dtype = prepare(case.model.problem(case.params), options)
        problem = jax.tree.map(jnp.asarray, problem)
        change = a_change(problem, case.scale, rng)
        weights = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in problem.variables}

        def solved(t, tol):
            moved = jax.tree.map(lambda a, b: a if b.dtype == float0 else a + t * b, problem, change)
            settings = settings_for({**options, "tol": tol}, dtype)
            solution = solve(moved, settings, problem.zeros(dtype), None, plan=plan, dtype=dtype)
            probe = sum(jnp.sum(weights[name] * solution[name]) for name in weights)
            return jnp.stack([solution.objective, probe]), solution

        tangent, solution = quick_jit(
            lambda t: jax.jvp(lambda s: solved(s, 1e-6), (t,), (1.0,), has_aux=True)[1:]
        )(0.0)  # fmt: skip
        assert Status(int(solution.status)) is Status.SOLVE_OPT_SUCCESS, case.log
        tight = quick_jit(lambda t: (lambda pair: (pair[0], pair[1].status))(solved(t, 1e-9)))
        around = [tight(k * STEP) for k in (-2, -1, 0, 1, 2)]
        extent = sum(float(jnp.sum(jnp.abs(weights[name] * solution[name]))) for name in weights)
    if {int(status) for _, status in around} != {Status.SOLVE_OPT_SUCCESS.value}:
        return "edge"  # a change either way leaves no solution, or none that is found: there are no differences
    values = np.stack([np.asarray(value) for value, _ in around])
    slopes = np.diff(values, axis=0) / STEP
    # differences of solutions are good to about 1e-9 of their size over STEP
    units = np.array([abs(values[2, 0]) + 1e-2 * case.scale**2, extent + case.scale])
    outcome = "exact"
    for i, found in enumerate(np.asarray(tangent)):
        if i == 1 and np.isnan(found):
            return "flagged"
        size = max(abs(found), 0.1 * units[i])
        middle = (slopes[1, i] + slopes[2, i]) / 2
        if abs(found - middle) <= 1e-4 * size:
            continue
        low, high = slopes[:, i].min(), slopes[:, i].max()
        assert low - 1e-4 * size <= found <= high + 1e-4 * size, (case.log, i, found, slopes[:, i])
        outcome = "kink"
    return outcome


@pytest.mark.parametrize("structure", SAMPLE)
def test_sample(structure):
    assert check(structure, 0) == "exact"


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all(structure):
    for seed in SEEDS:
        check(structure, seed)
