"""The x-update: argmin over x of the quadratics and sum rho_j/2 ||A_j x + b_j - z_j + y_j / rho_j||^2.

Its normal equations

    (sum Q^T W Q + sum rho_j A_j^T A_j) x  =  sum Q^T W d - c + sum A_j^T (rho_j (z_j - b_j) - y_j)

are solved by an object that the plan chooses once (`x_update_forms`). How the problem has to be written for it is its
own affair.
"""

from __future__ import annotations

from typing import Protocol

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.state import State, right_hand_side


@pytree_dataclass
class Workspace:
    """Computed once for a problem: the constant right-hand side and what the x-update needs besides."""

    rhs: Point  # sum Q^T W d - c
    gram: Array  # sum Q^T W Q (dense), else size 0
    penalty_gram: Array  # sum A^T A (dense), else size 0
    scaling: Scaling | None = None  # the problem's units, where a function of the user's is asked in the user's


class XUpdate(Protocol):
    """How x is found in an iteration. Static and hashable: it belongs to the compiled program.

    A problem is written anew for it twice: `rewritten` comes before the problem is brought to units of its own,
    `iterated` after that. The steps are of the iterated problem. What certifies, polishes and differentiates is of the
    rewritten one.
    """

    @property
    def dense(self) -> bool:
        """Whether the rewritten problem is one of matrices over one vector: then what is small is solved directly."""
        ...

    @property
    def decoupled(self) -> bool:
        """Whether the iterated problem has more splits than the rewritten one.

        The duals then miss stationarity by a little everywhere, until the end: so less is asked of a certificate, and
        an estimate of the gap says more than it.
        """
        ...

    @property
    def description(self) -> str:
        """In words, for `explain`."""
        ...

    def rewritten(self, problem: Problem, dtype: jnp.dtype) -> Problem:
        """An equal problem, of the user's."""
        ...

    def enter(self, problem: Problem, x: Point) -> Point:
        """A point of the user's `problem` -> that of the rewritten one."""
        ...

    def leave(self, problem: Problem, x: Point) -> Point:
        """The inverse of `enter`. NumPy stays NumPy."""
        ...

    def iterated(self, problem: Problem) -> Problem:
        """The problem that the steps are of, from the rewritten one."""
        ...

    def modelled(self, problem: Problem) -> Problem:
        """A problem from whose least squares the sizes of x and rho are estimated: the rewritten one, or a model."""
        ...

    def begin(self, problem: Problem, x: Point) -> Point:
        """Where the iterated problem starts, for a point of the rewritten `problem` at which the user starts."""
        ...

    def shown(self, problem: Problem, x: Point) -> Point:
        """A point of the iterated problem -> that of the rewritten `problem`."""
        ...

    def ratios(self, iterated: Problem, rho: Array) -> tuple[Array, ...]:
        """(first, last) rho_j / rho of each split, of shape (2,) (see `state.rhos_of`); empty where all are one."""
        ...

    def workspace(self, problem: Problem, dtype: jnp.dtype, scaling: Scaling | None = None) -> Workspace:
        """What no iteration changes, of the rewritten problem.

        Args:
            problem: The rewritten problem, in the units of `scaling`.
            dtype: Of the solve.
            scaling: None where the units are the user's own.
        """
        ...

    def factor(self, workspace: Workspace, rho: Array) -> Array:
        """What changes with rho only; empty where that is nothing."""
        ...

    def __call__(
        self, problem: Problem, workspace: Workspace, state: State, *, exact: bool
    ) -> tuple[Point, tuple[Array, ...]]:
        """(x, the images A_j x + b_j).

        Args:
            problem: The iterated problem.
            workspace: Of `workspace`.
            state: The iterate before, with the `factor` of its rho.
            exact: Whether x must be exact to rounding and differentiable in all that it depends on.
        """
        ...


class AsItIs:
    """The answers of an x-update that takes the problem as it is and prepares nothing."""

    dense = False
    decoupled = False

    def rewritten(self, problem: Problem, dtype: jnp.dtype) -> Problem:
        return problem

    def enter(self, problem: Problem, x: Point) -> Point:
        return x

    def leave(self, problem: Problem, x: Point) -> Point:
        return x

    def iterated(self, problem: Problem) -> Problem:
        return problem

    def modelled(self, problem: Problem) -> Problem:
        return problem

    def begin(self, problem: Problem, x: Point) -> Point:
        return x

    def shown(self, problem: Problem, x: Point) -> Point:
        return x

    def ratios(self, iterated: Problem, rho: Array) -> tuple[Array, ...]:
        return ()

    def workspace(self, problem: Problem, dtype: jnp.dtype, scaling: Scaling | None = None) -> Workspace:
        empty = jnp.zeros((0, 0), dtype)
        return Workspace(right_hand_side(problem, dtype), empty, empty)

    def factor(self, workspace: Workspace, rho: Array) -> Array:
        return jnp.zeros((0, 0), rho.dtype)
