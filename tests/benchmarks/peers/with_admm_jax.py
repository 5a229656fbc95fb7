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

    def run(tol: float) -> list[Snapshot]:
        clock = time.perf_counter()
        if line == "float64":
            model.setOption("tol", tol)
            model.optimize({"B": observed})
            solution, image = model.Solution, U.X
        else:
            solution = model.solve({"B": observed}, tol=tol)
            image = np.asarray(solution[U])
        return [Snapshot(time.perf_counter() - clock, int(solution.iterations), image, float(solution.gap))]

    return run


if __name__ == "__main__":
    hardest = {line: efforts[-1] for line, efforts in EFFORTS.items()}
    serve(Peer(("jax", "numpy"), prepare, efforts=lambda problem, line: EFFORTS[line], warm_up=hardest.__getitem__))
