"""Models in the words that abbreviate others, and in norms of groups, against cvxpy."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.models import compilations, quick_jit

RNG = np.random.default_rng(0)
B = RNG.normal(size=(4, 5))


def check(objective, reference, *, limits=()):
    """`objective(U)` has the minimum and the minimiser of `reference(Z)`."""
    U, Z = admm.Var("U", 4, 5), cp.Variable((4, 5))
    model = admm.Model()
    model.setObjective(objective(U))
    for limit, _ in limits:
        model.addConstr(limit(U))
    model.setOption("tol", 1e-8)
    model.optimize()
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    expected = cp.Problem(cp.Minimize(reference(Z)), [limit(Z) for _, limit in limits]).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(model.ObjVal, expected, rtol=1e-6)
    np.testing.assert_allclose(U.X, Z.value, atol=1e-4)


def test_group_lasso():
    weights = np.linspace(0.2, 1.5, 5)
    check(
        lambda U: admm.sum_squares(U - B) / 2 + weights @ admm.norm(U, axis=0) + 0.3 * admm.sum(admm.norm(U, axis=1)),
        lambda Z: cp.sum_squares(Z - B) / 2 + weights @ cp.norm(Z, 2, axis=0) + 0.3 * cp.sum(cp.norm(Z, 2, axis=1)),
    )


@pytest.mark.slow
def test_words_in_one_model():
    padded = np.pad(np.ones((4, 5)), 1)
    check(
        lambda U: (
            admm.sum_squares(admm.vstack([U - B, admm.diff(U, axis=0)]))
            + admm.sum(abs(admm.roll(U, 1, axis=1) - U)) / 5
            + admm.sum(abs(admm.pad(U, 1) - padded)) / 9
        ),
        lambda Z: (
            cp.sum_squares(Z - B)
            + cp.sum_squares(cp.diff(Z, axis=0))
            + cp.sum(cp.abs(cp.hstack([Z[:, -1:], Z[:, :-1]]) - Z)) / 5
            + (cp.sum(cp.abs(Z - 1))) / 9
        ),
        limits=[
            (lambda U: admm.mean(U, axis=0) <= 0.1, lambda Z: cp.mean(Z, axis=0) <= 0.1),
            (lambda U: admm.sum_squares(U[:2]) <= 2, lambda Z: cp.sum_squares(Z[:2]) <= 2),
        ],
    )


@pytest.mark.slow
def test_the_group_lasso_has_its_derivative():
    U, lam, model = admm.Var("U", 4, 5), admm.Param("lam"), admm.Model()
    model.setObjective(admm.sum_squares(U - B) / 2 + lam * admm.sum(admm.norm(U, axis=0)))
    with jax.enable_x64(True):
        out = quick_jit(jax.jacfwd(lambda t: model.solve({"lam": t}, tol=1e-10)["U"]))(1.0)
    # each column is b (1 - lam / ||b||)_+
    lengths = np.linalg.norm(B, axis=0)
    np.testing.assert_allclose(out, np.where(lengths > 1, -B / lengths, 0), atol=1e-6)


def test_norms_of_groups_are_bounded_one_at_a_time():
    U, model = admm.Var("U", 4, 5), admm.Model()
    model.setObjective(admm.sum(U))
    with pytest.raises(admm.NonconvexError, match=r"`norm\(U, axis=0\)` can be bounded one at a time"):
        model.addConstr(admm.norm(U, axis=0) <= 1)
    with pytest.raises(admm.NonconvexError, match=r"no set is known for `sum\(norm\(U, axis=0\)\)`"):
        model.addConstr(admm.sum(admm.norm(U, axis=0)) <= 1)
    with pytest.raises(admm.NonconvexError, match=r"negative weight -1 on the convex term `norm\(U, axis=0\)`"):
        model.setObjective(-admm.sum(admm.norm(U, axis=0)))


def test_rebuilding_a_model_of_words_keeps_its_structure():
    def structure(shift):
        U, model = admm.Var("U", 4, 5), admm.Model()
        model.setObjective(admm.sum_squares(admm.pad(U, 1) - shift) + admm.sum(admm.norm(admm.roll(U, 2), axis=0)))
        model.addConstr(admm.hstack([U, U]) <= shift)
        return jax.tree.structure(model.problem())

    assert structure(1.0) == structure(2.0)


def test_nothing_is_compiled_for_the_canonical_problem():
    U, lam, model = admm.Var("U", 4, 5), admm.Param("lam"), admm.Model()
    bordered = admm.pad(abs(U), 1, "wrap") + admm.pad(abs(U), 1)
    moved = admm.transpose(admm.roll(admm.vstack([bordered, bordered]), 3)[None], (2, 0, 1))
    model.setObjective(
        lam * admm.mean(moved * RNG.uniform(size=moved.shape)) + admm.sum_squares(admm.diff(U)) + admm.norm(U)
    )
    owned = jnp.float32(2)
    with compilations() as compiled:
        model.problem({"lam": 2.0})
        model.problem({"lam": owned})
    assert compiled == []
