"""`linear`: a linear map of one's own in a model, written as a JAX function or as a product with its adjoint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.canonicalize.values import Values
from admm_jax.errors import ExpressionError
from admm_jax.expressions.build import apply, as_constant
from admm_jax.expressions.facts import sign
from admm_jax.expressions.node import Expr, as_expr
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer, latex_name
from admm_jax.operators import on_host
from admm_jax.operators.function import FunctionOperator, complaint, name_of, operator_of

Shape = tuple[int, ...]


def linear(f: Callable[..., Any], x: Any, *params: Any) -> Any:
    """f(x, *params), for an f of one's own that is linear in x.

    f takes one array and returns one, of any shapes; its adjoint is found by JAX (`jax.linear_transpose`). What else f
    reads and a derivative is wanted of, such as a kernel, goes in as `params`. An f with attributes `in_shape`,
    `out_shape` and `adjoint(y, *params)` brings its own adjoint; `admm_jax.testing.check_operator` tests it.

    Programs are compiled for f itself, compared as Python compares it: another model with the same f compiles nothing
    anew, but a lambda or an inner function that is made anew does. What f reads from around it is fixed by then.

    At most four evaluations on random numbers show, once for each f and shape, whether it may be linear. Nothing builds
    the matrix of f where there are more than a few hundred unknowns. A certificate counts what rounding does in f:
    where f holds operations whose effect is not known, such as loops of unknown length, nothing is certified, unless f
    has a `magnitude()` that returns y -> |A| y, for y >= 0, with its `adjoint` (`operators.contract.Magnitude`).

    Args:
        f: A JAX function f(x, *params), linear in x for any params; hashable.
        x: Any shape.
        *params: Parameters and constants of any shape, or expressions of them; f gets them as floating-point arrays.

    Raises:
        ExpressionError: f is not linear in x, not even callable with these shapes, or a parameter holds a variable.
    """
    if not callable(f):
        raise ExpressionError(f"f of linear must be a function of one array or an operator, got {f!r:.60}")
    name = name_of(f)
    x = as_expr(x, f"the argument of {name}")
    constants = tuple(as_constant(p, f"parameter {i} of {name}") for i, p in enumerate(params, 1))
    kinds = tuple((p.shape, int(sign(p))) for p in constants)
    try:
        hash(f)
    except TypeError as error:
        raise ExpressionError(f"f of linear must be hashable, got {f!r:.60}: {error}") from error
    return apply("linear", (x, *constants), _checked(f, x.shape, kinds, jax.config.jax_enable_x64), function=f)  # pyright: ignore[reportAttributeAccessIssue]


@functools.lru_cache(maxsize=256)
def _checked(f: Callable[..., Any], shape: Shape, kinds: tuple[tuple[Shape, int], ...], _x64: bool) -> Shape:
    """The shape of f(x), after a look at whether it is linear, with random numbers for its parameters."""
    rng = np.random.default_rng(0)
    dtype = jnp.result_type(float)
    params = tuple((-1 if known < 0 else 1) * rng.uniform(0.5, 1.5, size).astype(dtype) for size, known in kinds)
    try:
        with jax.ensure_compile_time_eval():
            op = operator_of(f, shape, params)
            wrong = complaint(op)
    except (jax.errors.UnexpectedTracerError, jax.errors.TracerArrayConversionError) as error:
        raise ExpressionError(
            f"`{name_of(f)}`, f of linear, reads traced numbers from around it: pass them as parameters,"
            " linear(f, x, *params)"
        ) from error
    except (TypeError, ValueError) as error:
        raise ExpressionError(f"f of linear: {error}") from error
    if wrong is not None:
        raise ExpressionError(f"f of linear: {wrong}")
    return op.out_shape


def _operator(e: Expr, values: Values) -> FunctionOperator:
    params = tuple(values.dense(arg) for arg in e.args[1:])
    return FunctionOperator(params, e.attrs["function"], e.args[0].shape, e.shape)


def _value(xp: Any, x: Any, *params: Any, function: Any) -> Any:
    return on_host.apply(FunctionOperator(params, function, x.shape, ()), x, xp)


def _text(e: Expr, printer: Printer) -> str:
    return f"{name_of(e.attrs['function'])}({', '.join(map(printer.show, e.args))})"


def _latex(e: Expr, printer: Printer) -> str:
    """The name of the function, its parameters below it."""
    name = latex_name(name_of(e.attrs["function"]))
    below = "_{" + ", ".join(map(printer.show, e.args[1:])) + "}" if len(e.args) > 1 else ""
    name = f"{{{name}}}" if below and "_" in name else name
    return rf"{name}{below}\left({printer.show(e.args[0])}\right)"


# nothing is known of its sign but by its numbers: no `sign`
LINEAR = Operation(
    "linear",
    value=_value,
    text=_text,
    latex=_latex,
    linear=lambda e, i, values: (_operator(e, values),),
    adjoint=lambda e, i, y, values: on_host.apply_adjoint(
        _operator(e, values), values.xp.broadcast_to(y, e.shape), values.xp
    ),
)
