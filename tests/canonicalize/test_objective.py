"""The canonical problem has the value of the expression, everywhere: checked on random models at random points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import admm_jax as admm
from admm_jax.expressions.evaluate import value_of
from tests.canonicalize.numbers import value

RNG = np.random.default_rng(0)
A, S, PSD = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3)), np.diag([1.0, 2.0, 0.0])
K, W = RNG.normal(size=(2, 3)), RNG.uniform(size=(4, 5))


def check(objective, sense=admm.MINIMIZE, seed=0):
    """The problem's value is the expression's, at a random point."""
    model = admm.Model()
    model.setObjective(objective, sense)
    params = {q.name: PARAMS[q.name] for q in model.parameters}
    rng = np.random.default_rng(seed)
    point = {v: rng.normal(size=v.shape) for v in model.variables}
    bound = {p: params[p.name] for p in model.parameters}
    expected = float(np.reshape(value_of(objective, {**point, **bound}), ()))
    problem = model.problem(params)
    assert all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves(problem))
    out, _ = value(problem, {v.label: array for v, array in point.items()})
    np.testing.assert_allclose(sense * out, expected, rtol=1e-10, atol=1e-10)
    return problem


PARAMS = {"p": 1.7, "P": S @ S.T, "weights": W}


def leaves():
    """New variables and parameters: a variable belongs to one model only."""
    x, U, p, P = admm.Var("x", 3), admm.Var("U", 4, 5), admm.Param("p"), admm.Param("P", 3, 3)
    return x, U, p, P, admm.Param("weights", 4, 5)


TERMS = {
    "linear": lambda x, U, p, P, weights: 3 * admm.sum(x) - x[0] + 2,
    "linear through every operation": lambda x, U, p, P, weights: (
        admm.sum(admm.conv2d(U, K, "full") * RNG.normal(size=(5, 7)))
        + admm.sum(admm.corr2d(U, K, "valid")[1:, ::2].T @ RNG.normal(size=2))
        + admm.sum(U.reshape(2, 10) / 3, axis=1)[0]
        + admm.sum(-(x[:, None] + x)[[0, 1, 1], [2, 0, 0]])
        + admm.sum(A @ x)
        + admm.sum(sp.csr_array(A) @ x)
        + admm.sum(x[None] @ sp.csr_array(S))
        + np.ones(3) @ x
    ),
    "least squares": lambda x, U, p, P, weights: 0.5 * admm.sum(admm.square(A @ x - 1)),
    "means": lambda x, U, p, P, weights: p * admm.mean(abs(A @ x - 1)) + admm.sum(admm.mean(U * U, axis=1)),
    "differences": lambda x, U, p, P, weights: (
        admm.norm(admm.diff(x, 2), 1) + admm.sum_squares(admm.diff(U - W, axis=0)) + np.ones(4) @ abs(admm.diff(U)[0])
    ),
    "padded": lambda x, U, p, P, weights: (
        admm.sum(abs(admm.pad(x, 2) - 1))
        + admm.sum(RNG.uniform(size=(6, 7)) * admm.pad(abs(U), 1, "symmetric"))
        + admm.sum_squares(admm.conv2d(admm.pad(U, ((1, 1), (2, 2)), "wrap"), K, "valid"))
    ),
    "stacked": lambda x, U, p, P, weights: (
        admm.norm(admm.concatenate([A @ x - 1, 2 * x, W[0]]))
        + admm.sum(RNG.uniform(size=6) * admm.hstack([abs(x), admm.square(x)]))
        + admm.sum_squares(admm.vstack([U, weights, U[1:2]]) - p)
    ),
    "rolled": lambda x, U, p, P, weights: (
        admm.sum(abs(admm.roll(U, 1, axis=0) - U)) + p * admm.sum_squares(admm.roll(U - W, -8)) + admm.roll(x, 3)[0]
    ),
    "transposed": lambda x, U, p, P, weights: (
        admm.sum_squares(admm.transpose(U.reshape(2, 2, 5), (2, 0, 1))[1] - p)
        + admm.sum(RNG.uniform(size=(5, 2, 2)) * admm.transpose(abs(U.reshape(2, 2, 5)), (2, 0, 1)))
        + admm.norm(admm.ravel(U) - admm.flatten(weights), 1)
    ),
    "norms of groups": lambda x, U, p, P, weights: (
        p * admm.sum(admm.norm(U - W, axis=0))
        + np.arange(4.0) @ admm.norm(2 * U, axis=1)
        + admm.sum(admm.norm(U.reshape(2, 2, 5), axis=(0, 2)))
        + admm.norm(U.reshape(2, 2, 5), axis=(0, 1, 2))
        + admm.sum(admm.norm(U, 1, axis=0))
        + admm.sum(np.ones((3, 1)) * admm.norm(U, axis=-1)[1:])
    ),
    "squares of norms of groups": lambda x, U, p, P, weights: (
        admm.sum(np.arange(5.0) * admm.norm(U - weights, axis=0) ** 2) + admm.mean(admm.norm(U, axis=1) ** 2)
    ),
    "sum_squares": lambda x, U, p, P, weights: p * admm.sum_squares(A @ x - 1) + admm.sum_squares(U),
    "weighted least squares": lambda x, U, p, P, weights: admm.sum(np.arange(4.0) * (A @ x - 1) ** 2),
    "deblurring": lambda x, U, p, P, weights: (
        p * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, K, "same") - W))
    ),
    "quadratic form": lambda x, U, p, P, weights: x.T @ PSD @ x,
    "quadratic form of a parameter": lambda x, U, p, P, weights: (A[:3] @ x - 1).T @ P @ (A[:3] @ x - 1) * p,
    "inner product": lambda x, U, p, P, weights: (A @ x - 1).T @ (A @ x - 1),
    "inner product of columns": lambda x, U, p, P, weights: (x.reshape(3, 1) - 1).T @ (x.reshape(3, 1) - 1),
    "inner product with factors": lambda x, U, p, P, weights: (-2 * (A @ x)).T @ (-(A @ x) / p),
    "elementwise product": lambda x, U, p, P, weights: admm.sum(2 * x * x * np.arange(3.0)) + (np.arange(3.0) * x) @ x,
    "negated product": lambda x, U, p, P, weights: -admm.sum((-x) * x / p),
    "norms": lambda x, U, p, P, weights: (
        admm.norm(A @ x - 1) + 2 * admm.norm(x, 1) + admm.norm(x - 1, np.inf) + admm.norm(U - W, "fro")
    ),
    "squares of norms": lambda x, U, p, P, weights: (
        admm.norm(x) ** 2 + admm.square(p * admm.norm(U - W)) + admm.sum(abs(x) ** 2)
    ),
    "absolute values": lambda x, U, p, P, weights: (
        W[0, :3] @ abs(x) + admm.sum(abs(A @ x)[1:] * 2) + admm.abs(x[0] - 1)
    ),
    "absolute values of nonnegatives": lambda x, U, p, P, weights: admm.abs(admm.norm(x)) + admm.sum(abs(abs(x))),
    "blurred absolute values": lambda x, U, p, P, weights: admm.sum(admm.conv2d(abs(U), np.abs(K), "same") * W),
    "broadcast absolute values": lambda x, U, p, P, weights: (
        admm.sum(abs(x) + np.ones((2, 3))) + admm.sum(W[:3, :2] * abs(x)[:, None])
    ),
    "huber": lambda x, U, p, P, weights: (
        p * admm.sum(admm.huber(A @ x - 1, 0.5)) + admm.sum(admm.huber(x, [1, 2, 3]) * W[0, :3])
    ),
    "broadcast huber": lambda x, U, p, P, weights: admm.sum(admm.huber(x, np.ones((2, 1)))),
    "counts": lambda x, U, p, P, weights: (
        p * admm.kullback_leibler(A @ x + 20, np.arange(len(A))) + admm.kullback_leibler(U + 9, abs(W), abs(W))
    ),
    "hinge": lambda x, U, p, P, weights: admm.sum(admm.maximum(1 - A @ x, 0)) + admm.sum(admm.maximum(W[:2, :3], x)),
    "total variation": lambda x, U, p, P, weights: (
        admm.tv2d(U, 2) + admm.tv2d(2 * U - W, weight=weights) + admm.tv2d(U, 2, weight=W)
    ),
    "edge weights": lambda x, U, p, P, weights: admm.tv2d(U, weight=np.stack([W, 2 * W])),
    "signals": lambda x, U, p, P, weights: (
        admm.tv1d(A @ x) + admm.tv1d(x, [1, 2]) + admm.tv1d(x, weight=p) + admm.tv1d(x - W[0, :3], p=2)
    ),
    "weighted signals": lambda x, U, p, P, weights: (
        admm.tv1d(x, [1.0, 2.0], p=2) + admm.tv1d(x, [1.0, 2.0, 3.0]) + admm.tv1d(x, p, 2)
    ),
    "column as objective": lambda x, U, p, P, weights: (x[:1] ** 2).reshape(1, 1),
    "parameters everywhere": lambda x, U, p, P, weights: (
        admm.sum(abs(P @ x / p - p)) + admm.sum((weights * (U - weights)) ** 2)
    ),
    "parameter as kernel": lambda x, U, p, P, weights: (
        admm.sum(admm.conv2d(U, P, "same") ** 2) + admm.sum(admm.conv2d(weights, P) * U)
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_value(name):
    check(TERMS[name](*leaves()))


@pytest.mark.parametrize("name", ["least squares", "deblurring", "norms", "hinge", "quadratic form", "linear"])
def test_maximise_is_minimise_the_negative(name):
    check(-TERMS[name](*leaves()), admm.MAXIMIZE)


def test_concave_atoms_are_maximised():
    x = admm.Var("x", 3)
    check(admm.sum(admm.minimum(x, 1)) - admm.norm(x), sense=admm.MAXIMIZE)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_models(data):
    """Random affine expressions inside random atoms, added with random weights."""
    v, m = admm.Var("v", 4), admm.Var("M", 4, 4)
    numbers = st.floats(-2, 2).map(lambda t: round(t, 2))
    arrays = st.integers(0, 2**31).map(lambda s: np.random.default_rng(s).normal(size=(4, 4)))
    image = st.recursive(
        st.sampled_from([m, v[:, None] + np.zeros(4), m.T, m + v]),
        lambda inner: st.one_of(
            st.tuples(inner, numbers).map(lambda t: t[0] * t[1]),
            st.tuples(inner, arrays).map(lambda t: t[1] * t[0]),
            st.tuples(inner, arrays).map(lambda t: t[0] - t[1]),
            st.tuples(inner, arrays).map(lambda t: t[1] @ t[0]),
            st.tuples(inner, arrays).map(lambda t: t[0] @ sp.csr_array(t[1])),
            st.tuples(inner, inner).map(lambda t: t[0] + t[1]),
            st.tuples(inner, arrays).map(lambda t: admm.conv2d(t[0], t[1][:2, :3])),
            st.tuples(inner, arrays).map(lambda t: admm.corr2d(t[0], t[1][:3, :2], "full")[1:5, :4]),
            inner.map(lambda e: e.reshape(2, 8).T.reshape(4, 4)),
            inner.map(lambda e: e[::-1, [0, 2, 1, 1]]),
            inner.map(lambda e: -e + admm.sum(e, axis=0)),
        ),
        max_leaves=4,
    )
    convex = st.one_of(
        image.map(lambda e: admm.sum(admm.square(e))),
        image.map(lambda e: admm.sum(abs(e))),
        image.map(lambda e: admm.sum(admm.huber(e, 0.7))),
        image.map(lambda e: admm.sum(admm.maximum(e, 0.3))),
        image.map(lambda e: admm.norm(e)),
        image.map(lambda e: admm.norm(e.reshape(-1), np.inf)),
        image.map(lambda e: admm.norm(e[1], 1)),
        image.map(lambda e: admm.tv2d(e, 1)),
        image.map(lambda e: admm.tv2d(e, 2)),
        image.map(lambda e: admm.tv1d(e[:, 2])),
        image.map(lambda e: e[0] @ e[0]),
        st.tuples(image, arrays).map(lambda t: t[0][0] @ (t[1] @ t[1].T) @ t[0][0]),
        st.tuples(image, arrays).map(lambda t: admm.sum(np.abs(t[1]) * abs(t[0]))),
    )
    terms = data.draw(st.lists(st.tuples(st.floats(0, 3), convex), min_size=1, max_size=3))
    linear = data.draw(image)
    check(sum((w * term for w, term in terms), admm.sum(linear)), seed=data.draw(st.integers(0, 99)))


def test_bounds_of_a_variable_become_one_box():
    y = admm.Var("y", 3, nonneg=True)
    model = admm.Model()
    model.setObjective(admm.sum(y) + admm.sum(admm.inrange(y, -1, [1, 2, np.inf])))
    model.addConstr(y <= 1.5)
    model.addConstr(0.5 <= y[:, None].reshape(3))
    (box, other) = sorted(model.problem().penalties, key=lambda penalty: len(penalty.map.chains[0].ops))
    np.testing.assert_array_equal(box.function.lower, [0, 0, 0])
    np.testing.assert_array_equal(box.function.upper, [1, 1.5, 1.5])
    assert box.map.chains[0].ops == ()
    assert len(other.map.chains[0].ops) == 2


def test_indicator_counts_only_where_its_weight_does():
    x, model = admm.Var("x", 3), admm.Model()
    model.setObjective(admm.sum(admm.inrange(x, 0, 1)[1:]) + admm.sum(x))
    (box,) = model.problem().penalties
    np.testing.assert_array_equal(box.function.lower, [-np.inf, 0, 0])
    np.testing.assert_array_equal(box.function.upper, [np.inf, 1, 1])


def test_problems_that_differ_in_numbers_share_their_structure():
    def problem(weight, shift, bound):
        y = admm.Var("y", 3)
        model = admm.Model()
        model.setObjective(weight * admm.norm(y - shift, 1) + admm.sum((2 * y - weight) ** 2))
        model.addConstr(admm.norm(y) <= bound)
        return jax.tree.structure(model.problem())

    assert problem(1.0, 2.0, 3.0) == problem(0.5, -1.0, 9.0)


def jax_problem(dtype):
    model = admm.Model()
    own = leaves()
    model.setObjective(
        sum(TERMS[name](*own) for name in ("deblurring", "parameters everywhere", "parameter as kernel"))
    )
    return model, {name: jnp.asarray(array, dtype) for name, array in PARAMS.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jax_parameters_give_a_problem_of_their_dtype(dtype):
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        model, params = jax_problem(dtype)
        eager, traced = model.problem(params), jax.jit(model.problem)(params)
    reference = model.problem(PARAMS)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for problem in (eager, traced):
        assert jax.tree.structure(problem) == jax.tree.structure(reference)
        for leaf, expected in zip(jax.tree.leaves(problem), jax.tree.leaves(reference), strict=True):
            assert leaf.dtype == dtype
            np.testing.assert_allclose(leaf, expected, rtol=tolerance, atol=tolerance)


def test_constants_stay_known_under_jit():
    model, K = admm.Model(), RNG.normal(size=(3, 3)).astype("float32")
    U, lam = admm.Var("U", 4, 5), admm.Param("lam")
    model.setObjective(lam * admm.tv2d(U) + admm.sum(admm.conv2d(U, K) ** 2))

    @jax.jit
    def trace(lam):
        kernel = model.problem({"lam": lam}).quadratics[0].map.chains[0].ops[0].kernel
        assert isinstance(kernel, np.ndarray)
        return lam

    trace(jnp.float32(1.0))


def test_problem_is_traceable_by_vmap_and_grad():
    with jax.enable_x64(True):
        model, params = jax_problem("float64")
        point = {v.label: jnp.asarray(RNG.normal(size=v.shape)) for v in model.variables}

        def objective(params):
            problem = model.problem(params)
            out = problem.constant
            for q in problem.quadratics:
                out = out + 0.5 * jnp.sum(q.weight * (q.map(point) - q.data) ** 2)
            for g in problem.penalties:
                out = out + g.function(g.map(point) + g.offset)
            return out + sum(jnp.vdot(c, point[name]) for name, c in problem.linear.items())

        batch = {**params, "p": jnp.array([0.5, 1.0, 2.0])}
        axes = ({name: 0 if name == "p" else None for name in params},)
        many = jax.jit(jax.vmap(objective, axes))(batch)
        objective = jax.jit(objective)
        one = [objective({**params, "p": t}) for t in batch["p"]]
        np.testing.assert_allclose(many, one, rtol=1e-12)
        step = 1e-6
        slope = (objective({**params, "p": 1.7 + step}) - objective({**params, "p": 1.7 - step})) / (2 * step)
        np.testing.assert_allclose(jax.grad(objective)(params)["p"], slope, rtol=1e-6)


@pytest.mark.parametrize("matrix", [np.eye(3), PSD, S @ S.T])
def test_quadratic_forms_have_a_derivative_in_their_matrix(matrix):
    model = admm.Model()
    y, Q = admm.Var("y", 3), admm.Param("Q", 3, 3)
    model.setObjective(y.T @ Q @ y)
    point, tangent = RNG.normal(size=3), S + S.T
    with jax.enable_x64(True):

        def form(matrix):
            (q,) = model.problem({"Q": matrix}).quadratics
            return 0.5 * jnp.sum(q.weight * (q.map({"y": jnp.asarray(point)}) - q.data) ** 2)

        out, slope = jax.jit(lambda m: jax.jvp(form, (m,), (jnp.asarray(tangent),)))(jnp.asarray(matrix))
    np.testing.assert_allclose(out, point @ matrix @ point, rtol=1e-10)
    np.testing.assert_allclose(slope, point @ tangent @ point, rtol=1e-6)


def test_traced_forms_that_are_not_convex_give_nan():
    model = admm.Model()
    y, Q = admm.Var("y", 3), admm.Param("Q", 3, 3)
    model.setObjective(y.T @ Q @ y)
    problem = jax.jit(model.problem)({"Q": -jnp.eye(3)})
    assert any(bool(jnp.isnan(leaf).any()) for leaf in jax.tree.leaves(problem))


def test_model_built_under_jit():
    @jax.jit
    def data_of(data):
        y = admm.Var("y", 3)
        model = admm.Model()
        model.setObjective(admm.sum((y - data) ** 2) + data[0] * admm.norm(y, 1))
        return model.problem().quadratics[0].data

    np.testing.assert_allclose(data_of(jnp.arange(3.0)), [0, 1, 2])


def test_large_quadratic_forms_say_what_to_write():
    z, model = admm.Var("z", 9000), admm.Model()
    with pytest.raises(admm.ModelError, match=r"too large to be factorised.* write sum\(square\(L @ x\)\)"):
        model.setObjective(z @ (sp.eye_array(9000) @ z))


def test_problem_of_constants_is_kept_until_the_model_changes():
    model = admm.Model()
    y = admm.Var("y", 3)
    model.setObjective(admm.sum(y**2))
    first = model.problem()
    assert model.problem() is first
    model.addConstr(y >= 1)
    assert len(model.problem().penalties) == 1


def test_terms_of_no_entries_are_left_out():
    """A mask that picks no pixel, as where none is saturated: the term is zero, and the constraint says nothing."""
    none, data = np.zeros((4, 5), bool), np.arange(20.0).reshape(4, 5)
    x, model = admm.Var("x", 4, 5), admm.Model()
    seen = admm.conv2d(x, np.ones((2, 2)))[none]
    empty = admm.norm(x[none], 1) + admm.kullback_leibler(seen + 1, np.zeros(0)) + admm.sum_squares(seen)
    model.setObjective(admm.sum_squares(x - data) + empty + admm.norm(seen))
    model.addConstr(seen >= 1)
    problem = model.problem()
    assert (len(problem.quadratics), len(problem.penalties)) == (1, 0)
