"""Denoising by total variation: one prox, whose own ascent is all that is iterated."""

from __future__ import annotations

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.pytree import replace
from admm_jax.solver.plan import DENOISING, make_plan
from admm_jax.solver.solve import prepare
from admm_jax.solver.state import initial_state
from admm_jax.solver.step import step
from admm_jax.status import Status
from tests.models import image_jit

SHAPE = (21, 20)  # one image that is too large to be solved with matrices
RNG = np.random.default_rng(3)
IMAGE = np.kron(RNG.normal(size=(7, 5)), np.ones((3, 4))) + 0.2 * RNG.normal(size=SHAPE)
OFFSET = RNG.normal(size=SHAPE)


def variation(u, p):
    down, right = np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])
    return np.sum(np.abs(down) + np.abs(right) if p == 1 else np.hypot(down, right))


def denoising(p=1, offset=0.0, build=lambda model, u: None, weight=1.5):
    u, lam, data = admm.Var("U", SHAPE), admm.Param("lam"), admm.Param("B", SHAPE)
    model = admm.Model()
    model.setObjective(weight * admm.sum(admm.square(u - data)) + lam * admm.tv2d(u + offset, p=p))
    build(model, u)
    return model


@pytest.mark.parametrize("p", [1, 2])
def test_it_is_the_minimiser(p):
    model = denoising(p, OFFSET)
    with jax.enable_x64(True):
        solution = jax.tree.map(np.asarray, model.solve({"lam": 0.4, "B": IMAGE}, tol=1e-8))
    u = cvxpy.Variable(SHAPE)
    v = u + OFFSET
    down, right = v[1:] - v[:-1], v[:, 1:] - v[:, :-1]
    if p == 1:
        tv = cvxpy.sum(cvxpy.abs(down)) + cvxpy.sum(cvxpy.abs(right))
    else:
        tv = cvxpy.tv(v)  # of all but the last row and column, whose edges stand alone
        tv += cvxpy.sum(cvxpy.abs(down[:, -1])) + cvxpy.sum(cvxpy.abs(right[-1]))
    problem = cvxpy.Problem(cvxpy.Minimize(1.5 * cvxpy.sum_squares(u - IMAGE) + 0.4 * tv))
    problem.solve(cvxpy.CLARABEL)
    assert Status(int(solution.status)) is Status.SOLVE_OPT_SUCCESS
    value = 1.5 * np.sum((solution["U"] - IMAGE) ** 2) + 0.4 * variation(solution["U"] + OFFSET, p)
    assert value == pytest.approx(problem.value, rel=1e-7)
    assert float(solution.gap) >= value / problem.value - 1 - 1e-8


@pytest.mark.parametrize("data", [0.0, 1.0, -3.0])
def test_every_iterate_is_stationary(data):
    """w (x - d) + D^T p = 0 for x the prox at d, however few its steps: so whatever x started from."""
    with jax.enable_x64(True):
        params = {"lam": jnp.asarray(0.3), "B": jnp.asarray(IMAGE)}
        model = denoising(offset=OFFSET)
        problem, plan, dtype = prepare(model.problem(params), model._options, np.float64)
        assert plan.x_update == DENOISING.x_update
        inner = plan.x_update.iterated(problem)
        x = plan.x_update.begin(problem, {"U": jnp.full(SHAPE, data)})
        rho = jnp.asarray(7.0)
        state = initial_state(inner, rho, plan.x_update.factor(None, rho), x)
        state = replace(state, ratios=plan.x_update.ratios(inner, rho))
        workspace = plan.x_update.workspace(problem, dtype)
        (penalty,) = problem.penalties
        for _ in range(3):
            state = image_jit(step, static_argnums=1)(inner, plan, workspace, state)
            pull = penalty.function.difference(SHAPE).adjoint(state.fields[0])
            point = state.z[0] - penalty.offset
            np.testing.assert_allclose(3 * (point - IMAGE) + pull, 0, atol=1e-13)


def test_what_is_more_than_a_prox_is_split():
    weights = np.ones(SHAPE)
    weights[0] = 2
    for term in (
        lambda u: admm.sum(weights * admm.square(u - IMAGE)),
        lambda u: admm.sum_squares(u) + admm.sum(abs(u)),
    ):
        u, other = admm.Var("U", SHAPE), admm.Model()
        other.setObjective(term(u) + admm.tv2d(u))
        assert make_plan(other.problem()).x_update != DENOISING.x_update
    bounded = denoising(build=lambda model, u: model.addConstr(u >= 0))
    assert make_plan(bounded.problem({"lam": 1.0, "B": IMAGE})).x_update != DENOISING.x_update


def test_without_data_it_is_flat():
    u, w = admm.Var("U", SHAPE), admm.Param("w")
    model = admm.Model()
    model.setObjective(w * admm.sum(admm.square(u - IMAGE)) + admm.tv2d(u))
    solution = model.solve({"w": 0.0})
    assert Status(int(solution.status)) is Status.SOLVE_OPT_SUCCESS
    assert float(solution.objective) == 0


@pytest.mark.slow
def test_the_gradient_is_that_of_differences():
    model = denoising(2)

    def loss(lam, data):
        return jnp.sum(model.solve({"lam": lam, "B": data}, tol=1e-10)["U"] ** 3)

    with jax.enable_x64(True):
        run, direction = image_jit(loss), jnp.asarray(RNG.normal(size=SHAPE))
        slopes = image_jit(jax.grad(loss, (0, 1)))(0.4, jnp.asarray(IMAGE))
        for slope, change in ((slopes[0], (1.0, 0.0)), (jnp.sum(slopes[1] * direction), (0.0, direction))):
            ahead, behind = (run(0.4 + h * change[0], IMAGE + h * change[1]) for h in (1e-5, -1e-5))
            assert float(slope) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-4)


@pytest.mark.slow
def test_a_run_that_stalls_says_what_it_has_proved():
    """The last certificate is paid for whatever it promises: a gap of infinity would say less than is known."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    u, data = admm.Var("U", SHAPE), admm.Param("B", SHAPE)
    model = admm.Model()
    model.setObjective(admm.sum(admm.square(admm.conv2d(u, kernel, "same") - data)) + 0.1 * admm.tv2d(u))
    stalled = model.solve({"B": IMAGE.astype(np.float32)}, tol=1e-9)
    with jax.enable_x64(True):
        best = model.solve({"B": IMAGE.astype(np.float32).astype(np.float64)}, tol=1e-10)
    assert Status(int(stalled.status)) is Status.SOLVE_STALLED
    assert float(stalled.objective) / float(best.objective) - 1 <= float(stalled.gap) < 1e-3
