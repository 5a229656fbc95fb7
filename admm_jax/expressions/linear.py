"""`linear`: a linear map of one's own in a model, written as a JAX function or as a product with its adjoint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.errors import ExpressionError
from admm_jax.expressions.atoms import _constant, _finish
from admm_jax.expressions.facts import sign
from admm_jax.expressions.node import Apply, as_expr
from admm_jax.operators.function import complaint, name_of, operator_of

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
    constants = tuple(_constant(p, f"parameter {i} of {name}") for i, p in enumerate(params, 1))
    kinds = tuple((p.shape, int(sign(p))) for p in constants)
    try:
        hash(f)
    except TypeError as error:
        raise ExpressionError(f"f of linear must be hashable, got {f!r:.60}: {error}") from error
    return _finish(Apply("linear", (x, *constants), _checked(f, x.shape, kinds, jax.config.jax_enable_x64), function=f))  # pyright: ignore[reportAttributeAccessIssue]


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
