"""SCICO on a photograph with an unknown frame: mask decoupling, made by hand of its parts.

    python photograph_with_scico.py case.npz

The scene is periodic; g = 1/2 ||M w - B||^2 on the circular blur of it, lam ||.||_1 on its periodic differences; x by
`CircularConvolveSolver`. Its penalties are what a grid found best on photographs. Prints steps, seconds, PSNR.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from scico import functional, linop, loss
from scico.optimize.admm import ADMM, CircularConvolveSolver

STEPS = (20, 30, 50, 100)
PENALTIES = ((0.1, 30.0), (0.2, 30.0), (0.3, 60.0))  # of the blur; of the differences, times lam
SILENT = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}


def main() -> None:
    case = np.load(sys.argv[1])
    truth, kernel, observed, lam = case["truth"], case["kernel"], case["observed"], float(case["lam"])
    rows, columns = (k - 1 for k in kernel.shape)
    seen = np.zeros(truth.shape, np.float32)
    seen[rows:, columns:] = 1
    data = np.zeros(truth.shape, np.float32)
    data[rows:, columns:] = observed
    start = np.pad(observed, [(k // 2, (k - 1) // 2) for k in kernel.shape], "edge")
    blur = linop.CircularConvolve(jnp.asarray(kernel), truth.shape, input_dtype=jnp.float32)
    differences = linop.FiniteDifference(truth.shape, input_dtype=jnp.float32, circular=True)
    fit = loss.SquaredL2Loss(y=jnp.asarray(data), A=linop.Diagonal(jnp.asarray(seen)))
    edge = max(kernel.shape)

    def run(penalties: tuple[float, float], steps: int) -> tuple[float, float]:
        solver = ADMM(
            f=None,
            g_list=[fit, lam * functional.L1Norm()],
            C_list=[blur, differences],
            rho_list=[penalties[0], penalties[1] * lam],
            alpha=1.6,
            x0=jnp.asarray(start),
            maxiter=steps,
            subproblem_solver=CircularConvolveSolver(),
            itstat_options=SILENT,
        )
        clock = time.perf_counter()
        scene = np.asarray(jax.block_until_ready(solver.solve()))
        seconds = time.perf_counter() - clock
        inner = slice(edge, -edge), slice(edge, -edge)
        return seconds, float(-10 * np.log10(np.mean((scene - truth)[inner] ** 2)))

    for penalties in PENALTIES:
        run(penalties, 2)
        for steps in STEPS:
            taken = [run(penalties, steps) for _ in range(3)]
            seconds, psnr = float(np.median([s for s, _ in taken])), taken[0][1]
            print(f"  SCICO by hand, {penalties}, {steps} steps {seconds:7.2f} s  {psnr:.3f} dB", flush=True)


if __name__ == "__main__":
    main()
