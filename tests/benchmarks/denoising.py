"""Denoising by isotropic total variation beside scikit-image: `python tests/benchmarks/denoising.py`.

scikit-image's `camera` with noise of 0.1, lam = 0.1, float32. Both minimise lam TV(U) + 1/2 ||U - B||^2; the true gap
is against a solve that is certified to 1e-6 in float64. Each row is the least effort of a grid that comes to the gap:
of ours its `tol`, of `denoise_tv_chambolle` its iterations (`eps=0`). Times are medians of warm runs, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from skimage import data, restoration

import admm_jax as admm

LAM = 0.1
GAPS = (1e-2, 1e-3, 1e-4)
TOLERANCES = (1e-2, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5)
ITERATIONS = (25, 50, 100, 200, 300, 400, 600, 800, 1200, 1600, 2400)


def objective(u: Any, observed: np.ndarray) -> float:
    """lam TV(u) + 1/2 ||u - observed||^2 in float64."""
    u = np.asarray(u, np.float64)
    down, right = np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])
    return LAM * float(np.sum(np.hypot(down, right))) + 0.5 * float(np.sum((u - observed) ** 2))


def medians(runs: list[Callable[[], Any]], repeats: int = 5) -> list[float]:
    """Milliseconds of each, in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, own in zip(runs, times, strict=True):
            clock = time.perf_counter()
            jax.block_until_ready(run())
            own.append(time.perf_counter() - clock)
    return [1e3 * float(np.median(own)) for own in times]


def main() -> None:
    """Measure 512² and 128²."""
    for size in (512, 128):
        image = data.camera()[:size, :size] / 255
        observed = (image + 0.1 * np.random.default_rng(0).normal(size=image.shape)).astype(np.float32)
        u, given, model = admm.Var("U", image.shape), admm.Param("B", image.shape), admm.Model()
        model.setObjective(LAM * admm.tv2d(u, p=2) + 0.5 * admm.sum_squares(u - given))
        with jax.enable_x64(True):
            exact = model.solve({"B": observed.astype(np.float64)}, tol=1e-6)
            least = objective(exact["U"], observed)

        def ours(tol: float, model: admm.Model = model, observed: np.ndarray = observed) -> Any:
            return model.solve({"B": observed}, tol=tol)["U"]

        def theirs(iterations: int, observed: np.ndarray = observed) -> Any:
            return restoration.denoise_tv_chambolle(observed, weight=LAM, eps=0, max_num_iter=iterations)

        for gap in GAPS:
            efforts = []
            for solve, grid in ((ours, TOLERANCES), (theirs, ITERATIONS)):
                reached = (objective(solve(effort), observed) / least - 1 <= gap for effort in grid)
                efforts.append(next((effort for effort, near in zip(grid, reached, strict=False) if near), grid[-1]))
            mine, other = medians([partial(ours, efforts[0]), partial(theirs, efforts[1])])
            print(
                f"{size}², true gap {gap:g}: ours {mine:.0f} ms (tol {efforts[0]:g}), scikit-image {other:.0f} ms "
                f"({efforts[1]} iterations), {other / mine:.1f} times",
                flush=True,
            )


if __name__ == "__main__":
    main()
