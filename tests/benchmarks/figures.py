"""The figures that the project stands by, measured: `python tests/benchmarks/figures.py`.

Times are medians of warm runs in one process, in milliseconds; cold times are whole processes, import and compilation
included, in seconds. Gaps are relative. The true gap is against the exact optimum, which the polished float64 solve
gives to rounding. Run it on a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from scipy import signal
from skimage import data, transform

import admm_jax as admm

PAGE = Path(__file__).parents[2] / "examples" / "image_deblurring.py"
BINOMIAL = np.outer([1.0, 4.0, 6.0, 4.0, 1.0], [1.0, 4.0, 6.0, 4.0, 1.0]) / 256
NOISE = 7 / 255
LAM = 2e-3


def median_ms(run: Callable[[], object], repeats: int = 9) -> float:
    """Median wall time of `run`, after one run that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - clock)
    return 1e3 * float(np.median(times))


def line(name: str, **figures: str) -> None:
    """One row of the report."""
    print(f"{name:<44}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)


def deblurring(observed: np.ndarray | admm.Param, kernel: np.ndarray, lam: float, p: int = 1) -> admm.Model:
    """lam TV(U) + 1/2 ||K U - B||^2 in a variable named U."""
    unknown = admm.Var("U", observed.shape)
    model = admm.Model()
    residual = admm.conv2d(unknown, kernel, "same") - observed
    model.setObjective(lam * admm.tv2d(unknown, p=p) + 0.5 * admm.sum(admm.square(residual)))
    return model


def page_data() -> tuple[np.ndarray, np.ndarray, float]:
    """Blurred image, kernel and lam of the tutorial."""
    generator = np.random.RandomState(1)
    image = np.zeros((40, 50))
    image[:20, :25], image[20:, 25:], image[10:30, 10:40] = 0.8, 0.6, 1.0
    image += 0.02 * generator.randn(40, 50)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.asarray(admm.conv2d(image, kernel, "same")), kernel, 0.1


def lasso_model() -> admm.Model:
    """A lasso with ten unknowns."""
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((20, 10)), generator.standard_normal(20)
    x = admm.Var("x", 10)
    model = admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(a @ x - b)) + 1.0 * admm.norm(x, 1))
    return model


def camera(size: int) -> np.ndarray:
    """scikit-image's `camera` at size² pixels: shrunk, or beyond its own 512² continued by reflection."""
    picture = data.camera() / 255.0
    if size > len(picture):
        return np.pad(picture, (0, size - len(picture)), "symmetric")
    return picture if size == len(picture) else transform.resize(picture, (size, size), anti_aliasing=True)


def observe(size: int, kernel: np.ndarray = BINOMIAL, noise: float = NOISE) -> np.ndarray:
    """`camera`, blurred with black beyond its border, and noisy."""
    blurred = admm.conv2d(camera(size), kernel, "same")
    return blurred + noise * np.random.default_rng(0).standard_normal(blurred.shape)


def photograph(
    size: int, dtype: type, kernel: np.ndarray = BINOMIAL, noise: float = NOISE, lam: float = LAM
) -> tuple[admm.Model, np.ndarray]:
    """The model of a blurred, noisy photograph of size² pixels with its data as a parameter, and the data."""
    observed = admm.Param("B", size, size)
    return deblurring(observed, kernel.astype(dtype), lam), observe(size, kernel, noise).astype(dtype)


def objective(
    picture: np.ndarray, observed: np.ndarray, kernel: np.ndarray = BINOMIAL, lam: float = LAM, p: int = 1
) -> float:
    """lam TV(U) + 1/2 ||K U - B||^2 in float64, written with SciPy and apart from the library."""
    picture = np.asarray(picture, np.float64)
    residual = signal.convolve2d(picture, kernel, "same") - observed
    down, right = np.diff(picture, axis=0, append=picture[-1:]), np.diff(picture, axis=1, append=picture[:, -1:])
    variation = np.abs(down) + np.abs(right) if p == 1 else np.hypot(down, right)
    return 0.5 * float(np.sum(residual**2)) + lam * float(np.sum(variation))


def cold(code: list[str], repeats: int = 3) -> float:
    """Median seconds of a whole Python process."""
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        subprocess.run([sys.executable, *code], check=True, capture_output=True)
        times.append(time.perf_counter() - clock)
    return float(np.median(times))


def report_photograph(size: int, dtype: type, tol: float, optimum: float | None, repeats: int = 9) -> float:
    """One row for a photograph; returns the objective in float64."""
    with jax.enable_x64(dtype is np.float64):
        model, observed = photograph(size, dtype)
        solution = model.solve({"B": observed}, tol=tol)
        time_ms = median_ms(lambda: model.solve({"B": observed}, tol=tol), repeats)
        value = objective(np.asarray(solution["U"]), observed.astype(np.float64))
    figures = {"warm": f"{time_ms:.0f} ms", "certified": f"{float(solution.gap):.1e}"}
    if optimum is not None:
        figures["true"] = f"{(value - optimum) / optimum:.1e}"
    line(f"{size}² photograph, {np.dtype(dtype)}, tol {tol:g}", **figures, iterations=str(int(solution.iterations)))
    return value


def main() -> None:
    """Measure everything."""
    line("page, whole process", cold=f"{cold([str(PAGE), '--no-figure']):.1f} s")
    model = lasso_model()
    clock = time.perf_counter()
    model.optimize()
    first = time.perf_counter() - clock
    line("lasso, n = 10", first=f"{first:.2f} s", warm=f"{median_ms(model.optimize, 51):.1f} ms")
    model = deblurring(*page_data())
    time_ms = median_ms(model.optimize, 21)
    line("page", warm=f"{time_ms:.0f} ms", objective=f"{model.ObjVal:.13g}", certified=f"{model.DualGap:.1e}")
    with jax.enable_x64(True):
        small, observed = photograph(128, np.float32)  # rounded to float32, so that all rows share one problem
        exact = small.solve({"B": observed.astype(np.float64)}, tol=1e-10)
        optimum = objective(np.asarray(exact["U"]), observed.astype(np.float64))
    report_photograph(128, np.float32, 1e-4, optimum)
    report_photograph(128, np.float32, 1e-5, optimum)
    report_photograph(128, np.float64, 1e-9, None)
    report_photograph(512, np.float32, 1e-4, None, 5)


if __name__ == "__main__":
    main()
