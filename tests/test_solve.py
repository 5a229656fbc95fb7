"""`Model.solve` is a function: of its arguments alone, equal under jit and vmap, in the dtype of its data."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.status import Status
from tests.models import DEBLURRING, IMAGE, LASSO, MATRIX, OBSERVED, deblurring, lasso, quick_jit

LAMS = np.array([0.05, 0.5, 2.0])


@pytest.fixture(scope="module")
def dense():
    return lasso()


@pytest.fixture(scope="module")
def large():
    return deblurring()


@pytest.fixture(scope="module")
def dense_solution(dense):
    return dense.solve(LASSO)


@pytest.fixture(scope="module")
def large_solution(large):
    return large.solve(DEBLURRING)


def assert_same(batch, i, single, rtol):
    """Element `i` of a batched solution is the solution of its own problem (`i=None`: the whole is)."""
    element = batch if i is None else jax.tree.map(lambda leaf: leaf[i], batch)
    assert int(element.status) == int(single.status) == Status.SOLVE_OPT_SUCCESS.value
    assert int(element.iterations) == int(single.iterations)
    for name, value in single.values.items():
        np.testing.assert_allclose(element.values[name], value, rtol=0, atol=rtol * np.abs(value).max())
    np.testing.assert_allclose(element.objective, single.objective, rtol=rtol)
    np.testing.assert_allclose(element.gap, single.gap, rtol=0.05, atol=rtol)


@pytest.fixture(scope="module")
def jitted(dense):
    return quick_jit(lambda params, tol, most: dense.solve(params, tol=tol, max_iterations=most))


# pure


def test_jit_equals_the_eager_solve(jitted, dense_solution):
    solution = jitted(LASSO, 1e-4, 10_000)
    assert isinstance(solution, admm.Solution)
    assert_same(solution, None, dense_solution, 1e-6)


@pytest.mark.slow
def test_vmap_over_a_weight_equals_the_loop(dense):
    batch = jax.vmap(lambda lam: dense.solve({**LASSO, "lam": lam}))(jnp.asarray(LAMS))
    assert batch["x"].shape == (3, 10)
    for i, lam in enumerate(LAMS):
        assert_same(batch, i, dense.solve({**LASSO, "lam": lam}), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batching", ["sequential", "parallel"])
def test_jit_of_vmap_over_images_and_weights_equals_the_loop_without_matrices(large, batching):
    with jax.enable_x64(True):
        images, lams = np.stack([IMAGE, IMAGE.T + 0.5, -2 * IMAGE]), np.array([0.02, 0.1, 0.4])
        batch = quick_jit(jax.vmap(lambda B, lam: large.solve({"B": B, "lam": lam}, batching=batching)))(images, lams)
        assert batch["U"].dtype == jnp.float64
        assert len(set(np.asarray(batch.iterations).tolist())) > 1  # each ends by itself
        for i, (image, lam) in enumerate(zip(images, lams, strict=True)):
            assert_same(batch, i, large.solve({"B": image, "lam": lam}), 1e-7)


@pytest.mark.slow
def test_gradients_of_a_batch_equal_those_of_its_elements_either_way(large):
    lams = np.array([0.05, 0.2], np.float32)

    def loss(lam, batching):
        return jnp.sum(large.solve({**DEBLURRING, "lam": lam}, batching=batching, derivative_warning=False)["U"] ** 2)

    gradient = quick_jit(jax.grad(lambda lam: loss(lam, "auto")))
    of_each = quick_jit(jax.vmap(jax.grad(lambda lam: loss(lam, "sequential"))))
    of_sum = quick_jit(jax.grad(lambda lams: jnp.sum(jax.vmap(lambda lam: loss(lam, "parallel"))(lams))))
    single = [gradient(lam) for lam in lams]
    np.testing.assert_allclose(of_each(lams), single, rtol=1e-3)
    np.testing.assert_allclose(of_sum(lams), single, rtol=1e-3)


def test_a_solve_is_one_while_loop(dense, large):
    for model, params in ((dense, LASSO), (large, DEBLURRING)):
        assert outer_loops(jax.make_jaxpr(model.solve)(params).jaxpr) == 1


def outer_loops(jaxpr):
    """The `while_loop`s of a program that stand in no other loop."""
    count = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            count += 1
            continue
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                count += outer_loops(inner) if hasattr(inner, "eqns") else 0
    return count


def test_solve_touches_no_object(dense, dense_solution):
    assert dense.Status == Status.SOLVE_UNKNOWN.value
    with pytest.raises(admm.ADMMError, match="x has no value yet"):
        _ = dense.variables[0].X
    again = dense.solve(LASSO)
    np.testing.assert_array_equal(again["x"], dense_solution["x"])


def test_what_is_wrong_with_traced_numbers_is_told_by_the_status(dense, jitted):
    for bad in ({"lam": -0.5}, {"lam": np.nan}, {"b": np.where(np.arange(20) == 3, np.nan, OBSERVED)}):
        solution = jitted({**LASSO, **bad}, 1e-4, 10_000)
        assert int(solution.status) == Status.SOLVE_NAN_FOUND.value
        assert not bool(solution.converged)
        assert not np.isfinite(solution.gap)
    with pytest.raises(admm.ParameterError, match=r"'b' must have shape \(20,\), got \(19,\)"):
        jax.jit(dense.solve)({**LASSO, "b": OBSERVED[1:]})


def test_parameters_must_be_a_mapping(dense):
    with pytest.raises(admm.ADMMError, match=r'mapping such as \{"lam": 0.1\}, got 0.1'):
        dense.solve(0.1)


# dtypes


@pytest.mark.parametrize(("dtype", "tol", "accuracy"), [("float32", 1e-4, 1e-2), ("float64", 1e-6, 1e-3)])
def test_the_dtype_of_the_data_is_that_of_the_solve(dense, large, large_solution, dtype, tol, accuracy):
    with jax.enable_x64(dtype == "float64"):
        for model, params in ((dense, LASSO), (large, DEBLURRING)):
            solution = model.solve(jax.tree.map(lambda value: jnp.asarray(value, dtype), params))
            floats = [leaf for leaf in jax.tree.leaves(solution) if jnp.issubdtype(leaf.dtype, jnp.floating)]
            assert {leaf.dtype.name for leaf in floats} == {dtype}
            assert bool(solution.converged)
            assert float(solution.gap) <= tol  # which follows the dtype
    reference = large_solution["U"]
    np.testing.assert_allclose(solution["U"], reference, rtol=0, atol=3 * accuracy + 2e-2)


def test_float32_data_are_solved_in_float32_in_64_bit_mode(dense):
    with jax.enable_x64(True):
        single = jnp.asarray(OBSERVED, jnp.float32)
        assert jax.eval_shape(lambda: dense.solve({"b": single, "lam": 0.5}))["x"].dtype == jnp.float32
        traced = jax.eval_shape(lambda lam: dense.solve({"b": single, "lam": jnp.exp(lam)}), -1.0)
        assert traced["x"].dtype == jnp.float32  # a Python number adapts to the rest, traced too


def test_numpy_is_solved_in_the_default_dtype(dense, dense_solution):
    assert dense_solution["x"].dtype == jnp.float32
    assert isinstance(dense_solution["x"], jax.Array)
    with jax.enable_x64(True):
        assert dense.solve(LASSO)["x"].dtype == jnp.float64


def test_half_precision_is_solved_in_float32(dense):
    params = jax.tree.map(lambda value: jnp.asarray(value, jnp.bfloat16), LASSO)
    assert dense.solve(params)["x"].dtype == jnp.float32
    assert jax.eval_shape(dense.solve, params)["x"].dtype == jnp.float32


# starts


def test_a_solution_is_a_start(dense, large, dense_solution, large_solution):
    for model, params, cold in ((dense, LASSO, dense_solution), (large, DEBLURRING, large_solution)):
        warm = model.solve(params, init=cold)
        assert bool(warm.converged)
        assert int(warm.iterations) <= int(cold.iterations)
        np.testing.assert_allclose(warm.objective, cold.objective, rtol=2e-4)
    assert int(warm.iterations) < int(cold.iterations) / 2


def test_a_start_changes_the_time_and_not_the_outcome(large, large_solution):
    start = jax.tree.map(lambda leaf: leaf, large_solution)
    moved = {**DEBLURRING, "lam": 0.11}
    warm, cold = large.solve(moved, init=start), large.solve(moved)
    assert bool(warm.converged)
    assert bool(cold.converged)
    np.testing.assert_allclose(warm.objective, cold.objective, rtol=2e-4)
    assert int(warm.iterations) <= int(cold.iterations)


def test_a_start_of_another_dtype(dense):
    with jax.enable_x64(True):
        double = dense.solve(LASSO)
    for start in (double, jax.tree.map(np.asarray, double)):
        solution = dense.solve(LASSO, init=start)
        assert solution["x"].dtype == jnp.float32
        np.testing.assert_allclose(solution["x"], double["x"], atol=1e-3)


def test_a_start_by_name_by_variable_and_on_the_variable(dense, dense_solution):
    x = dense.variables[0]
    optimum = np.asarray(dense_solution["x"])
    stopped = {"max_iterations": 1, "polish": False}
    far = dense.solve(LASSO, init={"x": np.full(10, 50.0)}, **stopped)
    for init in ({"x": optimum}, {x: optimum.tolist()}, {"x": jnp.asarray(optimum)}):
        near = dense.solve(LASSO, init=init)
        assert bool(near.converged)
        np.testing.assert_allclose(near.objective, dense_solution.objective, rtol=1e-4)
    x.start = np.full(10, 50.0)
    started = dense.solve(LASSO, **stopped)
    overruled = dense.solve(LASSO, init={"x": np.zeros(10)}, **stopped)
    x.start = None
    np.testing.assert_array_equal(started.state.x["x"], far.state.x["x"])
    np.testing.assert_array_equal(overruled.state.x["x"], dense.solve(LASSO, **stopped).state.x["x"])
    assert not np.array_equal(overruled.state.x["x"], far.state.x["x"])


def test_a_state_of_another_structure_is_left_out(dense, dense_solution, large_solution):
    point = dense.solve(LASSO, init={"x": dense_solution["x"]}, max_iterations=3, tol=0.0)
    for state in (large_solution.state, None):
        start = dataclasses.replace(dense_solution, state=state)
        solution = dense.solve(LASSO, init=start, max_iterations=3, tol=0.0)
        np.testing.assert_array_equal(solution.state.x["x"], point.state.x["x"])


def test_a_start_that_does_not_fit_is_refused(dense, large_solution):
    x, other = dense.variables[0], admm.Var("x", 10)
    cases = [
        (large_solution, admm.ShapeError, r"init is a solution with other variables: it has \{'U': \(24, 24\)\}"),
        (3.0, admm.DataError, r"init must be a Solution or a mapping from variables to arrays, got 3\.0"),
        ({"y": np.ones(10)}, admm.DataError, "init names 'y', which is no variable of this model: x"),
        ({other: np.ones(10)}, admm.DataError, "init names 'x', which is no variable of this model"),
        ({3: np.ones(10)}, admm.DataError, "init names 3, which"),
        ({"x": np.ones(10), x: np.ones(10)}, admm.DataError, "init gives variable 'x' twice"),
        ({"x": np.ones(9)}, admm.ShapeError, r"the start of variable 'x' must have shape \(10,\), got \(9,\)"),
        ({"x": np.full(10, np.nan)}, admm.DataError, "the start of variable 'x' must be finite, got 10 NaN"),
    ]
    for init, kind, message in cases:
        with pytest.raises(kind, match=message):
            dense.solve(LASSO, init=init)
    with pytest.raises(admm.ShapeError, match=r"the start of x must have shape \(10,\), got \(2,\)"):
        x.start = [1.0, 2.0]


# options of one call


def test_options_are_of_one_call(dense, dense_solution):
    loose = dense.solve(LASSO, tol=1e-2)
    short = dense.solve(LASSO, max_iterations=1, polish=False)
    assert float(loose.gap) <= 1e-2
    assert int(short.iterations) == 1
    assert dense.getOption("max_iterations") == 10_000
    assert float(dense.solve(LASSO, rho=3.0, adapt_rho=False).rho) == 3.0
    same = dense.solve(LASSO, termination_relative_primal_dual_gap=1e-2)
    np.testing.assert_array_equal(same["x"], loose["x"])


def test_options_may_be_traced(jitted):
    assert int(jitted(LASSO, 1e-4, 1).iterations) == 1
    assert float(jitted(LASSO, 1e-2, 500).gap) <= 1e-2


def test_options_that_solve_refuses(dense):
    for options, message in (
        ({"tolerance": 1e-3}, "unknown option 'tolerance'"),
        ({"time_limit": 1.0}, "option 'time_limit' has no meaning in solve, only in optimize"),
        ({"solver_verbosity_level": 1}, "option 'solver_verbosity_level' has no meaning in solve"),
        ({"tol": 1e-3, "termination_relative_primal_dual_gap": 1e-3}, "are the same one, given twice"),
        ({"tol": -1.0}, "'tol' must lie between 0 and 1"),
    ):
        with pytest.raises(admm.DataError, match=message):
            dense.solve(LASSO, **options)
    with pytest.raises(admm.DataError, match="'relaxation' belongs to the compiled program: it cannot be traced"):
        jax.jit(lambda r: dense.solve(LASSO, relaxation=r))(1.5)


def test_maximising_is_minimising_the_negative(dense_solution):
    solution = lasso(maximised=True).solve(LASSO)
    np.testing.assert_array_equal(solution["x"], dense_solution["x"])
    np.testing.assert_array_equal(solution.objective, -dense_solution.objective)
    np.testing.assert_array_equal(solution.history.objective, -dense_solution.history.objective)
    assert float(solution.gap) >= 0
    residual = MATRIX @ np.asarray(solution["x"]) - OBSERVED
    by_hand = -0.5 * np.sum(residual**2) - 0.5 * np.sum(np.abs(solution["x"]))
    np.testing.assert_allclose(solution.objective, by_hand, rtol=1e-5)
