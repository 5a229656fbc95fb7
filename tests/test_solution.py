"""`Solution`: reading, printing, passing through JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.solution import History
from tests.models import LASSO, OBSERVED, lasso


@pytest.fixture(scope="module")
def model():
    return lasso()


@pytest.fixture(scope="module")
def solution(model):
    return model.solve(LASSO)


@pytest.fixture(scope="module")
def batch(solution):
    """Two solutions, stacked as `vmap` stacks them; the second is not converged."""
    other = jax.tree.map(lambda leaf: leaf, solution)
    other = admm.Solution(**{**vars(other), "status": jnp.asarray(4, jnp.int32), "gap": jnp.asarray(0.25)})
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), solution, other)


def test_reading(model, solution):
    x = model.variables[0]
    assert solution[x] is solution["x"] is solution.values["x"]
    assert solution.status_string == "SOLVE_OPT_SUCCESS"
    assert bool(solution.converged)
    for key in ("y", admm.Var("y", 10), 3):
        with pytest.raises(KeyError, match=r"the solution has no variable .*; it has 'x'"):
            _ = solution[key]


def test_the_status_of_a_batch_by_name(batch):
    assert batch.status_string.tolist() == ["SOLVE_OPT_SUCCESS", "SOLVE_OVER_MAX_ITER"]


def test_numbers(solution):
    for name in ("objective", "gap", "violation", "primal_residual", "dual_residual", "status", "iterations", "rho"):
        assert getattr(solution, name).shape == (), name
    assert solution.status.dtype == solution.iterations.dtype == jnp.int32
    assert float(solution.violation) == 0
    assert len(solution.multipliers) == 1


def test_the_history_holds_each_check(model):
    solution = model.solve(LASSO, tol=0.0, max_iterations=100)
    history = solution.history
    assert isinstance(history, History)
    seen = ~np.isnan(history.iteration)
    assert 1 < seen.sum() < seen.size
    iterations = np.asarray(history.iteration)[seen]
    assert np.all(np.diff(iterations) > 0)
    assert iterations[-1] == int(solution.iterations) == 100
    for values in history:
        assert values.shape == history.iteration.shape
        assert np.array_equal(~np.isnan(values), seen)
    objectives = np.asarray(history.objective)[seen]
    np.testing.assert_allclose(objectives, objectives[-1], rtol=1e-4)
    assert np.nanmin(history.gap) == float(solution.gap)
    assert np.all(np.asarray(history.rho)[seen] > 0)


def test_report(solution):
    lines = repr(solution).splitlines()
    assert lines[0] == "Solution"
    keys = [line[2:23].strip() for line in lines[1:]]
    assert keys == [
        "status",
        "objective",
        "certified gap",
        "constraint violation",
        "iterations",
        "residuals",
        "variable x",
    ]
    assert "SOLVE_OPT_SUCCESS: the certified gap and the constraint violation are within their tolerances" in lines[1]
    assert f"{float(solution.objective):.12g}" in lines[2]
    assert "10 float32, from -" in lines[-1]


def test_report_in_a_notebook(solution):
    page = solution._repr_html_()
    assert page.startswith("<table><tr><th")
    assert page.count("<tr>") == 7
    assert "SOLVE_OPT_SUCCESS" in page
    odd = admm.Solution(**{**vars(solution), "values": {"a<b": solution["x"], "s": jnp.ones(()), "e": jnp.ones((0,))}})
    assert "variable a&lt;b" in odd._repr_html_()
    assert "variable s           scalar float32, from 1 to 1" in repr(odd)
    assert "0 float32, empty" in repr(odd)


def test_report_of_a_solve_that_failed(model):
    short = repr(model.solve(LASSO, tol=0.0, max_iterations=2))
    assert "SOLVE_OVER_MAX_ITER: the gap was not reached within the iterations allowed: raise max_iterations" in short


def test_report_of_a_batch(batch):
    assert repr(batch) == "<Solution: a batch of 2, 1 converged, largest gap 2.5e-01>"
    assert batch._repr_html_() == "&lt;Solution: a batch of 2, 1 converged, largest gap 2.5e-01&gt;"
    np.testing.assert_array_equal(batch.converged, [True, False])
    assert batch["x"].shape == (2, 10)


def test_report_while_traced(model):
    seen = []
    jax.eval_shape(lambda params: seen.append(model.solve(params)), LASSO)
    assert repr(seen[0]) == "<Solution: x, traced>"
    assert seen[0]._repr_html_() == "&lt;Solution: x, traced&gt;"


def test_it_is_a_pytree(solution):
    leaves, structure = jax.tree.flatten(solution)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert isinstance(again, admm.Solution)
    assert again["x"] is solution["x"]
    assert structure == jax.tree.structure(jax.tree.map(np.asarray, solution))
    doubled = jax.jit(lambda s: 2 * s["x"])(solution)
    np.testing.assert_array_equal(doubled, 2 * solution["x"])
    with pytest.raises(AttributeError):
        solution.gap = 0.0
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(solution)[0]]
    assert ".values['x']" in paths
    assert ".history.gap" in paths
    assert ".state.rho" in paths


def test_the_numbers_of_the_statuses():
    names = "UNKNOWN OPT_SUCCESS INFEASIBLE UNBOUNDED OVER_MAX_ITER OVER_MAX_TIME NAN_FOUND PRE_FAILURE"
    names += " EXCEPT_ERROR GET_SOL_FAILURE ERROR STALLED ESTIMATE_REACHED RESIDUALS_REACHED"
    assert [(status.value, status.name) for status in admm.Status] == [
        (number, f"SOLVE_{name}") for number, name in enumerate(names.split())
    ]
    assert all(status.meaning for status in admm.Status)


def test_a_standstill_says_what_helps():
    """A tolerance that float32 cannot reach ends soon, and the report says what would help."""
    model = lasso()
    with jax.enable_x64(False):
        solution = model.solve({"b": OBSERVED.astype(np.float32), "lam": np.float32(0.5)}, tol=1e-12)
    assert solution.status_string == "SOLVE_STALLED"
    assert int(solution.iterations) <= 2000
    assert "float32 proves no more here than" in repr(solution)
    assert "float64, or tol=" in repr(solution)
