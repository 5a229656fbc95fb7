"""Constraints as bounds and norm balls of affine expressions.

A constraint is brought to `free part (<= | >= | ==) constant part`. An affine free part is bounded elementwise; any
other has to be one convex term, whose sublevel set a rule describes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from admm_jax.canonicalize import atom_rules, quadratic
from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.terms import Terms, broadcast
from admm_jax.errors import ModelError, NonconvexError
from admm_jax.expressions.facts import alike, is_affine, sign
from admm_jax.expressions.node import Apply, Constr, Expr, multiply
from admm_jax.expressions.printing import text
from admm_jax.operators.base import MatMul, Scale
from admm_jax.prox import functions

_OPPOSITE = {"<=": ">=", ">=": "<=", "==": "=="}
_ELEMENTWISE = ("abs", "square")


def add_constraint(o: Terms, constraint: Constr) -> None:
    """Add the constraint to the problem.

    Raises:
        ModelError: it has no variable, or no point satisfies it.
        NonconvexError: it is not convex, or no rule knows its set.
    """
    free, constant, sense = _sides(constraint)
    shape = np.broadcast_shapes(constraint.lhs.shape, constraint.rhs.shape)
    bound = o.values.array(0.0)
    for positive, term in constant:  # moved to the right: the sign turns
        bound = bound - o.values.dense(term) if positive else bound + o.values.dense(term)
    label = _label(constraint)
    if all(is_affine(term) for _, term in free):
        terms = tuple(term if positive else Apply("negative", (term,), term.shape) for positive, term in free)
        whole = Apply("add", terms, np.broadcast_shapes(*(term.shape for term in terms)))
        lower, upper = _interval(sense, bound)
        o.bound(broadcast(o.affine(whole), shape), lower, upper, label)
        return
    if len(free) > 1:
        guilty = next(term for _, term in free if not is_affine(term))
        raise NonconvexError(f"in `{constraint}` the term `{guilty}` must stand alone against a constant bound")
    params = tuple(p for _, term in constant for p in term.parameters)
    positive, term = free[0]
    if not positive:
        bound, sense = -bound, _OPPOSITE[sense]
    _Level(o, constraint, label, params).limit(term, sense, bound)


def _sides(constraint: Constr) -> tuple[list[tuple[bool, Expr]], list[tuple[bool, Expr]], str]:
    """(sign, term) of lhs - rhs with variables, those without, and the sense; turned if all signs are negative."""
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
    return [(True, t) for _, t in free], [(not p, t) for p, t in constant], _OPPOSITE[constraint.sense]


def _interval(sense: str, bound: Any) -> tuple[Any, Any]:
    return (-np.inf if sense == "<=" else bound), (np.inf if sense == ">=" else bound)


def _label(constraint: Constr) -> str:
    return f"{text(constraint.lhs, anonymous=True)} {constraint.sense} {text(constraint.rhs, anonymous=True)}"


class _Level:
    """The set {x: term <= bound} of one convex term, or {x: term >= bound} of a concave one."""

    def __init__(self, o: Terms, constraint: Constr, label: str, params: tuple[Expr, ...]) -> None:
        self.o, self.constraint, self.label, self.params = o, constraint, label, params

    def refuse(self, reason: str) -> NonconvexError:
        return NonconvexError(f"the constraint `{self.constraint}` {reason}")

    def limit(self, e: Expr, sense: str, bound: Any) -> None:
        """Add `e sense bound`."""
        values = self.o.values
        if e.op == "negative":
            self.limit(e.args[0], _OPPOSITE[sense], -bound)
        elif e.op in ("multiply", "divide") and not is_affine(e) and any(arg.is_constant for arg in e.args):
            factor, free = e.args if e.args[0].is_constant else e.args[::-1]
            number = values.dense(factor)
            self.params += factor.parameters
            turned = sign(factor) == -1
            if values.is_known(number, factor.parameters):
                turned = bool(np.all(np.asarray(number) < 0))
                if not turned and not np.all(np.asarray(number) > 0):
                    message = f"the factor of `{free}` in `{self.constraint}` must not be zero or change sign"
                    raise values.refuse(message, factor.parameters)
            bound = bound / number if e.op == "multiply" else bound * number
            self.limit(free, _OPPOSITE[sense] if turned else sense, bound)
        elif e.op == "add" and sum(not term.is_constant for term in e.args) == 1:
            free = next(term for term in e.args if not term.is_constant)
            rest = [term for term in e.args if term is not free]
            self.params += tuple(p for term in rest for p in term.parameters)
            self.limit(free, sense, functools.reduce(lambda out, term: out - values.dense(term), rest, bound))
        elif e.op in ("index", "reshape", "transpose") and e.args[0].op in _ELEMENTWISE:
            inner = e.args[0]
            self.limit(Apply(inner.op, (Apply(e.op, inner.args, e.shape, **e.attrs),), e.shape), sense, bound)
        elif e.op == "inrange" and sense in ("<=", "=="):
            self.indicator(e)
        elif sense == "==":
            raise self.refuse(f"is an equality on `{e}`, which is not affine: only affine equalities are convex")
        elif e.op == "minimum":
            if sense == "<=":
                raise self.refuse(f"bounds the concave `{e}` from above, which is not convex: write >=")
            self.extremum(e, sense, bound)
        elif e.op == "matmul" and sense == ">=":
            self.quadratic_form(e, -bound, turned=True)
        elif sense == ">=":
            raise self.refuse(f"bounds the convex `{e}` from below, which is not convex: write <=")
        elif e.op in LEVELS:
            LEVELS[e.op](self, e, bound)
        else:
            raise self.refuse(f"has no rule: no set is known for `{e}` bounded by a constant")

    def radius(self, e: Expr, bound: Any) -> Any:
        """The bound of a scalar, nonnegative term; None where it is infinite and binds nothing."""
        if bound.size != 1:
            raise self.refuse(f"bounds the scalar `{e}` by {bound.size} numbers: the bound must be a scalar")
        bound = bound.reshape(())
        self.check_nonnegative(e, bound)
        known = self.o.values.is_known(bound, self.params)
        return None if known and np.isposinf(np.asarray(bound)) else bound

    def check_nonnegative(self, e: Expr, bound: Any) -> None:
        if self.o.values.is_known(bound, self.params) and np.min(np.asarray(bound), initial=0.0) < 0:
            least = float(np.min(np.asarray(bound)))
            message = f"`{self.constraint}` has no solution: `{e}` is never negative, its bound is {least:.6g}"
            raise self.o.values.refuse(message, self.params) if self.params else ModelError(message)

    def ball(self, function: Callable[[Any], Any], argument: Affine, radius: Any) -> None:
        if radius is not None:
            self.o.penalise(function(radius), argument, self.label)

    def norm(self, e: Expr, bound: Any) -> None:
        argument, radius = self.o.affine(e.args[0]), self.radius(e, bound)
        if e.attrs["ord"] == np.inf:
            if radius is not None:
                self.o.bound(argument, -radius, radius, self.label)
        else:
            self.ball(functions.L1Ball if e.attrs["ord"] == 1 else functions.L2Ball, argument, radius)

    def absolute(self, e: Expr, bound: Any) -> None:
        if not is_affine(e.args[0]) and sign(e.args[0]) == 1:
            return self.limit(e.args[0], "<=", bound)
        self.check_nonnegative(e, bound)
        return self.o.bound(self.whole(e.args[0]), -bound, bound, self.label)

    def square(self, e: Expr, bound: Any) -> None:
        a = e.args[0]
        self.check_nonnegative(e, bound)
        root = self.o.values.xp.sqrt(bound)
        if a.op == "norm":
            return self.limit(a, "<=", root)
        return self.o.bound(self.whole(a), -root, root, self.label)

    def whole(self, e: Expr) -> Affine:
        """An affine expression in the shape of the constraint."""
        shape = np.broadcast_shapes(self.constraint.lhs.shape, self.constraint.rhs.shape)
        return broadcast(self.o.affine(e), shape)

    def quadratic_form(self, e: Expr, bound: Any, *, turned: bool = False) -> None:
        found = quadratic.split(e) if e.size == 1 else None
        if found is None or not is_affine(found[0]):
            raise quadratic.no_product(e)
        values, (base, factors) = self.o.values, found
        scale, matrix = quadratic.matrix_of(factors, values)
        inside = tuple(p for kind, node in factors if kind != "minus" for p in node.parameters)
        flat = base if base.ndim == 1 else Apply("reshape", (base,), (base.size,))
        argument, scale = self.o.affine(flat), -scale if turned else scale
        if matrix is None:
            matrix = values.xp.eye(base.size, dtype=values.dtype)
        root = quadratic.square_root(scale * matrix, turned, e, inside, values)
        radius = self.radius(e, bound)
        offset = None if argument.offset is None else root @ argument.full_offset(values)
        image = Affine(argument.then(MatMul(root, argument.shape, "left")), offset, argument.shape)
        self.ball(functions.L2Ball, image, None if radius is None else values.xp.sqrt(radius))

    def sum(self, e: Expr, bound: Any) -> None:
        inner, weight = e.args[0], None
        while inner.op == "multiply" and any(arg.is_constant for arg in inner.args):
            factor, inner = inner.args if inner.args[0].is_constant else inner.args[::-1]
            weight = factor if weight is None else multiply(weight, factor)
        if e.ndim or inner.op not in ("abs", "square", "inrange") or inner.shape != e.args[0].shape:
            raise self.refuse(f"has no rule: no set is known for `{e}` bounded by a constant")
        if inner.op == "inrange":
            return self.indicator(inner)
        argument, radius = self.o.affine(inner.args[0]), self.radius(e, bound)
        if inner.op == "square":
            radius = None if radius is None else self.o.values.xp.sqrt(radius)
        if weight is not None:
            argument = self.weighted(argument, weight, inner)
        return self.ball(functions.L1Ball if inner.op == "abs" else functions.L2Ball, argument, radius)

    def weighted(self, argument: Affine, weight: Expr, inner: Expr) -> Affine:
        """The argument times w for w |a|, times sqrt(w) for w a^2."""
        values = self.o.values
        factor = values.dense(weight)
        if values.is_known(factor, weight.parameters) and np.min(np.asarray(factor)) < 0:
            least = np.min(np.asarray(factor))
            raise values.refuse(f"negative weight {least:.6g} on `{inner}` in `{self.constraint}`", weight.parameters)
        factor = values.xp.sqrt(factor) if inner.op == "square" else factor
        factor = factor.reshape((1,) * (inner.ndim - factor.ndim) + factor.shape) if factor.ndim else factor
        offset = None if argument.offset is None else factor * argument.offset
        return Affine(argument.then(Scale(factor, argument.shape)), offset, argument.shape)

    def extremum(self, e: Expr, sense: str, bound: Any) -> None:
        """max(a, b) <= c means a <= c, where b <= c: beyond that there is no solution."""
        xp, other = self.o.values.xp, self.o.values.dense(e.args[1])
        params = self.params + e.args[1].parameters
        possible = other <= bound if sense == "<=" else other >= bound
        if self.o.values.is_known(possible, params) and not np.all(np.asarray(possible)):
            message = f"`{self.constraint}` has no solution: `{e.args[1]}` already violates it"
            raise self.o.values.refuse(message, params) if params else ModelError(message)
        nowhere = -np.inf if sense == "<=" else np.inf
        lower, upper = _interval(sense, xp.where(possible, bound, nowhere))
        self.o.bound(self.whole(e.args[0]), lower, upper, self.label)

    def total_variation(self, e: Expr, bound: Any) -> None:
        if e.op == "tv2d" and e.attrs["p"] == 2:
            raise self.refuse(f"has no rule: `{e}` can be bounded for p=1 only")
        radius, values = self.radius(e, bound), self.o.values
        image = atom_rules.tv_map(self.o.affine(e.args[0]), atom_rules.tv_weight(e, values), values)
        self.ball(functions.L1Ball if e.attrs["p"] == 1 else functions.L2Ball, image, radius)

    def indicator(self, e: Expr) -> None:
        argument, lower, upper = e.args
        image = broadcast(self.o.affine(argument), e.shape)
        self.o.bound(image, self.o.values.dense(lower), self.o.values.dense(upper), self.label)

    def product(self, e: Expr, bound: Any) -> None:
        if not alike(*e.args):
            raise quadratic.no_product(e)
        self.square(Apply("square", e.args[:1], e.shape), bound)


LEVELS: dict[str, Callable[[_Level, Expr, Any], None]] = {
    "norm": _Level.norm,
    "abs": _Level.absolute,
    "square": _Level.square,
    "multiply": _Level.product,
    "matmul": _Level.quadratic_form,
    "sum": _Level.sum,
    "maximum": lambda level, e, bound: level.extremum(e, "<=", bound),
    "tv1d": _Level.total_variation,
    "tv2d": _Level.total_variation,
}
"""The sublevel set of each convex operation."""
