"""What a solve says of its own accuracy, against cvxpy with Clarabel, on random models of every atom and constraint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import admm_jax as admm
from admm_jax.pytree import replace
from admm_jax.solver import plan
from admm_jax.solver.certificate import promise
from admm_jax.solver.examine import candidate, full_certificate
from admm_jax.solver.rewrite import lift
from admm_jax.solver.run import duals_of
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare, start
from admm_jax.solver.step import step
from admm_jax.status import Status
from tests.models import DEBLURRING, deblurring, quick_jit
from tests.solver.random_models import COERCIVE, CONSTRAINTS, Case, random_case, reference
from tests.solver.random_terms import MATRIX_OPS, TERMS

STRUCTURES, SEEDS = range(75), range(3)
SAMPLE = [2, 8, 10, 17, 26, 37, 47, 58]  # small programs; together they have most kinds of term and constraint
TOL, FEASIBILITY = 1e-6, 1e-8  # the defaults in float64
LOOSENESS = 1000.0  # how much more than the true gap may be reported
EXACT = 1e-9  # a true gap below it counts as this: the reference knows no better


def check(case: Case) -> None:
    """Solve, and compare each claim with the reference."""
    best = reference(case.theirs)
    with jax.enable_x64(True):
        solution = jax.tree.map(np.asarray, case.model.solve(case.params))
    assert Status(int(solution.status)) is Status.SOLVE_OPT_SUCCESS, case.log
    sense = -1.0 if case.maximised else 1.0
    objective = sense * float(solution.objective)
    # of the reference; an optimum of zero is told to 2e-12 of what the objective is a sum of, here up to 1e3 units
    unit = case.scale**2
    error = best.error + (1e-9 if abs(best.optimum) <= 1e-9 * unit else 1e-12) * unit
    true, size = abs(objective - best.optimum), abs(objective)
    reported = float(solution.gap) * size
    assert reported >= true - error, case.log
    assert reported <= LOOSENESS * max(true, EXACT * size, error), case.log
    assert true <= TOL * size + error, case.log
    check_point(case, solution, objective)


def check_point(case: Case, solution: admm.Solution, objective: float) -> None:
    """The point that is handed out has the objective that is reported, and lies within the constraints."""
    point = {v.label: solution.values[v.label] for v in case.model.variables}
    for name, theirs in case.variables.items():
        if name in point:
            theirs.save_value(np.asarray(point[name], float))
    units = case.scale + max(float(np.max(np.abs(value))) for value in point.values())
    for constraint in case.theirs.constraints:
        assert np.max(constraint.violation(), initial=0.0) <= 100 * FEASIBILITY * units, case.log
    for variable in case.theirs.variables():
        assert np.all(variable.value >= -100 * FEASIBILITY * units) or not variable.is_nonneg()
        assert np.all(variable.value <= 100 * FEASIBILITY * units) or not variable.is_nonpos()
    value = float(case.theirs.objective.value)
    assert value == pytest.approx(objective, rel=1e-9, abs=1e-9 * case.scale**2), case.log


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE)
def test_sample(structure):
    for seed in SEEDS:
        check(random_case(structure, seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all(structure):
    for seed in SEEDS:
        check(random_case(structure, seed))


def test_every_atom_and_constraint_is_drawn():
    used = {name for structure in STRUCTURES for name in random_case(structure).log}
    wanted = set(TERMS) | set(CONSTRAINTS) | set(COERCIVE) | set(MATRIX_OPS) | {"nonneg", "nonpos", "linear"}
    wanted |= {f"{op} {mode}" for op in ("conv2d", "corr2d") for mode in ("full", "same", "valid")}
    assert wanted <= used


@pytest.mark.slow
@pytest.mark.parametrize("structure", [8, 58])
def test_single_precision(structure):
    case = random_case(structure)
    best = reference(case.theirs)
    with jax.enable_x64(False):
        solution = case.model.solve(case.params)
    assert solution.objective.dtype == jnp.float32
    assert bool(solution.converged)
    true = abs((-1.0 if case.maximised else 1.0) * float(solution.objective) - best.optimum) / abs(best.optimum)
    assert true <= 1e-4
    assert true <= float(solution.gap) + 1e-6  # the objective itself is known to rounding


@pytest.mark.slow
@pytest.mark.parametrize("structure", [8, 58])
def test_without_matrices(structure, monkeypatch):
    """Small models in the form that large ones are solved in: what is claimed holds, converged or not."""
    monkeypatch.setattr(plan, "DENSE_VARIABLES", 0)
    case = random_case(structure)
    best = reference(case.theirs)
    with jax.enable_x64(True):
        solution = case.model.solve(case.params, tol=1e-4, max_iterations=2000)
    true = abs((-1.0 if case.maximised else 1.0) * float(solution.objective) - best.optimum)
    assert bool(solution.converged)
    assert true <= float(solution.gap) * abs(float(solution.objective)) + best.error


def test_scale_of_the_data_does_not_matter():
    rng = np.random.default_rng(0)
    truth = np.kron(rng.uniform(size=(4, 4)), np.ones((6, 6)))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    data = scipy.signal.convolve2d(truth, kernel, "same") + 0.02 * rng.normal(size=truth.shape)
    U, lam, B = admm.Var("U", 24, 24), admm.Param("lam"), admm.Param("B", 24, 24)
    model = admm.Model()
    blurred = admm.conv2d(U, kernel, "same")
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(blurred - B)))
    with jax.enable_x64(True):
        small, large = (model.solve({"lam": 0.01 * s, "B": s * data}) for s in (1.0, 255.0))
    assert bool(small.converged)
    assert bool(large.converged)
    assert abs(int(small.iterations) - int(large.iterations)) <= 2
    np.testing.assert_allclose(large[U], 255 * np.asarray(small[U]), rtol=1e-7, atol=1e-7)
    assert float(large.objective) == pytest.approx(255**2 * float(small.objective), rel=1e-9)


@pytest.mark.slow
def test_a_certificate_ends_within_its_goal_where_it_can():
    """A gap asked for is proved by fewer rounds, never falsely, wherever all of them would prove a smaller one."""
    model, iterations = deblurring(), 12
    problem, chosen, dtype = prepare(model.problem(DEBLURRING), model._options, np.float64)
    settings = settings_for(model._options, dtype)
    with jax.enable_x64(True):
        best = float(model.solve(DEBLURRING, tol=1e-10).objective)
        inner, run = start(problem, settings, problem.zeros(dtype), None, plan=chosen, dtype=dtype)
        state = run.state
        iterate = quick_jit(lambda state: step(inner, chosen, run.workspace, state))
        for _ in range(iterations):
            state = iterate(state)
        lifted, point = lift(inner), candidate(inner, state.x, state.z)
        quick = quick_jit(lambda state: promise(lifted, point, duals_of(inner, state), run.units))(state)

        @quick_jit
        def certificate(goal):
            return full_certificate(lifted, chosen, replace(run, state=state), point, quick, goal)

        least = certificate(jnp.asarray(0.0))
        best *= float(run.scaling.cost)  # the run is in units of its own
        truth = abs(float(least.objective) - best)
        reported = [float(certificate(times * least.relative_gap).relative_gap) for times in (1.0, 1.5, 3.0, 20.0)]
        for times, relative in zip((1.0, 1.5, 3.0, 20.0), reported, strict=True):
            assert truth <= relative * abs(best) * (1 + 1e-6)
            assert relative <= times * float(least.relative_gap) * (1 + 1e-12)
        assert reported[-1] > reported[0]


def test_by_the_estimate_without_matrices():
    """Nothing is absorbed then: the gap is what the iterate proves as it is, and no smaller than the true one."""
    model = deblurring()
    with jax.enable_x64(True):
        best = float(model.solve(DEBLURRING, tol=1e-10).objective)
        found = model.solve(DEBLURRING, tol=1e-3, stop="estimate")
    true = (float(found.objective) - best) / best
    assert found.status_string == "SOLVE_ESTIMATE_REACHED"
    assert 0 <= true <= 2 * float(found.estimate) <= 2e-3
    assert true <= float(found.gap)
