"""SCICO's published way of tuning a deconvolution: TPE over (lam, rho), 100 samples of 50 iterations each.

As its example `deconv_tv_admm_tune`, with the same searcher, HyperOpt's, but without Ray around it.
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


def main() -> None:
    """python tune_with_scico.py problem.npz samples: a line of JSON with every sample, in order."""
    with np.load(sys.argv[1]) as file:
        truth, observed, kernel = (jnp.asarray(file[name]) for name in ("truth", "observed", "kernel"))
    blur = linop.Convolve(kernel, truth.shape, input_dtype=truth.dtype, mode="full")
    difference = linop.FiniteDifference(truth.shape, input_dtype=truth.dtype, append=0)
    data, samples = loss.SquaredL2Loss(y=observed, A=blur), []
    silent = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}

    def evaluate(config: dict) -> float:
        clock = time.perf_counter()
        term = config["lam"] * functional.L1Norm()
        solver = ADMM(
            data,
            [term],
            [difference],
            [config["rho"]],
            x0=blur.adj(observed),
            maxiter=ITERATIONS,
            subproblem_solver=LinearSubproblemSolver(),
            itstat_options=silent,
        )
        reached = float(metric.psnr(truth, solver.solve()))
        samples.append((config["lam"], config["rho"], reached, time.perf_counter() - clock))
        return -reached

    space = {"lam": hp.loguniform("lam", np.log(1e-2), 0.0), "rho": hp.loguniform("rho", np.log(1e-1), np.log(10.0))}
    rng = np.random.default_rng(0)
    fmin(evaluate, space, tpe.suggest, int(sys.argv[2]), rstate=rng, show_progressbar=False, verbose=False)
    print(json.dumps(samples))


if __name__ == "__main__":
    main()
