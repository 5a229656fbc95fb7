"""The ADMM library `admm`: the model as its tutorial writes it, all of its stopping thresholds at one tolerance.

On many problems its default thresholds ask for more than its default number of iterations gives: that is raised.
"""

import time

import admm
import numpy as np
from protocol import Peer, Problem, Snapshot, serve

THRESHOLDS = (
    "termination_absolute_error_threshold",
    "termination_relative_error_threshold",
    "termination_relative_primal_dual_gap",
)


def prepare(problem: Problem, line: str, setting: None):
    """The model is built anew for each run, as the library has no way to forget a solution."""

    def run(tol: float) -> list[Snapshot]:
        clock = time.perf_counter()
        model = admm.Model()
        U = admm.Var("U", problem.observed.shape)
        residual = admm.conv2d(U, problem.kernel, "same") - problem.observed
        model.setObjective(problem.lam * admm.tv2d(U, p=problem.p) + 0.5 * admm.sum(admm.square(residual)))
        for name in THRESHOLDS:
            model.setOption(name, tol)
        model.setOption("admm_max_iteration", 1_000_000)
        model.optimize()
        image = np.asarray(U.X)
        return [Snapshot(time.perf_counter() - clock, int(model.NumIters), image)]

    return run


if __name__ == "__main__":
    serve(Peer(("admm", "numpy"), prepare, efforts=lambda problem, line: [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]))
