"""The x-update: argmin over x of the quadratics and sum rho_j/2 ||A_j x + b_j - z_j + y_j / rho_j||^2.

Its normal equations are solved by a Cholesky factor (dense models), by one pair of transforms (where all is diagonal in
Fourier: see `decouple`), or by a few conjugate gradient steps from the last x. The plan says which.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.problem import Penalty, Point, Problem
from admm_jax.solver.linear import conjugate_gradients, normal
from admm_jax.solver.plan import Plan
from admm_jax.solver.rewrite import VECTOR
from admm_jax.solver.state import State, Workspace, rhos_of
from admm_jax.solver.vectors import add, dtype_of

UNROLLED_STEPS = 500  # conjugate gradient steps, at most, of an x-update that is differentiated


def x_update(problem: Problem, plan: Plan, workspace: Workspace, state: State) -> tuple[Point, tuple[Array, ...]]:
    """(x, the images A_j x + b_j)."""
    if plan.periods is not None:
        return diagonal(problem, plan.periods, state)
    rhs = workspace.rhs
    for penalty, z, y in zip(problem.penalties, state.z, state.y, strict=True):
        rhs = add(rhs, penalty.map.adjoint(state.rho * (z - penalty.offset) - y))
    if plan.dense:
        x = {VECTOR: jsl.cho_solve((state.factor, True), rhs[VECTOR])}
    else:
        x = iterative(problem, plan, rhs, state)
    return x, tuple(penalty.map(x) + penalty.offset for penalty in problem.penalties)


def iterative(problem: Problem, plan: Plan, rhs: Point, state: State) -> Point:
    """By conjugate gradients, warm-started; to rounding where the step is to be differentiated."""
    rhos = (state.rho,) * len(problem.penalties)
    operator = partial(normal, problem, rhos)
    if not plan.unroll:
        return conjugate_gradients(operator, rhs, state.x, steps=plan.cg_steps, tol=plan.cg_tol)
    tol = 4 * float(jnp.finfo(dtype_of(rhs)).eps)
    zero = {name: jnp.zeros_like(value) for name, value in rhs.items()}

    def exactly(_: object, b: Point) -> Point:
        return conjugate_gradients(operator, b, zero, steps=UNROLLED_STEPS, tol=tol)

    return lax.custom_linear_solve(operator, rhs, exactly, symmetric=True)


def diagonal(problem: Problem, periods: tuple[int, int], state: State) -> tuple[Point, tuple[Array, ...]]:
    """In Fourier, for a decoupled problem: every A_j is the identity or has a symbol.

    x^ = (sum conj(A_j^) (rho_j (z_j - b_j) - y_j)^ - c^) / sum rho_j |A_j^|^2
    """
    ((name, _),) = problem.variables
    dtype = state.x[name].dtype
    plain = jnp.zeros(periods, dtype) - problem.linear.get(name, jnp.zeros((), dtype))
    transformed, power = jnp.zeros((), jnp.result_type(dtype, jnp.complex64)), jnp.zeros((), dtype)
    rhos = rhos_of(problem, state)
    for penalty, z, y, rho in zip(problem.penalties, state.z, state.y, rhos, strict=True):
        pulled = rho * (z - penalty.offset) - y
        symbol = _symbol(penalty)
        if symbol is None:
            plain, power = plain + pulled, power + rho
        else:
            transformed = transformed + jnp.conj(symbol) * jnp.fft.rfft2(pulled)
            power = power + rho * (symbol.real**2 + symbol.imag**2)
    spectrum = (jnp.fft.rfft2(plain) + transformed) / power
    x = jnp.fft.irfft2(spectrum, periods).astype(dtype)
    images = []
    for penalty in problem.penalties:
        symbol = _symbol(penalty)
        value = x if symbol is None else jnp.fft.irfft2(symbol * spectrum, periods).astype(dtype)
        images.append(value + penalty.offset)
    return {name: x}, tuple(images)


def _symbol(penalty: Penalty) -> Array | None:
    """A_j^ of a split of a decoupled problem, None for the identity."""
    if penalty.map.identity_on is not None:
        return None
    return penalty.map.chains[0].ops[0].circular_symbol
