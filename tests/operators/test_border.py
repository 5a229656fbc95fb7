"""A border is NumPy's, its adjoint the transpose; a circular convolution is SciPy's, however it is done."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from admm_jax.operators.border import Border, extend, fold
from admm_jax.operators.convolution import Convolution, specialise
from admm_jax.testing import check_operator
from tests.operators.dense import check_matrix, precision

MODES = ("edge", "reflect", "symmetric", "wrap")
IMPLEMENTATIONS = ("lax", "shift", "separable", "sparse", "fft")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    width=st.tuples(*(st.tuples(st.integers(0, 9), st.integers(0, 9)) for _ in range(2))),
    mode=st.sampled_from(MODES),
)
def test_any_width_is_numpys_and_the_adjoint_its_transpose(shape, width, mode):
    """Borders wider than the array too, which go on again and again."""
    units = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    rows = np.stack([np.pad(unit, width, mode).ravel() for unit in units], axis=1)
    assert np.array_equal(np.stack([extend(unit, width, mode, np).ravel() for unit in units], axis=1), rows)
    y = np.random.default_rng(0).integers(-9, 9, Border(shape, width, mode).out_shape).astype(float)
    assert np.array_equal(fold(y, shape, width, mode, np).ravel(), rows.T @ y.ravel())


@pytest.mark.parametrize("mode", MODES)
def test_the_operator(mode):
    op = Border((4, 3), ((2, 5), (0, 1)), mode)
    with precision("float32"):
        check_matrix(op, lambda x: np.pad(x, op.width, mode), "float32", terms=8)
    assert op.describe("U") == "pad(U)"


def kernel_of(shape, implementation):
    rng = np.random.default_rng(3)
    return np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1])) * (1 if implementation == "separable" else
        rng.random(shape) < 0.7)  # fmt: skip


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "flip"), [((3, 4), True), ((9, 8), False)], ids=["smaller", "larger"])
def test_circular_convolutions(implementation, shape, flip):
    """Smaller and larger than the image, odd and even, of both orientations."""
    kernel = kernel_of(shape, implementation)
    function = scipy.signal.convolve2d if flip else scipy.signal.correlate2d
    with precision("float64"):
        op = specialise(Convolution(jnp.asarray(kernel), (6, 7), "same", flip, circular=True), implementation)
        check_matrix(op, lambda x: function(x, kernel, "same", boundary="wrap"), "float64", terms=kernel.size)
        assert op.periods == op.least_periods == (6, 7)
        assert op.description.startswith(f"{'conv2d' if flip else 'corr2d'} {shape[0]}×{shape[1]} same circular, ")


def test_what_a_circular_convolution_says_of_itself():
    for kernel in (kernel_of((3, 4), "separable"), kernel_of((12, 11), "fft")):
        check_operator(Convolution(kernel, (10, 9), "same", True, circular=True))
    with pytest.raises(ValueError, match="circular convolution has the mode 'same', got 'full'"):
        Convolution(jnp.ones((3, 3)), (6, 5), "full", True, circular=True)
