"""A lam map from a network against the best scalar lam of each unseen patch: `python tests/benchmarks/lam_maps.py`.

Trained on patches of scikit-image's photographs, tested on patches of others; 5 x 5 binomial blur, noise 6/255. Also
the scalar lam that was learned on the same patches, which knows no more than the network does.
"""

from __future__ import annotations

import argparse

import jax.numpy as jnp
import numpy as np
import optax
from skimage import color, data, transform

import admm_jax as admm
from admm_jax import learn

TRAIN = ("astronaut", "coffee", "rocket", "hubble_deep_field", "moon", "immunohistochemistry")
VALIDATION = ("chelsea",)
TEST = ("camera", "coins", "stereo_motorcycle")
SIGMA = 6 / 255
PROFILE = np.array([1, 4, 6, 4, 1], np.float32) / 16
KERNEL = np.outer(PROFILE, PROFILE)


def patches(names: tuple[str, ...], side: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` random patches of each photograph, shrunk to 200 rows, and what is observed of them."""
    rng, truth = np.random.default_rng(seed), []
    for name in names:
        photo = getattr(data, name)()
        photo = photo[0] if isinstance(photo, tuple) else photo
        grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
        small = transform.resize(grey, (200, 200 * grey.shape[1] // grey.shape[0]), anti_aliasing=True)
        for _ in range(count):
            i, j = (int(rng.integers(0, n - side)) for n in small.shape)
            truth.append(small[i : i + side, j : j + side].astype(np.float32))
    noise = SIGMA * rng.standard_normal((len(truth), side, side))
    observed = np.stack([np.asarray(admm.conv2d(t, KERNEL, "same")) for t in truth]) + noise
    return {"B": observed.astype(np.float32), "truth": np.stack(truth)}


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--count", type=int, default=6, help="patches of a photograph")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    U = admm.Var("U", args.side, args.side)
    B, weights = admm.Param("B", args.side, args.side), admm.Param("Lam", args.side, args.side)
    model = admm.Model()
    residual = admm.conv2d(U, KERNEL, "same") - B
    model.setObjective(admm.tv2d(U, weight=weights) + 0.5 * admm.sum(admm.square(residual)))
    flat = jnp.ones((args.side, args.side), jnp.float32)

    def score(lam: jnp.ndarray, image: np.ndarray, truth: np.ndarray) -> float:
        return float(learn.psnr(model.solve({"Lam": lam, "B": image}, max_iterations=3000)[U], truth))

    for seed in args.seeds:
        train = patches(TRAIN, args.side, args.count, seed)
        held = patches(VALIDATION, args.side, 8, seed + 100)
        test = patches(TEST, args.side, args.count, seed + 200)
        fit = learn.fit(
            model,
            learn.PSNR(U),
            learn.network(seed, hidden=(8, 8), base=4.0),
            train,
            predict=lambda net, example: {"Lam": learn.lam_map(net, example["B"], SIGMA), "B": example["B"]},
            optimizer=optax.adam(0.01),
            batch_size=8,
            epochs=args.epochs,
            validation=held,
            seed=seed,
            progress="table",
            max_iterations=3000,
        )
        scalar = learn.fit(
            model,
            learn.PSNR(U),
            {"units": learn.positive(4.0)},
            train,
            predict=lambda p, example: {"Lam": p["units"] * SIGMA**2 * flat, "B": example["B"]},
            batch_size=8,
            epochs=4,
            max_iterations=3000,
        )
        rows = []
        for image, truth in zip(test["B"], test["truth"], strict=True):
            oracle = max(score(u * SIGMA**2 * flat, image, truth) for u in np.geomspace(0.5, 60, 30))
            mapped = score(learn.lam_map(fit.params, jnp.asarray(image), SIGMA), image, truth)
            learned = score(scalar.params["units"] * SIGMA**2 * flat, image, truth)
            rows.append((oracle, mapped, learned))
        oracle, mapped, learned = np.array(rows).T
        gain, units = mapped - oracle, float(scalar.params["units"])
        print(
            f"seed {seed}: {len(rows)} unseen patches, oracle scalar {oracle.mean():.2f} dB, "
            f"learned scalar {learned.mean():.2f} ({units:.2f} sigma^2), predicted map {mapped.mean():.2f}; "
            f"map - oracle: mean {gain.mean():+.3f}, median {np.median(gain):+.3f}; "
            f"map - learned scalar: mean {(mapped - learned).mean():+.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
