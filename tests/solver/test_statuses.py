"""How a solve ends where there is nothing to find, too little time, or no number: never with success."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.status import Status

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(4, 6)), RNG.normal(size=4)


def model_of(build):
    """The model that `build(model, x)` writes in a variable x of 6."""
    model, x = admm.Model(), admm.Var("x", 6)
    build(model, x)
    return model


def status_of(model, params=None, dtype="float64", **options):
    with jax.enable_x64(dtype == "float64"):
        return Status(int(model.solve(params, **options).status))


def crossed_rows(model, x):
    model.setObjective(admm.sum(admm.square(x)))
    model.addConstr(A @ x <= B)
    model.addConstr(A[0] @ x >= B[0] + 1)


def contradictory_equalities(model, x):
    model.setObjective(admm.norm(x, 1))
    model.addConstr(A @ x == B)
    model.addConstr((A[0] + A[1]) @ x == B[0] + B[1] + 1)


def ball_beside_half_space(model, x):
    model.setObjective(admm.sum(admm.square(x - 1)))
    model.addConstr(admm.norm(x) <= 1)
    model.addConstr(admm.sum(x) >= 6)


def sum_of_nonnegatives(model, x):
    model.setObjective(np.arange(6.0) @ x)
    model.addConstr(x >= 0)
    model.addConstr(admm.sum(x) == -1)


def small_l1_ball(model, x):
    model.setObjective(admm.tv1d(x) + admm.sum(x))
    model.addConstr(admm.norm(x, 1) <= 1)
    model.addConstr(x[2] >= 2)


INFEASIBLE = [crossed_rows, contradictory_equalities, ball_beside_half_space, sum_of_nonnegatives, small_l1_ball]


@pytest.mark.parametrize("build", INFEASIBLE)
def test_infeasible(build):
    assert status_of(model_of(build)) is Status.SOLVE_INFEASIBLE


def test_infeasible_in_single_precision():
    assert status_of(model_of(crossed_rows), dtype="float32") is Status.SOLVE_INFEASIBLE


def test_crossed_bounds_are_no_success():
    def build(model, x):
        model.setObjective(admm.sum(admm.square(x)))
        model.addConstr(x >= 1)
        model.addConstr(x <= 0)

    assert status_of(model_of(build)) not in (Status.SOLVE_OPT_SUCCESS, Status.SOLVE_UNBOUNDED)


def linear_program(model, x):
    model.setObjective(-admm.sum(x))
    model.addConstr(x >= 0)
    model.addConstr(x[0] - x[1] <= 1)


def no_constraint(model, x):
    model.setObjective(np.arange(6.0) @ x)


def flat_quadratic(model, x):
    model.setObjective(admm.sum(admm.square(A @ x - B)) + np.linalg.svd(A)[2][-1] @ x)


def weak_penalty(model, x):
    model.setObjective(0.5 * admm.norm(x, 1) - admm.sum(x))


def maximised(model, x):
    model.setObjective(admm.sum(x) - admm.tv1d(x), admm.MAXIMIZE)
    model.addConstr(x >= -1)


UNBOUNDED = [linear_program, no_constraint, flat_quadratic, weak_penalty, maximised]


@pytest.mark.parametrize("build", UNBOUNDED)
def test_unbounded(build):
    assert status_of(model_of(build)) is Status.SOLVE_UNBOUNDED


def test_unbounded_in_single_precision():
    assert status_of(model_of(linear_program), dtype="float32") is Status.SOLVE_UNBOUNDED


def test_large_infeasible():
    """An image: the matrix-free form."""
    U, model = admm.Var("U", 24, 24), admm.Model()
    model.setObjective(admm.tv2d(U) + 0.5 * admm.sum(admm.square(U - 1)))
    model.addConstr(U <= 1)
    model.addConstr(admm.sum(U) >= 600)
    assert status_of(model, max_iterations=3000) is Status.SOLVE_INFEASIBLE


def test_large_unbounded():
    U, model = admm.Var("U", 24, 24), admm.Model()
    model.setObjective(admm.tv2d(U) - admm.sum(U))
    model.addConstr(U >= 0)
    assert status_of(model, max_iterations=3000) is Status.SOLVE_UNBOUNDED


# numbers


def weighted():
    model, x, w, b = admm.Model(), admm.Var("x", 6), admm.Param("w"), admm.Param("b", 4)
    model.setObjective(w * admm.norm(x, 1) + admm.sum(admm.square(A @ x - b)))
    return model


@pytest.fixture(scope="module")
def solve():
    model = weighted()
    return jax.jit(lambda w, b: model.solve({"w": w, "b": b}))


GOOD, NAN = jnp.asarray(B, jnp.float32), jnp.asarray(np.where(np.arange(4) == 2, np.nan, B), jnp.float32)


@pytest.mark.parametrize(("w", "b"), [(-1.0, GOOD), (np.nan, GOOD), (1.0, NAN), (-1.0, NAN), (np.inf, GOOD)])
def test_bad_numbers_under_jit(solve, w, b):
    solution = solve(jnp.float32(w), b)
    assert not bool(solution.converged)
    if not np.isinf(w):
        assert int(solution.status) == Status.SOLVE_NAN_FOUND.value
    assert not np.isfinite(float(solution.gap)) or float(solution.gap) > 1e-4


def test_good_numbers_under_jit(solve):
    assert bool(solve(jnp.float32(1.0), GOOD).converged)


@pytest.mark.parametrize("params", [{"w": -1.0, "b": B}, {"w": np.nan, "b": B}, {"w": 1.0, "b": np.asarray(NAN)}])
def test_bad_numbers_in_optimize(params):
    model = weighted()
    with pytest.raises(admm.ADMMError, match=r"negative weight|finite"):
        model.optimize(params)
    assert model.StatusString == "SOLVE_UNKNOWN"


def test_too_few_iterations():
    rng = np.random.default_rng(0)
    U, model = admm.Var("U", 24, 24), admm.Model()
    blurred = admm.conv2d(U, np.ones((3, 3)) / 9)
    model.setObjective(0.05 * admm.tv2d(U) + 0.5 * admm.sum(admm.square(blurred - rng.uniform(size=(24, 24)))))
    with jax.enable_x64(True):
        solution = model.solve(max_iterations=3)
    assert int(solution.status) == Status.SOLVE_OVER_MAX_ITER.value
    assert int(solution.iterations) == 3
    assert not bool(solution.converged)
    model.setOption("admm_max_iteration", 3)
    model.optimize()
    assert model.StatusString == "SOLVE_OVER_MAX_ITER"
