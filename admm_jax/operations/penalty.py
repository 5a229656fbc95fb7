"""`penalty`: a function of a user's own, checked where it enters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.canonicalize.assembly import Assembly, Coefficient
from admm_jax.errors import DataError, ExpressionError, ShapeError
from admm_jax.expressions.build import apply
from admm_jax.expressions.node import Constant, Expr, as_expr, multiply
from admm_jax.expressions.operation import Operation
from admm_jax.expressions.printing import Printer, text
from admm_jax.prox.own import CERTIFIES, ITERATES, Own, Template, offers


def penalty(function: Any, x: Any, weight: Any = 1) -> Any:
    """w g(x), a term of the objective, with a closed convex function g of your own.

    g is any object with some of these methods, on JAX arrays of the shape of `x`. What it does not say counts as
    unknown, so that the answer claims less:

    * `__call__(v)`, g(v), a scalar, for v where g is finite; `prox(v, step)`, argmin_z g(z) + ||z - v||^2 / (2 step);
      and, where g is infinite somewhere, `violation(v)`, v minus its projection onto the closure of dom g. With these a
      model is solved. It ends by its residuals, with the status SOLVE_RESIDUALS_REACHED and no certificate.
    * `project_dual(p)`, the projection onto the closure of dom g*, g*(p) = sup_v <p, v> - g(v), which must hold p = 0;
      `into_domain(p)`, the largest s in [0, 1] with s p in it; `fenchel_gap(v, p)`, g(v) + g*(p) - <v, p> for v and p
      in their domains, written so that equal terms cancel. With these the gap is certified, and a derivative is said
      to be in doubt.
    * `active(z, p)`, for p in dg(z), an array of booleans that changes when what g holds changes: where z is at a kink
      or a bound. A g without kinks and bounds holds nothing: `return jnp.zeros(z.shape, bool)`. Derivatives are those
      of the prox in any case.

    Optional are `bounds()`, (lower, upper) of the entries of v in dom g; `recession()`, the function
    v -> lim g(t v) / t, by which unbounded models are told; and an attribute `is_constraint`, true of an indicator.

    An object that is a pytree (`jax.tree_util.register_dataclass`) may have numbers, NumPy or JAX arrays and `Param`
    expressions as its leaves: the model is differentiable in them, and is not compiled again for new ones. Any other
    object is a constant of the program. `admm_jax.testing.check_function` proves an implementation.

    Args:
        function: g.
        x: Affine expression, of any shape.
        weight: w >= 0, a number, a `Param` or an expression of them; one entry. At zero the domain of g is left.

    Returns:
        An expression with one entry, or its value where there is nothing symbolic in it.

    Raises:
        ExpressionError: `function` is no such object, or the weight or a leaf holds a variable.
        ShapeError: the prox does not return the shape of its argument, g(v) is no scalar, or the weight is none.
        DataError: a method of `function` fails on an array of the shape of `x`.
    """
    x, weight = as_expr(x, "the argument of penalty"), as_expr(weight, "the weight of penalty")
    if isinstance(function, type):
        raise ExpressionError(f"penalty takes a function, an object, got the class {function.__name__}: make one of it")
    for method in ITERATES:
        if not offers(function, (method,)):
            raise ExpressionError(f"the function of penalty must have a method `{method}`, got {function!r:.80}")
    if not weight.is_constant:
        raise ExpressionError(f"the weight of penalty must be a constant, got `{weight}`")
    if weight.shape != ():
        raise ShapeError(f"the weight of penalty must be a scalar, got `{weight}` of shape {weight.shape}")
    template, numbers = Template.of(function)
    leaves = [as_expr(leaf, f"a leaf of {template.name}", infinite=True) for leaf in numbers]
    for leaf in leaves:
        if not leaf.is_constant:
            raise ExpressionError(f"the leaves of {template.name} must be constants, got `{leaf}`")
    _check(template, x.shape, leaves)
    term = apply("penalty", (x, *leaves), (), function=template)
    if isinstance(weight, Constant):
        if not isinstance(term, Expr):
            return weight.value * term
        if isinstance(weight.value, np.ndarray) and weight.value == 1:
            return term
    return multiply(weight, as_expr(term, f"the value of {template.name}"))


def _check(template: Template, shape: tuple[int, ...], leaves: list[Expr]) -> None:
    """Run the methods of a user's function on shapes alone, and compare the shapes that they return.

    Args:
        template: The function without its numbers.
        shape: Of its argument.
        leaves: Its numbers, as constants.
    """
    v = jax.ShapeDtypeStruct(shape, jnp.float32)
    step = jax.ShapeDtypeStruct((), jnp.float32)
    numbers = [jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in leaves]

    def expect(method: str, wanted: tuple[int, ...], *args: Any) -> None:
        def run(numbers: Any, *args: Any) -> Any:
            return getattr(template.build(numbers), method)(*args)

        name = (
            f"{method}{'(v, step)' if method == 'prox' else '(v, p)' if len(args) == 2 else '(v)'} of {template.name}"
        )
        try:
            found = jax.eval_shape(run, numbers, *args)
        except Exception as error:
            raise DataError(f"{name} fails on arrays of shape {shape}: {type(error).__name__}: {error}") from error
        got = getattr(found, "shape", None)
        if got != wanted:
            what = f"an array of shape {got}" if got is not None else type(found).__name__
            raise ShapeError(f"{name} must return an array of shape {wanted} for v of shape {shape}, got {what}")

    expect("__call__", (), v)
    expect("prox", shape, v, step)
    for method, wanted, args in (
        ("violation", shape, (v,)),
        ("project_dual", shape, (v,)),
        ("into_domain", (), (v,)),
        ("fenchel_gap", (), (v, v)),
    ):
        if _has(template, leaves, method):
            expect(method, wanted, *args)
    missing = [method for method in CERTIFIES if not _has(template, leaves, method)]
    if 0 < len(missing) < len(CERTIFIES):
        raise ExpressionError(
            f"{template.name} has some of the methods {', '.join(CERTIFIES)}, which go together, but not"
            f" {', '.join(missing)}"
        )
    if _has(template, leaves, "active") and missing:
        raise ExpressionError(f"{template.name} has the method active, but not {', '.join(missing)}, which it asks for")


def _has(template: Template, leaves: list[Expr], method: str) -> bool:
    return offers(template.build(leaves), (method,))


def _named(e: Expr) -> list[Expr]:
    """Its argument, and those of its numbers that are no constants."""
    return [e.args[0], *(arg for arg in e.args[1:] if not isinstance(arg, Constant))]


def _text(e: Expr, printer: Printer) -> str:
    return f"{e.attrs['function'].name}({', '.join(map(printer.show, _named(e)))})"


def _latex(e: Expr, printer: Printer) -> str:
    name = e.attrs["function"].name.replace("_", r"\_")
    return rf"\mathrm{{{name}}}\left({', '.join(map(printer.show, _named(e)))}\right)"


def _objective(e: Expr, coefficient: Coefficient, assembly: Assembly) -> None:
    """A function of the user's own; its infimum is a constant, for every term of a problem is >= 0."""
    template, values = e.attrs["function"], assembly.values
    argument, weight = assembly.affine(e.args[0]), assembly.weight(e, coefficient.scalar())
    leaves = tuple(values.dense(leaf) for leaf in e.args[1:])
    if not (values.placeholders and e.parameters):
        least = template.least(values.xp, argument.shape, values.dtype, leaves)
        assembly.constant = assembly.constant + weight * least
    assembly.penalise(Own(leaves, weight, values.array(1.0), template), argument, text(e, anonymous=True))


PENALTY = Operation(
    "penalty",
    value=lambda xp, x, *leaves, function: function.value(xp, x, leaves),
    text=_text,
    latex=_latex,
    objective=_objective,
)
