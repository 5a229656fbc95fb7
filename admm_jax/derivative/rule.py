"""The solve as a differentiable function of everything that its problem is made of.

`differentiable_solve` is `admm_jax.solver.solve.solve` with a derivative: forward, reverse and of any order. The rule
is written once, as a Jacobian-vector product around a linear solve that JAX can transpose. It never sees the loop: it
uses nothing but the solution and its multipliers, so memory does not grow with iterations, and starts, rho and
tolerances have derivative zero.

    dx           the linear system of `conditions.py`
    d objective  = the derivative of the Lagrangian at fixed (x, p): the envelope theorem (Danskin 1967)

         q(x) + sum <p_j, A_j x + b_j - z_j> + g_j(z_j; theta)      g_j(z_j) = <p_j, z_j> - g_j*(p_j) where g_j is a set

Where something is differentiated, the solve first finishes the active set: it goes on from its tolerance to a far
smaller one, for at most as many iterations again (see `solver.loop`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.custom_batching import sequential_vmap
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from admm_jax.derivative import linear_solve, trust
from admm_jax.derivative.active import has_curved_groups, project
from admm_jax.derivative.ambiguity import arriving, shadow
from admm_jax.derivative.conditions import lagrangian, multiplier_change, system_at, system_right_hand_side
from admm_jax.derivative.tell import program_number
from admm_jax.derivative.units import ScaledProblem
from admm_jax.precision import full_precision
from admm_jax.problem import Penalty, Point, Problem
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver import unroll
from admm_jax.solver.plan import Plan, polishing
from admm_jax.solver.programs import Program
from admm_jax.solver.rewrite import lift
from admm_jax.solver.settings import Settings, finishing
from admm_jax.solver.solve import in_stages, solve
from admm_jax.solver.state import State
from admm_jax.solver.vectors import add


def tangent_of(
    problem: Problem,
    change: Problem,
    plan: Plan,
    solution: Solution,
    push: Point | None = None,
    guess: Point | None = None,
    shadows: tuple[Array, ...] | None = None,
    program: Array | None = None,
) -> tuple[Point, Array, tuple]:
    """(dx, d objective, dp) at a solution for a change of the problem; linear in it, and transposable.

    Args:
        problem: The problem, of n unknowns x.
        change: Its tangent, a `Problem` of the same structure.
        plan: How the problem is solved.
        solution: The solution of `problem`, with its multipliers p.
        push: A force on x beside that of the change, of the shapes of x; None for none.
        guess: Where the transposed system starts, of the shapes of x; None is zero.
        shadows: The change of the penalties in the channels of `ambiguity.py`, each (CHANNELS, *shape); None where no
            kink of a term can move.
        program: The number of the traced program, which warns once (see `tell.program_number`).

    Returns:
        dx, of the shapes of x; d objective, a scalar; dp, of the shapes of the multipliers.
    """
    system, dtype = system_at(problem, plan, solution), solution.gap.dtype
    shift, (r, s) = system_right_hand_side(problem, change, system)
    if push is not None:
        r = add(r, project(system.space, push))
    t, u = linear_solve.solve_system(
        system,
        r,
        s,
        solution.converged,
        guess,
        asked=_measure((change.quadratics, change.penalties, change.linear, push) if plan.dense else (), dtype),
        shadows=arriving(problem, shadows, system) if shadows is not None and s else None,
        program=program,
    )
    dx = add(shift, project(system.space, t))
    value = jax.jvp(lambda q: lagrangian(lift(q), system.x, system.readings), (problem,), (change,))[1]
    return dx, value, multiplier_change(problem, change, system, dx, u)


def _measure(change: Any, dtype: Any) -> Array:
    """A number linear in a change and zero only where nothing changes: a sum with weights without a pattern."""
    leaves = [leaf for leaf in jax.tree.leaves(change) if leaf.dtype != float0]
    weights = [jnp.sin(1 + jnp.arange(leaf.size, dtype=dtype) ** 1.5) for leaf in leaves]
    parts = (jnp.dot(w, jnp.ravel(leaf)) for w, leaf in zip(weights, leaves, strict=True))
    return sum(parts, start=jnp.zeros((), dtype))


def _solve(
    problem: Problem,
    settings: Settings,
    x: Point,
    state: State | None,
    adjoint: Point | None,
    shadows: tuple[Array, ...] | None,
    program: Array | None,
    *,
    plan: Plan,
    dtype: np.dtype,
) -> Solution:
    if plan.unroll:
        return unroll.solve(problem, settings, x, state, plan=plan, dtype=dtype)
    return _solution(plan, dtype, problem, adjoint, settings, x, state, shadows, program)


_inside = jax.jit(_solve, static_argnames=("plan", "dtype"))  # for a solve in a transformation
_alone = Program(_solve, "plan", "dtype")  # for one that stands by itself


def differentiable_solve(
    problem: Problem,
    settings: Settings,
    x: Point,
    state: State | None,
    adjoint: Point | None = None,
    *,
    plan: Plan,
    dtype: np.dtype,
    made_of: tuple[Any, Callable[[Any], tuple[Penalty, ...]]] | None = None,
    owner: int = 0,
) -> Solution:
    """The solution; differentiable in `problem`.

    Polishing that is left out is not compiled, and a solve that stands in no transformation is compiled as its size
    asks (`solver.programs`).

    Args:
        problem: The problem, as `solver.solve.prepare` made it.
        settings: Of the solve.
        x: Where it starts.
        state: The state of an earlier solve that it starts from; None for none.
        adjoint: Where the linear system of reverse mode starts, of the shapes of x; None is zero. The solution does not
            depend on it, but its gradient is defined as the solution of that system: the gradient of a loss with
            respect to `adjoint` is what the next similar one starts from.
        plan: How it is solved.
        dtype: Of the solve.
        made_of: (parameters, from parameters to the problem's penalties): whether there is a derivative is then told
            of these parameters; None tells it of the numbers of the penalties themselves.
        owner: A number of the model, for warnings that are given once.
    """
    if not isinstance(settings.polish, Tracer) and not bool(settings.polish):
        plan = dataclasses.replace(plan, polisher=None)
    args = (problem, settings, x, state, adjoint)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, jnp.zeros(())))):
        program = program_number(owner)
        shadows = None
        if plan.derivative_nan and not plan.unroll:
            params, build = (problem.penalties, lambda penalties: penalties) if made_of is None else made_of
            shadows = shadow(params, build, problem.penalties, program, warn=plan.derivative_warning)
        run = partial(_inside, *args, shadows, program, plan=plan, dtype=dtype)
    elif plan.polisher is not None and plan.polisher.forms_matrices and not plan.unroll:
        run = partial(in_stages, problem, settings, x, state, plan=plan, dtype=dtype)
    else:
        run = partial(_alone, *args, None, None, plan=plan, dtype=dtype)
    with jax.debug_nans(False):  # NaN in the unused part of the history is no error
        return run()


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solution(
    plan: Plan,
    dtype: np.dtype,
    problem: Problem,
    adjoint: Point | None,
    settings: Settings,
    x: Point,
    state: State | None,
    shadows: tuple[Array, ...] | None,
    program: Array | None,
) -> Solution:
    del adjoint, shadows, program
    run = partial(solve, plan=plan, dtype=dtype)
    return (sequential_vmap(run) if plan.sequential else run)(problem, settings, x, state)


@full_precision
def _rule(plan: Plan, dtype: np.dtype, primals: tuple, tangents: tuple) -> tuple[Solution, Solution]:
    problem, adjoint, settings, x, state, shadows, program = primals
    moves = any(not _is_symbolic(leaf) for leaf in _kinks(tangents[0]))
    tangents = jax.tree.map(_instantiated, tangents, is_leaf=_is_symbolic)
    plan = polishing(plan, problem)
    # through the rule again, so that it can be differentiated once more
    aim = finishing(settings, plan, curved=has_curved_groups(problem, plan))
    solution = _solution(plan, dtype, problem, adjoint, aim, x, state, shadows, program)
    units = ScaledProblem(problem, plan, dtype)
    inner = units.solution(solution)
    dx, value, dp = units.leave(
        *tangent_of(
            units.problem,
            units.change(tangents[0]),
            plan,
            inner,
            units.force(tangents[1]),
            units.guess(adjoint),
            units.shadows(tangents[5]) if moves else None,
            program,
        )
    )
    if plan.derivative_warning:
        told = trust.Announcer(units.problem, plan, lax.stop_gradient(inner), aim.target, program)
        dx, value, dp = told(dx), told(value), told(dp)
    basis = jnp.ones((), dtype)
    if plan.derivative_nan:  # a solve that did not converge has no derivative
        basis = jnp.where(trust.reached(solution, plan, aim.target), basis, jnp.nan)
    change = replace(
        jax.tree.map(_no_tangent, solution),
        values={name: basis * v for name, v in dx.items()},
        objective=basis * value,
        multipliers=tuple(basis * v for v in dp),
    )
    return solution, change


# symbolic zeros tell what changes at all: multipliers that are not unique matter only where a kink may move
_solution.defjvp(_rule, symbolic_zeros=True)


def _kinks(change: Problem) -> list:
    """The tangents of whatever may move a kink of a penalty: its map, its offset and, of some, its parameters."""
    parts = [(penalty.map, penalty.offset) for penalty in change.penalties]
    moving = [penalty.function for penalty in change.penalties if penalty.function.kinks_move]
    return jax.tree.leaves((parts, moving), is_leaf=_is_symbolic)


def _is_symbolic(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)


def _instantiated(leaf: Any) -> Any:
    """A tangent as an array."""
    return np.zeros(leaf.shape, leaf.dtype) if _is_symbolic(leaf) else leaf


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _float0(leaf: Any) -> np.ndarray:
    return np.zeros(leaf.shape, float0)


def _no_tangent(leaf: Any) -> Any:
    return jnp.zeros_like(leaf) if _is_floating(leaf) else _float0(leaf)
