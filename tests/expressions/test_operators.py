"""Expressions among lists, NumPy, JAX and SciPy: the shape and the value of every mixture are NumPy's."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import admm_jax as admm
from admm_jax.expressions.evaluate import value_of
from admm_jax.expressions.facts import alike, is_affine, sign

RNG = np.random.default_rng(0)
POINT, MATRIX, SQUARE = RNG.normal(size=3), RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))

MIXTURES = {
    "scalar": lambda x: 2 * x - 1,
    "reflected scalar": lambda x: 1 - x / 2,
    "numpy scalar": lambda x: np.float64(2) * x + np.float32(1) - np.int64(3),
    "list": lambda x: [1, 2, 3] * x + [4, 5, 6],
    "numpy": lambda x: POINT * x - POINT + x * POINT,
    "numpy left of -": lambda x: POINT - x,
    "broadcast": lambda x: MATRIX + x,
    "outer broadcast": lambda x: x * POINT[:, None],
    "matmul": lambda x: MATRIX @ x,
    "right matmul": lambda x: x @ MATRIX.T,
    "jax": lambda x: jnp.asarray(POINT) * x + x * jnp.ones(3),
    "jax left of -": lambda x: jnp.ones(3) - x,
    "jax matmul": lambda x: jnp.eye(3) @ x + x @ jnp.eye(3),
    "sparse matmul": lambda x: sp.csr_matrix(MATRIX) @ x,
    "sparse array matmul": lambda x: sp.csr_array(MATRIX) @ x,
    "right sparse matmul": lambda x: x @ sp.csc_array(SQUARE),
    "sparse sum": lambda x: sp.coo_array(SQUARE) + x - sp.csr_matrix(SQUARE),
    "negative": lambda x: -(1 - x) + (+x),
    "slice": lambda x: x[1:] - x[:-1],
    "negative index": lambda x: x[-1] + x[0],
    "reversed": lambda x: x[::-1],
    "ellipsis and newaxis": lambda x: x[..., None] @ x[None, ::2][:, :1],
    "integer array": lambda x: x[[2, 0, 0]],
    "index matrix": lambda x: x[np.array([[0, 1], [2, 2]])],
    "mask": lambda x: x[np.array([True, False, True])],
    "reshape": lambda x: x.reshape(3, 1).T.reshape((-1,)),
    "power": lambda x: x**2 + np.square(x) + admm.square(x),
    "builtins": lambda x: abs(x) + sum(x),
    "numpy functions": lambda x: np.sum(x) + np.add(x, 1) + np.multiply(2, x) + np.abs(x) + np.transpose(x),
    "numpy sum along an axis": lambda x: np.sum(MATRIX * x, axis=1),
    "inner product": lambda x: x @ x + x.T @ SQUARE @ x,
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_mean_what_numpy_means(name):
    x = admm.Var("x", 3)
    build = MIXTURES[name]
    expression = build(x)
    assert isinstance(expression, admm.Expr)
    if "sparse" in name:  # SciPy itself does not broadcast a sum
        expected = {
            "sparse matmul": MATRIX @ POINT,
            "sparse array matmul": MATRIX @ POINT,
            "right sparse matmul": POINT @ SQUARE,
            "sparse sum": SQUARE + POINT - SQUARE,
        }[name]
    elif name.startswith("ellipsis"):
        expected = POINT[..., None] @ POINT[None, ::2][:, :1]
    else:
        expected = np.asarray(build(POINT))
    assert expression.shape == expected.shape
    np.testing.assert_allclose(value_of(expression, {x: POINT}), expected, rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_indexing_has_numpys_shape_or_error(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    parts = st.one_of(
        st.integers(-5, 4),
        st.slices(4),
        st.none(),
        st.just(...),
        st.lists(st.integers(-4, 3), min_size=1, max_size=3),
        st.lists(st.booleans(), min_size=1, max_size=4),
    )
    key = tuple(data.draw(st.lists(parts, max_size=3)))
    x = admm.Var("x", shape)
    value = np.arange(float(np.prod(shape))).reshape(shape)
    try:
        expected = value[key]
    except IndexError:
        with pytest.raises(admm.ShapeError, match=r"cannot index|a mask must have the shape"):
            x[key]
        return
    expression = x[key]
    assert expression.shape == np.shape(expected)
    np.testing.assert_array_equal(value_of(expression, {x: value}), expected)


def test_masks_select_pixels():
    x, mask = admm.Var("x", 3, 4), np.arange(12).reshape(3, 4) % 5 == 0
    value = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(value_of(x[mask], {x: value}), value[mask])


def test_an_expression_is_one_object_to_containers():
    x, y = admm.Var("x"), admm.Var("y")
    assert {x: 1, y: 2}[y] == 2
    assert np.asarray(x).shape == ()
    assert x.ndim == 0
    assert x.size == 1
    assert admm.Var("z", 2, 3).size == 6


def test_iteration_goes_along_the_first_axis():
    rows = list(admm.Var("x", 2, 3))
    assert [row.shape for row in rows] == [(3,), (3,)]


def test_long_sums_stay_shallow():
    x = admm.Var("x", 900)
    total = sum(x)
    assert len(total.args) == 900
    np.testing.assert_allclose(value_of(total, {x: np.ones(900)}), 900)


def test_leaves_are_reported_in_order():
    x, y, p = admm.Var("x", 3), admm.Var("y", 3), admm.Param("p")
    expression = p * y + x * 2 + p * x
    assert [v.name for v in expression.variables] == ["y", "x"]
    assert [q.name for q in expression.parameters] == ["p"]
    assert (p * 2 + 1).is_constant


def test_signs():
    x, u, w = admm.Var("x", 3), admm.Var("u", 3, nonneg=True), admm.Var("w", 3, nonpos=True)
    p, q = admm.Param("p"), admm.Param("q", nonneg=True)
    assert [sign(e) for e in (x, u, w, -u, u + 1, u - 1, u - w, 2 * u, -2 * u, u * w)] == [
        0,
        1,
        -1,
        -1,
        1,
        0,
        1,
        1,
        -1,
        -1,
    ]
    assert [sign(e) for e in (p * u, q * u, abs(x), -abs(x), admm.norm(x), u[1:], admm.sum(w))] == [
        0,
        1,
        1,
        -1,
        1,
        1,
        -1,
    ]
    assert [sign(e) for e in (admm.maximum(x, 0), admm.minimum(x, -1), admm.maximum(w, -1))] == [1, -1, -1]


def test_affinity():
    x, p = admm.Var("x", 3), admm.Param("p")
    assert all(map(is_affine, (x, p, p * x + 1, MATRIX @ x - 2, x[1:] / p, admm.sum(-x).reshape(1))))
    assert not any(map(is_affine, (x * x, abs(x), x**2 + x, admm.norm(x), x @ x, 2 * abs(x))))


def test_likeness_is_by_structure_and_value():
    x, y = admm.Var("x", 3), admm.Var("y", 3)
    assert alike(MATRIX @ x - 1, MATRIX.copy() @ x - 1)
    assert alike(sp.csr_array(MATRIX) @ x, sp.coo_array(MATRIX) @ x)
    for other in (MATRIX @ y - 1, MATRIX @ x - 2, MATRIX @ x + 1, 2 * MATRIX @ x - 1, x[:2], abs(x)):
        assert not alike(MATRIX @ x - 1, other)
    assert not alike(x[1:], x[:-1])


@pytest.mark.parametrize(
    ("args", "attributes", "name", "shape"),
    [
        ((), {}, None, ()),
        ((3,), {}, None, (3,)),
        ((2, 3), {}, None, (2, 3)),
        (((2, 3),), {}, None, (2, 3)),
        (("U",), {}, "U", ()),
        (("U", 2, 3), {}, "U", (2, 3)),
        (("U", (2, 3)), {}, "U", (2, 3)),
        ((np.int64(2), 3), {"name": "U"}, "U", (2, 3)),
        ((None, 4), {"nonneg": True}, None, (4,)),
    ],
)
def test_forms_of_a_variable(args, attributes, name, shape):
    variable = admm.Var(*args, **attributes)
    assert (variable.name, variable.shape) == (name, shape)
    assert variable.start is None


def test_forms_of_a_parameter():
    assert admm.Param("p").shape == ()
    assert admm.Param("p", 3).shape == (3,)
    assert admm.Param("p", 3, 2).shape == admm.Param("p", (3, 2)).shape == (3, 2)


def test_start_is_checked_and_copied():
    x = admm.Var("x", 2)
    start = np.zeros(2)
    x.start = start
    start[0] = 5
    np.testing.assert_array_equal(x.start, [0, 0])
    x.start = None
    assert x.start is None
