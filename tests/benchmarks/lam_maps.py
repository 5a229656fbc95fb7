"""A lam map from a network against the best scalar lam of each unseen patch: `python tests/benchmarks/lam_maps.py`.

Trained on patches of scikit-image's photographs, tested on patches of others; 5 x 5 binomial blur, noise 6/255. The
network sees the observed patch and the solution for a scalar lam, and predicts a weight for each difference. Also the
scalar lam that was learned on the same patches, which knows no more than the network does. (The best scalar lam of a
patch is the best of a grid of 30, chosen knowing the true image.)
"""

from __future__ import annotations

import argparse
from pathlib import Path

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


def patches(names: list, side: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` random patches of each photograph, and what is observed of them."""
    rng, truth = np.random.default_rng(seed), []
    for photo in map(photograph, names):
        for _ in range(count):
            i, j = (int(rng.integers(0, n - side + 1)) for n in photo.shape)
            truth.append(photo[i : i + side, j : j + side].astype(np.float32))
    noise = SIGMA * rng.standard_normal((len(truth), side, side))
    observed = np.stack([np.asarray(admm.conv2d(t, KERNEL, "same")) for t in truth]) + noise
    return {"B": observed.astype(np.float32), "truth": np.stack(truth)}


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--count", type=int, default=12, help="patches of a photograph")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 16])
    parser.add_argument("--rate", type=float, default=5e-3, help="of Adam, brought to zero along a cosine")
    parser.add_argument("--photographs", type=Path, help="a folder of more photographs (*.png) to test on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    shape = (args.side, args.side)
    U, B, weights = admm.Var("U", *shape), admm.Param("B", *shape), admm.Param("Lam", 2, *shape)
    model = admm.Model()
    residual = admm.conv2d(U, KERNEL, "same") - B
    model.setObjective(admm.tv2d(U, weight=weights) + 0.5 * admm.sum(admm.square(residual)))
    flat = np.ones((2, *shape), np.float32)

    def solve(lam: jnp.ndarray, image: np.ndarray) -> np.ndarray:
        return np.asarray(model.solve({"Lam": jnp.asarray(lam, jnp.float32), "B": image}, max_iterations=MOST)[U])

    def with_first(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**part, "first": np.stack([solve(FIRST * SIGMA**2 * flat, image) for image in part["B"]])}

    def predict(net: learn.Network, example: dict) -> dict:
        return {"Lam": learn.lam_map(net, (example["B"], example["first"]), SIGMA), "B": example["B"]}

    unseen = [*TEST, *(sorted(args.photographs.glob("*.png")) if args.photographs else [])]
    gains = []
    for seed in args.seeds:
        train = with_first(patches(TRAIN, args.side, args.count, seed))
        held = with_first(patches(VALIDATION, args.side, 8, seed + 100))
        test = with_first(patches(unseen, args.side, 8, seed + 200))
        steps = args.epochs * -(-len(train["B"]) // 8)
        fit = learn.fit(
            model,
            learn.PSNR(U),
            learn.network(seed, hidden=args.hidden, base=FIRST, images=2, edges=True),
            train,
            predict=predict,
            optimizer=optax.adam(optax.cosine_decay_schedule(args.rate, steps)),
            batch_size=8,
            epochs=args.epochs,
            validation=held,
            seed=seed,
            progress="table",
            max_iterations=MOST,
        )
        scalar = learn.fit(
            model,
            learn.PSNR(U),
            {"units": learn.positive(FIRST)},
            train,
            predict=lambda p, example: {"Lam": p["units"] * SIGMA**2 * flat, "B": example["B"]},
            batch_size=8,
            epochs=2,
            max_iterations=MOST,
        )
        rows = []
        for i, truth in enumerate(test["truth"]):
            example = {name: value[i] for name, value in test.items()}
            lams = [units * SIGMA**2 * flat for units in np.geomspace(0.5, 60, 30)]
            lams += [predict(fit.params, example)["Lam"], scalar.params["units"] * SIGMA**2 * flat]
            scores = [float(learn.psnr(solve(lam, example["B"]), truth)) for lam in lams]
            rows.append((max(scores[:30]), *scores[30:]))
        oracle, mapped, learned = np.array(rows).T
        gain = mapped - oracle
        gains.append(gain.mean())
        each = ", ".join(
            f"{Path(name).stem} {part.mean():+.2f}"
            for name, part in zip(unseen, np.split(gain, len(unseen)), strict=True)
        )
        print(
            f"seed {seed}: {len(rows)} unseen patches, oracle scalar {oracle.mean():.2f} dB, learned scalar "
            f"{learned.mean():.2f} ({float(scalar.params['units']):.2f} sigma^2), predicted map {mapped.mean():.2f}; "
            f"map - oracle: mean {gain.mean():+.3f}, median {np.median(gain):+.3f}, least {gain.min():+.2f} ({each}); "
            f"map - learned scalar: mean {(mapped - learned).mean():+.3f}",
            flush=True,
        )
    print(f"map - oracle over seeds {args.seeds}: " + ", ".join(f"{gain:+.3f}" for gain in gains))


if __name__ == "__main__":
    main()
