"""Operators stacked into one: on one x or each on its own part, with different numbers and places."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from admm_jax.operations.placing import Permute, Place
from admm_jax.operators.base import (
    Broadcast,
    Index,
    MatMul,
    Reshape,
    Scale,
    SparseMatMul,
    Sum,
    Transpose,
)
from admm_jax.operators.difference import Difference
from admm_jax.operators.stacked import Each, Gather
from admm_jax.testing import check_operator

RNG = np.random.default_rng(4)
COUNT = 3


def cut(index, in_shape=(5, 4)):
    return Index(in_shape, np.empty(in_shape)[Index(in_shape, (), index)._key()].shape, index)


def sparse(i):
    rows, cols = RNG.integers(0, 3, 5).astype(np.int32), RNG.integers(0, 4, 5).astype(np.int32)
    return SparseMatMul(RNG.normal(size=5), rows, cols, (3, 4), (4,), "left")


DIFFERENT = {
    "numbers": lambda i: Scale(np.asarray(RNG.normal()), (2, 3)),
    "numbers and maps": lambda i: Scale(RNG.normal(size=(1, 3) if i else ()), (2, 3)),
    "rows": lambda i: MatMul(RNG.normal(size=4), (4,), "left"),
    "matrices": lambda i: MatMul(RNG.normal(size=(3, 4)), (4,), "left"),
    "matrices @ matrix": lambda i: MatMul(RNG.normal(size=(3, 4)), (4, 2), "left"),
    "rows @ matrix": lambda i: MatMul(RNG.normal(size=4), (4, 2), "left"),
    "vector @ matrices": lambda i: MatMul(RNG.normal(size=(4, 3)), (4,), "right"),
    "matrix @ matrices": lambda i: MatMul(RNG.normal(size=(4, 3)), (2, 4), "right"),
    "sparse matrices": sparse,
    "entries": lambda i: cut((i, 3 - i)),
    "rows of one array": lambda i: cut((i,)),
    "columns": lambda i: cut((("slice", None, None, None), i)),
    "blocks in a row": lambda i: cut((("slice", 2 * i, 2 * i + 2, None),), (6,)),
    "blocks in a row, in the middle": lambda i: cut((("slice", 1 + 2 * i, 3 + 2 * i, None),), (8,)),
    "blocks that overlap": lambda i: cut((("slice", i, i + 3, None),), (6,)),
    "repeated entries": lambda i: cut((("array", (i, 0, i)),)),
}
SAME = {
    "slice": lambda i: cut((("slice", 1, None, 2),)),
    "reshape": lambda i: Reshape((2, 3), (6,)),
    "broadcast": lambda i: Broadcast((3,), (2, 3)),
    "transpose": lambda i: Transpose((2, 3)),
    "sum": lambda i: Sum((2, 3), (1,)),
    "difference": lambda i: Difference((4, 3)),
    "place": lambda i: Place((2, 3), (4, 5), (1, 2)),
    "permute": lambda i: Permute((2, 3, 4), (1, 2, 0)),
}


def applied(ops, x):
    for op in ops:
        x = op(x)
    return x


# operators without numbers that act on one x are one operator
@pytest.mark.parametrize(
    ("name", "shared"), [(name, True) for name in DIFFERENT] + [(name, False) for name in (*DIFFERENT, *SAME)]
)
def test_a_stack_is_its_members(name, shared):
    members = [(DIFFERENT | SAME)[name](i) for i in range(COUNT)]
    assert len({member.likeness() for member in members}) == 1
    stacked = members[0].stacked(members, shared=shared)
    with jax.enable_x64(True):
        for op in stacked:
            check_operator(op)
        shape = members[0].in_shape if shared else (COUNT, *members[0].in_shape)
        assert stacked[0].in_shape == shape
        x = jnp.asarray(RNG.normal(size=shape))
        expected = np.stack([member(x if shared else x[i]) for i, member in enumerate(members)])
        assert stacked[-1].out_shape == expected.shape
        np.testing.assert_allclose(applied(stacked, x), expected, rtol=1e-13, atol=1e-13)


def test_blocks_in_a_row_are_no_gather():
    """The adjoint of a gather adds up, one entry after the other."""
    blocks = [DIFFERENT["blocks in a row"](i) for i in range(COUNT)]
    assert not any(isinstance(op, Gather) for op in blocks[0].stacked(blocks, shared=True))
    entries = [DIFFERENT["entries"](i) for i in range(COUNT)]
    assert any(isinstance(op, Gather) for op in entries[0].stacked(entries, shared=True))


def test_what_is_not_alike():
    assert MatMul(np.ones((3, 4)), (4,), "left").likeness() != MatMul(np.ones((2, 4)), (4,), "left").likeness()
    assert MatMul(np.ones((3, 3)), (3,), "left").likeness() != MatMul(np.ones((3, 3)), (3,), "right").likeness()
    assert Sum((2, 2), (0,)).likeness() != Sum((2, 2), (1,)).likeness()
    assert cut((0,)).likeness() != cut((("slice", 0, 1, None),)).likeness()


def test_each_in_float32():
    matrices = [MatMul(RNG.normal(size=(3, 4)).astype(np.float32), (4,), "left") for _ in range(COUNT)]
    (op,) = matrices[0].stacked(matrices, shared=False)
    assert isinstance(op, Each)
    check_operator(op, dtype=np.float32)
