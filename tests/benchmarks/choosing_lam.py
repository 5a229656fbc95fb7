"""One lam, one photograph: supervised, and without the true image. `python tests/benchmarks/choosing_lam.py`.

Over photographs x kernels x noise levels, for each criterion: the PSNR lost against the best lam of a grid, and the
solves that the search took. The grid has 200 values from 0.5 to 100 sigma^2, each solved from its neighbour.
A row a case goes to --output (CSV); the summary is printed.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from skimage import color, data, io, transform, util

import admm_jax as admm
from admm_jax import learn

SCIKIT_IMAGE = ("camera", "astronaut", "coffee", "chelsea", "rocket", "coins", "hubble_deep_field", "moon")
TOL = 1e-4  # of the grid's solves
MOST = 3000  # iterations of any solve


def photographs(size: int, extra: Path | None) -> dict[str, np.ndarray]:
    """Grey squares of size² pixels, each shrunk from the largest square in the middle to twice that side, then cut."""
    found = {name: getattr(data, name)() for name in SCIKIT_IMAGE}
    found["motorcycle"] = data.stereo_motorcycle()[0]
    for path in sorted(extra.glob("*.png")) if extra else []:
        found[path.stem] = io.imread(path)
    out = {}
    for name, picture in found.items():
        grey = color.rgb2gray(picture) if picture.ndim == 3 else util.img_as_float(picture)
        side = min(grey.shape)
        square = grey[tuple(slice((n - side) // 2, (n + side) // 2) for n in grey.shape)]
        small = transform.resize(square, (2 * size, 2 * size), anti_aliasing=True)
        out[name] = small[size // 2 : size // 2 + size, size // 2 : size // 2 + size].astype(np.float32)
    return out


def kernels(extra: Path | None) -> dict[str, np.ndarray]:
    """Four kernels: of a camera that shook where a file of them is given, a Gaussian, a disk, a box."""
    gaussian = np.exp(-(np.arange(-4, 5) ** 2) / (2 * 1.6**2))
    y, x = np.mgrid[-3:4, -3:4]
    found = {
        "gaussian": np.outer(gaussian, gaussian),
        "disk": np.clip(3.5 - np.hypot(x, y), 0, 1),
        "motion": np.eye(9),
        "box": np.ones((5, 5)),
    }
    if extra:
        with np.load(extra) as arrays:
            found |= {"motion": arrays["k1"], "box": arrays["k3"]}
    return {name: (kernel / kernel.sum()).astype(np.float32) for name, kernel in found.items()}


def home(kernel: np.ndarray | admm.Param, size: int) -> tuple[admm.Model, admm.Var]:
    """lam TV(U) + 1/2 ||K U - B||^2."""
    U, B, lam = admm.Var("U", size, size), admm.Param("B", size, size), admm.Param("lam")
    model = admm.Model()
    residual = admm.conv2d(U, kernel, "same") - B
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(residual)))
    return model, U


def grid_best(model: admm.Model, U: admm.Var, observed: np.ndarray, truth: np.ndarray, lams: np.ndarray) -> tuple:
    """(lam, PSNR) of the best on the grid; solved to TOL, from the largest down."""
    solved = learn.path(model, "lam", lams[::-1], {"B": observed}, tol=TOL, max_iterations=MOST)
    scores = [float(learn.psnr(value, truth)) for value in solved.values["U"]]
    best = int(np.argmax(scores))
    return float(solved.parameter[best]), scores[best]


def criteria(U: admm.Var, sigma: float, guessed: float, only: list[str] | None) -> dict:
    """By name; those that need the noise level once with the true one and once with what is guessed from the image."""
    known = {
        "supervised": learn.MSE(U),
        "SUGAR": learn.SUGAR(sigma),
        "SUGAR, sigma estimated": learn.SUGAR(guessed),
        "discrepancy": learn.Discrepancy(sigma),
        "discrepancy, sigma estimated": learn.Discrepancy(guessed),
        "whiteness": learn.Whiteness(),
        "noise whiteness": learn.NoiseWhiteness(),
    }
    return {name: criterion for name, criterion in known.items() if not only or name in only}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--grid", type=int, default=200)
    parser.add_argument("--photographs", type=Path, help="a folder of more photographs (*.png)")
    parser.add_argument("--kernels", type=Path, help="an .npz with kernels k1 and k3, in the place of motion and box")
    parser.add_argument("--noise", type=int, nargs="+", default=[2, 5, 10], help="in 255ths of white")
    parser.add_argument("--only", nargs="+", help="names of kernels")
    parser.add_argument("--criteria", nargs="+", help="names of criteria")
    parser.add_argument("--output", type=Path, default=Path("choosing_lam.csv"))
    args = parser.parse_args()
    rows = []
    pictures = list(photographs(args.size, args.photographs).items())[-10:]
    with args.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photograph", "kernel", "noise", "grid_units", "grid_psnr"])
        for kernel_name, kernel in kernels(args.kernels).items():
            if args.only and kernel_name not in args.only:
                continue
            model, U = home(kernel, args.size)
            for name, truth in pictures:
                for level in args.noise:
                    clock, sigma = time.perf_counter(), level / 255
                    noise = np.random.default_rng(level).standard_normal(truth.shape)
                    observed = (np.asarray(admm.conv2d(truth, kernel, "same")) + sigma * noise).astype(np.float32)
                    best, score = grid_best(model, U, observed, truth, sigma**2 * np.geomspace(0.5, 100, args.grid))
                    row = [name, kernel_name, level, f"{best / sigma**2:.3f}", f"{score:.3f}"]
                    known = {"B": observed, "truth": truth}
                    guessed = float(learn.noise_level(observed))
                    for criterion in criteria(U, sigma, guessed, args.criteria).values():
                        found = learn.search(model, "lam", criterion, known, max_iterations=MOST)
                        reached = float(learn.psnr(found.solution[U], jnp.asarray(truth)))
                        units = found.value / sigma**2
                        row += [f"{units:.3f}", f"{score - reached:.4f}", found.solves, int(found.converged)]
                    row.append(f"{guessed / sigma:.4f}")
                    rows.append(row)
                    writer.writerow(row)
                    file.flush()
                    print(*row, f"{time.perf_counter() - clock:.1f} s", flush=True)
    for place, name in enumerate(criteria(admm.Var("U", 3, 3), 1.0, 1.0, args.criteria)):
        lost = np.array([float(row[6 + 4 * place]) for row in rows])
        solves = np.array([int(row[7 + 4 * place]) for row in rows])
        worst = rows[int(np.argmax(lost))]
        print(
            f"{name:<30} lost: median {np.median(lost):.3f} dB, 90 % {np.quantile(lost, 0.9):.3f}, "
            f"worst {lost.max():.3f} ({' '.join(map(str, worst[:3]))}); solves: median {np.median(solves):.0f}, "
            f"most {solves.max()}; within 0.01 dB: {(lost <= 0.01).sum()} of {len(lost)}"
        )


if __name__ == "__main__":
    main()
