"""lam as a function of noise level and kernel, learned on some photographs and tested on others: `python transfer.py`.

    log(lam / sigma^2) = c . (1, log sigma, log sum k^2)
    log(lam / sigma^2) = c . (1, log sigma, log sum k^2, log mean |D u|, log (||k * u - b||^2 / (n sigma^2)))

The second one also looks at a first solution u, at 10 sigma^2. The coefficients c are fitted to the mean PSNR through
the solves. Photographs and kernels that it is tested on are others than those it learned from. Printed is what is lost
against the best lam of each image, the best of 30.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
from choosing_lam import home, photographs

import admm_jax as admm
from admm_jax import learn
from admm_jax.learn import kernels

TRAIN = ("astronaut", "chelsea", "coins", "moon", "motorcycle")
SIDE = 19  # of all kernels, so that one compiled program serves them
MOST = 3000  # iterations of any solve


def padded(kernel: np.ndarray) -> np.ndarray:
    """In the middle of SIDE x SIDE zeros, with a sum of 1."""
    kernel = np.asarray(kernel, np.float32)
    before = [(SIDE - n) // 2 for n in kernel.shape]
    widths = [(b, SIDE - n - b) for b, n in zip(before, kernel.shape, strict=True)]
    return np.pad(kernel / kernel.sum(), widths)


def disk(radius: float) -> np.ndarray:
    """Out of focus."""
    y, x = np.mgrid[-5:6, -5:6]
    return np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)


def learned_from() -> list[np.ndarray]:
    """Kernels."""
    gaussians = [kernels.gaussian(width, 15) for width in (0.9, 1.3, 1.8, 2.4)]
    motions = [kernels.motion(length, angle, 15) for length, angle in ((5.0, 0.3), (9.0, 1.2), (12.0, 2.3))]
    return [*map(padded, [*gaussians, *motions, disk(2), disk(3), disk(4), np.ones((3, 3)), np.ones((7, 7))])]


def tested_on(path: Path | None) -> list[np.ndarray]:
    """Other kernels; those of an .npz besides."""
    found = [kernels.gaussian(1.6, 15), disk(3.4), np.ones((5, 5)), np.eye(9)]
    if path:
        with np.load(path) as arrays:
            found += [arrays[name] for name in arrays.files if max(arrays[name].shape) <= SIDE]
    return [padded(kernel) for kernel in found]


def main() -> None:
    """Learn and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--photographs", type=Path, help="a folder of more photographs (*.png) to test on")
    parser.add_argument("--kernels", type=Path, help="an .npz with more kernels to test on")
    parser.add_argument("--noise", type=int, nargs="+", default=[2, 5, 10], help="in 255ths of white")
    args = parser.parse_args()
    model, U = home(admm.Param("kernel", SIDE, SIDE), args.size)

    def example(truth: np.ndarray, taps: np.ndarray, level: int, seed: int) -> dict[str, np.ndarray]:
        """What is observed, and the features: those of noise and kernel, then those of a first solution."""
        sigma = level / 255
        noise = np.random.default_rng(seed).standard_normal(truth.shape)
        observed = (np.asarray(admm.conv2d(truth, taps, "same")) + sigma * noise).astype(np.float32)
        first = model.solve({"lam": 10 * sigma**2, "kernel": taps, "B": observed}, max_iterations=MOST)[U]
        variation = float(admm.tv2d(np.asarray(first))) / truth.size
        left = np.mean((np.asarray(admm.conv2d(np.asarray(first), taps, "same")) - observed) ** 2) / sigma**2
        known = [1, np.log(255 * sigma), np.log(np.sum(taps**2)), np.log(variation), np.log(left)]
        return {
            "B": observed,
            "truth": truth,
            "kernel": taps,
            "sigma": np.float32(sigma),
            "features": np.array(known, np.float32),
        }

    def examples(pictures: list[np.ndarray], shapes: list[np.ndarray]) -> dict[str, np.ndarray]:
        cases = [(picture, taps, level) for picture in pictures for taps in shapes for level in args.noise]
        stack = [example(*case, seed) for seed, case in enumerate(cases)]
        return {name: np.stack([one[name] for one in stack]) for name in stack[0]}

    known = photographs(args.size, args.photographs)
    train = examples([known[name] for name in TRAIN], learned_from())
    others = [name for name in known if name not in TRAIN]
    test = examples([known[name] for name in others], tested_on(args.kernels))
    mean, spread = train["features"].mean(0), train["features"].std(0)
    mean[0], spread[0] = 0, 1
    print(f"{len(train['B'])} images to learn from, {len(test['B'])} others ({', '.join(others)}) to test on")

    fits = {}
    for name, count in (("noise and kernel", 3), ("and a first solution", 5)):

        def predict(params: dict, example: dict, count: int = count) -> dict:
            inputs = ((example["features"] - mean) / spread)[:count]
            chosen = jnp.exp(jnp.dot(params["c"], inputs)) * example["sigma"] ** 2
            return {"lam": chosen, "kernel": example["kernel"], "B": example["B"]}

        steps = args.epochs * -(-len(train["B"]) // 12)
        start = np.zeros(count, np.float32)
        start[0] = np.log(6.0)
        fit = learn.fit(
            model,
            learn.PSNR(U),
            {"c": start},
            train,
            predict=predict,
            optimizer=optax.adam(optax.cosine_decay_schedule(0.1, steps)),
            batch_size=12,
            epochs=args.epochs,
            progress="table",
            max_iterations=MOST,
        )
        fits[name] = (predict, fit.params)
    losses: dict[str, list[float]] = {name: [] for name in fits}
    for i, truth in enumerate(test["truth"]):
        one = {name: value[i] for name, value in test.items()}
        given = {"B": one["B"], "kernel": one["kernel"]}
        lams = one["sigma"] ** 2 * np.geomspace(0.7, 80, 30)
        values = learn.path(model, "lam", lams[::-1], given, tol=1e-4, max_iterations=MOST).values["U"]
        best = max(float(learn.psnr(value, truth)) for value in values)
        for name, (predict, params) in fits.items():
            value = model.solve(predict(params, one), max_iterations=MOST)[U]
            losses[name].append(best - float(learn.psnr(value, truth)))
    for name, lost in losses.items():
        c = np.round(np.asarray(fits[name][1]["c"]), 3)
        print(
            f"lam from {name:<22} lost on {len(lost)} images: mean {np.mean(lost):.3f} dB, median "
            f"{np.median(lost):.3f}, 90 % {np.quantile(lost, 0.9):.3f}, worst {np.max(lost):.3f}; c = {c}"
        )


if __name__ == "__main__":
    main()
