"""What an operation of the language is: one record, which says all that is to be known of it.

Whoever evaluates, prints, judges or canonicalises an expression asks the record of its operation, and knows no
operation by name. The records lie in `admm_jax.operations`, each beside the function that users call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from admm_jax.errors import ModelError

# how tightly an operation binds in print: a looser one inside a tighter one is put in parentheses
SUM, PRODUCT, NEGATION, ATOM = 1, 2, 3, 4


@dataclass(frozen=True)
class Operation:
    r"""One operation, e = f(a_1, ..., a_n; attributes).

    Only `name` and `value` are always needed. An operation that is an abbreviation of others gives `meaning` beside
    them, and of the rest only what differs. The rules of a problem are handed what they need: `values` are the numbers
    of constants (`canonicalize.values.Values`), `assembly` collects the problem (`canonicalize.assembly.Assembly`),
    `limit` is the constraint that is being added (`canonicalize.constraints.Limit`).

    Attributes:
        name: By which nodes call it; users' functions have the same name.
        value: (xp, *values of the arguments, **attributes) -> the value, `xp` being numpy or jax.numpy.
        sign: (signs of the arguments) -> 1 if every entry is certainly >= 0, -1 if <= 0, 0 if that is not known.
        text: (e, printer) -> the expression in one line; None is `name(arguments, options)`.
        listed: Whether it is written with its arguments in a list, as `concatenate([x, y])`.
        options: e -> what stands after the arguments in such a call, such as `, axis=0`.
        latex: (e, printer) -> the expression in LaTeX; None is the name in upright letters, before the arguments.
        latex_sum: (e, printer) -> the sum of its entries in LaTeX, where that has a symbol of its own.
        binding: How tightly it binds in print, see `SUM` to `ATOM`.
        meaning: e -> an equal expression in other operations, from which all comes that is not given here.
        linear: (e, i, values) -> the operators that argument i goes through, first to last, the others being constant.
            None for what is not linear.
        jointly: Whether it is linear in all arguments together, as a sum is, and not in one at a time, as a product is.
        adjoint: (e, i, y, values) -> the adjoint of `linear` on an array of numbers, which broadcasts to the shape of e
            as the result does to that of argument i. None is the adjoint of the operators themselves, which compiles.
        objective: (e, coefficient, assembly): add <coefficient, e> to the objective. None for what is linear: the
            coefficient goes on to the arguments through the adjoint.
        level: (e, sense, bound, limit): add `e sense bound`, sense being <=, >= or ==. None: no such set is known.
        level_of_sum: (total, e, weight, bound, limit): add `total = sum(weight * e) <= bound`, `weight` being a
            constant expression or None for 1. None: no such set is known.
        square: (e, squared, coefficient, assembly) -> whether it has added <coefficient, squared = e^2>.
        elementwise: Whether entry i of it reads entry i of its one argument only.
        bounds: The numbers of the arguments that are bounds, where infinity has a meaning.
        sparse: Whether `value` takes sparse matrices as they are.
    """

    name: str
    value: Callable[..., Any]
    sign: Callable[[tuple[int, ...]], int] | None = None
    text: Callable[[Any, Any], str] | None = None
    listed: bool = False
    options: Callable[[Any], str] | None = None
    latex: Callable[[Any, Any], str] | None = None
    latex_sum: Callable[[Any, Any], str] | None = None
    binding: int = ATOM
    meaning: Callable[[Any], Any] | None = None
    linear: Callable[[Any, int, Any], tuple[Any, ...]] | None = None
    jointly: bool = False
    adjoint: Callable[[Any, int, Any, Any], Any] | None = None
    objective: Callable[[Any, Any, Any], None] | None = None
    level: Callable[[Any, str, Any, Any], None] | None = None
    level_of_sum: Callable[[Any, Any, Any, Any, Any], None] | None = None
    square: Callable[[Any, Any, Any, Any], bool] | None = None
    elementwise: bool = False
    bounds: tuple[int, ...] = ()
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.meaning is None and self.linear is None and self.objective is None:
            raise ModelError(
                f"the operation {self.name!r} needs one of meaning=, linear= or objective=: how it enters a problem"
            )


_operations: dict[str, Operation] = {}


def register(*operations: Operation) -> None:
    """Make operations known, each by its name.

    Raises:
        ModelError: another operation has the name.
    """
    for operation in operations:
        if _operations.setdefault(operation.name, operation) is not operation:
            raise ModelError(f"there is an operation {operation.name!r} already: choose another name")


def operation_of(e: Any) -> Operation:
    """The record of an expression's operation.

    Raises:
        ModelError: it has not been registered.
    """
    try:
        return _operations[e.op]
    except KeyError:
        raise ModelError(f"no operation {e.op!r} is known: register its record") from None


def find(name: str) -> Operation | None:
    """The operation of that name, None if there is none."""
    return _operations.get(name)


def always_nonnegative(signs: tuple[int, ...]) -> int:
    """The sign of what is never negative, whatever its arguments are."""
    return 1


def sign_of_first(signs: tuple[int, ...]) -> int:
    """The sign of what moves, repeats, drops or adds up the entries of its first argument."""
    return signs[0]


def sign_of_product(signs: tuple[int, ...]) -> int:
    """The sign of a product of two arguments, or of sums of such."""
    return signs[0] * signs[1]


def common_sign(signs: tuple[int, ...]) -> int:
    """The sign that all arguments share."""
    return signs[0] if all(s == signs[0] for s in signs) else 0
