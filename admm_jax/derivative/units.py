"""The derivative in the units in which the problem was solved (see `solver.equilibrate`), and back from them.

The scales are fixed numbers: with them the scaled problem is a function of the user's, whose Jacobian-vector product
takes a change along; and x = C x^ takes the change of the solution back. What is large or small, held or free, regular
or not is then decided where all numbers are near one, whatever units the variables have.
"""

from __future__ import annotations

import jax
import numpy as np
from jax import Array
from jax.dtypes import float0

from admm_jax.derivative.ambiguity import no_tangent, with_floating
from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver.equilibrate import equilibrate
from admm_jax.solver.plan import Plan
from admm_jax.solver.scaling import Scaling


class ScaledProblem:
    """The scaled problem of a user's one, and the ways between them.

    Args:
        problem: The user's, as `solver.solve.prepare` made it.
        plan: How it is solved: a dense one becomes one vector with matrices.
        scaling: The units in which it was solved.
    """

    def __init__(self, problem: Problem, plan: Plan, scaling: Scaling) -> None:
        self.user, self.plan, self.scaling = problem, plan, jax.lax.stop_gradient(scaling)
        self.problem = self._scaled(problem)

    def _scaled(self, problem: Problem) -> Problem:
        plain = self.plan.x_update.rewritten(problem, np.dtype(self.scaling.cost.dtype))
        return equilibrate(plain, self.scaling, dense=self.plan.dense)

    def change(self, change: Problem) -> Problem:
        """A change of the problem -> that of the scaled one."""
        return jax.jvp(self._scaled, (self.user,), (change,))[1]

    def shadows(self, shadows: tuple[Array, ...] | None) -> tuple[Array, ...] | None:
        """The changes of the penalties in the channels of `ambiguity`, from the user's units to the solver's."""
        if shadows is None:
            return None
        still = jax.tree.map(no_tangent, self.user)

        def one(leaves: tuple[Array, ...]) -> tuple[Array, ...]:
            change = self.change(replace(still, penalties=with_floating(self.user.penalties, list(leaves))))
            return tuple(leaf for leaf in jax.tree.leaves(change.penalties) if leaf.dtype != float0)

        return jax.vmap(one)(shadows)

    def point(self, x: Point) -> Point:
        """x -> x^."""
        return self.scaling.enter(self.plan.x_update.enter(self.user, x))

    def solution(self, solution: Solution) -> Solution:
        """The solution of the scaled problem: its values and multipliers; the rest is left."""
        return replace(
            solution,
            values=self.point(solution.values),
            multipliers=self.scaling.enter_duals(solution.multipliers),
        )

    def force(self, push: Point | None) -> Point | None:
        """A force on x -> that on x^: s C push."""
        if push is None:
            return None
        inner = self.scaling.leave(self.plan.x_update.enter(self.user, push))
        return {name: self.scaling.cost * value for name, value in inner.items()}

    def guess(self, adjoint: Point | None) -> Point | None:
        """Where the user's adjoint system starts -> where the scaled one does."""
        if adjoint is None:
            return None
        return {name: value / self.scaling.cost for name, value in self.point(adjoint).items()}

    def leave(self, dx: Point, value: Array, dp: tuple) -> tuple[Point, Array, tuple]:
        """(dx^, d f^, dp^) -> (dx, d f, dp)."""
        point = self.plan.x_update.leave(self.user, self.scaling.leave(dx))
        return point, value / self.scaling.cost, self.scaling.duals(dp)
