"""A cookbook: inverse problems, each a few lines of the model builder.

Every recipe returns what was seen, what is recovered, and the truth; the figure shows all of them with their PSNR.
Copy the lines that you need: a model is its objective, and the recipes differ in that alone.

    python examples/cookbook.py [--size 128] [--only mri tomography] [--output FILE]
"""

import argparse
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from skimage import data, transform

import admm_jax as admm

ENOUGH = {"tol": 1e-3, "stop": "estimate"}  # a smaller gap changes neither what the eye sees nor the PSNR
RECIPES = {}


class Dish(NamedTuple):
    """What a recipe makes: images to look at."""

    seen: np.ndarray
    recovered: np.ndarray
    truth: np.ndarray


def recipe(make):
    """Enter it under its name."""
    RECIPES[make.__name__] = make
    return make


def photograph(size):
    """Scikit-image's camera, in 0..1."""
    return transform.resize(data.camera()[30:330, 60:360] / 255, (size, size), anti_aliasing=True)


def gaussian(size, width):
    """A round blur of sum 1."""
    line = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * width**2))
    return np.outer(line, line) / line.sum() ** 2


def noisy(clean, sigma, seed=0):
    """With normal noise."""
    return clean + sigma * np.random.default_rng(seed).normal(size=clean.shape)


def solved(objective, *constraints, **options):
    """The solution of a model without parameters."""
    model = admm.Model()
    model.setObjective(objective)
    for constraint in constraints:
        model.addConstr(constraint)
    return model.solve(**(ENOUGH | options))


@recipe
def periodic_border(size):
    """The scene goes round: fields of simulations, textures."""
    truth, kernel = photograph(size), gaussian(9, 2.0)
    seen = noisy(np.asarray(admm.conv2d(truth, kernel, boundary="circular")), 0.01)
    U = admm.Var("U", size, size)
    fit = admm.conv2d(U, kernel, boundary="circular") - seen
    solution = solved(1e-3 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(fit))
    return Dish(seen, solution[U], truth)


@recipe
def unknown_border(size):
    """The scene goes on beyond the frame: every photograph."""
    truth, kernel = photograph(size), gaussian(9, 2.0)
    seen = noisy(np.asarray(admm.conv2d(truth, kernel, "valid")), 0.01)
    U = admm.Scene("U", seen, kernel)
    solution = solved(1e-3 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(admm.conv2d(U, kernel, "valid") - seen))
    return Dish(seen, U.frame(solution), truth[4:-4, 4:-4])


@recipe
def missing_pixels(size):
    """Two of three pixels are lost."""
    truth = photograph(size)
    mask = np.random.default_rng(1).random(truth.shape) < 1 / 3
    seen = mask * noisy(truth, 0.01)
    U = admm.Var("U", size, size)
    solution = solved(3e-3 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(mask * U - seen))
    return Dish(seen, solution[U], truth)


@recipe
def super_resolution(size):
    """Every pixel of the sensor is the mean of four, and blurred."""
    truth, kernel = photograph(size), gaussian(5, 1.0)
    seen = noisy(np.asarray(admm.conv2d(truth, kernel)[::2, ::2]), 0.005)
    U = admm.Var("U", size, size)
    solution = solved(3e-4 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(admm.conv2d(U, kernel)[::2, ::2] - seen))
    return Dish(seen, solution[U], truth)


@recipe
def noise_level(size):
    """No lam to choose: the residual is as large as the noise is known to be."""
    truth, kernel, sigma = photograph(size), gaussian(9, 2.0), 0.02
    seen = noisy(np.asarray(admm.conv2d(truth, kernel, boundary="circular")), sigma)
    U = admm.Var("U", size, size)
    fit = admm.conv2d(U, kernel, boundary="circular") - seen
    solution = solved(admm.tv2d(U, p=2), admm.norm(fit, "fro") <= sigma * size)
    return Dish(seen, solution[U], truth)


@recipe
def tomography(size):
    """A slice from 45 projections; the matrix of the projections is SciPy's, sparse."""
    truth = transform.resize(data.shepp_logan_phantom(), (size, size), anti_aliasing=True)
    A = projections(size, np.deg2rad(np.arange(45) * 4.0))
    clean = A @ truth.ravel()
    seen = noisy(clean, 0.01 * clean.max())
    U = admm.Var("U", size, size, nonneg=True)
    solution = solved(0.01 * size / 4 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(A @ admm.ravel(U) - seen))
    return Dish(seen.reshape(45, size), solution[U], truth)


def projections(size, angles):
    """The sums of an image along rays, (angles * size, size * size): each point of a ray lies between four pixels."""
    line = np.arange(size) - (size - 1) / 2
    along, across = np.meshgrid(line, line, indexing="ij")
    ray = np.broadcast_to(np.arange(size), (size, size))
    entries = []
    for number, angle in enumerate(angles):
        row = np.cos(angle) * along - np.sin(angle) * across + (size - 1) / 2
        column = np.sin(angle) * along + np.cos(angle) * across + (size - 1) / 2
        for corner in np.ndindex(2, 2):
            i, j = np.floor(row).astype(int) + corner[0], np.floor(column).astype(int) + corner[1]
            share = (1 - np.abs(row - i)) * (1 - np.abs(column - j))
            inside = (i >= 0) & (i < size) & (j >= 0) & (j < size)
            entries.append((share[inside], number * size + ray[inside], (i * size + j)[inside]))
    values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(len(angles) * size, size * size))


def fourier(x):
    """The unitary Fourier transform of a real image, its real and imaginary parts."""
    spectrum = jnp.fft.fft2(x, norm="ortho")
    return jnp.stack([spectrum.real, spectrum.imag])


@recipe
def mri(size):
    """A quarter of the Fourier coefficients: a function of one's own, its adjoint found by JAX."""
    truth = transform.resize(data.shepp_logan_phantom(), (size, size), anti_aliasing=True)
    distance = np.abs(np.fft.fftfreq(size)[:, None])  # lines of k-space, all of the middle and a few of the rest
    mask = np.broadcast_to(np.random.default_rng(2).random((size, 1)) < 0.17 + 2 * (distance < 0.05), (size, size))
    seen = mask * noisy(np.asarray(fourier(truth)), 0.005)
    U = admm.Var("U", size, size)
    solution = solved(1e-3 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(mask * admm.linear(fourier, U) - seen))
    zero_filled = np.fft.ifft2(seen[0] + 1j * seen[1], norm="ortho").real
    return Dish(zero_filled, solution[U], truth)


def psnr(image, truth):
    """Of images in 0..1, in dB."""
    return -10 * np.log10(np.mean((np.asarray(image) - truth) ** 2))


def main(argv=None):
    """Make what is asked for, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--only", nargs="*", choices=sorted(RECIPES), default=sorted(RECIPES), metavar="RECIPE")
    parser.add_argument("--output", default="cookbook.png", help="the figure")
    args = parser.parse_args(argv)
    dishes = {}
    for name in RECIPES:
        if name in args.only:
            clock = time.perf_counter()
            dishes[name] = jax.block_until_ready(RECIPES[name](args.size))
            seen, recovered, truth = dishes[name]
            before = f"{psnr(seen, truth):5.1f} -> " if seen.shape == truth.shape else " " * 9
            seconds = time.perf_counter() - clock
            print(f"{name:<20}{before}{psnr(recovered, truth):5.1f} dB, {seconds:.1f} s with compiling", flush=True)
    draw(dishes, args.output)


def draw(dishes, output):
    """Every recipe a pair of thumbnails: what was seen, and what is recovered."""
    import matplotlib.pyplot as plt

    columns = 3
    rows = -(-len(dishes) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(12, 2.25 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for (name, (seen, recovered, truth)), place in zip(dishes.items(), np.ndindex(rows, columns), strict=False):
        pair = axes[place[0], 2 * place[1] : 2 * place[1] + 2]
        for axis, image in zip(pair, (seen, recovered), strict=True):
            own = {} if image.shape != truth.shape and image.max() > 2 else {"vmin": 0, "vmax": 1}
            axis.imshow(np.asarray(image), cmap="gray", **own)
        pair[0].set_title(name.replace("_", " "), loc="left", fontsize=10)
        pair[1].set_title(f"{psnr(recovered, truth):.1f} dB", loc="right", fontsize=10)
    figure.savefig(output, dpi=100)
    print(f"figure: {output}")


if __name__ == "__main__":
    main()
