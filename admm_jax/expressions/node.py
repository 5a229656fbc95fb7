"""The expression tree: immutable nodes on the host, built by operators, read by `canonicalize`.

A node knows its operation, its arguments, a few static attributes and its shape; it holds no values, except in the
leaf `Constant`. Arithmetic follows NumPy's broadcasting. `==` builds a constraint, so nodes hash by identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from admm_jax.errors import ExpressionError, ShapeError
from admm_jax.expressions import indexing, interop, printing
from admm_jax.expressions.data import Sparse, checked_array, checked_sparse, is_sparse, one_of_many

Shape = tuple[int, ...]
ITERATION_LIMIT = 1000


class Expr:
    """An expression in variables, parameters and constants.

    Attributes:
        op: Name of the operation, under which its record is registered (`expressions.operation`).
        args: Argument nodes.
        attrs: Static attributes of the operation, such as a convolution's mode.
        shape: Shape of the value.
    """

    __slots__ = ("__weakref__", "_args", "_attrs", "_facts", "_op", "_params", "_shape", "_variables")
    __array_priority__ = 1000.0  # SciPy's sparse matrices defer to it

    def __init__(self, op: str, args: tuple[Expr, ...], shape: Shape, **attrs: Any) -> None:
        self._op, self._args, self._attrs, self._shape = op, args, attrs, tuple(shape)
        self._facts: dict[str, Any] = {}  # what `facts` has found out, kept
        self._variables = _union([arg._variables for arg in args])
        self._params = _union([arg._params for arg in args])

    op = property(lambda self: self._op)
    args = property(lambda self: self._args)
    attrs = property(lambda self: self._attrs)

    @property
    def shape(self) -> Shape:
        """Shape of the value."""
        return self._shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self._shape, dtype=np.int64))

    @property
    def variables(self) -> tuple[Expr, ...]:
        """The variables that it reads, in order of appearance."""
        return self._variables

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """The parameters that it reads, in order of appearance."""
        return self._params

    @property
    def is_constant(self) -> bool:
        """Whether it reads no variable."""
        return not self._variables

    def __add__(self, other: Any) -> Expr:
        return add(self, as_expr(other, "the right of +"))

    def __radd__(self, other: Any) -> Expr:
        return add(as_expr(other, "the left of +"), self)

    def __sub__(self, other: Any) -> Expr:
        return subtract(self, as_expr(other, "the right of -"))

    def __rsub__(self, other: Any) -> Expr:
        return subtract(as_expr(other, "the left of -"), self)

    def __mul__(self, other: Any) -> Expr:
        return multiply(self, as_expr(other, "the right of *"))

    def __rmul__(self, other: Any) -> Expr:
        return multiply(as_expr(other, "the left of *"), self)

    def __truediv__(self, other: Any) -> Expr:
        return divide(self, as_expr(other, "the right of /"))

    def __rtruediv__(self, other: Any) -> Expr:
        return divide(as_expr(other, "the left of /"), self)

    def __matmul__(self, other: Any) -> Expr:
        return matmul(self, as_expr(other, "the right of @"))

    def __rmatmul__(self, other: Any) -> Expr:
        return matmul(as_expr(other, "the left of @"), self)

    def __neg__(self) -> Expr:
        return negative(self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return Apply("abs", (self,), self.shape)

    def __pow__(self, exponent: Any) -> Expr:
        power = np.asarray(exponent) if isinstance(exponent, int | float | np.ndarray | np.number) else None
        if power is None or power.ndim != 0 or power not in (1, 2):
            raise ExpressionError(f"`**` takes the exponent 2, got {exponent!r} in `{self} ** {exponent}`")
        return self if power == 1 else Apply("square", (self,), self.shape)

    def __rpow__(self, base: Any) -> NoReturn:
        raise ExpressionError(f"an exponent must be the number 2, got the expression `{self}`")

    @property
    def T(self) -> Expr:  # noqa: N802
        """The transpose, all axes reversed."""
        return self if self.ndim < 2 else Apply("transpose", (self,), self.shape[::-1])

    def reshape(self, *shape: Any) -> Expr:
        """The same entries in row-major order with another shape; one length may be -1."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        try:
            out = np.broadcast_to(np.float64(0), self.shape).reshape(tuple(int(n) for n in wanted)).shape
        except (ValueError, TypeError) as error:
            raise ShapeError(f"cannot reshape `{self}` of shape {self.shape} to {wanted}") from error
        return self if out == self.shape else Apply("reshape", (self,), out, to=out)

    def sum(self, axis: Any = None, dtype: None = None, out: None = None) -> Expr:
        """Sum of the entries, or along `axis`: what `np.sum` calls."""
        return total(self, axis)

    def __getitem__(self, key: Any) -> Expr:
        if isinstance(key, Expr) or (isinstance(key, tuple) and any(isinstance(part, Expr) for part in key)):
            raise ExpressionError(f"an index must be made of numbers, got an expression in `{self}[...]`")
        entries, shape = indexing.encode(self.shape, key, f"`{self}`")
        return Apply("index", (self,), shape, index=entries)

    def __iter__(self) -> Iterator[Expr]:
        # no __len__: without it NumPy and SciPy take an expression as one object and leave the operation to it
        if not self.shape:
            raise ExpressionError(f"cannot iterate over the scalar `{self}`")
        if self.shape[0] > ITERATION_LIMIT:
            raise ExpressionError(f"iterating over the {self.shape[0]} entries of `{self}` would build as many"
                                  " expressions: write admm.sum(...), or slices, instead")  # fmt: skip
        return (self[i] for i in range(self.shape[0]))

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Constr:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Constr(self, "==", other)

    def __le__(self, other: Any) -> Constr:
        return Constr(self, "<=", other)

    def __ge__(self, other: Any) -> Constr:
        return Constr(self, ">=", other)

    def __lt__(self, other: Any) -> NoReturn:
        raise ExpressionError(f"strict inequality in `{self} < ...`: write <=, constraints are closed sets")

    def __gt__(self, other: Any) -> NoReturn:
        raise ExpressionError(f"strict inequality in `{self} > ...`: write >=, constraints are closed sets")

    def __ne__(self, other: Any) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise ExpressionError(f"`{self} != ...` is no convex constraint: write ==, <= or >=; compare objects with `is`")

    def __bool__(self) -> NoReturn:
        raise ExpressionError(f"`{self}` has no truth value: it is an expression whose value is known after a solve")

    def __float__(self) -> NoReturn:
        raise ExpressionError(f"`{self}` is no number: it is an expression whose value is known after a solve")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return interop.apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return interop.apply_function(function, self, args, kwargs)

    @property
    def __jax_array__(self) -> NoReturn:
        interop.answer_jax(self)

    def __str__(self) -> str:
        return printing.text(self)

    def __repr__(self) -> str:
        return f"<{self}, shape {self.shape}>"

    def _repr_latex_(self) -> str:
        return f"${printing.latex(self)}$"


class Apply(Expr):
    """An operation on arguments.

    A sibling of the leaves and not their base, for Python asks a subclass on the right first: `norm(x) <= r` would
    turn into `r >= norm(x)`.
    """

    __slots__ = ()


class Constant(Expr):
    """Numbers in the tree: a float64 NumPy copy, a JAX array as it is, or a `Sparse` matrix."""

    __slots__ = ("value",)

    def __init__(self, value: Any, what: str = "a constant", *, infinite: bool = False) -> None:
        self.value = checked_sparse(value, what) if is_sparse(value) else checked_array(value, what, infinite=infinite)
        super().__init__("constant", (), self.value.shape)


class Constr:
    """A constraint, `lhs == rhs`, `lhs <= rhs` or `lhs >= rhs`, made by comparing expressions."""

    __slots__ = ("__weakref__", "lhs", "rhs", "sense")

    def __init__(self, lhs: Any, sense: str, rhs: Any) -> None:
        """Both sides broadcast to one shape; infinite bounds are allowed."""
        senses = {"=": "==", "<": "<=", ">": ">=", "==": "==", "<=": "<=", ">=": ">="}
        if sense not in senses:
            raise ExpressionError(f"the sense of a constraint must be one of '<=', '>=', '==', got {sense!r}")
        self.sense = senses[sense]
        self.lhs = as_expr(lhs, f"the left of {self.sense}", infinite=True)
        self.rhs = as_expr(rhs, f"the right of {self.sense}", infinite=True)
        broadcast_shape(self.sense, self.lhs, self.rhs)

    def __bool__(self) -> NoReturn:
        raise ExpressionError(
            f"the constraint `{self}` has no truth value: pass it to addConstr; write `a <= x <= b` as two constraints"
        )

    def __str__(self) -> str:
        return f"{self.lhs} {self.sense} {self.rhs}"

    def __repr__(self) -> str:
        return f"<{self}>"


def as_expr(value: Any, what: str = "an operand", *, infinite: bool = False) -> Expr:
    """`value` as a node; numbers are checked and copied."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Constr):
        raise ExpressionError(f"{what} is the constraint `{value}`, expected an expression or numbers")
    return Constant(value, what, infinite=infinite)


def _union(groups: list[tuple[Expr, ...]]) -> tuple[Expr, ...]:
    if sum(map(bool, groups)) <= 1:
        return next((group for group in groups if group), ())
    return tuple({id(leaf): leaf for group in groups for leaf in group}.values())


def broadcast_shape(symbol: str, *args: Expr) -> Shape:
    """NumPy's broadcast of the arguments' shapes, or an error that shows them."""
    try:
        return np.broadcast_shapes(*(arg.shape for arg in args))
    except ValueError as error:
        joined = f" {symbol} ".join(f"({arg})" if arg.op == "add" else str(arg) for arg in args)
        shapes = " and ".join(str(arg.shape) for arg in args)
        first, second = sorted((arg.shape for arg in (args[0], args[-1])), key=len)
        raise ShapeError(f"shapes {shapes} do not broadcast in `{joined}`{one_of_many(second, first)}") from error


def add(a: Expr, b: Expr) -> Expr:
    """a + b, kept flat so that long sums stay shallow; the number zero is dropped."""
    shape = broadcast_shape("+", a, b)
    if _is_zero(a) and b.shape == shape:
        return b
    if _is_zero(b) and a.shape == shape:
        return a
    terms = (a.args if a.op == "add" else (a,)) + (b.args if b.op == "add" else (b,))
    return Apply("add", terms, shape)


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Constant) and isinstance(e.value, np.ndarray) and e.value.ndim == 0 and e.value == 0


def subtract(a: Expr, b: Expr) -> Expr:
    """a - b."""
    broadcast_shape("-", a, b)  # for the message
    return add(a, negative(b))


def negative(a: Expr) -> Expr:
    """-a; twice is nothing."""
    if isinstance(a, Constant) and isinstance(a.value, np.ndarray):
        return Constant(-a.value, infinite=True) if a.value.ndim == 0 else Apply("negative", (a,), a.shape)
    return a.args[0] if a.op == "negative" else Apply("negative", (a,), a.shape)


def multiply(a: Expr, b: Expr) -> Expr:
    """Elementwise product."""
    for side in (a, b):
        if isinstance(side, Constant) and isinstance(side.value, Sparse):
            raise ShapeError(f"`*` with a sparse matrix of shape {side.shape} is ambiguous: write @ for the matrix"
                             " product, or pass it as a dense array for the elementwise one")  # fmt: skip
    return Apply("multiply", (a, b), broadcast_shape("*", a, b))


def divide(a: Expr, b: Expr) -> Expr:
    """Elementwise quotient by a constant."""
    shape = broadcast_shape("/", a, b)
    if not b.is_constant:
        raise ExpressionError(f"division by a variable in `{a} / ({b})`: only constants may stand below /")
    if isinstance(b, Constant) and isinstance(b.value, np.ndarray) and not np.all(b.value):
        raise ExpressionError(f"division by zero in `({a}) / {b}`")
    return Apply("divide", (a, b), shape)


def matmul(a: Expr, b: Expr) -> Expr:
    """Matrix product of vectors and matrices, by NumPy's rules."""
    if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
        raise ShapeError(f"@ takes vectors and matrices, got shapes {a.shape} and {b.shape}: write * with a scalar")
    if a.shape[-1] != b.shape[0]:
        raise ShapeError(
            f"shapes {a.shape} and {b.shape} do not fit in `{a} @ {b}`: {a.shape[-1]} against {b.shape[0]}"
        )
    return Apply("matmul", (a, b), a.shape[:-1] + b.shape[1:])


def total(a: Expr, axis: Any = None) -> Expr:
    """Sum over `axis`, an int or several; None is all of them."""
    axes = checked_axes(a, axis, "sum")
    if not axes:
        return a
    return Apply("sum", (a,), tuple(n for i, n in enumerate(a.shape) if i not in axes), axes=axes)


def checked_axes(a: Expr, axis: Any, what: str) -> tuple[int, ...]:
    """`axis`, an int, several, or None for all, as axes of `a` from 0, each once and in order."""
    axes = range(a.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    for i in axes:
        if not isinstance(i, int | np.integer) or not -a.ndim <= i < a.ndim:
            raise ShapeError(f"axis {i!r} of {what} is out of range for `{a}` of shape {a.shape}")
    return tuple(sorted({int(i) % a.ndim for i in axes}))
