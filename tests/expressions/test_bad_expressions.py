"""What cannot be written down, and what is answered: the argument, the expectation, the guilty subexpression."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import admm_jax as admm

IMAGE, RAGGED = np.ones((4, 5)), [[1], [2, 3]]


class Leaves:
    """Fresh leaves for each case."""

    def __init__(self):
        self.x, self.y, self.u, self.U = admm.Var("x", 3), admm.Var("y", 3), admm.Var("u"), admm.Var("U", 4, 5)
        self.lam = admm.Param("lam")


# name: what is done, the kind of error, what the message has to say
CASES = {
    # functions of JAX, and of NumPy with arguments of their own
    **{
        f"jnp.{name}": (
            lambda o, name=name: getattr(jnp, name)(o.U),
            admm.ADMMError,
            "functions of JAX take arrays, and `U` is an expression: in the place of jnp.sum, jnp.abs and the like"
            " write admm.sum(...)",
        )
        for name in ("log", "sum", "abs", "mean", "square", "asarray", "isfinite")
    },
    "jnp.maximum": (lambda o: jnp.maximum(0, o.U), admm.ADMMError, "functions of JAX take arrays, and `U` is"),
    "jit": (lambda o: jax.jit(lambda x: x)(o.x), admm.ADMMError, "functions of JAX take arrays, and `x` is"),
    "np.sum": (
        lambda o: np.sum(o.U, keepdims=True),
        admm.ExpressionError,
        "np.sum does not work on an expression: write admm.sum(...)",
    ),
    # an array in the place of a shape
    "Var array": (
        lambda o: admm.Var(IMAGE),
        admm.ShapeError,
        "the dimensions of a variable must be positive integers, got an array of shape (4, 5): write"
        " Var(name, image.shape)",
    ),
    "Var array of JAX": (lambda o: admm.Var("V", jnp.ones((4, 5))), admm.ShapeError, "write Var(name, image.shape)"),
    "Param array": (lambda o: admm.Param("B", IMAGE), admm.ShapeError, "write Param(name, image.shape)"),
    # masks of another shape
    "mask too short": (
        lambda o: o.U[np.ones((4, 4), bool)],
        admm.ShapeError,
        "a mask must have the shape of what it selects from: `U` has shape (4, 5), of which a mask here is (4, 5), got"
        " (4, 4)",
    ),
    "mask of rows": (lambda o: o.U[np.ones(3, bool)], admm.ShapeError, "of which a mask here is (4,), got (3,)"),
    "mask of columns": (
        lambda o: o.U[..., np.ones(4, bool)],
        admm.ShapeError,
        "of which a mask here is (5,), got (4,)",
    ),
    "mask behind a new axis": (
        lambda o: o.U[None, 1, jnp.ones(4, bool)],
        admm.ShapeError,
        "of which a mask here is (5,), got (4,)",
    ),
    "mask with too many axes": (lambda o: o.x[np.ones((3, 1), bool)], admm.ShapeError, "got (3, 1)"),
    "mask as a list": (lambda o: o.x[[True, False]], admm.ShapeError, "of which a mask here is (3,), got (2,)"),
    # several images in the place of one
    "conv2d of a batch": (
        lambda o: admm.conv2d(np.ones((7, 4, 5)), IMAGE),
        admm.ShapeError,
        "must be 2-D, got `array(7×4×5)` of shape (7, 4, 5): a model is of one image; a batch or the channels of a"
        " colour image go through it by jax.vmap, or by channel_axis of admm_jax.restore",
    ),
    "tv2d of colours": (lambda o: admm.tv2d(admm.Var("V", 4, 5, 3)), admm.ShapeError, "go through it by jax.vmap"),
    "Scene of colours": (
        lambda o: admm.Scene("S", np.ones((4, 5, 3)), np.ones((3, 3))),
        admm.ShapeError,
        "go through it by jax.vmap",
    ),
    "colours less an image": (
        lambda o: o.U - np.ones((4, 5, 3)),
        admm.ShapeError,
        "do not broadcast in `U - array(4×5×3)`: for 3 colours, put the call under jax.vmap",
    ),
    # convolutions
    "kernel 1-D": (
        lambda o: admm.conv2d(o.U, np.ones(3)),
        admm.ShapeError,
        "kernel of conv2d must be 2-D, got `array(3)`",
    ),
    "kernel 3-D": (lambda o: admm.corr2d(o.U, np.ones((3, 3, 1))), admm.ShapeError, "kernel of corr2d must be 2-D"),
    "kernel empty": (
        lambda o: admm.conv2d(o.U, np.ones((0, 3))),
        admm.ShapeError,
        "non-empty image and kernel, got shapes (4, 5) and (0, 3)",
    ),
    "kernel too large": (
        lambda o: admm.conv2d(o.U, np.ones((5, 2)), "valid"),
        admm.ShapeError,
        "larger than the image in mode 'valid': kernel `array(5×2)` of shape (5, 2), image `U` of shape (4, 5)",
    ),
    "kernel too large, numbers": (
        lambda o: admm.conv2d(IMAGE, np.ones((5, 2)), "valid"),
        admm.ShapeError,
        "larger than the image",
    ),
    "kernel of a variable": (
        lambda o: admm.conv2d(IMAGE, o.U),
        admm.ExpressionError,
        "kernel of conv2d must be a constant, got `U`",
    ),
    "kernel NaN": (
        lambda o: admm.conv2d(o.U, [[np.nan]]),
        admm.DataError,
        "the kernel of conv2d must be finite, got 1 NaN, the first at (0, 0)",
    ),
    "image 1-D": (
        lambda o: admm.conv2d(o.x, IMAGE),
        admm.ShapeError,
        "image of conv2d must be 2-D, got `x` of shape (3,)",
    ),
    "mode": (
        lambda o: admm.conv2d(o.U, IMAGE, "wrap"),
        admm.DataError,
        "mode of conv2d must be 'full', 'same' or 'valid', got 'wrap'",
    ),
    # shapes
    "data of the wrong shape": (
        lambda o: admm.conv2d(o.U, IMAGE) - np.ones((5, 4)),
        admm.ShapeError,
        'shapes (4, 5) and (5, 4) do not broadcast in `conv2d(U, array(4×5), "same") - array(5×4)`',
    ),
    "matrix of the wrong shape": (
        lambda o: np.ones((2, 4)) @ o.x,
        admm.ShapeError,
        "shapes (2, 4) and (3,) do not fit in `array(2×4) @ x`: 4 against 3",
    ),
    "matmul with a scalar": (lambda o: o.x @ 2, admm.ShapeError, "write * with a scalar"),
    "sparse times": (lambda o: sp.csr_matrix(np.eye(3)) * o.x, admm.ShapeError, "write @ for the matrix product"),
    "constraint shapes": (
        lambda o: o.x <= np.ones(4),
        admm.ShapeError,
        "shapes (3,) and (4,) do not broadcast in `x <= array(4)`",
    ),
    "start of the wrong shape": (
        lambda o: setattr(o.x, "start", np.ones(4)),
        admm.ShapeError,
        "the start of x must have shape (3,), got (4,)",
    ),
    "start NaN": (
        lambda o: setattr(o.x, "start", [0, np.nan, 0]),
        admm.DataError,
        "the start of x must be finite, got 1 NaN, the first at (1,)",
    ),
    "index": (lambda o: o.x[3], admm.ShapeError, "cannot index `x` of shape (3,) with 3"),
    "index by an expression": (lambda o: o.x[o.u], admm.ExpressionError, "an index must be made of numbers"),
    "index by a float": (
        lambda o: o.x[1.5],
        admm.ShapeError,
        "must be an integer, slice, mask or integer array, got 1.5",
    ),
    "reshape": (lambda o: o.x.reshape(2, -1), admm.ShapeError, "cannot reshape `x` of shape (3,) to (2, -1)"),
    "axis": (lambda o: admm.sum(o.x, axis=1), admm.ShapeError, "axis 1 of sum is out of range for `x`"),
    "axis of mean": (lambda o: admm.mean(o.x, axis=1), admm.ShapeError, "axis 1 of mean is out of range for `x`"),
    "diff of a scalar": (lambda o: admm.diff(o.u), admm.ShapeError, "axis -1 of diff is out of range for `u`"),
    "diff of too few": (lambda o: admm.diff(o.x, 3), admm.ShapeError, "takes more than 3 entries along axis -1"),
    "diff no times": (lambda o: admm.diff(o.x, 0), admm.DataError, "n of diff must be a positive integer, got 0"),
    "np.mean": (lambda o: np.mean(o.x), admm.ExpressionError, "write admm.mean(...)"),
    "pad mode": (lambda o: admm.pad(o.x, 1, "mean"), admm.DataError, "the mode of pad must be one of 'constant'"),
    "pad width": (lambda o: admm.pad(o.x, -1), admm.DataError, "width of pad must be made of integers >= 0, got -1"),
    "pad widths": (lambda o: admm.pad(o.U, [1, 2, 3]), admm.ShapeError, "width of pad must fit (2, 2)"),
    "pad a scalar": (lambda o: admm.pad(o.u, 1), admm.ShapeError, "pad takes at least one dimension, got the scalar"),
    "concatenate no list": (
        lambda o: admm.concatenate(o.U),
        admm.DataError,
        "concatenate takes a list of expressions or arrays, as in concatenate([x, y]), got `U`",
    ),
    "concatenate shapes": (
        lambda o: admm.vstack([o.U, o.x]),
        admm.ShapeError,
        "got `U` of shape (4, 5) and `x.reshape(1, 3)` of shape (1, 3)",
    ),
    "concatenate dimensions": (
        lambda o: admm.concatenate([o.U, o.x]),
        admm.ShapeError,
        "takes arrays of one number of dimensions, got shapes (4, 5), (3,)",
    ),
    "roll shift": (lambda o: admm.roll(o.x, 0.5), admm.DataError, "shift of roll must be an integer, got 0.5"),
    "roll axis": (lambda o: admm.roll(o.x, 1, axis=2), admm.ShapeError, "axis 2 of roll is out of range for `x`"),
    "np.concatenate": (
        lambda o: np.concatenate([o.x, o.y]),
        admm.ExpressionError,
        "write admm.concatenate(...)",
    ),
    "transpose axes": (
        lambda o: admm.transpose(o.U, (0, 0)),
        admm.ShapeError,
        "axes of transpose must be a permutation of the 2 axes of `U`, got (0, 0)",
    ),
    "tv2d of a vector": (lambda o: admm.tv2d(o.x), admm.ShapeError, "tv2d takes a 2-D image, got `x` of shape (3,)"),
    "tv1d of an image": (lambda o: admm.tv1d(o.U), admm.ShapeError, "tv1d takes a 1-D signal, got `U` of shape (4, 5)"),
    "tv2d weight": (
        lambda o: admm.tv2d(o.U, weight=np.ones((5, 4))),
        admm.ShapeError,
        "weight of tv2d(U) must have shape () or (4, 5) or (2, 4, 5)",
    ),
    "tv axis": (lambda o: admm.tv(o.U, axes=(0, 2)), admm.ShapeError, "axis 2 of tv is out of range for `U`"),
    "tv repeated axis": (lambda o: admm.tv(o.U, axes=(0, -2)), admm.DataError, "axes of tv must be different ones"),
    "tv of a scalar": (lambda o: admm.tv(o.x[0]), admm.ShapeError, "tv takes an array with neighbours"),
    "tv channels": (
        lambda o: admm.tv(o.U, axes=(0, 1), channel_axis=1),
        admm.DataError,
        "must not hold its channel_axis 1",
    ),
    "tv spacing": (lambda o: admm.tv(o.U, spacing=(1, 0)), admm.DataError, "spacing of tv must be > 0, got (1, 0)"),
    "tv spacings": (lambda o: admm.tv(o.U, spacing=(1, 1, 1)), admm.DataError, "must be one number or 2"),
    "tv unknown spacing": (lambda o: admm.tv(o.U, spacing=o.x), admm.DataError, "spacing of tv must be numbers"),
    "tv weight": (
        lambda o: admm.tv(o.U, 2, weight=np.ones((2, 4, 5))),
        admm.ShapeError,
        "weight of tv(U) must have shape () or (4, 5)",
    ),
    "gradient axis": (lambda o: admm.gradient(o.U, 5), admm.ShapeError, "axis 5 of gradient is out of range"),
    "laplacian spacing": (lambda o: admm.laplacian(o.x, spacing=-1), admm.DataError, "laplacian must be > 0, got -1"),
    "conv without axes": (lambda o: admm.conv(o.U, np.ones(3)), admm.ShapeError, "needs axes=: along which of the 2"),
    "conv kernel": (
        lambda o: admm.conv(o.U, np.ones((3, 3, 3))),
        admm.ShapeError,
        "kernel of conv along axes (0, 1) must have as many axes, 2, got",
    ),
    "conv axes": (lambda o: admm.conv(o.U, np.eye(3), axes=(1, 0)), admm.DataError, "in increasing order, got (1, 0)"),
    "conv axis": (lambda o: admm.conv(o.U, np.ones(3), axes=2), admm.ShapeError, "axis 2 of conv is out of range"),
    "conv of slices": (
        lambda o: admm.conv(o.U, np.ones((3, 3)), axes=0),
        admm.ShapeError,
        "must have the sizes of the image along the axes that are not among (0,)",
    ),
    "conv larger": (
        lambda o: admm.corr(o.U, np.ones(7), "valid", axes=1),
        admm.ShapeError,
        "kernel of corr is larger than the image",
    ),
    "tv2d p": (lambda o: admm.tv2d(o.U, 3), admm.DataError, "p of tv2d must be 1 or 2, got 3"),
    "tv1d two weights": (lambda o: admm.tv1d(o.x, 1, weight=1), admm.DataError, "takes `w` or `weight`"),
    "norm of a scalar": (
        lambda o: admm.norm(o.u),
        admm.ShapeError,
        "norm takes a vector or a matrix, got `u` of shape ()",
    ),
    "norm order": (lambda o: admm.norm(o.x, 3), admm.DataError, "ord of norm must be None, 1, 2, inf or 'fro', got 3"),
    "norms inf": (
        lambda o: admm.norm(o.U, np.inf, axis=0),
        admm.DataError,
        "norm along 1 axes is the Euclidean one, ord=None, got ord=inf",
    ),
    "norms of no axis": (lambda o: admm.norm(o.U, axis=()), admm.ShapeError, "norm takes at least one axis, got ()"),
    "norms along an axis": (lambda o: admm.norm(o.U, axis=2), admm.ShapeError, "axis 2 of norm is out of range"),
    "operator norm 1": (
        lambda o: admm.norm(o.U, 1),
        admm.NonconvexError,
        "norm(U, 1) of a matrix is an operator norm, which has no rule: for the norm of its entries write sum(abs(x))",
    ),
    "operator norm 2": (lambda o: admm.norm(o.U, 2), admm.NonconvexError, "write norm(x, 'fro')"),
    "operator norm inf": (lambda o: admm.norm(o.U, np.inf), admm.NonconvexError, "write norm(x.reshape(-1), inf)"),
    "huber delta": (lambda o: admm.huber(o.x, 0), admm.DataError, "delta of huber must be positive, got 0"),
    "huber delta of a variable": (
        lambda o: admm.huber(o.x, o.u),
        admm.ExpressionError,
        "delta of huber must be a constant, got `u`",
    ),
    "negative counts": (
        lambda o: admm.kullback_leibler(o.x, [1, -2, 3]),
        admm.DataError,
        "counts of kullback_leibler must not be negative, got a minimum of -2",
    ),
    "negative weights of counts": (
        lambda o: admm.kullback_leibler(o.x, 1, -1),
        admm.DataError,
        "weight of kullback_leibler must not be negative, got a minimum of -1",
    ),
    "complex counts": (lambda o: admm.kullback_leibler(o.x, 1j), admm.DataError, "counts of kullback_leibler"),
    "counts of another shape": (
        lambda o: admm.kullback_leibler(o.x, np.ones((2, 1))),
        admm.ShapeError,
        "counts of kullback_leibler must be a scalar or have the shape (3,) of `x`, got",
    ),
    "counts of a variable": (
        lambda o: admm.kullback_leibler(o.x, o.u),
        admm.ExpressionError,
        "counts of kullback_leibler must be a constant, got `u`",
    ),
    "maximum of two": (
        lambda o: admm.maximum(o.x, o.y),
        admm.ExpressionError,
        "one argument of maximum must be a constant, got two expressions: `x` and `y`",
    ),
    "dimension zero": (
        lambda o: admm.Var("z", 0),
        admm.ShapeError,
        "dimensions of variable 'z' must be positive integers, got (0,)",
    ),
    "dimension fraction": (lambda o: admm.Var("z", 2.5), admm.ShapeError, "positive integers, got (2.5,)"),
    "attribute": (
        lambda o: admm.Var("z", PSD=True),
        admm.DataError,
        "unknown attribute 'PSD' of variable 'z': expected nonneg=True or nonpos=True",
    ),
    "both signs": (lambda o: admm.Var(nonneg=True, nonpos=True), admm.DataError, "cannot be nonneg and nonpos at once"),
    "param without a name": (lambda o: admm.Param(3), admm.DataError, 'as in Param("lam"), got 3'),
    # data
    "NaN": (
        lambda o: o.x - [1, np.nan, 2],
        admm.DataError,
        "the right of - must be finite, got 1 NaN, the first at (1,)",
    ),
    "NaN of JAX": (
        lambda o: o.x - jnp.array([1, np.nan, 2]),
        admm.DataError,
        "must be finite, got 1 NaN, the first at (1,)",
    ),
    "Inf": (
        lambda o: np.array([1, np.inf, 2]) * o.x,
        admm.DataError,
        "the left of * must be finite, got an infinite entry at (1,)",
    ),
    "complex": (lambda o: 1j * o.x, admm.DataError, "the left of * must be real, got complex data"),
    "complex of JAX": (lambda o: o.x * jnp.array(1j), admm.DataError, "must be real, got complex data"),
    "object": (
        lambda o: o.x + None,
        admm.DataError,
        "the right of + must hold numbers, got object data: NoneType None",
    ),
    "string": (lambda o: o.x + "a", admm.DataError, "must hold numbers, got string data: str 'a'"),
    "ragged": (lambda o: o.x + RAGGED, admm.DataError, "must be an array of numbers, got ragged data"),
    "sparse NaN": (lambda o: sp.csr_array(np.full((3, 3), np.nan)) @ o.x, admm.DataError, "must be finite, got 9 NaN"),
    "NaN bound": (lambda o: o.x <= np.nan, admm.DataError, "the right of <= must be finite, got 1 NaN"),
    # operations
    "power": (lambda o: o.x**3, admm.ExpressionError, "`**` takes the exponent 2, got 3 in `x ** 3`"),
    "power of a number": (
        lambda o: 2**o.x,
        admm.ExpressionError,
        "an exponent must be the number 2, got the expression `x`",
    ),
    "division by a variable": (lambda o: 2 / o.x, admm.ExpressionError, "division by a variable"),
    "division by zero": (lambda o: o.x / [1, 0, 2], admm.ExpressionError, "division by zero in `(x) / array(3)`"),
    "<": (lambda o: o.x < 1, admm.ExpressionError, "strict inequality in `x < ...`: write <="),
    ">": (lambda o: np.ones(3) < o.x, admm.ExpressionError, "strict inequality in `x > ...`: write >="),
    "!=": (lambda o: o.x != 1, admm.ExpressionError, "`x != ...` is no convex constraint: write ==, <= or >="),
    "chain": (lambda o: 0 <= o.x <= 1, admm.ExpressionError, "write `a <= x <= b` as two constraints"),
    "bool": (lambda o: bool(o.x), admm.ExpressionError, "`x` has no truth value"),
    "float": (lambda o: float(o.u), admm.ExpressionError, "`u` is no number"),
    "np.linalg.norm": (lambda o: np.linalg.norm(o.x), admm.ExpressionError, "write admm.norm(...)"),
    "np.maximum": (
        lambda o: np.maximum(o.x, 0),
        admm.ExpressionError,
        "np.maximum does not work on an expression: write admm.maximum(...)",
    ),
    "np.exp": (lambda o: np.exp(o.x), admm.ExpressionError, "build it from the operators and the atoms"),
    "np.multiply.reduce": (lambda o: np.multiply.reduce(o.x), admm.ExpressionError, "np.multiply.reduce does not work"),
    "sum of many": (lambda o: sum(admm.Var(2000)), admm.ExpressionError, "write admm.sum(...)"),
    "iteration over a scalar": (lambda o: list(o.u), admm.ExpressionError, "cannot iterate over the scalar `u`"),
    "constraint as operand": (
        lambda o: o.x + (o.x <= 1),
        admm.ExpressionError,
        "is the constraint `x <= 1`, expected an expression",
    ),
    "X before a solve": (lambda o: o.x.X, admm.ADMMError, "x has no value yet: call model.optimize() first"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_message(name):
    act, kind, message = CASES[name]
    with pytest.raises(kind, match=re.escape(message)):
        act(Leaves())


def test_every_error_is_an_admm_error_and_a_python_one():
    for kind, builtin in [
        (admm.ExpressionError, TypeError),
        (admm.ShapeError, ValueError),
        (admm.DataError, ValueError),
        (admm.ParameterError, admm.DataError),
        (admm.ModelError, ValueError),
        (admm.NonconvexError, admm.ModelError),
    ]:
        assert issubclass(kind, builtin)
        assert issubclass(kind, admm.ADMMError)
