"""Isotropic total variation is polished to its optimality conditions, exactly flat where they say flat."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

import admm_jax as admm
from tests.models import IMAGE, KERNEL

SHAPE = IMAGE.shape
MAP = 0.08 * (1 + 0.5 * np.sin(np.arange(IMAGE.size)).reshape(SHAPE))
MAP[3, 5] = 0.0
# the bound lies far below the first image and cuts off much of the second
CASES = {"free": {"B": IMAGE + 2.0, "w": np.full(SHAPE, 0.1)}, "bound": {"B": IMAGE - 0.05, "w": MAP}}


@pytest.fixture(scope="module")
def model():
    U, B, w = admm.Var("U", *SHAPE, nonneg=True), admm.Param("B", *SHAPE), admm.Param("w", *SHAPE)
    model = admm.Model()
    residual = admm.conv2d(U, KERNEL, "same") - B
    model.setObjective(admm.tv2d(U, p=2, weight=w) + 0.5 * admm.sum(admm.square(residual)))
    return model


@pytest.fixture(scope="module")
def solutions(model):
    with jax.enable_x64(True):
        return {name: model.solve(case, tol=1e-9) for name, case in CASES.items()}


def differences(U):
    out = np.zeros((2, *U.shape))
    out[0, :-1], out[1, :, :-1] = np.diff(U, axis=0), np.diff(U, axis=1)
    return out


def adjoint(p):
    out = np.zeros(p.shape[1:])
    out[:-1] -= p[0, :-1]
    out[1:] += p[0, :-1]
    out[:, :-1] -= p[1, :, :-1]
    out[:, 1:] += p[1, :, :-1]
    return out


def gradient(U, B):
    residual = admm.conv2d(U, KERNEL, "same") - B
    return admm.conv2d(residual, KERNEL, "same")  # the kernel is symmetric


def objective(U, case):
    residual = admm.conv2d(U, KERNEL, "same") - case["B"]
    return 0.5 * np.sum(residual**2) + np.sum(case["w"] * np.hypot(*differences(U)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_optimum_is_that_of_an_interior_point_method(solutions, name):
    case, solution = CASES[name], solutions[name]
    assert bool(solution.converged)
    assert float(solution.gap) <= 1e-9
    assert int(solution.iterations) <= 100
    U = cp.Variable(SHAPE)
    taps = sp.diags_array([0.25, 0.5, 0.25], offsets=[-1, 0, 1], shape=SHAPE)  # KERNEL is its product with itself
    blurred = cp.reshape(taps @ U @ taps, (IMAGE.size,), order="C")
    down = cp.vstack([U[1:] - U[:-1], np.zeros((1, SHAPE[1]))])
    right = cp.hstack([U[:, 1:] - U[:, :-1], np.zeros((SHAPE[0], 1))])
    lengths = cp.norm(cp.vstack([cp.vec(down, order="C"), cp.vec(right, order="C")]), axis=0)
    total = 0.5 * cp.sum_squares(blurred - case["B"].ravel()) + case["w"].ravel() @ lengths
    tight = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    reference = cp.Problem(cp.Minimize(total), [U >= 0]).solve(solver=cp.CLARABEL, **tight)
    value = objective(np.asarray(solution["U"]), case)
    np.testing.assert_allclose(solution.objective, value, rtol=1e-12)
    assert abs(value - reference) <= 2e-9 * abs(reference)


@pytest.mark.parametrize("name", CASES)
def test_a_polished_point_satisfies_the_optimality_conditions(solutions, name):
    case, solution = CASES[name], solutions[name]
    U, w = np.asarray(solution["U"]), case["w"]
    d = differences(U)
    lengths = np.hypot(*d)
    zero = lengths == 0
    assert zero.sum() > 100  # flat to the last bit
    assert lengths[~zero].min() > 1e-10
    # the forces balance on each region that the zero pixels form, but for those at the bound, which may be pulled down
    pixels = np.arange(U.size).reshape(SHAPE)
    i = np.concatenate([pixels[:-1][zero[:-1]], pixels[:, :-1][zero[:, :-1]]])
    j = np.concatenate([pixels[1:][zero[:-1]], pixels[:, 1:][zero[:, :-1]]])
    _, labels = connected_components(sp.coo_array((np.ones(i.size), (i, j)), shape=(U.size, U.size)), directed=False)
    force = gradient(U, case["B"]) + adjoint(w * np.where(zero, 0, d / np.where(zero, 1, lengths)))
    total = np.bincount(labels, force.ravel())
    at_bound = np.bincount(labels, U.ravel() == 0) > 0
    np.testing.assert_allclose(total[~at_bound], 0, atol=1e-8)
    assert (total[at_bound] >= -1e-8).all()
    assert at_bound.any() == (name == "bound")
    field = next(p for p in solution.multipliers if p.ndim == 3)
    assert (np.hypot(*field) <= w * (1 + 1e-12)).all()


@pytest.mark.slow
def test_vmap_equals_the_loop(model, solutions):
    with jax.enable_x64(True):
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *CASES.values())
        batch = jax.vmap(lambda case: model.solve(case, tol=1e-9))(stacked)
    for i, single in enumerate(solutions.values()):
        assert int(batch.status[i]) == int(single.status)
        assert int(batch.iterations[i]) == int(single.iterations)
        np.testing.assert_allclose(batch["U"][i], single["U"], rtol=0, atol=1e-8)
        np.testing.assert_allclose(batch.objective[i], single.objective, rtol=1e-11)


def test_single_precision_is_not_polished(model, solutions):
    for name, case in CASES.items():
        solution = model.solve(jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), case))
        assert bool(solution.converged)
        assert float(solution.gap) <= 1e-4
        np.testing.assert_allclose(solution.objective, solutions[name].objective, rtol=1e-4)
