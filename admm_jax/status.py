"""How a solve ended, with the numbers and names of the ADMM library."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """SOLVE_OPT_SUCCESS is said only with a certificate: gap and constraint violation below their tolerances."""

    SOLVE_UNKNOWN = 0
    SOLVE_OPT_SUCCESS = 1
    SOLVE_INFEASIBLE = 2
    SOLVE_UNBOUNDED = 3
    SOLVE_OVER_MAX_ITER = 4
    SOLVE_OVER_MAX_TIME = 5
    SOLVE_NAN_FOUND = 6
    SOLVE_PRE_FAILURE = 7
    SOLVE_EXCEPT_ERROR = 8
    SOLVE_GET_SOL_FAILURE = 9
    SOLVE_ERROR = 10
    SOLVE_STALLED = 11  # this and the next two are our own: the ADMM library goes on to its limits
    SOLVE_ESTIMATE_REACHED = 12
    SOLVE_RESIDUALS_REACHED = 13

    @property
    def meaning(self) -> str:
        """What it means, and what to do next."""
        return _MEANING[self]


_MEANING = {
    Status.SOLVE_UNKNOWN: "not solved, or interrupted; the best iterate so far is kept",
    Status.SOLVE_OPT_SUCCESS: "the certified gap and the constraint violation are within their tolerances",
    Status.SOLVE_INFEASIBLE: "the constraints contradict each other: a certificate was found",
    Status.SOLVE_UNBOUNDED: "the objective falls without limit along a feasible direction: add a bound or a penalty",
    Status.SOLVE_OVER_MAX_ITER: "the gap was not reached within the iterations allowed: raise max_iterations or tol",
    Status.SOLVE_OVER_MAX_TIME: "the gap was not reached within the time allowed: raise solver_max_time_limit or tol",
    Status.SOLVE_NAN_FOUND: "a number was not finite, or a weight was negative: check the parameters",
    Status.SOLVE_PRE_FAILURE: "the model could not be brought to the solver's form",
    Status.SOLVE_EXCEPT_ERROR: "an exception ended the solve",
    Status.SOLVE_GET_SOL_FAILURE: "the solve ended without a solution to hand out",
    Status.SOLVE_ERROR: "the solve failed",
    Status.SOLVE_ESTIMATE_REACHED: "the estimate of the gap is within tol, as asked for by stop; that proves nothing",
    Status.SOLVE_RESIDUALS_REACHED: (
        "the residuals are within tol; there is no certificate, for the conjugate of a function is not known"
    ),
    Status.SOLVE_STALLED: "the gap no longer falls, and more iterations would not change that: the best point is kept",
}
