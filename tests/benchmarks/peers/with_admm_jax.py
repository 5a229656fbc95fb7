"""This library, from the checkout: stops by its own certificate, so an effort is a tolerance.

In float64 by `optimize`, in float32 by `solve`; the tolerances below 1e-5 finish on the active set.
"""

import time

import numpy as np
from protocol import Peer, Problem, Snapshot, serve

import admm_jax as admm

EFFORTS = {"float32": [1e-2, 1e-3, 1e-4, 1e-5], "float64": [1e-3, 1e-4, 1e-5, 1e-6, 1e-9]}


def prepare(problem: Problem, line: str, setting: None):
    """The data is a parameter, as it is where many images are deblurred."""
    observed = problem.observed.astype(line)
    U, B = admm.Var("U", observed.shape), admm.Param("B", *observed.shape)
    residual = admm.conv2d(U, problem.kernel.astype(line), "same") - B
    model = admm.Model()
    model.setObjective(problem.lam * admm.tv2d(U, p=problem.p) + 0.5 * admm.sum(admm.square(residual)))

    def run(tol: float, max_iterations: int = 10_000) -> list[Snapshot]:
        clock = time.perf_counter()
        if line == "float64":
            model.setOption("tol", tol)
            model.setOption("max_iterations", max_iterations)
            model.optimize({"B": observed})
            solution, image = model.Solution, U.X
        else:
            solution = model.solve({"B": observed}, tol=tol, max_iterations=max_iterations)
            image = np.asarray(solution[U])
        return [Snapshot(time.perf_counter() - clock, int(solution.iterations), image, float(solution.gap))]

    return run


if __name__ == "__main__":
    efforts, warm_up = lambda problem, line: EFFORTS[line], lambda run: run(1e-9, 50)
    serve(Peer(("jax", "numpy"), prepare, efforts=efforts, warm_up=warm_up))
