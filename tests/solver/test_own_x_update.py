"""An x-update of the user's own is asked in the user's units, whatever those of the solve are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solver.linear import normal
from admm_jax.solver.rewrite import flatten, unflatten
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare, start_run

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(9, 6)), RNG.normal(size=(7, 4))


def model_in(unit, money):
    """Two variables, squares and several terms; x in a unit of its own, and the cost in another."""
    x, y, model = admm.Var("x", 6), admm.Var("y", 4), admm.Model()
    fit = admm.sum_squares(A @ (x / unit) - 1) + 1e3 * admm.sum_squares((x / unit)[:4] + y)
    model.setObjective(money * (fit + 0.1 * admm.norm(x / unit, 1) + admm.norm(B @ y - 2) + admm.norm(y, 1)))
    model.addConstr(x <= 5 * unit)
    return model


@pytest.mark.parametrize(("unit", "money"), [pytest.param(1.0, 1.0, marks=pytest.mark.slow), (1e5, 1e-3), (1e-4, 1e6)])
def test_the_inverse_of_the_user_inverts_the_matrix_of_the_solve(unit, money):
    model = model_in(unit, money)
    with jax.enable_x64(True):
        user = model.problem()

        def inverse(weights, b):
            columns = jax.vmap(lambda e: flatten(user, normal(user, weights, unflatten(user, e))))(jnp.eye(user.size))
            return unflatten(user, jnp.linalg.solve(columns.T, flatten(user, b)))

        options = {**model._options, "x_update": inverse}
        problem, plan, dtype = prepare(user, options)
        inner, run = start_run(problem, settings_for(options, dtype), user.zeros(dtype), None, plan=plan, dtype=dtype)
        assert len(problem.penalties) == 4
        rho, x = jnp.asarray(0.3), {"x": jnp.asarray(RNG.normal(size=6)), "y": jnp.asarray(RNG.normal(size=4))}
        image = normal(inner, (rho,) * 4, x)
        found = plan.x_update.preconditioner(inner, run.workspace, rho)(image)
        unconverted = inverse((rho,) * 4, image)
    for name, value in x.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8)
    assert not np.allclose(unconverted["x"], x["x"], rtol=1e-2)
