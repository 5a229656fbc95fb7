"""Models go through `pickle` and `copy`, and so to other processes: as they were written, with their options."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import admm_jax as admm
from tests.models import LASSO, lasso


def bounded():
    """The lasso with a bound that may be infinite, maximised, and an option of its own."""
    model, high = lasso(maximised=True), admm.Param("high", 10)
    model.addConstr(model.variables[0] <= high)
    model.setOption("tol", 1e-8)
    return model, {**LASSO, "high": np.where(np.arange(10) % 2, np.inf, 0.1)}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_the_same_model(again):
    model, params = bounded()
    model.optimize(params)
    other = again(model)
    assert str(other) == str(model)
    assert other.getOption("tol") == 1e-8
    assert other.ObjVal == model.ObjVal
    other.optimize(params)
    np.testing.assert_array_equal(other.variables[0].X, model.variables[0].X)


def test_a_copy_has_variables_of_its_own():
    model, _ = bounded()
    other = copy.deepcopy(model)
    (mine,), (theirs,) = model.variables, other.variables
    other.addConstr(theirs >= 0)
    with pytest.raises(admm.ModelError, match="two different variables"):
        other.addConstr(mine >= 0)
    assert len(other.constraints) == len(model.constraints) + 1


def test_a_variable_alone_belongs_to_no_model():
    (x,) = lasso().variables
    alone = pickle.loads(pickle.dumps(x))
    model = admm.Model()
    model.setObjective(admm.sum(admm.square(alone)))
    assert model.variables == (alone,)


def solved(model, lam):
    model.optimize({**LASSO, "lam": lam})
    return model.ObjVal


@pytest.mark.slow
def test_models_go_to_processes_that_are_spawned():
    model, lams = lasso(), (0.1, 1.0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(solved, [model] * len(lams), lams))
    assert found == pytest.approx([solved(model, lam) for lam in lams], rel=1e-9)
