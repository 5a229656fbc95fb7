"""PyProximal on PyLops operators: ADMM on the split of total variation, and its primal-dual method.

They stop after a number of iterations.
"""

import numpy as np
import pylops
import pyproximal
from protocol import SQUARED_NORM, Course, Enough, Peer, Problem, Snapshot, serve
from pyproximal.optimization.primal import ADMML2
from pyproximal.optimization.primaldual import PrimalDual


def settings(line: str) -> list[dict]:
    """The method; the penalty per lam and steps of its inner solver, or the primal step."""
    admm = [{"method": "ADMM", "rho_per_lam": rho, "inner": inner} for rho in (10, 30, 100) for inner in (3, 10)]
    return admm + [{"method": "primal-dual", "tau": tau} for tau in (0.3, 1.0, 3.0, 10.0)]


def prepare(problem: Problem, line: str, setting: dict):
    """The primal-dual method has both terms behind one stacked operator, so that no step solves anything."""
    shape = problem.observed.shape
    observed = problem.observed.astype(line).ravel()
    middle = tuple((n - 1) // 2 for n in problem.kernel.shape)
    blur = pylops.signalprocessing.Convolve2D(shape, problem.kernel.astype(line), offset=middle, dtype=line)
    difference = pylops.Gradient(shape, edge=False, kind="forward", dtype=line)
    norm = pyproximal.L1(sigma=problem.lam) if problem.p == 1 else pyproximal.L21(ndim=2, sigma=problem.lam)
    start = np.zeros_like(observed)

    def run(effort: dict) -> list[Snapshot]:
        course = Course(**effort)
        common = {"x0": start, "niter": 10**6, "callback": lambda x: course(x.reshape(shape))}
        try:
            if setting["method"] == "ADMM":
                tau = 1 / (setting["rho_per_lam"] * problem.lam)
                inner = {"iter_lim": setting["inner"], "atol": 0, "btol": 0}
                ADMML2(norm, blur, observed, difference, tau=tau, **inner, **common)
            else:
                both = pylops.VStack([blur, difference])
                terms = pyproximal.VStack([pyproximal.L2(b=observed), norm], [observed.size, 2 * observed.size])
                tau, mu = setting["tau"], 0.99 / (SQUARED_NORM * setting["tau"])
                zero = pyproximal.L2(sigma=0.0)
                PrimalDual(zero, terms, both, tau=tau, mu=mu, **common)
        except Enough:
            return course.snapshots

    return run


if __name__ == "__main__":
    serve(Peer(("pyproximal", "pylops", "numpy"), prepare, settings))
