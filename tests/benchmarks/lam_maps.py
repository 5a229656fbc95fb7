"""A lam map from a network against the best scalar lam of unseen photographs: `python tests/benchmarks/lam_maps.py`.

Trained on patches of scikit-image's photographs, tested on others as a whole; 5 x 5 binomial blur, noise 6/255. The
network sees the observed image and the solution for a scalar lam, and predicts a weight for each difference. Also the
scalar lam that was learned on the same patches, which knows no more than the network does. (The best scalar lam of a
photograph is the best of a grid of 30, chosen knowing the true image.)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from skimage import color, data, io, transform

import admm_jax as admm
from admm_jax import learn

TRAIN = "astronaut coffee rocket hubble_deep_field moon immunohistochemistry retina brick gravel grass page".split()
VALIDATION = ["chelsea"]
TEST = ["camera", "coins", "stereo_motorcycle"]
SIGMA = 6 / 255
FIRST = 3.0  # lam of the first estimate, in units of sigma^2
PROFILE = np.array([1, 4, 6, 4, 1], np.float32) / 16
KERNEL = np.outer(PROFILE, PROFILE)
MOST = 2000  # iterations of any solve


def photograph(name: str | Path) -> np.ndarray:
    """Grey, shrunk so that its shorter side has 200 pixels."""
    photo = io.imread(name) if isinstance(name, Path) else getattr(data, name)()
    photo = photo[0] if isinstance(photo, tuple) else photo
    grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
    return transform.resize(grey, [round(200 * n / min(grey.shape)) for n in grey.shape], anti_aliasing=True)


def observe(truth: list[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Images of one shape, and what is observed of them."""
    sharp = np.stack(truth).astype(np.float32)
    blurred = np.stack([np.asarray(admm.conv2d(image, KERNEL, "same")) for image in sharp])
    return {"B": (blurred + SIGMA * rng.standard_normal(sharp.shape)).astype(np.float32), "truth": sharp}


def patches(names: list[str], side: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` random patches of each photograph, turned and mirrored at random."""
    rng, truth = np.random.default_rng(seed), []
    for photo in map(photograph, names):
        for _ in range(count):
            i, j = (int(rng.integers(0, n - side + 1)) for n in photo.shape)
            patch = np.rot90(photo[i : i + side, j : j + side], rng.integers(4))
            truth.append(patch.T if rng.integers(2) else patch)
    return observe(truth, rng)


def wholes(names: list, side: int, seed: int) -> dict[str, np.ndarray]:
    """The middle of each photograph."""
    cuts = [[slice((n - side) // 2, (n - side) // 2 + side) for n in photo.shape] for photo in map(photograph, names)]
    rng = np.random.default_rng(seed)
    return observe([photograph(name)[tuple(cut)] for name, cut in zip(names, cuts, strict=True)], rng)


class Home:
    """TV with a weight for each difference + 1/2 ||K U - B||^2 on images of `side` squared."""

    def __init__(self, side: int) -> None:
        self.U, B, weights = admm.Var("U", side, side), admm.Param("B", side, side), admm.Param("Lam", 2, side, side)
        self.shape, self.model = (2, side, side), admm.Model()
        residual = admm.conv2d(self.U, KERNEL, "same") - B
        self.model.setObjective(admm.tv2d(self.U, weight=weights) + 0.5 * admm.sum(admm.square(residual)))

    def solve(self, lam: Any, image: np.ndarray) -> np.ndarray:
        """For a scalar or a map."""
        weights = jnp.broadcast_to(jnp.asarray(lam, jnp.float32), self.shape)
        return np.asarray(self.model.solve({"Lam": weights, "B": image}, max_iterations=MOST)[self.U])

    def with_first(self, part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images with their first estimates."""
        return {**part, "first": np.stack([self.solve(FIRST * SIGMA**2, image) for image in part["B"]])}


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument(
        "--whole", type=int, default=192, help="side of the photographs that it is tested on, up to 200"
    )
    parser.add_argument("--count", type=int, default=16, help="patches of a photograph")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 16])
    parser.add_argument("--rate", type=float, default=5e-3, help="of Adam, brought to zero along a cosine")
    parser.add_argument("--photographs", type=Path, help="a folder of more photographs (*.png) to test on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    home, whole = Home(args.side), Home(args.whole)

    def predict(net: learn.Network, example: dict) -> dict:
        return {"Lam": learn.lam_map(net, (example["B"], example["first"]), SIGMA), "B": example["B"]}

    def scalar(params: dict, example: dict) -> dict:
        return {"Lam": jnp.broadcast_to(params["units"] * SIGMA**2, home.shape), "B": example["B"]}

    unseen = [*TEST, *(sorted(args.photographs.glob("*.png")) if args.photographs else [])]
    gains = []
    for seed in args.seeds:
        train = home.with_first(patches(TRAIN, args.side, args.count, seed))
        held = home.with_first(patches(VALIDATION, args.side, 8, seed + 100))
        test = whole.with_first(wholes(unseen, args.whole, seed + 200))
        steps = args.epochs * -(-len(train["B"]) // 8)
        loss, common = learn.PSNR(home.U), {"batch_size": 8, "max_iterations": MOST}
        fit = learn.fit(
            home.model,
            loss,
            learn.network(seed, hidden=args.hidden, base=FIRST, images=2, edges=True),
            train,
            predict=predict,
            optimizer=optax.adam(optax.cosine_decay_schedule(args.rate, steps)),
            epochs=args.epochs,
            validation=held,
            seed=seed,
            progress="table",
            **common,
        )
        units = learn.fit(
            home.model, loss, {"units": learn.positive(FIRST)}, train, predict=scalar, epochs=2, **common
        ).params["units"]
        rows = []
        for i, truth in enumerate(test["truth"]):
            example = {name: value[i] for name, value in test.items()}
            lams = [*(SIGMA**2 * np.geomspace(0.5, 60, 30)), predict(fit.params, example)["Lam"], units * SIGMA**2]
            scores = [float(learn.psnr(whole.solve(lam, example["B"]), truth)) for lam in lams]
            rows.append((max(scores[:30]), *scores[30:]))
        oracle, mapped, learned = np.array(rows).T
        gain = mapped - oracle
        gains.append(gain.mean())
        each = ", ".join(f"{Path(name).stem} {value:+.2f}" for name, value in zip(unseen, gain, strict=True))
        print(
            f"seed {seed}: oracle scalar {oracle.mean():.2f} dB, learned scalar {learned.mean():.2f} "
            f"({float(units):.2f} sigma^2), predicted map {mapped.mean():.2f}; map - oracle: mean {gain.mean():+.3f} "
            f"({each}); map - learned scalar: mean {(mapped - learned).mean():+.3f}",
            flush=True,
        )
    print(f"map - oracle over seeds {args.seeds}: " + ", ".join(f"{gain:+.3f}" for gain in gains))


if __name__ == "__main__":
    main()
