"""Squares and products in the objective: what is a sum of squares, and what is not."""

from __future__ import annotations

from admm_jax.canonicalize import quadratic
from admm_jax.canonicalize.affine import Affine
from admm_jax.canonicalize.terms import Coefficient, Terms
from admm_jax.errors import NonconvexError
from admm_jax.expressions.facts import AFFINE_OPS, alike, is_affine, sign
from admm_jax.expressions.node import Apply, Constant, Expr, divide, multiply
from admm_jax.operators.base import MatMul


def pull_square(o: Terms, e: Expr, c: Coefficient) -> None:
    """c a^2 for an affine a, a norm or an absolute value, times constants."""
    a = e.args[0]
    if a.op == "negative" or (a.op == "abs" and is_affine(a.args[0])):
        o.pull(Apply("square", a.args, e.shape), c)
    elif a.op in ("multiply", "divide") and not is_affine(a) and any(arg.is_constant for arg in a.args):
        squared = tuple(Apply("square", (arg,), arg.shape) for arg in a.args)
        o.pull(Apply(a.op, squared, e.shape), c)
    elif a.op == "norm" and a.attrs["ord"] in (None, "fro"):
        o.add_quadratic(e, o.affine(a.args[0]), o.weight(e, c.scalar()))
    elif a.op in AFFINE_OPS or is_affine(a):  # what is not affine inside is named by `affine`
        o.add_quadratic(e, o.affine(a), o.weight(e, c))
    else:
        raise NonconvexError(f"there is no rule for the square of `{a}`, which is not affine, in `{e}`")


def pull_product(o: Terms, e: Expr, c: Coefficient) -> None:
    """a * b elementwise, both with variables: constant factors times the square of one affine expression."""
    free: list[Expr] = []
    constant = _collect(e, free)
    if len(free) != 2 or free[0].shape != free[1].shape or not alike(*free):
        raise quadratic.no_product(e)
    square = Apply("square", (free[0],), free[0].shape)
    if constant is None:
        o.pull(square, c)
    else:
        o.pull(multiply(constant, square), c)


def _collect(e: Expr, free: list[Expr]) -> Expr | None:
    """Take a product apart: its constant factors multiplied, the others appended to `free`."""
    if e.is_constant:
        return e
    if e.op == "negative":
        inner = _collect(e.args[0], free)
        return multiply(Constant(-1.0), inner) if inner is not None else Constant(-1.0)
    if e.op == "divide":
        inner = _collect(e.args[0], free)
        return divide(inner if inner is not None else Constant(1.0), e.args[1])
    if e.op == "multiply":
        left, right = (_collect(arg, free) for arg in e.args)
        return right if left is None else left if right is None else multiply(left, right)
    free.append(e)
    return None


def pull_quadratic_form(o: Terms, e: Expr, c: Coefficient) -> None:
    """c base^T M base, M a product of constants: 1/2 (2c) ||S base||^2 with S S = M."""
    found = quadratic.split(e) if e.size == 1 else None
    if found is None or not is_affine(found[0]):
        if e.ndim == 0:  # a sum of elementwise products, as in (w * x) @ x
            o.pull(Apply("sum", (multiply(*e.args),), (), axes=(0,)), c)
            return
        raise quadratic.no_product(e)
    base, factors = found
    scale, matrix = quadratic.matrix_of(factors, o.values)
    weight, known, params = c.value.reshape(()) * scale, c.sign, c.params
    for kind, node in factors:
        if kind in ("scale", "over"):
            known, params = known * int(sign(node)), params + node.parameters
        elif kind == "minus":
            known = -known
    argument = o.affine(base if base.ndim == 1 else Apply("reshape", (base,), (base.size,)))
    if matrix is None:
        o.add_quadratic(e, argument, o.weight(e, Coefficient(weight, known, params)))
        return
    turned = known < 0 or (known == 0 and o.values.is_known(weight, params) and float(weight) < 0)
    matrix, weight = (-matrix, -weight) if turned else (matrix, weight)
    inside = params + tuple(p for kind, node in factors if kind.startswith("left") for p in node.parameters)
    root = quadratic.square_root(matrix, turned, e, inside, o.values)
    offset = None if argument.offset is None else root @ argument.full_offset(o.values)
    image = Affine(argument.then(MatMul(root, argument.shape, "left")), offset, argument.shape)
    o.add_quadratic(e, image, weight)
