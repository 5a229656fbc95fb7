"""Photographs under a camera's kernel, the scene beyond the frame unknown: time, PSNR, gaps and gradients.

    python tests/benchmarks/photographs.py --kernels levin_kernels_1to4.npz photo.png ...

Kernels are the arrays of an .npz file; without files, scikit-image's camera under made paths of a shaking camera. For
every photograph (gray), kernel and p of the total variation: the image is blurred, its valid part is kept, noise is
added, and lam = 12 sigma^2. Times are medians of warm runs in float32 in one process, ours and those of scikit-image in
turn. The true gap is against a solve whose estimated gap is below 1e-6. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import fftconvolve
from skimage import data, io, restoration

import admm_jax as admm

PEERS = Path(__file__).parent / "peers"
OPTIONS: dict[str, dict[str, Any]] = {
    "estimate 1e-2": {"tol": 1e-2, "stop": "estimate"},
    "estimate 1e-3": {"tol": 1e-3, "stop": "estimate"},
    "certified 1e-2": {"tol": 1e-2},
    "certified 1e-3": {"tol": 1e-3},
}


class Case(NamedTuple):
    """One blurred photograph; the scene is judged a kernel away from its border."""

    name: str
    truth: np.ndarray
    kernel: np.ndarray
    observed: np.ndarray
    lam: float

    def psnr(self, scene: Any) -> float:
        edge = max(self.kernel.shape)
        inner = slice(edge, -edge), slice(edge, -edge)
        return float(-10 * np.log10(np.mean((np.asarray(scene) - self.truth)[inner] ** 2)))


def shaken(seed: int, size: int = 19) -> np.ndarray:
    """The path of a camera that is shaken: a random walk with inertia, one grain thick."""
    rng = np.random.default_rng(seed)
    place, speed, kernel = np.zeros(2), rng.normal(size=2), np.zeros((size, size))
    for _ in range(40 * size):
        speed = 0.97 * speed + 0.25 * rng.normal(size=2)
        place = np.clip(place + 0.05 * speed, -(size // 2) + 1, size // 2 - 1)
        row, column = (place + size // 2).astype(int)
        kernel[row, column] += 1
    return kernel / kernel.sum()


def gray(path: Path) -> np.ndarray:
    """A photograph in 0..1, its channels averaged."""
    image = np.asarray(io.imread(path), float)
    image = image / (255 if image.max() > 1 else 1)
    return image if image.ndim == 2 else image[..., :3].mean(axis=-1)


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """Every photograph under every kernel."""
    photographs = {path.stem: gray(path) for path in given.photographs} or {"camera": data.camera() / 255}
    kernels = dict(np.load(given.kernels)) if given.kernels else {f"shake{i}": shaken(i) for i in range(3)}
    for photograph, image in photographs.items():
        cut = image[: given.size, : given.size] if given.size else image
        for name, kernel in kernels.items():
            kernel = kernel / kernel.sum()
            noise = given.noise * np.random.default_rng(0).normal(size=cut.shape)
            blurred = fftconvolve(cut, kernel, "valid")
            blurred += noise[: blurred.shape[0], : blurred.shape[1]]
            single = np.float32
            yield Case(f"{photograph} {name}", cut, kernel.astype(single), blurred.astype(single), 12 * given.noise**2)


def deblurring(case: Case, p: int) -> admm.Model:
    """lam TV(U) + 1/2 ||k * U - B||^2, U the whole scene."""
    scene, observed = admm.Var("U", case.truth.shape), admm.Param("B", case.observed.shape)
    residual = admm.conv2d(scene, case.kernel, "valid") - observed
    model = admm.Model()
    model.setObjective(admm.Param("lam") * admm.tv2d(scene, p=p) + 0.5 * admm.sum(admm.square(residual)))
    return model


Seconds = dict[str, float]


def medians(runs: dict[str, Callable[[], Any]], repeats: int) -> tuple[Seconds, dict[str, Any], Seconds]:
    """(seconds, results, seconds of the first call), the runs taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Any] = {}
    first: dict[str, float] = {}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            clock = time.perf_counter()
            results[name] = jax.block_until_ready(run())
            seconds = time.perf_counter() - clock
            if turn:
                times[name].append(seconds)
            else:
                first[name] = seconds
    return {name: float(np.median(taken)) for name, taken in times.items()}, results, first


def solves(case: Case, p: int, repeats: int) -> None:
    """Times, PSNR and gaps, beside scikit-image."""
    model = deblurring(case, p)
    lam = jnp.float32(case.lam)

    def ours(options: dict[str, Any]) -> Callable[[], Any]:
        solve = jax.jit(lambda b, weight: model.solve({"B": b, "lam": weight}, **options))
        return lambda: solve(case.observed, lam)

    observed = np.clip(case.observed, 0, 1)

    def whole(image: np.ndarray) -> np.ndarray:
        return np.pad(image, [(k // 2, (k - 1) // 2) for k in case.kernel.shape], "edge")

    runs: dict[str, Callable[[], Any]] = {name: ours(options) for name, options in OPTIONS.items()}
    if p == 1:
        extended = whole(observed)
        runs["richardson_lucy, 30"] = lambda: restoration.richardson_lucy(extended, case.kernel, num_iter=30)
        runs["unsupervised_wiener"] = lambda: restoration.unsupervised_wiener(extended, case.kernel)[0]
    best = float(ours({"tol": 1e-6, "stop": "estimate", "max_iterations": 3000})().objective)
    seconds, results, first = medians(runs, repeats)
    size = "x".join(map(str, case.truth.shape))
    print(f"{case.name}, p = {p}, {size}: blurred {case.psnr(whole(observed)):.2f} dB")
    for name, result in results.items():
        text = f"  {name:<22}{seconds[name]:7.2f} s (first {first[name]:5.1f})"
        if isinstance(result, admm.Solution):
            true = (float(result.objective) - best) / best
            text += f"  {case.psnr(result['U']):.3f} dB  {int(result.iterations):4d} iterations"
            text += f"  gap {float(result.gap):.1e}  estimated {float(result.estimate):.1e}  true {true:.1e}"
        else:
            text += f"  {case.psnr(result):.3f} dB"
        print(text, flush=True)


def gradients(case: Case, p: int, repeats: int) -> None:
    """Value, and value with gradient in log lam, of the mean squared error."""
    model, edge = deblurring(case, p), max(case.kernel.shape)

    def loss(log_lam: jax.Array, b: jax.Array) -> jax.Array:
        scene = model.solve({"B": b, "lam": jnp.exp(log_lam)})["U"]
        return jnp.mean((scene - case.truth.astype(np.float32))[edge:-edge, edge:-edge] ** 2)

    at = jnp.log(jnp.float32(case.lam))
    both = {"value": jax.jit(loss), "value and gradient": jax.jit(jax.value_and_grad(loss))}
    runs = {name: (lambda f=f: f(at, case.observed)) for name, f in both.items()}
    seconds, results, first = medians(runs, repeats)
    alone, together = seconds["value"], seconds["value and gradient"]
    print(
        f"  gradient in log lam {float(results['value and gradient'][1]):.4e}: value {alone:.2f} s, with gradient "
        f"{together:.2f} s ({together / alone:.1f} x; first {first['value and gradient']:.1f} s)",
        flush=True,
    )


def beside(case: Case, peer: str, python: str) -> None:
    """Another library, by its script in `peers/`, in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.npz"
        np.savez(file, truth=case.truth, kernel=case.kernel, observed=case.observed, lam=case.lam)
        subprocess.run([python, str(PEERS / f"photograph_with_{peer}.py"), str(file)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="*", type=Path)
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--noise", type=float, default=2 / 255)
    parser.add_argument("--size", type=int, help="cut the upper left corner of this size")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--p", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--scico", help="a Python that has SCICO: its mask decoupling, made by hand")
    parser.add_argument("--pyproximal", help="a Python that has PyProximal: its primal-dual method")
    given = parser.parse_args()
    for case in cases(given):
        for p in given.p:
            solves(case, p, given.repeats)
            if given.gradients:
                gradients(case, p, given.repeats)
            for peer in ("scico", "pyproximal"):
                python = getattr(given, peer)
                if python and p == 1:
                    beside(case, peer, python)


if __name__ == "__main__":
    main()
