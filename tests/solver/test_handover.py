"""What iterating without matrices does not settle is handed over, and comes back as if it had been."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.status import Status
from tests.models import quick_jit
from tests.solver.scaled_models import in_form

N = 24
UNITS = 10.0 ** np.random.default_rng(0).uniform(-6, 6, N)  # of the unknowns, each its own


@pytest.fixture(autouse=True)
def without_matrices() -> Iterator[None]:
    with in_form("matrix-free"), jax.enable_x64(True):
        yield


def model(units: np.ndarray) -> tuple[admm.Model, admm.Var]:
    """min ||A x - b||_inf + lam ||x||_1 over sum x = total and x >= -1, for x = units x^."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((30, N)), rng.standard_normal(30)
    x, lam, total = admm.Var("x", N), admm.Param("lam"), admm.Param("total")
    out = admm.Model()
    out.setObjective(admm.norm((a * units) @ x - b, np.inf) + lam * admm.norm(units * x, 1))
    out.addConstr(admm.sum(units * x) == total)
    out.addConstr(units * x >= -1)
    return out, x


PARAMS = {"lam": 0.01, "total": 1.0}


@pytest.mark.slow
def test_units_of_each_entry_are_settled() -> None:
    (plain, x), (scaled, y) = model(np.ones(N)), model(UNITS)
    with in_form("dense"):
        wanted = plain.solve(PARAMS, tol=1e-9)
    solution = scaled.solve(PARAMS, tol=1e-9)
    assert int(solution.iterations) > 500
    assert int(solution.status) == Status.SOLVE_OPT_SUCCESS.value
    np.testing.assert_allclose(solution.objective, wanted.objective, rtol=1e-9)
    np.testing.assert_allclose(solution[y] * UNITS, wanted[x], atol=1e-7)


def test_without_polishing_nothing_is_handed_over() -> None:
    scaled, _ = model(UNITS)
    solution = scaled.solve(PARAMS, tol=1e-9, polish=False, max_iterations=700)
    assert int(solution.status) != Status.SOLVE_OPT_SUCCESS.value


@pytest.mark.slow
def test_optimize_solve_and_batches_agree() -> None:
    scaled, y = model(UNITS)
    alone = scaled.solve(PARAMS, tol=1e-9)
    scaled.setOption("tol", 1e-9)
    scaled.optimize(PARAMS)
    np.testing.assert_allclose(y.X * UNITS, alone[y] * UNITS, atol=1e-9)
    lams = jnp.asarray([0.01, 0.02])
    batch = quick_jit(jax.vmap(lambda lam: scaled.solve(PARAMS | {"lam": lam}, tol=1e-9)))(lams)
    np.testing.assert_allclose(batch[y][0] * UNITS, alone[y] * UNITS, atol=1e-7)
    assert all(int(status) == Status.SOLVE_OPT_SUCCESS.value for status in batch.status)


@pytest.mark.slow
def test_multipliers_and_state_are_in_the_users_units() -> None:
    """The multipliers balance in the user's numbers, and a solve that starts from the state needs fewer iterations."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((30, N)) * UNITS
    scaled, y = model(UNITS)
    solution = scaled.solve(PARAMS, tol=1e-9)
    infinity, one, equality, bound = solution.multipliers
    force = a.T @ infinity + UNITS * one + UNITS * equality.sum() + UNITS * bound
    size = np.abs(a).T @ np.abs(infinity) + UNITS * (np.abs(one) + np.abs(equality).sum() + np.abs(bound))
    assert np.max(np.abs(force) / size) < 1e-9
    again = scaled.solve(PARAMS, tol=1e-9, init=solution)
    assert int(again.status) == Status.SOLVE_OPT_SUCCESS.value
    np.testing.assert_allclose(again[y] * UNITS, solution[y] * UNITS, atol=1e-7)


@pytest.mark.slow
def test_gradients_go_through() -> None:
    scaled, y = model(UNITS)
    weights = np.arange(N) * UNITS

    def moment(total: jax.Array) -> jax.Array:
        return jnp.sum(weights * scaled.solve(PARAMS | {"total": total}, tol=1e-9)[y])

    total, step = 1.0, 1e-4
    program = quick_jit(jax.value_and_grad(moment))
    slope = program(total)[1]
    difference = (program(total + step)[0] - program(total - step)[0]) / (2 * step)
    assert abs(slope) > 1e-2
    np.testing.assert_allclose(slope, difference, rtol=1e-4)
