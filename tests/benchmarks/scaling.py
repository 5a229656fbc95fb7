"""How the time of a solve grows with the picture, lam, the blur and the noise: `python tests/benchmarks/scaling.py`.

The photograph of `figures.py`, in float32 to a certified gap of 1e-4; one thing is changed at a time. Up to 512² pixels
scikit-image's `camera` is shrunk, beyond them it is continued by reflection, so that a larger picture shows the same
detail more often. Times are medians of warm runs.
"""

from __future__ import annotations

import argparse

import figures
import numpy as np
from peers.report import duration, table

from admm_jax.learn import kernels

TOL = 1e-4
SIZES = (64, 128, 256, 512, 1024, 2048)
SIDE = 256  # where something else than the size is changed
LAMS = (2e-4, 6e-4, 2e-3, 6e-3, 2e-2, 6e-2)
WIDTHS = (0.5, 1.0, 2.0, 3.0, 4.0)
NOISES = (0, 1, 2, 5, 10, 20)


def measured(label: str, size: int, repeats: int, **changed: object) -> list[str]:
    """One row."""
    model, observed = figures.photograph(size, np.float32, **changed)
    solution = model.solve({"B": observed}, tol=TOL)
    seconds = figures.median_ms(lambda: model.solve({"B": observed}, tol=TOL), repeats) / 1e3
    row = [label, duration(seconds), f"{1e6 * seconds / size**2:.3g} µs", str(int(solution.iterations))]
    gap = f"{float(solution.gap):.1e}" + ("" if bool(solution.converged) else " not reached")
    return [*row, f"{1e9 * seconds / size**2 / int(solution.iterations):.3g} ns", gap]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    sections = {
        "Size": [(f"{size}²", size, {}) for size in args.sizes],
        f"lam, {SIDE}²": [(f"{lam:g}", SIDE, {"lam": lam}) for lam in LAMS],
        f"Gaussian blur, standard deviation in pixels, {SIDE}²": [
            (f"{width:g}, taps {taps}²", SIDE, {"kernel": np.asarray(kernels.gaussian(width, taps))})
            for width, taps in ((width, 2 * round(3 * width) + 1) for width in WIDTHS)
        ],
        f"Noise, {SIDE}²": [(f"{noise}/255", SIDE, {"noise": noise / 255}) for noise in NOISES],
    }
    for title, rows in sections.items():
        head = [title, "time", "a pixel", "iterations", "a pixel and iteration", "certified gap"]
        print(table(head, [measured(label, size, args.repeats, **changed) for label, size, changed in rows]))
        print(flush=True)


if __name__ == "__main__":
    main()
