"""A kernel from one pair of a sharp and a blurred photograph: `python tests/benchmarks/learning_kernels.py`.

Gaussian width from starts half and twice as wide, motion angle, and free taps of an unsymmetric kernel, noise 2/255.
The error of taps is || k - k_true || / || k_true ||.
"""

from __future__ import annotations

import time

import jax.numpy as jnp
import numpy as np
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn

SIDE, SIGMA, SIZE = 128, 2 / 255, 9


def pair(kernel: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(blurred, sharp)."""
    sharp = transform.resize(data.camera() / 255, (SIDE, SIDE), anti_aliasing=True).astype(np.float32)
    noise = SIGMA * np.random.default_rng(seed).standard_normal(sharp.shape)
    return (np.asarray(admm.conv2d(sharp, kernel, "same")) + noise).astype(np.float32), sharp


def main() -> None:
    """Measure and print."""
    for seed in range(3):
        for width in (0.8, 1.4, 2.2):
            blurred, sharp = pair(np.asarray(learn.kernels.gaussian(width, SIZE)), seed)
            for factor in (0.5, 2.0):
                clock = time.perf_counter()
                found = learn.refine(
                    lambda p: learn.kernels.gaussian(p["width"], SIZE),
                    {"width": learn.positive(factor * width)},
                    blurred,
                    sharp,
                )
                error = abs(float(found.params["width"]) / width - 1)
                print(
                    f"seed {seed} width {width} from {factor * width:.2f}: {found}, error {100 * error:.2f} %, "
                    f"{time.perf_counter() - clock:.1f} s",
                    flush=True,
                )
        blurred, sharp = pair(np.asarray(learn.kernels.motion(6.0, 0.6, SIZE)), seed)
        found = learn.refine(
            lambda p: learn.kernels.motion(p["length"], p["angle"], SIZE),
            {"length": learn.positive(4.0), "angle": jnp.asarray(0.3)},
            blurred,
            sharp,
        )
        print(f"seed {seed} motion 6.0, 0.6: {found}", flush=True)
        true = np.asarray(learn.kernels.motion(5.0, 0.6, SIZE)) + 0.5 * np.asarray(learn.kernels.gaussian(1.0, SIZE))
        true[:4, :4] = 0
        true /= true.sum()
        blurred, sharp = pair(true.astype(np.float32), seed)
        clock = time.perf_counter()
        found = learn.refine(lambda p: p, learn.simplex(learn.kernels.gaussian(2.0, SIZE)), blurred, sharp)
        error = np.linalg.norm(np.asarray(found.kernel) - true) / np.linalg.norm(true)
        print(
            f"seed {seed} free taps: {found}, error {100 * error:.2f} %, {time.perf_counter() - clock:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
