"""Models of dense matrices against SCS: `python tests/benchmarks/matrices.py`.

Each is solved by `optimize` in a fresh process: the first solve, with compiling, and the median of warm ones with new
data. SCS has the same model through cvxpy, at its default accuracy and at 1e-6; of its time only its own set-up and
solve count. The true gap is against Clarabel at 1e-10. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import cvxpy as cp
import numpy as np

import admm_jax as admm

WARM = 7


def quadratic(n: int = 500, rank: int = 100, seed: int = 0) -> tuple[admm.Model, dict, Callable[[dict], cp.Problem]]:
    """min 1/2 ||F^T x||^2 + 1/2 sum d x^2 - mu^T x on the simplex: a portfolio of n assets and `rank` factors."""
    rng = np.random.default_rng(seed)
    factors, own = rng.standard_normal((rank, n)) / np.sqrt(n), rng.uniform(0.01, 0.1, n)
    x, mu = admm.Var("x", n, nonneg=True), admm.Param("mu", n)
    model = admm.Model()
    risk = 0.5 * admm.sum(admm.square(factors @ x)) + 0.5 * admm.sum(admm.square(np.sqrt(own) * x))
    model.setObjective(risk - mu.T @ x)
    model.addConstr(admm.sum(x) == 1)

    def peer(data: dict) -> cp.Problem:
        v = cp.Variable(n, nonneg=True)
        risk = 0.5 * cp.sum_squares(factors @ v) + 0.5 * cp.sum_squares(cp.multiply(np.sqrt(own), v))
        return cp.Problem(cp.Minimize(risk - data["mu"] @ v), [cp.sum(v) == 1])

    return model, {"mu": 0.01 * rng.standard_normal(n)}, peer


def linear(rows: int = 100, n: int = 60, seed: int = 0) -> tuple[admm.Model, dict, Callable[[dict], cp.Problem]]:
    """min c^T x, A x <= b, -10 <= x <= 10."""
    rng = np.random.default_rng(seed)
    a, offset = rng.standard_normal((rows, n)), rng.uniform(0.5, 1.5, rows)
    x, c = admm.Var("x", n), admm.Param("c", n)
    model = admm.Model()
    model.setObjective(c.T @ x)
    model.addConstr(a @ x <= offset)
    model.addConstr(x <= 10)
    model.addConstr(x >= -10)

    def peer(data: dict) -> cp.Problem:
        v = cp.Variable(n)
        return cp.Problem(cp.Minimize(data["c"] @ v), [a @ v <= offset, v <= 10, v >= -10])

    return model, {"c": rng.standard_normal(n)}, peer


def lasso(rows: int = 200, n: int = 1000, seed: int = 0) -> tuple[admm.Model, dict, Callable[[dict], cp.Problem]]:
    """min 1/2 ||A x - b||^2 + lam ||x||_1, lam a tenth of where x vanishes."""
    rng = np.random.default_rng(seed)
    a, truth = rng.standard_normal((rows, n)), np.zeros(n)
    truth[rng.choice(n, 20, replace=False)] = rng.standard_normal(20)
    data = {"b": a @ truth + 0.1 * rng.standard_normal(rows)}
    lam = 0.1 * np.abs(a.T @ data["b"]).max()
    x, b = admm.Var("x", n), admm.Param("b", rows)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(a @ x - b)) + lam * admm.norm(x, 1))

    def peer(data: dict) -> cp.Problem:
        v = cp.Variable(n)
        return cp.Problem(cp.Minimize(0.5 * cp.sum_squares(a @ v - data["b"]) + lam * cp.norm1(v)))

    return model, data, peer


MODELS = {"QP on the simplex, 500": quadratic, "LP 100×60": linear, "lasso 200×1000": lasso}


def measure(name: str) -> None:
    """One row."""
    model, data, peer = MODELS[name]()
    clock = time.perf_counter()
    model.optimize(data)
    first = time.perf_counter() - clock
    rng, times, peers = np.random.default_rng(1), [], {None: [], 1e-6: []}
    for _ in range(WARM):
        near = {key: value * (1 + 1e-3 * rng.standard_normal(value.shape)) for key, value in data.items()}
        clock = time.perf_counter()
        model.optimize(near)
        times.append(time.perf_counter() - clock)
        for accuracy, seconds in peers.items():
            options = {} if accuracy is None else {"eps_abs": accuracy, "eps_rel": accuracy}
            problem = peer(near)
            problem.solve(solver=cp.SCS, **options)
            stats = problem.solver_stats
            seconds.append((stats.setup_time or 0) + stats.solve_time)
    truth = peer(near)
    truth.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    solution = model.Solution
    gap = abs(float(solution.objective) - truth.value) / abs(truth.value)
    scs = ", ".join(f"{1e3 * np.median(seconds):.0f}" for seconds in peers.values())
    print(
        f"{name:<26} first {first:.2f} s  warm {1e3 * np.median(times):.0f} ms  SCS {scs} ms  "
        f"{model.StatusString} after {int(solution.iterations)}, gap {float(solution.gap):.1e}, true {gap:.1e}",
        flush=True,
    )


def main() -> None:
    """Measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=MODELS)
    given = parser.parse_args()
    if given.only:
        measure(given.only)
        return
    for name in MODELS:
        subprocess.run([sys.executable, __file__, "--only", name], check=True)


if __name__ == "__main__":
    main()
