"""Constraints as bounds and norm balls of affine expressions.

A constraint is brought to `free part (<= | >= | ==) constant part`. An affine free part is bounded elementwise; any
other has to be one convex term, whose sublevel set its operation describes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.assembly import Assembly
from admm_jax.canonicalize.values import Values
from admm_jax.errors import ModelError, NonconvexError
from admm_jax.expressions.facts import is_affine, meaning
from admm_jax.expressions.node import Apply, Constr, Expr
from admm_jax.expressions.operation import operation_of
from admm_jax.expressions.printing import text

OPPOSITE = {"<=": ">=", ">=": "<=", "==": "=="}


def add_constraint(assembly: Assembly, constraint: Constr) -> None:
    """Add the constraint to the problem.

    Raises:
        ModelError: it has no variable, or no point satisfies it.
        NonconvexError: it is not convex, or no rule knows its set.
    """
    free, constant, sense = _sides(constraint)
    shape = np.broadcast_shapes(constraint.lhs.shape, constraint.rhs.shape)
    bound = assembly.values.array(0.0)
    for positive, term in constant:  # moved to the right: the sign turns
        bound = bound - assembly.values.dense(term) if positive else bound + assembly.values.dense(term)
    label = _label(constraint)
    if all(is_affine(term) for _, term in free):
        terms = tuple(term if positive else Apply("negative", (term,), term.shape) for positive, term in free)
        whole = Apply("add", terms, np.broadcast_shapes(*(term.shape for term in terms)))
        lower, upper = bounds_of(sense, bound)
        assembly.bound(assembly.affine(whole).broadcast(shape), lower, upper, label)
        return
    if len(free) > 1:
        guilty = next(term for _, term in free if not is_affine(term))
        raise NonconvexError(f"in `{constraint}` the term `{guilty}` must stand alone against a constant bound")
    params = tuple(p for _, term in constant for p in term.parameters)
    positive, term = free[0]
    if not positive:
        bound, sense = -bound, OPPOSITE[sense]
    Limit(assembly, constraint, label, params).add(term, sense, bound)


def _sides(constraint: Constr) -> tuple[list[tuple[bool, Expr]], list[tuple[bool, Expr]], str]:
    """(terms of lhs - rhs with variables, terms without, sense), each term with whether it is added or subtracted.

    Where all terms with variables are subtracted, both sides change their sign, and the sense is turned.
    """
    terms: list[tuple[bool, Expr]] = []
    for side, positive in ((constraint.lhs, True), (constraint.rhs, False)):
        for term in side.args if side.op == "add" else (side,):
            turned = term.op == "negative"
            terms.append((positive != turned, term.args[0] if turned else term))
    free = [(positive, term) for positive, term in terms if not term.is_constant]
    constant = [(positive, term) for positive, term in terms if term.is_constant]
    if not free:
        raise ModelError(f"the constraint `{constraint}` has no variable")
    if any(positive for positive, _ in free):
        return free, constant, constraint.sense
    return [(True, t) for _, t in free], [(not p, t) for p, t in constant], OPPOSITE[constraint.sense]


def bounds_of(sense: str, bound: Any) -> tuple[Any, Any]:
    """(lower, upper) of a quantity that is <= `bound`, >= it or == it, by `sense`."""
    return (-np.inf if sense == "<=" else bound), (np.inf if sense == ">=" else bound)


def _label(constraint: Constr) -> str:
    return f"{text(constraint.lhs, anonymous=True)} {constraint.sense} {text(constraint.rhs, anonymous=True)}"


class Limit:
    """The set {x: term <= bound} of one convex term, or {x: term >= bound} of a concave one.

    Attributes:
        assembly: Takes the set.
        constraint: As the user wrote it.
        label: The same without numbers.
        params: The parameters in the bound so far.
    """

    def __init__(self, assembly: Assembly, constraint: Constr, label: str, params: tuple[Expr, ...]) -> None:
        self.assembly, self.constraint, self.label, self.params = assembly, constraint, label, params

    @property
    def values(self) -> Values:
        """The numbers."""
        return self.assembly.values

    def add(self, e: Expr, sense: str, bound: Any) -> None:
        """Add `e sense bound`.

        Args:
            e: The term, not affine.
            sense: "<=", ">=" or "==".
            bound: Numbers that broadcast with the shape of e.
        """
        rule, same = operation_of(e).level, meaning(e)
        if rule is not None:
            rule(e, sense, bound, self)
        elif same is not None:
            self.add(same, sense, bound)
        else:
            raise self.unknown(e, sense)

    def refuse(self, reason: str) -> NonconvexError:
        """The error for a constraint that is not convex, or whose set is not known."""
        return NonconvexError(f"the constraint `{self.constraint}` {reason}")

    def unknown(self, e: Expr, sense: str) -> NonconvexError:
        """The error for `e sense bound`, e being convex and without a rule."""
        if sense == "==":
            return self.refuse(f"is an equality on `{e}`, which is not affine: only affine equalities are convex")
        if sense == ">=":
            return self.refuse(f"bounds the convex `{e}` from below, which is not convex: write <=")
        return self.refuse(f"has no rule: no set is known for `{e}` bounded by a constant")

    def require(self, e: Expr, sense: str, needed: str) -> None:
        """Refuse `e sense bound` unless the sense is the one that is convex."""
        if sense == needed:
            return
        if needed == ">=" and sense == "<=":
            raise self.refuse(f"bounds the concave `{e}` from above, which is not convex: write >=")
        raise self.unknown(e, sense)

    def radius(self, e: Expr, bound: Any) -> Any:
        """The bound of a scalar, nonnegative term; None where it is infinite and binds nothing."""
        if bound.size != 1:
            raise self.refuse(f"bounds the scalar `{e}` by {bound.size} numbers: the bound must be a scalar")
        bound = bound.reshape(())
        self.check_nonnegative(e, bound)
        known = self.values.is_known(bound, self.params)
        return None if known and np.isposinf(np.asarray(bound)) else bound

    def check_nonnegative(self, e: Expr, bound: Any) -> None:
        """Refuse a bound that no value of the nonnegative `e` can meet."""
        if self.values.is_known(bound, self.params) and np.min(np.asarray(bound), initial=0.0) < 0:
            least = float(np.min(np.asarray(bound)))
            self.refuse_empty(f"`{e}` is never negative, its bound is {least:.6g}", self.params)

    def refuse_empty(self, reason: str, params: tuple[Expr, ...]) -> NoReturn:
        """Raise the error of a constraint that no point satisfies: the parameters' fault if there are any."""
        message = f"`{self.constraint}` has no solution: {reason}"
        raise self.values.refuse(message, params) if params else ModelError(message)

    def ball(self, function: Callable[[Any], Any], argument: Affine, radius: Any) -> None:
        """The argument lies in a ball.

        Args:
            function: From a radius to the indicator of the ball.
            argument: A x + b.
            radius: A scalar >= 0; None, which is infinite, adds no constraint.
        """
        if radius is not None:
            self.assembly.penalise(function(radius), argument, self.label)

    def bound(self, argument: Affine, lower: Any, upper: Any) -> None:
        """lower <= argument <= upper."""
        self.assembly.bound(argument, lower, upper, self.label)

    def whole(self, e: Expr) -> Affine:
        """An affine expression in the shape of the constraint."""
        shape = np.broadcast_shapes(self.constraint.lhs.shape, self.constraint.rhs.shape)
        return self.assembly.affine(e).broadcast(shape)
