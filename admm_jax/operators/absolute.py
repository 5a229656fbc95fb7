"""|A| of a linear JAX function: its program, run on sizes in the place of numbers.

Every product with a constant becomes one with its absolute value, and every difference a sum. That is what rounding
errors go through (Higham 2002, section 3.5), so it is at least |A| entry by entry, and equal where the program forms
each path from an entry of x to one of A x once. In a Fourier transform every factor has the absolute value one; as a
pair of them would add up all entries twice, the Euclidean length is carried along, which a transform keeps:

    |F x|_i <= min(sum_j |x_j|, sqrt(n) ||x||_2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# JAX primitives that only move, repeat, select or add entries, or multiply them by those of the other arguments
_LINEAR = frozenset(
    {
        "add",
        "add_any",
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "conv_general_dilated",
        "copy",
        "copy_p",
        "cumsum",
        "div",
        "dot_general",
        "dynamic_slice",
        "dynamic_update_slice",
        "expand_dims",
        "gather",
        "mul",
        "optimization_barrier",
        "pad",
        "reduce_precision",
        "reduce_sum",
        "reduce_window_sum",
        "reshape",
        "rev",
        "scatter",
        "scatter-add",
        "select_n",
        "slice",
        "split",
        "squeeze",
        "stack",
        "unstack",
        "sub",
        "transpose",
    }
)
_UNCHANGED = frozenset({"neg", "real", "imag", "conj"})  # |-x| = |x|, |Re x| <= |x|
_CALLS = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call"}
)
_PROGRAMS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where a call keeps what it calls
_KEEP_LENGTH = frozenset(  # ||f(x)||_2 <= ||x||_2
    {"conj", "copy", "dynamic_slice", "expand_dims", "neg", "pad", "reshape", "rev", "slice", "squeeze", "transpose"}
)


class UnknownError(Exception):
    """The program holds an operation of which nothing is known; the message is its name."""


class _Size(NamedTuple):
    """|value| <= entries, and ||value||_2 <= length where that is carried."""

    entries: Array
    length: Array | None = None

    def norm(self) -> Array:
        own = jnp.sqrt(jnp.sum(self.entries**2))
        return own if self.length is None else jnp.minimum(own, self.length)


def magnitude(function: Callable[[Array], Array], y: Array) -> Array:
    """|A| y, or what is above it, for y >= 0 and a function A of one array.

    Raises:
        UnknownError: the program holds an operation that is not known to be linear.
    """
    program = jax.make_jaxpr(function)(y)
    (out,) = _run(program.jaxpr, program.consts, [_Size(y)])
    if not isinstance(out, _Size):  # it does not read its argument
        return jnp.zeros(np.shape(out), y.dtype)
    entries = out.entries if out.length is None else jnp.minimum(out.entries, out.length)
    return entries.astype(y.dtype)


def is_sharp(function: Callable[[Array], Array], shape: tuple[int, ...], dtype: Any) -> bool:
    """Whether `magnitude` is |A| but for what cancels between the paths of the program; nothing is computed.

    Args:
        function: A, of one array.
        shape: Of its argument.
        dtype: Of its argument.
    """
    argument = jax.ShapeDtypeStruct(shape, dtype)
    try:
        jax.eval_shape(lambda y: magnitude(function, y), argument)
    except UnknownError:
        return False
    return "fft" not in _names(jax.make_jaxpr(function)(argument).jaxpr)


def _names(jaxpr: Any) -> set[str]:
    names = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            names |= _names(inner) if hasattr(inner, "eqns") else set()
    return names


def _run(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """The program's results: a `_Size` for what depends on a `_Size`, else the value.

    Args:
        jaxpr: The program.
        consts: The values of its constants.
        arguments: Values, or sizes in their places.
    """
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        if equation.primitive.name in _CALLS or any(isinstance(value, _Size) for value in inputs):
            outputs = _apply(equation, inputs)
        else:
            outputs = equation.primitive.bind(*inputs, **equation.params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, inputs: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = next((params[key] for key in _PROGRAMS if key in params), None)
        if inner is None:
            raise UnknownError(name)
        closed = hasattr(inner, "consts")
        return _run(inner.jaxpr if closed else inner, inner.consts if closed else (), inputs)
    if name == "scan":
        return _scan(params, inputs)
    if name == "fft":
        return [_transform(params, inputs[0])]
    _refuse_other_uses(name, inputs)
    if name in _UNCHANGED:
        outputs = [inputs[0].entries]
    elif name in ("add", "add_any", "sub", "complex"):
        outputs = [_entries(inputs[0]) + _entries(inputs[1])]
    elif name == "convert_element_type":
        outputs = [inputs[0].entries.astype(_real(equation.outvars[0].aval.dtype))]
    elif name in _LINEAR:
        if params.get("preferred_element_type") is not None:
            params = {**params, "preferred_element_type": _real(params["preferred_element_type"])}
        outputs = equation.primitive.bind(*(_entries(value) for value in inputs), **params)
        outputs = outputs if equation.primitive.multiple_results else [outputs]
    else:
        raise UnknownError(name)
    length = _length(name, inputs, sum(np.size(entries) for entries in outputs))
    return [_Size(entries, length) for entries in outputs]


def _refuse_other_uses(name: str, inputs: list[Any]) -> None:
    """Products of two sizes, quotients by one and the like are no linear operations."""
    sized = [isinstance(value, _Size) for value in inputs]
    if (name in ("mul", "dot_general", "conv_general_dilated") and all(sized)) or (name == "div" and sized[1]):
        raise UnknownError(name)
    if (name == "select_n" and sized[0]) or (name in ("dynamic_slice", "gather") and any(sized[1:])):
        raise UnknownError(name)


def _entries(value: Any) -> Any:
    """The size of an argument; integers and booleans are indices and choices."""
    if isinstance(value, _Size):
        return value.entries
    return jnp.abs(value) if jnp.issubdtype(jnp.result_type(value), jnp.inexact) else value


def _real(dtype: Any) -> Any:
    return np.finfo(dtype).dtype if np.issubdtype(dtype, np.complexfloating) else dtype


def _length(name: str, inputs: list[Any], count: int) -> Array | None:
    """The length of the result, of `count` entries, where one is carried and it is known what becomes of it."""
    sizes = [value for value in inputs if isinstance(value, _Size)]
    if all(size.length is None for size in sizes):
        return None
    same_entries = name == "broadcast_in_dim" and count == np.size(sizes[0].entries)
    if name in _KEEP_LENGTH or same_entries or name in ("real", "imag", "convert_element_type"):
        return sizes[0].norm()
    if name in ("add", "add_any", "sub", "complex") and len(sizes) == len(inputs):
        return sizes[0].norm() + sizes[1].norm()
    if name in ("mul", "div"):
        other = inputs[1] if isinstance(inputs[0], _Size) else inputs[0]
        broadcast = np.shape(other) not in ((), np.shape(sizes[0].entries))
        factor = jnp.max(jnp.abs(1 / other if name == "div" else other))
        return None if broadcast else sizes[0].norm() * factor
    return None


def _transform(params: dict[str, Any], size: _Size) -> _Size:
    """Of a Fourier transform, backward with a factor 1 / n; of a real signal half of the spectrum is left out."""
    lengths, kind = params["fft_lengths"], lax.FftType(params["fft_type"])
    axes = tuple(range(size.entries.ndim - len(lengths), size.entries.ndim))
    n = math.prod(lengths)
    inverse, halved = kind in (lax.FftType.IFFT, lax.FftType.IRFFT), kind == lax.FftType.IRFFT
    # of half a spectrum nearly every entry stands for two
    total = jnp.sum(size.entries, axis=axes, keepdims=True) * (2 if halved else 1)
    length = size.norm() * math.sqrt(2 if halved else 1)
    total, length = (total / n, length / math.sqrt(n)) if inverse else (total, length * math.sqrt(n))
    shape = list(size.entries.shape)
    for axis, m in zip(axes, lengths, strict=True):
        shape[axis] = m
    if kind == lax.FftType.RFFT:
        shape[-1] = lengths[-1] // 2 + 1
    return _Size(jnp.broadcast_to(total, shape), length)


def _scan(params: dict[str, Any], inputs: list[Any]) -> list[Any]:
    """A loop of known length.

    Which parts of its carry depend on the argument, and so are sizes, is found by trying: those that are at the start,
    and those that a turn of the loop makes so, until no more are added.
    """
    body, given, carried = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, init, sequence = inputs[:given], inputs[given : given + carried], inputs[given + carried :]
    sized = [isinstance(value, _Size) for value in init]
    along = [isinstance(value, _Size) for value in sequence]
    rows = [value.entries if is_size else value for value, is_size in zip(sequence, along, strict=True)]

    def step(sized: list[bool], carry: list[Any], row: list[Any]) -> list[Any]:
        inner = [_Size(value) if flag else value for value, flag in zip(carry, sized, strict=True)]
        across = [_Size(value) if flag else value for value, flag in zip(row, along, strict=True)]
        return _run(body.jaxpr, body.consts, [*consts, *inner, *across])

    def start(sized: list[bool]) -> list[Any]:
        return [_entries(value) if flag else value for value, flag in zip(init, sized, strict=True)]

    kinds: list[bool] = []

    def probe(carry: list[Any], row: list[Any]) -> list[Any]:
        results = step(sized, carry, row)
        kinds[:] = [isinstance(value, _Size) for value in results]
        return [_entries(value) if flag else value for value, flag in zip(results, kinds, strict=True)]

    first = [jax.ShapeDtypeStruct(np.shape(row)[1:], jnp.result_type(row)) for row in rows]
    while True:
        jax.eval_shape(probe, start(sized), first)
        wider = [old or new for old, new in zip(sized, kinds[:carried], strict=True)]
        if wider == sized:
            break
        sized = wider

    def turn(carry: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        results = step(sized, carry, row)
        after = [_entries(value) if flag else value for value, flag in zip(results[:carried], sized, strict=True)]
        out = [value.entries if isinstance(value, _Size) else value for value in results[carried:]]
        like = [new.astype(jnp.result_type(old)) for new, old in zip(after, carry, strict=True)]
        return like, out

    final, out = lax.scan(turn, start(sized), rows, length=params["length"], reverse=params["reverse"])
    flags = [*sized, *kinds[carried:]]
    return [_Size(value) if flag else value for value, flag in zip([*final, *out], flags, strict=True)]
