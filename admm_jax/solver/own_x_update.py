"""An x-update of the user's own, in the user's units.

    f(weights, b)  ~  the x with  (sum Q_i^T W_i Q_i + sum w_j A_j^T A_j) x = b

It is the preconditioner of the conjugate gradients. An exact one ends them after one step. One that is inexact, or the
inverse of something else, costs steps; certificates know nothing of it, and hold whatever it is. Where it does not
point downhill, as one that is not positive, the residual itself takes its place.

The problem that is iterated has units of its own (see `equilibrate`): x = C x^, A_j^ = r_j A_j C, and the cost is s
times that of the user. Its normal equations

    (sum s C Q^T W Q C + sum rho r_j^2 C A_j^T A_j C) x^ = b^

become those of f when they are divided by s C:   w_j = rho r_j^2 / s,   b = b^ / (s C),   x = C x^.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from admm_jax.errors import DataError, ShapeError
from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solver.equilibrate import unscaled
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.vectors import add_scaled, dot, norm, probe_signs, select, subtract
from admm_jax.solver.x_update import Workspace
from admm_jax.solver.x_update_forms import ConjugateGradients

Solve = Callable[[tuple[Array, ...], Point], Point]  # (weights w_j, b) -> x
LINEAR = 1e-2  # relative: a solve that is iterated until it is nearly exact is nearly linear
CHECKED = 256  # functions that are remembered to have passed


@dataclass(frozen=True)
class Preconditioned(ConjugateGradients):
    """By conjugate gradients from the last x, preconditioned by a function of the user's own.

    It is compared and hashed as Python does it: the same function shares its compiled programs.
    """

    function: Solve = field(kw_only=True)

    @property
    def description(self) -> str:
        return f"{super().description}, preconditioned by {_name(self.function)}"

    def workspace(self, problem: Problem, dtype: jnp.dtype, scaling: Scaling | None = None) -> Workspace:
        return replace(super().workspace(problem, dtype), scaling=scaling)

    def preconditioner(self, problem: Problem, workspace: Workspace, rho: Array) -> Callable[[Point], Point]:
        """b^ -> x^."""
        scaling = unscaled(problem, rho.dtype) if workspace.scaling is None else workspace.scaling
        weights = tuple(rho * row * row / scaling.cost for row in scaling.rows)

        def precondition(r: Point) -> Point:
            b = {name: value / scaling.cost for name, value in scaling.enter(r).items()}
            x = scaling.enter(asked(self.function, weights, b))
            return select(dot(r, x) > 0, x, r)

        return precondition


def _name(function: Solve) -> str:
    """What to call it in a text."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else "x_update"


def asked(function: Solve, weights: tuple[Array, ...], b: Point) -> Point:
    """f(weights, b), in the precision of b: constants in f may be of another."""
    x = function(weights, b)
    return {name: jnp.asarray(x[name]).astype(value.dtype) for name, value in b.items()}


def check(function: Solve, problem: Problem, dtype: np.dtype) -> None:
    """Refuse a function that is no x-update for this problem.

    Shapes are found without computing. That it is linear and positive is tried once, with weights of one and right-hand
    sides of signs.

    Raises:
        DataError: it fails, returns something else than real numbers for each variable, or is not linear in b or not
            positive.
        ShapeError: it returns arrays of other shapes.
    """
    _passed(function, problem.variables, len(problem.penalties), dtype)


@lru_cache(CHECKED)
def _passed(function: Solve, variables: tuple, count: int, dtype: np.dtype) -> None:
    what = "option 'x_update':"
    one = jax.ShapeDtypeStruct((), dtype)
    b = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in variables}
    shapes = ", ".join(f"{name!r} {shape}" for name, shape in variables)
    try:
        out = jax.eval_shape(function, (one,) * count, b)
    except Exception as error:
        raise DataError(
            f"{what} {_name(function)}(weights, b) cannot be called with {count} weights and b of {shapes}: {error}"
        ) from error
    if not isinstance(out, dict) or set(out) != set(b):
        got = ", ".join(map(repr, out)) if isinstance(out, dict) else type(out).__name__
        raise DataError(f"{what} expected a dictionary of arrays for {', '.join(map(repr, b))}, got {got}")
    for name, shape in variables:
        found = getattr(out[name], "shape", None)
        if found != shape:
            raise ShapeError(f"{what} expected an array of shape {shape} for variable {name!r}, got {found}")
        if not jnp.issubdtype(out[name].dtype, jnp.floating):
            raise DataError(f"{what} expected real numbers for variable {name!r}, got {out[name].dtype}")
    with jax.ensure_compile_time_eval():  # numbers, inside transformations too
        tried = _tried(function, (jnp.ones((), dtype),) * count, variables, dtype)
    if any(isinstance(number, Tracer) for number in tried):
        return  # it reads traced arrays: nothing is known of it but its shapes
    error, energy = (float(number) for number in tried)
    if not np.isfinite(error):
        raise DataError(f"{what} expected finite numbers for weights of one, got {error}")
    if error > LINEAR:
        raise DataError(
            f"{what} expected a function that is linear in b, got one whose f(w, a + 2 b) is off f(w, a) + 2 f(w, b) "
            f"by {error:.1e} of its size"
        )
    if energy <= 0:
        raise DataError(f"{what} expected a positive definite x-update, got <b, f(w, b)> = {energy:.1e}")


def _tried(function: Solve, weights: tuple[Array, ...], variables: tuple, dtype: Any) -> tuple[Array, Array]:
    """(how far f is from linear, relative; the lesser <b, f(b)> of two)."""

    def measured() -> tuple[Array, Array]:
        a = {name: probe_signs(shape, dtype) for name, shape in variables}
        b = {name: value[::-1] if value.ndim else value / 3 for name, value in a.items()}
        fa, fb, both = (asked(function, weights, r) for r in (a, b, add_scaled(a, 2, b)))
        sum_of_both = add_scaled(fa, 2, fb)
        size = norm(fa) + 2 * norm(fb)
        error = norm(subtract(both, sum_of_both)) / jnp.where(size > 0, size, 1)
        return error, jnp.minimum(dot(a, fa), dot(b, fb))

    return jax.jit(measured)()
