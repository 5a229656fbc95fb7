"""SCICO's published way of tuning a deconvolution: TPE over (lam, rho), 100 samples of 50 iterations each.

As its example `deconv_tv_admm_tune`, with the same searcher, HyperOpt's, but without Ray around it. The best sample is
then iterated on until it has converged.
"""

import json
import sys
import time

import jax.numpy as jnp
import numpy as np
from hyperopt import fmin, hp, tpe
from scico import functional, linop, loss, metric
from scico.optimize.admm import ADMM, LinearSubproblemSolver

ITERATIONS = 50
CONVERGED = 2000


def main() -> None:
    """python tune_with_scico.py problem.npz samples: JSON with every sample in order, and the best one's last PSNR."""
    with np.load(sys.argv[1]) as file:
        truth, observed, kernel = (jnp.asarray(file[name]) for name in ("truth", "observed", "kernel"))
        norm = functional.L1Norm() if int(file["p"]) == 1 else functional.L21Norm()
    blur = linop.Convolve(kernel, truth.shape, input_dtype=truth.dtype, mode="full")
    difference = linop.FiniteDifference(truth.shape, input_dtype=truth.dtype, append=0)
    data, samples = loss.SquaredL2Loss(y=observed, A=blur), []
    silent = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}

    def solve(lam: float, rho: float, iterations: int) -> float:
        solver = ADMM(
            data,
            [lam * norm],
            [difference],
            [rho],
            x0=blur.adj(observed),
            maxiter=iterations,
            subproblem_solver=LinearSubproblemSolver(),
            itstat_options=silent,
        )
        return float(metric.psnr(truth, solver.solve()))

    def evaluate(config: dict) -> float:
        clock = time.perf_counter()
        reached = solve(config["lam"], config["rho"], ITERATIONS)
        samples.append((config["lam"], config["rho"], reached, time.perf_counter() - clock))
        return -reached

    space = {"lam": hp.loguniform("lam", np.log(1e-2), 0.0), "rho": hp.loguniform("rho", np.log(1e-1), np.log(10.0))}
    rng = np.random.default_rng(0)
    fmin(evaluate, space, tpe.suggest, int(sys.argv[2]), rstate=rng, show_progressbar=False, verbose=False)
    lam, rho, *_ = max(samples, key=lambda sample: sample[2])
    print(json.dumps((samples, solve(lam, rho, CONVERGED))))


if __name__ == "__main__":
    main()
