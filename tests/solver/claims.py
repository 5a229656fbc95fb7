"""What a solve claims of itself, held against the truth; shared by the tests of statuses, gaps and constraints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cvxpy as cp
import jax
import numpy as np

import admm_jax as admm
from admm_jax.status import Status
from tests.solver.random_models import Reference, reference

TOL = {"float32": 1e-4, "float64": 1e-6}  # the defaults
FEASIBILITY = {"float32": 1e-4, "float64": 1e-8}
ITERATIONS = 3000  # enough for what these tests solve, and soon over where it is not
STALLED = getattr(Status, "SOLVE_STALLED", None)


def solve(model: admm.Model, params: dict[str, Any], dtype: str = "float64", **options: Any) -> admm.Solution:
    """Solve with all data in `dtype`."""
    cast = {name: np.asarray(value, dtype) for name, value in params.items()}
    with jax.enable_x64(dtype == "float64"):
        return model.solve(cast, **{"max_iterations": ITERATIONS, **options})


def optimum_of(theirs: Any, constraints: Sequence[Any] = ()) -> Reference:
    """The least value of a cvxpy expression."""
    return reference(cp.Problem(cp.Minimize(theirs), list(constraints)))


def status_of(solution: admm.Solution) -> Status:
    return Status(int(solution.status))


def precision_of(solution: admm.Solution) -> str:
    return np.asarray(solution.objective).dtype.name


def check_gap(
    solution: admm.Solution, optimum: float, *, error: float = 0.0, objective: float | None = None
) -> tuple[float, float]:
    """The gap that is reported is not below the true one; returns both, times |f|.

    `error` is the reference's own, absolute; `objective` the value by hand where that of the solution is not trusted.
    """
    f = float(solution.objective) if objective is None else objective
    eps = float(np.finfo(precision_of(solution)).eps)
    true, reported = abs(f - optimum), float(solution.gap) * abs(float(solution.objective))
    slack = error + 30 * eps * max(abs(f), abs(optimum))
    assert np.isnan(reported) or reported >= true - slack, (status_of(solution), f, optimum, float(solution.gap))
    return true, reported


def check_success(
    solution: admm.Solution, optimum: float, *, tol: float | None = None, error: float = 0.0,
    objective: float | None = None,
) -> None:  # fmt: skip
    """It says success, and the truth is within `tol` (the default of the dtype)."""
    assert status_of(solution) is Status.SOLVE_OPT_SUCCESS, (int(solution.iterations), float(solution.gap))
    tol = TOL[precision_of(solution)] if tol is None else tol
    true, _ = check_gap(solution, optimum, error=error, objective=objective)
    f = float(solution.objective) if objective is None else objective
    eps = float(np.finfo(precision_of(solution)).eps)
    assert true <= (tol + 30 * eps) * abs(f) + error, (f, optimum)
    assert float(solution.gap) <= tol


def check_honest(solution: admm.Solution, optimum: float, *, error: float = 0.0, most: int = ITERATIONS) -> None:
    """Success that is true, or the word that the dtype can do no better; soon, and with a true gap."""
    if status_of(solution) is Status.SOLVE_OPT_SUCCESS:
        check_success(solution, optimum, error=error)
    else:
        check_gap(solution, optimum, error=error)
        assert status_of(solution) is STALLED, (int(solution.iterations), float(solution.gap))
    assert int(solution.iterations) <= most


def check_rows(
    solution: admm.Solution, A: Any, x: Any, *, lower: Any = -np.inf, upper: Any = np.inf, times: float = 1.0
) -> None:
    """lower <= A x <= upper, each row to `feasibility_tol` of the larger of its bound and its natural size |A| |x|."""
    A, x = np.asarray(A, float), np.asarray(x, float)
    dtype = precision_of(solution)
    value, natural = A @ x, np.abs(A) @ np.abs(x)
    lower, upper = (np.broadcast_to(np.asarray(bound, float), value.shape) for bound in (lower, upper))
    for bound, excess in ((lower, lower - value), (upper, value - upper)):
        size = np.maximum(np.where(np.isfinite(bound), np.abs(bound), 0), natural)
        allowed = times * FEASIBILITY[dtype] * size + np.finfo(dtype).eps * natural
        assert np.all(np.where(np.isfinite(bound), excess, 0) <= allowed), (value, bound)
