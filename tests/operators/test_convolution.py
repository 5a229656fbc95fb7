from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from admm_jax.operators import correlation, fourier
from admm_jax.operators.convolution import (
    MODES,
    Convolution,
    FFTConvolution,
    SeparableConvolution,
    factorise,
    plan_convolution,
    specialise,
    with_spectrum,
)
from tests.operators.dense import DTYPES, check_matrix, precision, tolerance

IMPLEMENTATIONS = ("lax", "shift", "separable", "sparse", "fft")
SHAPE = (6, 5)
KERNELS = [(1, 1), (1, 3), (2, 5), (3, 3), (5, 4), (7, 2), (9, 8)]


def low_rank(shape: tuple[int, int], rank: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.einsum("ri,rj->ij", rng.uniform(-1, 1, (rank, shape[0])), rng.uniform(-1, 1, (rank, shape[1])))


def scipy_convolution(kernel: np.ndarray, mode: str, flip: bool):
    function = scipy.signal.convolve2d if flip else scipy.signal.correlate2d
    return lambda x: function(x, kernel, mode)


def fits(kernel_shape: tuple[int, int], mode: str, in_shape: tuple[int, int] = SHAPE) -> bool:
    return mode != "valid" or (kernel_shape[0] <= in_shape[0] and kernel_shape[1] <= in_shape[1])


def check(kernel: np.ndarray, mode: str, flip: bool, implementation: str, dtype: str, in_shape=SHAPE) -> None:
    op = specialise(Convolution(jnp.asarray(kernel, dtype), in_shape, mode, flip), implementation)
    check_matrix(op, scipy_convolution(kernel, mode, flip), dtype, terms=kernel.size)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel_shape", KERNELS, ids=str)
def test_every_implementation_is_scipys_convolution_with_an_exact_adjoint(kernel_shape, mode) -> None:
    if not fits(kernel_shape, mode):
        with pytest.raises(ValueError, match=r"mode 'valid' the kernel must fit in the image, got kernel \(\d+, \d+\)"):
            _ = Convolution(jnp.ones(kernel_shape), SHAPE, mode, True).out_shape
        return
    # Only "same" knows a difference beyond the order of the taps: the centre of an even kernel.
    for flip in (True, False) if mode == "same" else (kernel_shape[0] < kernel_shape[1],):
        x = np.random.default_rng(1).uniform(-1, 1, SHAPE)
        kernel = low_rank(kernel_shape)
        expected = scipy_convolution(kernel, mode, flip)(x)
        y = np.random.default_rng(2).uniform(-1, 1, expected.shape)

        @jax.jit
        def apply(ops, x, y):
            return [op(x) for op in ops], [op.adjoint(y) for op in ops]

        with precision("float64"):
            op = Convolution(jnp.asarray(kernel), SHAPE, mode, flip)
            ops = [specialise(op, name) for name in IMPLEMENTATIONS]
            assert all(op.out_shape == expected.shape for op in ops)
            forward, adjoint = apply(ops, jnp.asarray(x), jnp.asarray(y))
            for name, ax, aty in zip(IMPLEMENTATIONS, forward, adjoint, strict=True):
                atol = tolerance("float64", kernel.size)
                np.testing.assert_allclose(ax, expected, rtol=0, atol=atol, err_msg=name)
                assert abs(np.vdot(ax, y) - np.vdot(x, aty)) <= atol * x.size, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_dense_matrices(implementation: str, dtype: str) -> None:
    with precision(dtype):
        check(low_rank((4, 3)), "same", True, implementation, dtype)


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    in_shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel_shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    mode=st.sampled_from(MODES),
    flip=st.booleans(),
    implementation=st.sampled_from(IMPLEMENTATIONS),
)
def test_any_shape(in_shape, kernel_shape, mode, flip, implementation) -> None:
    if not fits(kernel_shape, mode, in_shape):
        mode = "same"
    with precision("float64"):
        check(low_rank(kernel_shape), mode, flip, implementation, "float64", in_shape)


def test_shifts_in_a_loop_equal_the_unrolled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = low_rank((7, 4), rank=4)
    monkeypatch.setattr(correlation, "UNROLLED_TAPS", 1)
    for taps in (4, 12, 100):  # two rows in a turn, three, all: with and without zeros to fill up the last turn
        monkeypatch.setattr(correlation, "TURN_TAPS", taps)
        with precision("float64"):
            check(kernel, "same", True, "shift", "float64")


@pytest.mark.parametrize(
    ("implementation", "unrolled_taps"), [("lax", 100), ("shift", 100), ("shift", 6), ("fft", 100)]
)
def test_derivatives_in_image_and_kernel(
    implementation: str, unrolled_taps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlation, "UNROLLED_TAPS", unrolled_taps)
    monkeypatch.setattr(correlation, "TURN_TAPS", unrolled_taps)
    size = (4, 3)
    rng = np.random.default_rng(3)
    kernels, images = rng.uniform(-1, 1, (2, *size)), rng.uniform(-1, 1, (2, *SHAPE))
    target = rng.uniform(-1, 1, SHAPE)

    with precision("float64"):

        def loss(kernel, x):
            return 0.5 * jnp.sum(
                jnp.square(specialise(Convolution(kernel, SHAPE, "same", True), implementation)(x) - target)
            )

        gradients = jax.jit(jax.vmap(jax.grad(loss, (0, 1))))(jnp.asarray(kernels), jnp.asarray(images))
        for i in range(2):
            residual = scipy.signal.convolve2d(images[i], kernels[i], "same") - target
            by_image = scipy.signal.correlate2d(residual, kernels[i], "full")
            top, left = size[0] // 2, size[1] // 2  # the crop of the adjoint of "same"
            by_image = by_image[top : top + SHAPE[0], left : left + SHAPE[1]]
            np.testing.assert_allclose(gradients[1][i], by_image, atol=1e-11)
            tangent = rng.uniform(-1, 1, size)  # the loss is quadratic in the kernel
            moved = scipy.signal.convolve2d(images[i], tangent, "same")
            np.testing.assert_allclose(np.vdot(gradients[0][i], tangent), np.vdot(residual, moved), atol=1e-10)

        def forward(kernel, x):
            return jax.jvp(loss, (kernel, x), (kernel, x))[1]

        pushed = jax.jit(forward)(jnp.asarray(kernels[0]), jnp.asarray(images[0]))
        pulled = np.vdot(gradients[0][0], kernels[0]) + np.vdot(gradients[1][0], images[0])
        np.testing.assert_allclose(pushed, pulled, rtol=1e-11)


def test_factorise_takes_only_low_rank_to_rounding() -> None:
    binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    for kernel, rank in ((binomial, 1), (low_rank((5, 7)), 2), (np.zeros((2, 3)), 1), (np.ones((1, 4)), 1)):
        factors = factorise(kernel)
        assert factors is not None
        columns, rows = factors
        assert columns.shape == (rank, kernel.shape[0])
        np.testing.assert_allclose(columns.T @ rows, kernel, rtol=0, atol=1e-15 * np.abs(kernel).max())
    assert factorise(low_rank((5, 5), rank=3)) is None
    assert factorise(low_rank((5, 5), rank=3), max_rank=3) is not None
    noisy = binomial + 1e-9 * low_rank((5, 5), rank=5)
    assert factorise(noisy) is None
    assert factorise(noisy, rtol=1e-6) is not None
    assert factorise(noisy, dtype=np.float32) is not None
    assert factorise(np.full((2, 2), np.nan)) is None


def test_plan() -> None:
    def plan(shape, platform="cpu", kernel=None, in_shape=(64, 64), implementation="auto"):
        op = Convolution(jnp.ones(shape), in_shape, "same", True, implementation)
        return plan_convolution(op, np.float64, platform, kernel)

    assert plan((5, 5))[0] == "shift"
    assert plan((15, 15))[0] == "fft"
    assert plan((5, 5), kernel=low_rank((5, 5), rank=1)) == (
        "separable",
        "rank 1: 10 taps in 1-D passes instead of 25",
    )
    assert plan((3, 3), kernel=low_rank((3, 3), rank=2))[0] == "shift"  # twelve taps are more than nine
    assert plan((1, 9), kernel=np.ones((1, 9)))[0] == "shift"
    assert plan((15, 15), kernel=low_rank((15, 15), rank=5))[0] == "fft"
    assert plan((61, 61), kernel=np.ones((61, 61)))[0] == "fft"
    path = np.eye(15) + 0.5 * np.eye(15, k=1)  # twenty-nine taps of full rank
    assert plan((15, 15), kernel=path) == ("sparse", "29 of 225 taps are not zero")
    assert plan((15, 15), kernel=np.fliplr(path) + path)[0] == "sparse"
    assert plan((4, 4), kernel=np.eye(4) + np.ones((4, 4)))[0] == "shift"
    assert plan((5, 5), platform="gpu")[0] == "shift"
    assert plan((15, 15), platform="gpu")[0] == "lax"
    assert plan((15, 15), platform="gpu", kernel=path)[0] == "lax"
    assert plan((61, 61), platform="gpu", kernel=np.ones((61, 61)))[0] == "separable"
    assert plan((15, 15), platform="gpu", in_shape=(1024, 1024))[0] == "fft"
    assert plan((41, 41), platform="gpu")[0] == "fft"
    assert plan((5, 5), implementation="fft") == ("fft", "as asked")


def test_specialised_operators_and_their_descriptions() -> None:
    kernel = jnp.asarray(low_rank((5, 4), rank=1), jnp.float32)
    op = Convolution(kernel, (9, 9), "same", True)
    assert op.description == "conv2d 5×4 same, not yet planned"
    assert specialise(op, "shift").description == "conv2d 5×4 same, shift-and-add"
    separable, transformed = specialise(op, "separable"), specialise(op, "fft")
    assert isinstance(separable, SeparableConvolution)
    assert separable.description == "conv2d 5×4 same, separable rank 1"
    assert isinstance(transformed, FFTConvolution)
    assert transformed.description == "conv2d 5×4 same, FFT 12×12"
    assert specialise(op, "sparse").description == "conv2d 5×4 same, 24 taps"  # twenty, in turns of eight
    correlated = Convolution(kernel, (9, 9), "full", False, "lax")
    assert correlated.description == "corr2d 5×4 full, XLA's convolution"
    np.testing.assert_allclose(op(jnp.ones((9, 9))), separable(jnp.ones((9, 9))), atol=1e-5)


def test_kernel_is_brought_to_the_dtype_of_the_computation() -> None:
    rank_one_in_float32 = low_rank((5, 5), rank=1) + 1e-10 * low_rank((5, 5), rank=5)
    with precision("float64"):
        op = Convolution(jnp.asarray(rank_one_in_float32), SHAPE, "same", True)
        assert specialise(op, "separable", jnp.float32).factors[0].dtype == jnp.float32
        assert specialise(op, "shift", jnp.float32).kernel.dtype == jnp.float32
        with pytest.raises(ValueError, match="needs a kernel of rank 1 or 2, got 5×5 of more"):
            specialise(op, "separable")


def test_a_prepared_convolution_holds_the_spectrum_and_not_the_kernel() -> None:
    op = with_spectrum(Convolution(jnp.asarray(low_rank((5, 5)), jnp.float32), (8, 8), "same", True))
    (leaf,) = jax.tree.leaves(op)
    assert leaf.dtype == jnp.complex64
    assert leaf.shape == (op.periods[0], op.periods[1] // 2 + 1)


@pytest.mark.parametrize(("n", "size"), [(1, 1), (7, 8), (11, 12), (130, 135), (513, 540), (1025, 1080)])
def test_fast_size(n: int, size: int) -> None:
    assert fourier.fast_size(n) == size


def test_fast_size_is_the_least() -> None:
    smooth = sorted(2**a * 3**b * 5**c for a in range(11) for b in range(7) for c in range(5))
    for n in range(1, 1000):
        assert fourier.fast_size(n) == next(s for s in smooth if s >= n)


def test_bad_operators_are_refused() -> None:
    kernel = jnp.ones((3, 3))
    with pytest.raises(ValueError, match=r"mode must be one of .*got 'circular'"):
        Convolution(kernel, SHAPE, "circular", True)
    with pytest.raises(ValueError, match=r"implementation must be one of .*got 'winograd'"):
        Convolution(kernel, SHAPE, "same", True, "winograd")
    with pytest.raises(ValueError, match=r"in_shape must be positive numbers, got \(6, 0\)"):
        Convolution(kernel, (6, 0), "same", True)
    for bad in (jnp.ones(3), jnp.ones((0, 3)), jnp.ones((1, 3, 3))):
        with pytest.raises(ValueError, match="kernel must be a non-empty 2-D array, got shape"):
            Convolution(bad, SHAPE, "same", True)(jnp.ones(SHAPE))
    for name in ("separable", "sparse"):
        with pytest.raises(ValueError, match=f"'{name}' needs the kernel's values, but the kernel is traced"):
            jax.jit(lambda k, name=name: specialise(Convolution(k, SHAPE, "same", True), name)(jnp.ones(SHAPE)))(kernel)


def test_sparse_kernels_share_a_program() -> None:
    traces = 0

    @jax.jit
    def apply(op, x):
        nonlocal traces
        traces += 1
        return op(x)

    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, SHAPE).astype(np.float32)
    for count in (1, 5, 8, 0):
        kernel = np.zeros(35, np.float32)
        kernel[rng.permutation(35)[:count]] = rng.uniform(0.5, 1, count)
        kernel = kernel.reshape(5, 7)
        found = apply(specialise(Convolution(jnp.asarray(kernel), SHAPE, "same", True), "sparse"), x)
        np.testing.assert_allclose(found, scipy.signal.convolve2d(x, kernel, "same"), atol=1e-6)
    assert traces == 1
