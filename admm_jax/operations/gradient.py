"""`gradient` and `laplacian`: differences of neighbours along axes, in an array of the same size for each."""

from __future__ import annotations

from typing import Any

from admm_jax.canonicalize.values import Values
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer
from admm_jax.operations.neighbours import differences, edges_of, written_edges
from admm_jax.operators.difference import Difference, Divergence


def gradient(x: Any, axes: Any = None, spacing: Any = None) -> Any:
    """d_a = (x_{i+1} - x_i) / h_a along each of `axes`, stacked first: shape (number of axes, *x's shape).

    The difference beyond the last entry is zero. So `sum(norm(gradient(x), axis=0))` is `tv(x, p=2)`, in the words of
    which much else can be said: of two variables, second-order total generalised variation (Bredies, Kunisch & Pock,
    SIAM J. Imaging Sci. 3 (2010)).

    Args:
        x: At least one dimension.
        axes: An axis or several, in the order of the result; None is all.
        spacing: h, the distance of neighbours: a number > 0, or one for each axis; None is 1.

    Raises:
        ShapeError: x is a scalar, or an axis is out of range.
        DataError: axes are repeated; spacing does not fit, or is not > 0.
    """
    x = as_expr(x, "the argument of gradient")
    own, h = edges_of("gradient", x, axes, spacing)
    return apply("gradient", (x,), (len(own), *x.shape), axes=own, spacing=h)


def laplacian(x: Any, axes: Any = None, spacing: Any = None) -> Any:
    """sum_a (x_{i+1} - 2 x_i + x_{i-1}) / h_a^2 over `axes`, of x's shape.

    Beyond its ends x goes on with its last entry, so that it is -D^T D x with D the `gradient` and of zero sum.

    Args:
        x: At least one dimension.
        axes: As of `gradient`.
        spacing: As of `gradient`.

    Raises:
        ShapeError: As of `gradient`.
        DataError: As of `gradient`.
    """
    x = as_expr(x, "the argument of laplacian")
    own, h = edges_of("laplacian", x, axes, spacing)
    return apply("laplacian", (x,), x.shape, axes=own, spacing=h)


def _minus_adjoint(xp: Any, y: Any, axes: tuple[int, ...], spacing: tuple[float, ...]) -> Any:
    """-D^T y, for y with the axes stacked first."""
    out = 0
    for k, (axis, h) in enumerate(zip(axes, spacing, strict=True)):
        lead = (slice(None),) * axis
        inner = y[k][(*lead, slice(0, -1))] / h
        before, after = ([pair if i == axis else (0, 0) for i in range(y.ndim - 1)] for pair in ((1, 0), (0, 1)))
        out = out + xp.pad(inner, after) - xp.pad(inner, before)
    return out


def _laplacian(xp: Any, x: Any, *, axes: tuple[int, ...], spacing: tuple[float, ...]) -> Any:
    return _minus_adjoint(xp, differences(xp, x, axes, spacing), axes, spacing)


def _difference(e: Expr) -> Difference:
    return Difference(e.args[0].shape, e.attrs["axes"], e.attrs["spacing"])


def _laplacian_linear(e: Expr, i: int, values: Values) -> tuple[Any, ...]:
    return _difference(e), Divergence(_difference(e))


def _gradient_adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    return -_minus_adjoint(values.xp, values.xp.broadcast_to(y, e.shape), e.attrs["axes"], e.attrs["spacing"])


def _laplacian_adjoint(e: Expr, i: int, y: Any, values: Values) -> Any:
    return _laplacian(values.xp, values.xp.broadcast_to(y, e.shape), **e.attrs)


def _options(e: Expr) -> str:
    return written_edges(e, tuple(range(e.args[0].ndim)))


def _latex(symbol: str) -> Any:
    def latex(e: Expr, printer: Printer) -> str:
        axes = e.attrs["axes"]
        index = "" if len(axes) == e.args[0].ndim else f"_{{{', '.join(str(axis + 1) for axis in axes)}}}"
        return rf"{symbol}{index}\left({printer.show(e.args[0])}\right)"

    return latex


GRADIENT = Operation(
    "gradient",
    value=lambda xp, x, *, axes, spacing: differences(xp, x, axes, spacing),
    options=_options,
    latex=_latex(r"\nabla"),
    linear=lambda e, i, values: (_difference(e),),
    adjoint=_gradient_adjoint,
)

LAPLACIAN = Operation(
    "laplacian",
    value=_laplacian,
    options=_options,
    latex=_latex(r"\Delta"),
    linear=_laplacian_linear,
    adjoint=_laplacian_adjoint,
)
