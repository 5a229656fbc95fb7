"""Linear operators that are JAX functions, or objects with a product and an adjoint of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from admm_jax.operators import absolute
from admm_jax.operators.contract import Defaults, Magnitude, Operator, Shape
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class FunctionOperator(Defaults):
    """x -> f(x, *params), linear in x; the adjoint is f's own `adjoint(y, *params)`, or its transpose by JAX.

    |A| is f's own `magnitude()`, or found by its program (see `absolute`).

    Args:
        params: what f reads besides; the leaves.
        function: f, compared and hashed as Python does it: the same function shares its compiled programs.
        in_shape: of x.
        out_shape: of f(x).
    """

    params: tuple[Array, ...]
    function: Callable[..., Any] = static()
    in_shape: Shape = static()
    out_shape: Shape = static()

    def __call__(self, x: Array) -> Array:
        x = jnp.asarray(x)
        # constants in f may be of another precision: they are brought to that of x, not x to theirs
        return jnp.asarray(self.function(x, *self.params)).astype(x.dtype)

    def adjoint(self, y: Array) -> Array:
        y = jnp.asarray(y)
        own = getattr(self.function, "adjoint", None)
        if own is not None:
            return jnp.asarray(own(y, *self.params)).astype(y.dtype)
        (out,) = jax.linear_transpose(self, jax.ShapeDtypeStruct(self.in_shape, y.dtype))(y)
        return out

    @property
    def _dtype(self) -> DTypeLike:
        return jnp.result_type(float, *self.params)

    def magnitude(self) -> Magnitude | None:
        own = getattr(self.function, "magnitude", None)
        if own is not None:
            return own()
        forward, back = (self, self.in_shape), (self.adjoint, self.out_shape)
        sharp = all(absolute.is_sharp(apply, shape, self._dtype) for apply, shape in (forward, back))
        return Absolute(self) if sharp else None

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        own = getattr(self.function, "magnitude", None)
        bound = Absolute(self) if own is None else own()
        try:
            return bound(error + jnp.finfo(out.dtype).eps * jnp.abs(value))
        except absolute.UnknownError:
            return jnp.full_like(out, jnp.inf)

    def faster(self, dtype: DTypeLike, platform: str) -> tuple[Operator, str]:
        own = getattr(self.function, "adjoint", None) is not None
        return self, f"a function of one's own, its adjoint {'too' if own else 'transposed by JAX'}"

    @property
    def description(self) -> str:
        name = name_of(self.function)
        try:
            for apply, shape in ((self, self.in_shape), (self.adjoint, self.out_shape)):
                size = jax.ShapeDtypeStruct(shape, self._dtype)
                jax.eval_shape(lambda y, apply=apply: absolute.magnitude(apply, y), size)
        except absolute.UnknownError as error:
            if getattr(self.function, "magnitude", None) is None:
                return f"{name} (what rounding does in its `{error}` is not known: nothing will be certified)"
        return name

    def describe(self, inner: str) -> str:
        return f"{name_of(self.function)}({inner})"


@pytree_dataclass
class Absolute:
    """|A| of an operator, by what its program does: see `absolute.magnitude`."""

    operator: Operator

    def __call__(self, y: Array) -> Array:
        return absolute.magnitude(self.operator, y)

    def adjoint(self, y: Array) -> Array:
        return absolute.magnitude(self.operator.adjoint, y)


def name_of(function: Any) -> str:
    """What to call a function, or an operator of one's own, in a text."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else "linear"


def operator_of(function: Any, in_shape: Shape, params: tuple[Any, ...] = ()) -> FunctionOperator:
    """The operator x -> function(x, *params), checked as far as shapes and structure tell.

    Args:
        function: Of one array and the parameters; see `FunctionOperator`.
        in_shape: of x.
        params: arrays.

    Raises:
        TypeError: it cannot be called or hashed.
        ValueError: it does not take such an x, or returns no single real array.
    """
    what = f"`{name_of(function)}`"
    if not callable(function):
        raise TypeError(f"f must be a function of one array or an operator, got {function!r:.60}")
    try:
        hash(function)
    except TypeError as error:
        raise TypeError(f"{what} must be hashable, for its compiled programs are kept by it: {error}") from error
    own = getattr(function, "in_shape", None)
    if own is not None and tuple(own) != in_shape:
        raise ValueError(f"{what} takes arrays of shape {tuple(own)}, got one of shape {in_shape}")
    try:
        out = jax.eval_shape(function, jax.ShapeDtypeStruct(in_shape, jnp.result_type(float)), *params)
    except Exception as error:
        shapes = "".join(f" and a parameter of shape {np.shape(p)}" for p in params)
        raise ValueError(f"{what} cannot be called with an array of shape {in_shape}{shapes}: {error}") from error
    if not hasattr(out, "shape"):
        raise ValueError(f"{what} must return one array, got {type(out).__name__}")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise ValueError(f"{what} must return real numbers, got {out.dtype}: write real and imaginary parts apart")
    claimed = getattr(function, "out_shape", None)
    if claimed is not None and tuple(claimed) != out.shape:
        raise ValueError(f"{what} has out_shape {tuple(claimed)}, but returns an array of shape {out.shape}")
    return FunctionOperator(params, function, in_shape, tuple(out.shape))


def complaint(op: FunctionOperator, seed: int = 0) -> str | None:
    """What shows that the function is not linear in its first argument, or its adjoint not its own; None if nothing.

    Four evaluations on random numbers, the parameters as they are.
    """
    name = name_of(op.function)
    dtype = jnp.result_type(float)
    try:
        adjoint = jax.eval_shape(op.adjoint, jax.ShapeDtypeStruct(op.out_shape, dtype))
    except Exception as error:
        return f"`{name}` is not linear in its first argument: JAX cannot transpose it ({_first_line(error)})"
    if adjoint.shape != op.in_shape:
        return f"the adjoint of `{name}` returns shape {adjoint.shape}, expected {op.in_shape}"
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=op.in_shape).astype(dtype) for _ in range(2))
    z = rng.normal(size=op.out_shape).astype(dtype)
    # one after another, so that f is compiled once: what it reads from around it, XLA folds in each copy anew
    forward, back = jax.jit(lambda op, xs, z: (jax.lax.map(op, xs), op.adjoint(z)))(
        op, np.stack([np.zeros_like(x), x, y, x - 2 * y]), z
    )
    at_zero, at_x, at_y, at_both = (np.asarray(value, np.float64) for value in forward)
    rough = 1e3 * float(jnp.finfo(dtype).eps)
    if not np.all(np.isfinite(at_x)):
        return None  # the numbers of a placeholder may lie outside what the function takes
    if np.any(at_zero != 0):
        worst = np.max(np.abs(at_zero))
        return f"`{name}` is not linear in its first argument: at zero it is not zero but up to {worst:.3g} (affine?)"
    size = np.max(np.abs(at_x)) + 2 * np.max(np.abs(at_y))
    off = np.max(np.abs(at_both - at_x + 2 * at_y), initial=0.0)
    if off > rough * size:
        return (
            f"`{name}` is not linear in its first argument: f(x - 2 y) is off f(x) - 2 f(y) by {off:.3g} of {size:.3g}"
        )
    left, right = np.vdot(at_x, z), np.vdot(x, np.asarray(back, np.float64))
    scale = np.linalg.norm(at_x) * np.linalg.norm(z) + np.linalg.norm(x) * np.linalg.norm(back)
    if abs(left - right) > rough * scale:
        return f"the adjoint of `{name}` is not its transpose: <A x, z> = {left:.6g}, <x, A^T z> = {right:.6g}"
    return None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
