from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from admm_jax.operators.base import (
    Broadcast,
    Index,
    MatMul,
    Operator,
    Reshape,
    Scale,
    SparseMatMul,
    Sum,
    Transpose,
)
from admm_jax.operators.difference import Difference, Divergence
from tests.operators.dense import DTYPES, check_matrix, precision

Case = tuple[Operator, Callable[[np.ndarray], np.ndarray]]
RNG = np.random.default_rng(7)
VECTOR, MATRIX, MAP = RNG.uniform(-1, 1, 4), RNG.uniform(-1, 1, (3, 4)), RNG.uniform(-1, 1, (4, 2))
SPARSE = scipy.sparse.coo_array(np.where(RNG.random((3, 4)) < 0.6, RNG.uniform(-1, 1, (3, 4)), 0))


def sparse(in_shape: tuple[int, ...], side: str, dtype: str) -> SparseMatMul:
    rows, cols = (jnp.asarray(c, jnp.int32) for c in SPARSE.coords)
    return SparseMatMul(jnp.asarray(SPARSE.data, dtype), rows, cols, SPARSE.shape, in_shape, side)


CASES: dict[str, Callable[[str], Case]] = {
    "scale by a number": lambda d: (Scale(jnp.asarray(-1.5, d), (2, 3)), lambda x: -1.5 * x),
    "scale by a map": lambda d: (Scale(jnp.asarray(MAP, d), (4, 2)), lambda x: MAP * x),
    "scale by a row": lambda d: (Scale(jnp.asarray(VECTOR[None], d), (3, 4)), lambda x: VECTOR[None] * x),
    "broadcast a number": lambda d: (Broadcast((), (2, 3)), lambda x: np.broadcast_to(x, (2, 3))),
    "broadcast a row": lambda d: (Broadcast((3,), (2, 2, 3)), lambda x: np.broadcast_to(x, (2, 2, 3))),
    "broadcast a column": lambda d: (Broadcast((2, 1), (2, 3)), lambda x: np.broadcast_to(x, (2, 3))),
    "broadcast to itself": lambda d: (Broadcast((2, 1), (2, 1)), lambda x: x),
    "reshape": lambda d: (Reshape((2, 6), (4, 3)), lambda x: x.reshape(4, 3)),
    "transpose a matrix": lambda d: (Transpose((2, 3)), lambda x: x.T),
    "transpose three axes": lambda d: (Transpose((2, 3, 4)), lambda x: x.T),
    "sum": lambda d: (Sum((2, 3), (0, 1)), np.sum),
    "sum over an axis": lambda d: (Sum((2, 3, 4), (1,)), lambda x: x.sum(1)),
    "sum over two axes": lambda d: (Sum((2, 3, 4), (0, 2)), lambda x: x.sum((0, 2))),
    "index": lambda d: (Index((3, 4), (4,), (1,)), lambda x: x[1]),
    "index from the end": lambda d: (Index((3, 4), (3,), (("ellipsis",), -1)), lambda x: x[..., -1]),
    "slice": lambda d: (Index((5, 4), (2, 4), (("slice", 1, None, 2),)), lambda x: x[1::2]),
    "slice backwards": lambda d: (
        Index((5, 4), (5, 2), (("slice", None, None, -1), ("slice", None, 2, None))),
        lambda x: x[::-1, :2],
    ),
    "new axis": lambda d: (Index((3,), (3, 1), (("slice", None, None, None), ("newaxis",))), lambda x: x[:, None]),
    "repeated entries": lambda d: (Index((3, 2), (4, 2), (("array", (2, 0, 2, -1)),)), lambda x: x[[2, 0, 2, -1]]),
    "paired entries": lambda d: (
        Index((3, 2), (3,), (("array", (2, 0, 2)), ("array", (1, 1, 1)))),
        lambda x: x[[2, 0, 2], [1, 1, 1]],
    ),
    "matrix @ vector": lambda d: (MatMul(jnp.asarray(MATRIX, d), (4,), "left"), lambda x: MATRIX @ x),
    "matrix @ matrix": lambda d: (MatMul(jnp.asarray(MATRIX, d), (4, 2), "left"), lambda x: MATRIX @ x),
    "row @ vector": lambda d: (MatMul(jnp.asarray(VECTOR, d), (4,), "left"), lambda x: VECTOR @ x),
    "row @ matrix": lambda d: (MatMul(jnp.asarray(VECTOR, d), (4, 3), "left"), lambda x: VECTOR @ x),
    "vector @ matrix": lambda d: (MatMul(jnp.asarray(MAP, d), (4,), "right"), lambda x: x @ MAP),
    "matrix @ map": lambda d: (MatMul(jnp.asarray(MAP, d), (3, 4), "right"), lambda x: x @ MAP),
    "vector @ vector": lambda d: (MatMul(jnp.asarray(VECTOR, d), (4,), "right"), lambda x: x @ VECTOR),
    "matrix @ vector constant": lambda d: (MatMul(jnp.asarray(VECTOR, d), (3, 4), "right"), lambda x: x @ VECTOR),
    "sparse @ vector": lambda d: (sparse((4,), "left", d), lambda x: SPARSE @ x),
    "sparse @ matrix": lambda d: (sparse((4, 2), "left", d), lambda x: SPARSE @ x),
    "vector @ sparse": lambda d: (sparse((3,), "right", d), lambda x: x @ SPARSE.toarray()),
    "matrix @ sparse": lambda d: (sparse((2, 3), "right", d), lambda x: x @ SPARSE.toarray()),
    "difference of a signal": lambda d: (Difference((4,)), differences),
    "difference of an image": lambda d: (Difference((3, 4)), differences),
    "difference of one row": lambda d: (Difference((1, 3)), differences),
    "difference of a volume": lambda d: (Difference((2, 3, 2)), differences),
    "difference with spacing": lambda d: (Difference((2, 3, 2), (2, 0), (0.5, 3.0)), spaced),
    "divergence": lambda d: (Divergence(Difference((2, 3, 2), (2, 0), (0.5, 3.0))), divergence),
}


def differences(x: np.ndarray) -> np.ndarray:
    out = np.zeros((x.ndim, *x.shape))
    for axis in range(x.ndim):
        inner = tuple(slice(0, -1) if i == axis else slice(None) for i in range(x.ndim))
        out[axis][inner] = np.diff(x, axis=axis)
    return out


def spaced(x: np.ndarray) -> np.ndarray:
    return differences(x)[[2, 0]] / np.array([0.5, 3.0]).reshape(2, 1, 1, 1)


def divergence(y: np.ndarray) -> np.ndarray:
    """-sum_e y_e D_ei, from the matrix of the differences."""
    columns = np.stack([spaced(e.reshape(2, 3, 2)) for e in np.eye(12)])
    return -np.tensordot(columns, y, 4).reshape(2, 3, 2)


def test_what_a_difference_says_of_its_gram_matrix() -> None:
    with precision("float64"):
        op = Difference((2, 3, 2), (2, 0), (0.5, 3.0))
        weight = np.arange(1.0, 25.0).reshape(op.out_shape)
        columns = np.stack([op(e.reshape(2, 3, 2)) for e in np.eye(12)])
        own = np.sum(columns**2 * weight, axis=(1, 2, 3, 4)).reshape(2, 3, 2)
        np.testing.assert_allclose(op.gram_diagonal(jnp.asarray(weight)), own, rtol=1e-12)
        assert np.linalg.norm(columns.reshape(12, -1), 2) ** 2 <= op.squared_norm
        assert op.edge_length is None
        assert Difference((2, 3), (1, 0), (0.5, 3.0)).edge_length == 3.0
        x = np.random.default_rng(0).normal(size=(4, 6, 5))
        symbol = Difference(x.shape, (2, 0), (0.5, 3.0)).gram_symbol((4, 6, 5))
        assert symbol is not None
        periodic = sum((2 * x - np.roll(x, 1, a) - np.roll(x, -1, a)) / h**2 for a, h in ((2, 0.5), (0, 3.0)))
        np.testing.assert_allclose(
            np.fft.irfftn(symbol * np.fft.rfftn(x), x.shape, axes=(0, 1, 2)), periodic, atol=1e-12
        )


@pytest.mark.parametrize("name", CASES)
def test_operator_is_its_matrix_and_the_adjoint_its_transpose(name: str) -> None:
    arithmetic = any(word in name for word in ("@", "image", "map"))
    for dtype in DTYPES if arithmetic else ("float64",):
        with precision(dtype):
            op, function = CASES[name](dtype)
            check_matrix(op, function, dtype, terms=4)


@st.composite
def shaped_operators(draw: st.DrawFn) -> Case:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    kind = draw(st.sampled_from(["broadcast", "reshape", "sum", "slice", "difference", "transpose"]))
    if kind == "broadcast":
        source = tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, len(shape))) :]
        return Broadcast(source, shape), lambda x: np.broadcast_to(x, shape)
    if kind == "reshape":
        target = draw(st.permutations(shape))
        return Reshape(shape, tuple(target)), lambda x: x.reshape(target)
    if kind == "sum":
        axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
        return Sum(shape, axes), lambda x: x.sum(axes)
    if kind == "slice":
        keys = tuple(draw(st.slices(n)) for n in shape)
        out_shape = np.empty(shape)[keys].shape
        if 0 not in out_shape:
            index = tuple(("slice", k.start, k.stop, k.step) for k in keys)
            return Index(shape, out_shape, index), lambda x: x[keys]
    if kind == "difference":
        return Difference(shape), differences
    return Transpose(shape), lambda x: x.T


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(shaped_operators())
def test_operators_of_any_shape(case: Case) -> None:
    with precision("float64"):
        check_matrix(*case, "float64", terms=4)
