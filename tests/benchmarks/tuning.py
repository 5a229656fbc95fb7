"""One search by gradient against SCICO's published tuning of the same problem: `python tests/benchmarks/tuning.py`.

A Siemens star of 256² under a 5 x 5 box, noise 20/255, the whole of the blurred image observed. SCICO's example
searches (lam, rho) by HyperOpt's TPE, in 100 samples of 50 ADMM iterations; here one `learn.search` finds lam, and
there is no rho to choose. SCICO and HyperOpt are installed in an environment of their own under --environments.

With anisotropic TV SCICO's best sample has not converged, and its PSNR falls when it does: 50 iterations are part of
what is tuned there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from peers.environments import python_of

import admm_jax as admm
from admm_jax import learn

SIGMA = 20 / 255
SECTORS = 32


def siemens_star(size: int, margin: int) -> np.ndarray:
    """Sectors in turn white and black within a disk, each pixel the mean of 5 x 5 points."""
    places = (np.arange(5 * size) + 0.5) / 5 - size / 2
    y, x = np.meshgrid(places, places, indexing="ij")
    white = (np.floor(np.arctan2(y, x) * SECTORS / (2 * np.pi)) % 2 == 0) & (np.hypot(x, y) < size / 2 - margin)
    return white.reshape(size, 5, size, 5).mean((1, 3)).astype(np.float32)


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--environments", type=Path, default=Path("~/.cache/admm_jax-benchmarks"))
    args = parser.parse_args()
    truth, kernel = siemens_star(args.size, 8), np.full((5, 5), 1 / 25, np.float32)
    blurred = np.asarray(admm.conv2d(truth, kernel, "full"))
    observed = (blurred + SIGMA * np.random.default_rng(0).standard_normal(blurred.shape)).astype(np.float32)

    for p in (2, 1):
        print(f"{'isotropic' if p == 2 else 'anisotropic'} total variation")
        compare(truth, kernel, observed, p, args.samples, args.environments)


def compare(
    truth: np.ndarray, kernel: np.ndarray, observed: np.ndarray, p: int, count: int, environments: Path
) -> None:
    """Both ways on one problem."""
    U, B, lam = admm.Var("U", *truth.shape), admm.Param("B", *observed.shape), admm.Param("lam")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U, p=p) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "full") - B)))
    rows = []
    for name, criterion in (("the true image", learn.MSE(U)), ("SUGAR", learn.SUGAR(SIGMA))):
        clock = time.perf_counter()
        found = learn.search(model, "lam", criterion, {"B": observed, "truth": truth})
        seconds = time.perf_counter() - clock
        reached = float(learn.psnr(found.solution[U], jnp.asarray(truth)))
        rows.append((f"admm_jax, by {name}", found.solves, f"{found.value:.4f}", reached, seconds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        np.savez(path, truth=truth, observed=observed, kernel=kernel, p=p)
        script = Path(__file__).parent / "peers" / "tune_with_scico.py"
        command = [python_of("tuning", environments), str(script), str(path), str(count)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    samples, converged = json.loads(answer.splitlines()[-1])
    best = max(samples, key=lambda sample: sample[2])
    seconds = sum(sample[3] for sample in samples)
    rows.append(("SCICO, TPE over (lam, rho)", len(samples), f"{best[0]:.4f}, rho {best[1]:.3f}", best[2], seconds))
    for name, solves, value, reached, seconds in rows:
        print(f"{name:<30} {solves:>4} solves  lam {value:<20} {reached:.3f} dB  {seconds:.1f} s, compiling included")
    print(f"SCICO's best sample, iterated on until it has converged: {converged:.3f} dB")


if __name__ == "__main__":
    main()
