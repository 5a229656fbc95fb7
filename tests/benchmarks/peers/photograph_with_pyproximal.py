"""PyProximal on a photograph with an unknown frame: its primal-dual method, in which no step solves anything.

    python photograph_with_pyproximal.py case.npz

Blur and differences are stacked to one operator of PyLops; of the blur the part is kept that was seen. The primal step
is what a grid found best on photographs. Prints steps, seconds, PSNR.
"""

import sys
import time

import numpy as np
import pylops
import pyproximal
from pyproximal.optimization.primaldual import PrimalDual

STEPS = (50, 100, 200, 400, 800)
PRIMAL_STEPS = (1.0, 3.0, 10.0)
SQUARED_NORM = 9.0  # of the two operators together: a kernel of sum one, and differences


def main() -> None:
    case = np.load(sys.argv[1])
    truth, kernel, observed, lam = case["truth"], case["kernel"], case["observed"], float(case["lam"])
    middle = tuple((k - 1) // 2 for k in kernel.shape)
    single = np.float32
    everywhere = pylops.signalprocessing.Convolve2D(truth.shape, kernel.astype(single), offset=middle, dtype=single)
    corner = [k - 1 - m for k, m in zip(kernel.shape, middle, strict=True)]
    places = np.arange(truth.size).reshape(truth.shape)
    seen = places[tuple(slice(c, c + n) for c, n in zip(corner, observed.shape, strict=True))].ravel()
    blur = pylops.Restriction(truth.size, seen, dtype=single) @ everywhere
    both = pylops.VStack([blur, pylops.Gradient(truth.shape, edge=False, kind="forward", dtype=single)])
    data = observed.astype(single).ravel()
    terms = pyproximal.VStack(
        [pyproximal.L2(b=data), pyproximal.L1(sigma=single(lam))], [observed.size, 2 * truth.size]
    )
    start = np.pad(observed, [(k // 2, (k - 1) // 2) for k in kernel.shape], "edge").astype(single).ravel()
    edge = max(kernel.shape)

    def run(tau: float, steps: int) -> tuple[float, float]:
        clock = time.perf_counter()
        mu = 0.99 / (SQUARED_NORM * tau)
        scene = PrimalDual(pyproximal.L2(sigma=0.0), terms, both, tau=tau, mu=mu, x0=start, niter=steps)
        seconds = time.perf_counter() - clock
        inner = slice(edge, -edge), slice(edge, -edge)
        return seconds, float(-10 * np.log10(np.mean((scene.reshape(truth.shape) - truth)[inner] ** 2)))

    for tau in PRIMAL_STEPS:
        for steps in STEPS:
            seconds, psnr = run(tau, steps)
            print(f"  PyProximal, primal step {tau:g}, {steps} steps {seconds:7.2f} s  {psnr:.3f} dB", flush=True)


if __name__ == "__main__":
    main()
