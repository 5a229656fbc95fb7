"""Every operator of the package keeps the contract, and the check of the contract finds what breaks it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from admm_jax.operations.placing import Permute, Place
from admm_jax.operators import convolution, convolution_forms  # noqa: F401  (their operators are listed below)
from admm_jax.operators.base import MatMul, Scale
from admm_jax.operators.border import Border
from admm_jax.operators.contract import Defaults
from admm_jax.operators.convolution import Convolution
from admm_jax.operators.convolution_forms import CircularConvolution
from admm_jax.operators.function import operator_of
from admm_jax.operators.stacked import Each, Gather
from admm_jax.testing import check_operator
from tests.operators.dense import precision
from tests.operators.test_base import CASES

KERNEL = np.random.default_rng(0).normal(size=(3, 4))  # of both signs, even along one axis
RANK_ONE = np.outer([1.0, -2.0, 1.0], [3.0, 1.0, -1.0])
SPARSE_KERNEL = np.eye(5) - 0.5 * np.eye(5, k=2)
IMPLEMENTATIONS = ("lax", "shift", "separable", "sparse", "fft")
BASE = {
    name: case
    for name, case in CASES.items()
    if name in ("scale by a number", "scale by a map", "broadcast a column", "reshape", "transpose three axes")
    or name in ("sum", "sum over an axis", "slice backwards", "repeated entries", "matrix @ vector", "row @ matrix")
    or name in ("matrix @ map", "sparse @ vector", "matrix @ sparse", "difference of a signal")
    or name in ("difference of an image", "difference of one row", "difference of a volume")
    or name in ("difference with spacing", "divergence")
}


def convolution_of(implementation, mode, flip, dtype):
    kernel = {"separable": RANK_ONE, "sparse": SPARSE_KERNEL}.get(implementation, KERNEL)
    return convolution.specialise(Convolution(jnp.asarray(kernel, dtype), (7, 6), mode, flip), implementation)


def circular(dtype):
    return CircularConvolution(jnp.fft.rfft2(jnp.asarray(np.pad(KERNEL, ((0, 3), (0, 4))), dtype)), (6, 8))


@pytest.mark.parametrize("name", BASE)
def test_arrays(name):
    with precision("float64"):
        op = BASE[name]("float64")[0]
    check_operator(op)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_convolutions(implementation, dtype):
    with jax.enable_x64(dtype == "float64"):
        ops = [
            convolution_of(implementation, "same", True, dtype),
            convolution_of(implementation, "valid", False, dtype),
        ]
    for op in ops:
        check_operator(op, dtype=dtype)


def test_convolutions_before_they_are_planned_and_on_a_circle():
    for kernel in (KERNEL, RANK_ONE, SPARSE_KERNEL, np.ones((12, 11))):
        check_operator(Convolution(kernel, (20, 18), "full", True))  # NumPy's kernel: the choice looks at its values
    with precision("float64"):
        op = circular("float64")
    check_operator(op)


def of_slices(implementation):
    """Convolutions along axes of a stack and of a volume, and one with a kernel for each slice."""
    kernel = {"separable": RANK_ONE, "sparse": SPARSE_KERNEL}.get(implementation, KERNEL)
    cases = [
        Convolution(jnp.asarray(kernel), (6, 2, 5), "same", True, axes=(0, 2)),
        Convolution(jnp.asarray(np.multiply.outer(kernel[:, :2], [2.0, 0, 1])), (5, 6, 4), "full", False),
    ]
    if implementation not in ("separable", "sparse"):
        each = np.random.default_rng(1).normal(size=(2, 2, 3))
        cases += [Convolution(jnp.asarray(each), (6, 2, 5), "valid", True, axes=(0, 2))]
    return [convolution.specialise(op, implementation) for op in cases]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_convolutions_of_slices_and_volumes(implementation):
    with precision("float64"):
        ops = of_slices(implementation)
    for op in ops:
        check_operator(op)


def test_convolutions_on_a_circle_along_axes():
    with precision("float64"):
        check_operator(Convolution(np.ones((3, 2)), (4, 6, 5), "same", True, circular=True, axes=(0, 1)))
        spectrum = jnp.fft.rfftn(jnp.asarray(np.random.default_rng(2).normal(size=(6, 2, 8))), axes=(0, 2))
        check_operator(CircularConvolution(spectrum, (6, 2, 8), (0, 2)))


MOVES = [Place((3, 2), (6, 2), (1, 0)), Permute((3, 2, 4), (2, 0, 1)), Border((3, 4), ((5, 1), (0, 2)), "symmetric")]


@pytest.mark.parametrize("op", MOVES)
def test_moves(op):
    check_operator(op)


def test_no_operator_is_left_out():
    with precision("float64"):
        tried = {type(BASE[name]("float64")[0]) for name in BASE}
        tried |= {type(convolution_of(name, "same", True, "float64")) for name in IMPLEMENTATIONS}
        tried |= {type(op) for op in MOVES}
        tried |= {type(circular("float64")), type(operator_of(jnp.cumsum, (3,)))}  # see test_functions
        tried |= {Each, Gather}  # see test_stacked

    def concrete(kind):
        for below in kind.__subclasses__():
            yield from concrete(below)
            if below.__module__.startswith("admm_jax") and hasattr(below, "__dataclass_fields__"):
                yield below

    assert set(concrete(Defaults)) == tried


# what the check finds


class Shift:
    """A cyclic shift, with a fault."""

    in_shape, out_shape = (8,), (8,)

    def __init__(self, forward=lambda x: jnp.roll(x, 1), adjoint=lambda y: jnp.roll(y, -1)):
        self.forward, self.adjoint = forward, adjoint

    def __call__(self, x):
        return self.forward(x)


def test_a_right_one_passes():
    check_operator(Shift())


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Shift(adjoint=lambda y: jnp.roll(y, -2)), r"Shift: <A x, y> = <x, A\^T y> fails: .* differ by"),
        (Shift(adjoint=lambda y: 1.001 * jnp.roll(y, -1)), r"<A x, y> = <x, A\^T y> fails"),
        (Shift(lambda x: jnp.roll(x, 1) + 0.5), r"A 0 = 0 fails, it is up to 0.5: affine, not linear"),
        (Shift(lambda x: jnp.sqrt(x * x)), r"A \(v - 2 w\) = A v - 2 A w fails: off by"),
        (Shift(adjoint=lambda y: jnp.roll(y, -1)[:-1]), r"A\^T y has shape \(7,\), expected \(8,\)"),
        (Shift(adjoint=lambda y: jnp.abs(y)), r"A\^T \(v - 2 w\) = A\^T v - 2 A\^T w fails"),
        (Shift(lambda x: jnp.roll(jnp.clip(x, -50, 50), 1)), r"A \(s v\) = s A v fails"),
    ],
)
def test_faults_of_products(op, message):
    with pytest.raises(AssertionError, match=message):
        check_operator(op)


class Boasting(MatMul):
    """A matrix that claims something false of itself."""


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"magnitude": lambda self: self}, r"\|A\| x <= magnitude x fails by"),
        ({"rounded": lambda self, value, error, out: 0 * out}, r"what an error in x does <= rounded fails by"),
        ({"faster": lambda self, dtype, platform: (Scale(2.0, (4,)), "")}, r"the faster operator is another"),
        ({"prepared": lambda self, dtype: Scale(2.0, (4,))}, r"the prepared operator is another"),
        ({"dense": property(lambda self: np.eye(4))}, r"A x = dense @ x fails"),
        ({"diagonal": property(lambda self: np.ones(4))}, r"A x = diagonal \* x fails"),
        ({"keeps_order": property(lambda self: True)}, r"A x has the entries of x in their order: fails"),
    ],
)
def test_false_claims(claim, message):
    kind = type("Boasting", (MatMul,), claim)
    jax.tree_util.register_dataclass(kind, ["matrix"], ["in_shape", "side"])
    matrix = np.random.default_rng(3).normal(size=(4, 4))
    check_operator(MatMul(matrix, (4,), "left"))
    with pytest.raises(AssertionError, match=message):
        check_operator(kind(matrix, (4,), "left"))
