"""CVXPY with SCS, Clarabel or OSQP: matrices in place of operators, and an effort is a tolerance.

What CVXPY makes of the problem is made beforehand and kept, so the times are the solver's and little more.
"""

import time

import cvxpy as cp
import numpy as np
from protocol import Peer, Problem, Snapshot, serve
from scipy import sparse  # which CVXPY brings

TOLERANCES = {
    "SCS": ("eps_abs", "eps_rel"),
    "CLARABEL": ("tol_gap_abs", "tol_gap_rel", "tol_feas"),
    "OSQP": ("eps_abs", "eps_rel"),
}
MOST = {"SCS": {"max_iters": 10**6}, "CLARABEL": {}, "OSQP": {"max_iter": 10**6}}


def blur(kernel: np.ndarray, shape: tuple[int, int]) -> sparse.csc_array:
    """The matrix of a convolution to the same size on images flattened by rows."""
    pixels, size = np.arange(np.prod(shape)).reshape(shape), np.prod(shape)
    matrix = sparse.csc_array((size, size))
    for (i, j), tap in np.ndenumerate(kernel):
        down, right = i - (kernel.shape[0] - 1) // 2, j - (kernel.shape[1] - 1) // 2
        to = pixels[max(down, 0) : shape[0] + min(down, 0), max(right, 0) : shape[1] + min(right, 0)].ravel()
        matrix += sparse.csc_array((np.full(to.size, tap), (to, to - down * shape[1] - right)), (size, size))
    return matrix


def prepare(problem: Problem, line: str, setting: None):
    """The problem, canonicalised."""
    shape = problem.observed.shape
    U = cp.Variable(shape)
    down, right = U[1:] - U[:-1], U[:, 1:] - U[:, :-1]
    if problem.p == 1:
        variation = cp.sum(cp.abs(down)) + cp.sum(cp.abs(right))
    else:  # which leaves out the last row and column
        variation = cp.tv(U) + cp.sum(cp.abs(down[:, -1])) + cp.sum(cp.abs(right[-1]))
    residual = blur(problem.kernel, shape) @ cp.vec(U, order="C") - problem.observed.ravel()
    task = cp.Problem(cp.Minimize(problem.lam * variation + 0.5 * cp.sum_squares(residual)))
    task.get_problem_data(line)

    def run(tol: float) -> list[Snapshot]:
        clock = time.perf_counter()
        tolerances = dict.fromkeys(TOLERANCES[line], tol)
        task.solve(line, warm_start=False, **tolerances, **MOST[line])
        return [Snapshot(time.perf_counter() - clock, int(task.solver_stats.num_iters), np.asarray(U.value))]

    return run


if __name__ == "__main__":
    efforts = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]
    serve(Peer(("cvxpy", "scs", "clarabel", "osqp", "numpy"), prepare, efforts=lambda problem, line: efforts))
