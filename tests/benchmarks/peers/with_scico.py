"""SCICO: ADMM on the split of total variation, and PDHG. They stop after a number of iterations.

ADMM solves for the image by conjugate gradients, as no FFT inverts a blur with black borders. Its statistics, which
cost time, are not recorded.
"""

import jax
import jax.numpy as jnp
from protocol import SQUARED_NORM, Course, Enough, Peer, Problem, Snapshot, serve
from scico import functional, linop, loss
from scico.optimize import PDHG
from scico.optimize.admm import ADMM, LinearSubproblemSolver

SILENT = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}


def settings(line: str) -> list[dict]:
    """The method; the penalty per lam and accuracy of its conjugate gradients, or the primal step."""
    admm = [{"method": "ADMM", "rho_per_lam": rho, "cg_tol": tol} for rho in (10, 30, 100) for tol in (1e-4, 1e-5)]
    return admm + [{"method": "PDHG", "tau": tau} for tau in (0.3, 1.0, 3.0, 10.0)]


def prepare(problem: Problem, line: str, setting: dict):
    """An iteration calls SCICO's jitted operators one after the other; PDHG has both terms behind one stack of them."""
    jax.config.update("jax_enable_x64", line == "float64")
    observed, kernel = jnp.asarray(problem.observed, line), jnp.asarray(problem.kernel, line)
    start = jnp.zeros_like(observed)
    blur = linop.Convolve(kernel, observed.shape, input_dtype=observed.dtype, mode="same")
    difference = linop.FiniteDifference(observed.shape, input_dtype=observed.dtype, append=0)
    norm = problem.lam * (functional.L1Norm() if problem.p == 1 else functional.L21Norm())
    if setting["method"] == "PDHG":
        both = linop.VerticalStack([blur, difference])
        terms = functional.SeparableFunctional([loss.SquaredL2Loss(y=observed), norm])

    def run(effort: dict) -> list[Snapshot]:
        course = Course(**effort)
        common = {"x0": start, "maxiter": 10**6, "itstat_options": SILENT}
        if setting["method"] == "PDHG":
            tau, sigma = setting["tau"], 0.99 / (SQUARED_NORM * setting["tau"])
            solver = PDHG(functional.ZeroFunctional(), terms, both, tau, sigma, **common)
        else:
            data, rho = loss.SquaredL2Loss(y=observed, A=blur), setting["rho_per_lam"] * problem.lam
            inner = LinearSubproblemSolver({"tol": setting["cg_tol"], "maxiter": 100})
            solver = ADMM(data, [norm], [difference], [rho], 1.6, subproblem_solver=inner, **common)
        try:
            solver.solve(callback=lambda solver: course(solver.x))
        except Enough:
            return course.snapshots

    return run


if __name__ == "__main__":
    serve(Peer(("scico", "jax", "numpy"), prepare, settings, warm_up=lambda run: run({"iterations": 3})))
