"""The problems that are compared, and which peers can be asked for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import figures
import numpy as np
from peers.protocol import Problem

from admm_jax.learn import kernels


@dataclass(frozen=True)
class Case:
    """A problem and the relative gap to follow everyone to; whole processes are timed to the gap `whole`."""

    problem: Problem
    goal: float = 1e-6
    whole: float = 1e-4


@dataclass(frozen=True)
class Line:
    """One curve of the figure: a peer's script and what it is asked to run, within what it can be asked for."""

    name: str
    peer: str
    argument: str
    most_pixels: int = 10**9
    only_denoises: bool = False

    def suits(self, problem: Problem) -> bool:
        """Whether to try."""
        denoising = problem.kernel.size == 1 and problem.p == 2
        return problem.observed.size <= self.most_pixels and (denoising or not self.only_denoises)


LINES = (
    Line("admm_jax float32", "admm_jax", "float32"),
    Line("admm_jax float64", "admm_jax", "float64"),
    Line("SCICO float32", "scico", "float32"),
    Line("SCICO float64", "scico", "float64"),
    Line("PyProximal float32", "pyproximal", "float32"),
    Line("PyProximal float64", "pyproximal", "float64"),
    Line("scikit-image float32", "skimage", "float32", only_denoises=True),
    Line("scikit-image float64", "skimage", "float64", only_denoises=True),
    Line("CVXPY, SCS", "cvxpy", "SCS", most_pixels=256**2),
    Line("CVXPY, Clarabel", "cvxpy", "CLARABEL", most_pixels=256**2),
    Line("CVXPY, OSQP", "cvxpy", "OSQP", most_pixels=128**2),
    Line("admm", "admm", "float64", most_pixels=128**2),  # it stores matrices of pixels by pixels
)


def single(array: np.ndarray) -> np.ndarray:
    """Rounded to float32, so that lines in both precisions solve the same problem."""
    return np.asarray(array, np.float32).astype(np.float64)


def photograph(size: int, kernel: np.ndarray, noise: float, lam: float, p: int = 1) -> Problem:
    """Of a blurred, noisy `camera`."""
    kernel = single(kernel)
    return Problem(single(figures.observe(size, kernel, noise)), kernel, lam, p)


CASES: dict[str, Callable[[], Case]] = {
    "page": lambda: Case(Problem(*figures.page_data(), p=1), goal=1e-8, whole=1e-8),
    "photo128": lambda: Case(photograph(128, figures.BINOMIAL, figures.NOISE, figures.LAM)),
    "photo512": lambda: Case(photograph(512, figures.BINOMIAL, figures.NOISE, figures.LAM)),
    "gauss256": lambda: Case(photograph(256, kernels.gaussian(2.0, 15), 2 / 255, 2e-4)),
    "motion256": lambda: Case(photograph(256, kernels.motion(12.0, 0.6, 15), 2 / 255, 2e-4)),
    "denoise256": lambda: Case(photograph(256, np.ones((1, 1)), 20 / 255, 0.05, p=2)),
}
