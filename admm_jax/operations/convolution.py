"""`conv2d` and `corr2d`: two-dimensional convolution and correlation, with a border by name.

full convolution:  out[i, j] = sum_{p, q} k[p, q] x[i - p, j - q]
full correlation:  the convolution with k[::-1, ::-1]
same:   the part of the full result of x's shape that starts at ((p - 1) // 2, (q - 1) // 2)
        (at (p // 2, q // 2) for the correlation), for a p x q kernel
valid:  the part that does not look outside x, starting at (p - 1, q - 1)

Outside, x is zero, or goes on as `boundary` says. A circular convolution in mode "same" is an operator of its own,
diagonal in Fourier; any other border is put around x, and the convolution of that is "valid".
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from admm_jax.canonicalize.values import Values
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.data import ONE_IMAGE
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import NEGATION, Operation, sign_of_product
from admm_jax.expressions.printing import Printer
from admm_jax.operators.border import Border, extend, fold
from admm_jax.operators.convolution import MODES, Conv2D
from admm_jax.operators.correlation import mode_padding

Shape = tuple[int, ...]

NUMPYS = {"circular": "wrap", "reflect": "symmetric", "replicate": "edge"}  # the modes of `numpy.pad`
BOUNDARIES = ("zero", *NUMPYS)
ELSEWHERE = {
    **{"constant": "zero", "fill": "zero", "wrap": "circular", "periodic": "circular"},
    **{"symmetric": "reflect", "symm": "reflect", "edge": "replicate", "nearest": "replicate"},
}  # what SciPy, NumPy and others call them


def conv2d(x: Any, k: Any, mode: str = "same", boundary: str = "zero") -> Any:
    """(k * x)_ij = sum_pq k_pq x_{i-p, j-q}: `scipy.signal.convolve2d(x, k, mode)` with its border by name.

    Args:
        x: Image, (m, n).
        k: Kernel, (p, q), a constant of any size, even ones too.
        mode: "full" (m + p - 1, n + q - 1), "same" (m, n) or "valid" (m - p + 1, n - q + 1); "valid" never looks
            outside x, and takes no boundary.
        boundary: What x is outside. Where the kernel is larger than x, it goes on again and again.
            "zero": zero.
            "circular": its other end; "wrap" in SciPy and NumPy.
            "reflect": its mirror image, the last pixel twice; "reflect" in `scipy.ndimage`, "symm" in `scipy.signal`,
            "symmetric" in `numpy.pad`, whose "reflect" is another.
            "replicate": its last pixel; "nearest" in `scipy.ndimage`, "edge" in `numpy.pad`.
            What is unknown there is no border: see `Scene`.

    Raises:
        ShapeError: x or k is not 2-D, k is empty, or larger than x in mode "valid".
        DataError: an unknown mode or boundary, or a boundary that mode "valid" would never look at.
        ExpressionError: the kernel holds a variable.
    """
    return _convolution("conv2d", x, k, mode, boundary)


def corr2d(x: Any, k: Any, mode: str = "same", boundary: str = "zero") -> Any:
    """sum_pq k_pq x_{i+p, j+q}: `scipy.signal.correlate2d(x, k, mode)` with its border by name.

    Arguments and errors are those of `conv2d`.
    """
    return _convolution("corr2d", x, k, mode, boundary)


def _convolution(op: str, x: Any, k: Any, mode: str, boundary: str) -> Any:
    x = as_expr(x, f"the image of {op}")
    k = as_constant(k, f"the kernel of {op}")
    if mode not in MODES:
        raise DataError(f"the mode of {op} must be 'full', 'same' or 'valid', got {mode!r}")
    if boundary not in BOUNDARIES:
        own = ELSEWHERE.get(boundary) if isinstance(boundary, str) else None
        hint = f", which is {own!r} here" if own else ""
        names = "'zero', 'circular', 'reflect' or 'replicate'"
        raise DataError(f"the boundary of {op} must be {names}, got {boundary!r}{hint}")
    if mode == "valid" and boundary != "zero":
        raise DataError(
            f"{op} in mode 'valid' never looks outside the image, where boundary={boundary!r} would say what there is:"
            " leave it out, or take the mode 'same'"
        )
    if x.ndim != 2:
        hint = ONE_IMAGE if x.ndim == 3 else ""
        raise ShapeError(f"the image of {op} must be 2-D, got `{x}` of shape {x.shape}{hint}")
    if k.ndim != 2:
        raise ShapeError(f"the kernel of {op} must be 2-D, got `{k}` of shape {k.shape}")
    if k.size == 0 or x.size == 0:
        raise ShapeError(f"{op} takes a non-empty image and kernel, got shapes {x.shape} and {k.shape}")
    if mode == "valid" and any(p > n for p, n in zip(k.shape, x.shape, strict=True)):
        raise ShapeError(
            f"the kernel of {op} is larger than the image in mode 'valid': kernel `{k}` of shape {k.shape},"
            f" image `{x}` of shape {x.shape}"
        )
    return apply(op, (x, k), out_shape(x.shape, k.shape, mode), mode=mode, boundary=boundary)


def out_shape(x: Shape, k: Shape, mode: str) -> Shape:
    """The shape of the result, for an image of shape `x` and a kernel of shape `k`."""
    if mode == "same":
        return x
    sign = 1 if mode == "full" else -1
    return tuple(n + sign * (p - 1) for n, p in zip(x, k, strict=True))


def _start(k: Shape, mode: str, flip: bool) -> Shape:
    """Where the result begins in the full one, for a kernel of this shape; `flip` is true of a convolution."""
    if mode == "full":
        return (0, 0)
    if mode == "valid":
        return tuple(p - 1 for p in k)
    return tuple((p - 1) // 2 if flip else p // 2 for p in k)


def _windows(x: Any, k: Any, xp: Any) -> Any:
    """out[i, j] = sum_{p, q} k[p, q] x[i + p, j + q] wherever the kernel lies inside x."""
    rows, cols = (n - p + 1 for n, p in zip(x.shape, k.shape, strict=True))
    if xp is not np:
        out = jax.lax.conv(x[None, None], k[None, None], (1, 1), "VALID", precision=jax.lax.Precision.HIGHEST)
        return out[0, 0]
    out = np.zeros((rows, cols))
    for p in range(k.shape[0]):
        for q in range(k.shape[1]):
            out += k[p, q] * x[p : p + rows, q : q + cols]
    return out


def convolve(x: Any, k: Any, mode: str, flip: bool, xp: Any) -> Any:
    """The convolution or correlation of plain arrays.

    Args:
        x: (m, n).
        k: (p, q).
        mode: "full", "same" or "valid".
        flip: True for the convolution, false for the correlation.
        xp: numpy or jax.numpy.
    """
    shape, start = out_shape(x.shape, k.shape, mode), _start(k.shape, mode, flip)
    kernel = k[::-1, ::-1] if flip else k
    if x.size < k.size:  # the full convolution commutes: let the smaller array be the one that is slid
        x, kernel = kernel[::-1, ::-1], x[::-1, ::-1]
    padded = xp.pad(x, [(p - 1, p - 1) for p in kernel.shape])
    full = _windows(padded, kernel, xp)
    return full[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]


def convolve_adjoint(y: Any, k: Any, x_shape: Shape, mode: str, flip: bool, xp: Any) -> Any:
    """The adjoint of `convolve` as a linear map of x.

    Args:
        y: Of the shape of the result.
        k: (p, q).
        x_shape: (m, n).
        mode: As of `convolve`.
        flip: As of `convolve`.
        xp: numpy or jax.numpy.
    """
    start = _start(k.shape, mode, flip)
    full = out_shape(x_shape, k.shape, "full")
    pad = [(s, n - s - m) for s, n, m in zip(start, full, y.shape, strict=True)]
    return _windows(xp.pad(y, pad), k if flip else k[::-1, ::-1], xp)


def _value(flip: bool) -> Any:
    def value(xp: Any, x: Any, k: Any, *, mode: str, boundary: str) -> Any:
        if boundary == "zero":
            return convolve(x, k, mode, flip, xp)
        around = extend(x, mode_padding(k.shape, mode, flip), NUMPYS[boundary], xp)
        return _windows(around, k[::-1, ::-1] if flip else k, xp)

    return value


def _border(e: Expr) -> Border:
    """What is put around the image."""
    (x, k), flip = e.args, e.op == "conv2d"
    p, q = k.shape
    return Border(x.shape, mode_padding((p, q), e.attrs["mode"], flip), NUMPYS[e.attrs["boundary"]])


def _linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    kernel, flip, mode = values.dense(e.args[1]), e.op == "conv2d", e.attrs["mode"]
    circular = e.attrs["boundary"] == "circular" and mode == "same"
    if circular or e.attrs["boundary"] == "zero":
        return (Conv2D(kernel, e.args[0].shape, mode, flip, circular=circular),)
    border = _border(e)
    return border, Conv2D(kernel, border.out_shape, "valid", flip)


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    full, shape = values.xp.broadcast_to(y, e.shape), e.args[0].shape
    kernel, flip = values.dense(e.args[1]), e.op == "conv2d"
    if e.attrs["boundary"] == "zero":
        return convolve_adjoint(full, kernel, shape, e.attrs["mode"], flip, values.xp)
    border = _border(e)
    around = convolve_adjoint(full, kernel, border.out_shape, "valid", flip, values.xp)
    return fold(around, shape, border.width, border.mode, values.xp)


def _options(e: Expr) -> str:
    boundary = e.attrs["boundary"]
    return f', "{e.attrs["mode"]}"' + ("" if boundary == "zero" else f', boundary="{boundary}"')


def _latex(symbol: str) -> Any:
    def latex(e: Expr, printer: Printer) -> str:
        boundary = e.attrs["boundary"]
        below = "" if boundary == "zero" else rf"_{{\mathrm{{{boundary}}}}}"
        return f"{printer.wrap(e.args[1], NEGATION)} {symbol}{below} {printer.wrap(e.args[0], NEGATION)}"

    return latex


CONV2D = Operation(
    "conv2d",
    value=_value(True),
    sign=sign_of_product,
    options=_options,
    latex=_latex("*"),
    linear=_linear,
    adjoint=_adjoint,
)

CORR2D = Operation(
    "corr2d",
    value=_value(False),
    sign=sign_of_product,
    options=_options,
    latex=_latex(r"\star"),
    linear=_linear,
    adjoint=_adjoint,
)
