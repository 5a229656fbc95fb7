"""What a solve hands out: the values, and what is known about how good they are."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jax.core import Tracer

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.status import Status


class History(NamedTuple):
    """What each check of the solve saw: arrays of one length, one entry a check, NaN where nothing was recorded.

    A check that finds the arrays full writes over their last entry.
    """

    iteration: Array
    objective: Array  # of the iterate, in the sense of the model
    gap: Array  # certified, relative
    primal_residual: Array  # relative, as the dual one
    dual_residual: Array
    rho: Array


@pytree_dataclass
class Solution:
    """The outcome of a solve, a pytree: it passes through `jit` and `vmap`.

    Arrays without a shape below are scalars. Under `vmap` all have the axis of the batch first.

    Attributes:
        values: the variables by name, each of its own shape; `solution[U]` and `solution["U"]` read it.
        objective: f(x), in the sense in which the model was written.
        gap: a certified bound on |f(x) - f*| / |f(x)|; infinite where none could be had. It follows from weak duality
            and rounding alone: what a pair of duals lacks is charged at bounds, level sets or, within rounding, at the
            size of x. (Where constraints are violated, f(x) may lie below f*: by the violation times the multipliers,
            of which the duals are an estimate.) Where both |f(x)| and the
            bound on |f(x) - f*| are within the rounding of f's terms, no such number has a meaning: then the optimum
            is zero as far as the dtype can tell, and `gap` is the bound relative to what f is the sum of, some eps.
        range: (lower, upper), shape (2,), that the values of an image are assumed to lie in by `gap`: no image with
            values in it is better by more than the gap. Infinite where nothing is assumed, as where the model has
            bounds of its own.
        estimate: of the gap, relative; it proves nothing (see `admm_jax.solver.estimate`).
        violation: the largest of any row of a constraint, relative to that row's own terms, bounds and units.
        primal_residual: of the last iterate, relative (see `admm_jax.solver.step.residuals`).
        dual_residual: of the last iterate, relative.
        status: a number of `Status`, an integer.
        iterations: ADMM iterations done, an integer.
        rho: the last penalty parameter, in the units of the model.
        state: where a later solve can start (`init=solution`).
        history: what each check saw, in order.
        multipliers: p, the dual point that proves the gap: one array p_j for each term g_j(A_j x + b_j) of the
            objective and for each constraint, in the order in which they were written, with one entry for the bounds on
            each variable itself after all others. `penalties` of `model.problem(params)` has them in this order too,
            with equal terms stacked into one; here they are apart (`Problem.term_by_term`). p_j has the shape of
            A_j x + b_j; that of a total variation, which is a norm of D (A_j x + b_j), the shape (ndim, *shape) of the
            differences. Squared terms, which are no penalties, have none. At the optimum p_j is a subgradient of g_j
            and, with the adjoint of A_j, or of D A_j,

                sum_i Q_i^T W_i (Q_i x - d_i) + c + sum_j A_j^T p_j = 0,

            of minus the objective where the model maximises. So p_j <= 0 at lower bounds and >= 0 at upper ones:
            minimising x^2 / 2 over x >= 1 gives -1, and over x <= -1 it gives 1. Adding a small db to b_j adds
            <p_j, db> to the minimum.
    """

    values: Point
    objective: Array
    gap: Array
    range: Array
    estimate: Array
    violation: Array
    primal_residual: Array
    dual_residual: Array
    status: Array
    iterations: Array
    rho: Array
    state: Any
    history: History
    multipliers: tuple[Array, ...]

    def __getitem__(self, key: Any) -> Array:
        """The value of a variable, by `Var` or by name."""
        name = key if isinstance(key, str) else getattr(key, "label", key)
        if name not in self.values:
            raise KeyError(f"the solution has no variable {name!r}; it has {', '.join(map(repr, self.values))}")
        return self.values[name]

    @property
    def converged(self) -> Array:
        """Whether the gap and the violation are certified to be within their tolerances."""
        return self.status == Status.SOLVE_OPT_SUCCESS.value

    @property
    def status_string(self) -> Any:
        """The status by name; of a batch a NumPy array of names, in its shape. Traced solutions have none yet."""
        names = np.vectorize(lambda number: Status(int(number)).name, otypes=[str])(self.status)
        return names if names.ndim else str(names)

    def _rows(self) -> list[tuple[str, str]]:
        status = Status(int(self.status))
        rows = [
            ("status", f"{status.name}: {status.meaning}"),
            ("objective", f"{float(self.objective):.12g}"),
            ("certified gap", self._certified()),
            ("constraint violation", f"{float(self.violation):.1e} (relative)"),
            ("iterations", str(int(self.iterations))),
            ("residuals", f"primal {float(self.primal_residual):.1e}, dual {float(self.dual_residual):.1e}"),
        ]
        if self.estimate < self.gap:
            rows.insert(3, ("estimated gap", f"{float(self.estimate):.1e} (relative; it proves nothing)"))
        if status is Status.SOLVE_STALLED:
            rows.insert(1, ("remedy", self._remedy()))
        for name, value in self.values.items():
            array = np.asarray(value)
            shape = "×".join(map(str, array.shape)) or "scalar"
            span = f"from {array.min():.6g} to {array.max():.6g}" if array.size else "empty"
            rows.append((f"variable {name}", f"{shape} {array.dtype}, {span}"))
        return rows

    def _certified(self) -> str:
        if Status(int(self.status)) is Status.SOLVE_RESIDUALS_REACHED:
            return "no certificate"
        if not np.isfinite(self.gap):
            return "none was found"
        low, high = (float(end) for end in np.asarray(self.range))
        ends = [f"{word} {end:.4g}" for word, end in (("from", low), ("to", high)) if np.isfinite(end)]
        among = f", among values {' '.join(ends)}" if ends else ""
        return f"{float(self.gap):.1e} (relative{among})"

    def _remedy(self) -> str:
        """What helps where the gap no longer falls."""
        dtype, gap = np.asarray(self.objective).dtype.name, float(self.gap)
        proved = f"proves no more here than {gap:.1e}" if np.isfinite(gap) else "proves nothing here"
        precise = "float64, or " if dtype == "float32" else ""
        looser = f"tol={1.1 * gap:.1e}" if np.isfinite(gap) and gap < 1 else "bounds on the variables or a small ridge"
        return f"{dtype} {proved}: {precise}{looser}"

    def _abstract(self) -> str | None:
        if isinstance(self.status, Tracer):
            return f"<Solution: {', '.join(self.values)}, traced>"
        if np.ndim(self.status) > 0:
            done = int(np.sum(np.asarray(self.converged)))
            gap = float(np.max(np.asarray(self.gap)))
            return f"<Solution: a batch of {np.size(self.status)}, {done} converged, largest gap {gap:.1e}>"
        return None

    def __repr__(self) -> str:
        short = self._abstract()
        if short is not None:
            return short
        return "Solution\n" + "\n".join(f"  {key:<21}{value}" for key, value in self._rows())

    def _repr_html_(self) -> str:
        short = self._abstract()
        if short is not None:
            return html.escape(short)
        return html_table(self._rows())


def html_table(rows: list[tuple[str, str]]) -> str:
    """Names and values as a table for a notebook."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
        for key, value in rows
    )
    return f"<table>{cells}</table>"


def by_term(solution: Solution, problem: Problem) -> Solution:
    """The solution with multipliers for each term as the user wrote it; without any where no run has begun."""
    if not solution.multipliers:
        return solution
    return replace(solution, multipliers=problem.term_by_term(solution.multipliers))


def oriented(solution: Solution, sense: int) -> Solution:
    """The solution with its objectives in the model's own sense: -1 where it maximises."""
    if sense == 1:
        return solution
    history = solution.history._replace(objective=-solution.history.objective)
    return replace(solution, objective=-solution.objective, history=history)
