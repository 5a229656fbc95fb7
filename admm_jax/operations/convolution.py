"""`conv`, `corr`, `conv2d` and `corr2d`: convolution and correlation along axes, with a border by name.

full convolution:  out[i, j] = sum_{p, q} k[p, q] x[i - p, j - q]
full correlation:  the convolution with k[::-1, ::-1]
same:   the part of the full result of x's shape that starts at ((p - 1) // 2, (q - 1) // 2)
        (at (p // 2, q // 2) for the correlation), for a p x q kernel
valid:  the part that does not look outside x, starting at (p - 1, q - 1)

In one dimension and in three it is the same along each axis; along other axes of x, slice by slice.

Outside, x is zero, or goes on as `boundary` says. A circular convolution in mode "same" is an operator of its own,
diagonal in Fourier; any other border is put around x, and the convolution of that is "valid".
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from admm_jax.canonicalize.values import Values
from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.data import ONE_IMAGE
from admm_jax.expressions.node import Expr, as_expr, checked_axes
from admm_jax.expressions.operation import NEGATION, Operation, sign_of_product
from admm_jax.expressions.printing import Printer
from admm_jax.operations.convolution_of_arrays import (
    convolve_adjoint,
    convolve_along,
    inward,
    out_shape,
    outward,
    windows,
)
from admm_jax.operators.border import Border, extend, fold
from admm_jax.operators.convolution import MODES, Convolution
from admm_jax.operators.correlation import mode_padding, reversed_taps

Shape = tuple[int, ...]

NUMPYS = {"circular": "wrap", "reflect": "symmetric", "replicate": "edge"}  # the modes of `numpy.pad`
BOUNDARIES = ("zero", *NUMPYS)
ELSEWHERE = {
    **{"constant": "zero", "fill": "zero", "wrap": "circular", "periodic": "circular"},
    **{"symmetric": "reflect", "symm": "reflect", "edge": "replicate", "nearest": "replicate"},
}  # what SciPy, NumPy and others call them


def conv(x: Any, k: Any, mode: str = "same", boundary: str = "zero", axes: Any = None) -> Any:
    """(k * x)_i = sum_a k_a x_{i-a} along axes: `scipy.signal.convolve(x, k, mode)` for each slice, its border by name.

    Args:
        x: A signal, an image or a volume, or several: channels, times, a batch lie along the axes not convolved.
        k: Kernel, a constant of any size with one axis for each of `axes`; or with as many axes as x, one for each
            slice: along the other axes it then has x's sizes.
        mode: "full", "same" or "valid", as of `conv2d`.
        boundary: What x is outside, along `axes`, as of `conv2d`.
        axes: An axis or several, in increasing order, to which the axes of k belong. None is all; it has to be given
            where x has more axes than k.

    Raises:
        ShapeError: an axis is out of range, the kernel does not fit to them, it is empty, or larger than x in mode
            "valid".
        DataError: axes are repeated or not in order; an unknown mode or boundary, or a boundary that mode "valid" would
            never look at.
        ExpressionError: the kernel holds a variable.
    """
    return _along_axes("conv", x, k, mode, boundary, axes)


def corr(x: Any, k: Any, mode: str = "same", boundary: str = "zero", axes: Any = None) -> Any:
    """sum_a k_a x_{i+a} along axes: the correlation of each slice, centred as `scipy.signal.correlate2d` does.

    Arguments and errors are those of `conv`.
    """
    return _along_axes("corr", x, k, mode, boundary, axes)


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


def _along_axes(op: str, x: Any, k: Any, mode: str, boundary: str, axes: Any) -> Any:
    x, k = as_expr(x, f"the image of {op}"), as_constant(k, f"the kernel of {op}")
    _check_border(op, mode, boundary)
    if axes is None:
        if x.ndim > k.ndim > 0:
            raise ShapeError(
                f"{op} of `{x}` of shape {x.shape} with a kernel of shape {k.shape} needs axes=: along which of the"
                f" {x.ndim} axes it goes, the others being channels, times or a batch"
            )
        own = tuple(range(x.ndim))
    else:
        given = axes if isinstance(axes, tuple | list) else (axes,)
        own = tuple(checked_axes(x, (axis,), op)[0] for axis in given)
        if any(a >= b for a, b in pairwise(own)):
            raise DataError(f"the axes of {op} must be different ones in increasing order, got {axes!r} for `{x}`")
    if not own or k.ndim not in (len(own), x.ndim):
        expected = f"{len(own)}" if len(own) == x.ndim else f"{len(own)}, or {x.ndim} for one of each slice"
        raise ShapeError(f"the kernel of {op} along axes {own} must have as many axes, {expected}, got `{k}` of shape"
                         f" {k.shape} for `{x}` of shape {x.shape}")  # fmt: skip
    if k.size == 0 or x.size == 0:
        raise ShapeError(f"{op} takes a non-empty image and kernel, got shapes {x.shape} and {k.shape}")
    if k.ndim > len(own):
        if any(k.shape[i] != x.shape[i] for i in range(x.ndim) if i not in own):
            raise ShapeError(
                f"the kernel of {op} with one for each slice must have the sizes of the image along the axes that are"
                f" not among {own}: kernel `{k}` of shape {k.shape}, image `{x}` of shape {x.shape}"
            )
    _check_fits(op, x, k, mode, own)
    return apply(op, (x, k), _result(x.shape, k.shape, mode, own), mode=mode, boundary=boundary, axes=own)


def _convolution(op: str, x: Any, k: Any, mode: str, boundary: str) -> Any:
    x = as_expr(x, f"the image of {op}")
    k = as_constant(k, f"the kernel of {op}")
    _check_border(op, mode, boundary)
    if x.ndim != 2:
        hint = f"{ONE_IMAGE}; or write {op[:4]}(x, k, axes=...)" if x.ndim == 3 else ""
        raise ShapeError(f"the image of {op} must be 2-D, got `{x}` of shape {x.shape}{hint}")
    if k.ndim != 2:
        raise ShapeError(f"the kernel of {op} must be 2-D, got `{k}` of shape {k.shape}")
    if k.size == 0 or x.size == 0:
        raise ShapeError(f"{op} takes a non-empty image and kernel, got shapes {x.shape} and {k.shape}")
    _check_fits(op, x, k, mode, (0, 1))
    return apply(op, (x, k), out_shape(x.shape, k.shape, mode), mode=mode, boundary=boundary)


def _check_border(op: str, mode: str, boundary: str) -> None:
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


def _check_fits(op: str, x: Expr, k: Expr, mode: str, axes: Shape) -> None:
    image, kernel = (tuple(shape) for shape in (_of(x.shape, axes), _kernel_shape(k.shape, axes)))
    if mode == "valid" and any(p > n for p, n in zip(kernel, image, strict=True)):
        raise ShapeError(
            f"the kernel of {op} is larger than the image in mode 'valid': kernel `{k}` of shape {k.shape},"
            f" image `{x}` of shape {x.shape}"
        )


def _of(shape: Shape, axes: Shape) -> Shape:
    return tuple(shape[axis] for axis in axes)


def _kernel_shape(kernel: Shape, axes: Shape) -> Shape:
    """The sizes of a kernel along the axes, whether it is one for all slices or has one for each."""
    return kernel if len(kernel) == len(axes) else _of(kernel, axes)


def _result(x: Shape, k: Shape, mode: str, axes: Shape) -> Shape:
    """The shape of the result of x along the axes."""
    own = dict(zip(axes, out_shape(_of(x, axes), _kernel_shape(k, axes), mode), strict=True))
    return tuple(own.get(i, n) for i, n in enumerate(x))


def _value(flip: bool) -> Any:
    def value(xp: Any, x: Any, k: Any, *, mode: str, boundary: str, axes: Shape = (0, 1)) -> Any:
        x, k = inward(x, k, axes, xp)
        d = len(axes)
        if boundary == "zero":
            return outward(convolve_along(x, k, d, mode, flip, xp), axes, xp)
        padding = ((0, 0),) * (x.ndim - d) + mode_padding(k.shape[k.ndim - d :], mode, flip)
        around = extend(x, padding, NUMPYS[boundary], xp)
        return outward(windows(around, reversed_taps(k, d) if flip else k, d, xp), axes, xp)

    return value


def _axes(e: Expr) -> Shape:
    return e.attrs.get("axes", (0, 1))


def _flips(e: Expr) -> bool:
    return e.op in ("conv", "conv2d")


def _border(e: Expr) -> Border:
    """What is put around the image."""
    (x, k), axes = e.args, _axes(e)
    own = dict(zip(axes, mode_padding(_kernel_shape(k.shape, axes), e.attrs["mode"], _flips(e)), strict=True))
    return Border(x.shape, tuple(own.get(i, (0, 0)) for i in range(x.ndim)), NUMPYS[e.attrs["boundary"]])


def _linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    kernel, flip, mode, axes = values.dense(e.args[1]), _flips(e), e.attrs["mode"], _axes(e)
    circular = e.attrs["boundary"] == "circular" and mode == "same"
    if circular or e.attrs["boundary"] == "zero":
        return (Convolution(kernel, e.args[0].shape, mode, flip, circular=circular, axes=axes),)
    border = _border(e)
    return border, Convolution(kernel, border.out_shape, "valid", flip, axes=axes)


def _adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    xp, axes, shape = values.xp, _axes(e), e.args[0].shape
    full, kernel = inward(xp.broadcast_to(y, e.shape), values.dense(e.args[1]), axes, xp)
    flip = _flips(e)
    if e.attrs["boundary"] == "zero":
        back = convolve_adjoint(full, kernel, _of(shape, axes), e.attrs["mode"], flip, xp)
        return outward(back, axes, xp)
    border = _border(e)
    around = convolve_adjoint(full, kernel, _of(border.out_shape, axes), "valid", flip, xp)
    return fold(outward(around, axes, xp), shape, border.width, border.mode, xp)


def _options(e: Expr) -> str:
    boundary = e.attrs["boundary"]
    axes = e.attrs.get("axes", ())
    along = "" if len(axes) in (0, e.ndim) else f", axes={axes[0] if len(axes) == 1 else axes}"
    return f', "{e.attrs["mode"]}"' + ("" if boundary == "zero" else f', boundary="{boundary}"') + along


def _latex(symbol: str) -> Any:
    def latex(e: Expr, printer: Printer) -> str:
        boundary = e.attrs["boundary"]
        axes = e.attrs.get("axes", ())
        marks = [] if len(axes) in (0, e.ndim) else [", ".join(str(axis + 1) for axis in axes)]
        marks += [] if boundary == "zero" else [rf"\mathrm{{{boundary}}}"]
        below = "" if not marks else f"_{{{', '.join(marks)}}}"
        return f"{printer.wrap(e.args[1], NEGATION)} {symbol}{below} {printer.wrap(e.args[0], NEGATION)}"

    return latex


def _record(name: str, flip: bool) -> Operation:
    return Operation(
        name,
        value=_value(flip),
        sign=sign_of_product,
        options=_options,
        latex=_latex("*" if flip else r"\star"),
        linear=_linear,
        adjoint=_adjoint,
    )


CONV, CORR = _record("conv", True), _record("corr", False)
CONV2D, CORR2D = _record("conv2d", True), _record("corr2d", False)
