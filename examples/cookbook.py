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


@recipe
def photon_counts(size):
    """Few photons, over a background: Poisson's law in the place of least squares."""
    truth, kernel, peak = photograph(size), gaussian(9, 2.0), 50
    mean = peak * np.asarray(admm.conv2d(truth, kernel, "valid")) + 2
    counts = np.random.default_rng(0).poisson(mean).astype(float)
    U = admm.Scene("U", counts, kernel, nonneg=True)
    fit = admm.kullback_leibler(admm.conv2d(U, kernel, "valid") + 2, counts)
    solution = solved(3 / peak * admm.tv2d(U, p=2) + fit)
    return Dish((counts - 2) / peak, U.frame(solution) / peak, truth[4:-4, 4:-4])


@recipe
def saturation(size):
    """A pixel at white only says that the scene is no darker."""
    truth, kernel = 1.6 * photograph(size), gaussian(9, 2.0)
    clean = noisy(np.asarray(admm.conv2d(truth, kernel, boundary="circular")), 0.01)
    seen, white = np.minimum(clean, 1), clean >= 1
    U = admm.Var("U", size, size)
    blurred = admm.conv2d(U, kernel, boundary="circular")
    fit = 0.5 * admm.sum_squares(~white * (blurred - seen))
    solution = solved(1e-3 * admm.tv2d(U, p=2) + fit, blurred[white] >= 1)
    return Dish(seen / 1.6, np.asarray(solution[U]) / 1.6, truth / 1.6)


@recipe
def colours(size):
    """The edges of a colour image lie where they lie in the other colours."""
    truth = transform.resize(data.astronaut()[:300, 80:380] / 255, (size, size, 3), anti_aliasing=True)
    kernel = gaussian(9, 2.0)
    blurred = np.asarray(admm.conv(truth, kernel, boundary="circular", axes=(0, 1)))
    seen = noisy(blurred, 0.03)
    U = admm.Var("U", size, size, 3)
    fit = admm.conv(U, kernel, boundary="circular", axes=(0, 1)) - seen
    solution = solved(0.01 * admm.tv(U, p=2, channel_axis=2) + 0.5 * admm.sum_squares(fit))
    return Dish(seen, solution[U], truth)


@recipe
def second_order(size):
    """Total generalised variation: ramps stay ramps, where total variation makes stairs of them."""
    i, j = np.mgrid[:size, :size] / size
    truth = np.where((i - 0.5) ** 2 + (j - 0.5) ** 2 < 0.1, 1.2 * j - 0.1, 0.9 - 0.8 * i)
    seen = noisy(truth, 0.1)
    U, V = admm.Var("U", size, size), admm.Var("V", 2, size, size)
    bends = admm.gradient(V, axes=(1, 2))
    rough = admm.sum(admm.norm(admm.gradient(U) - V, axis=0)) + 2 * admm.sum(admm.norm(bends, axis=(0, 1)))
    solution = solved(0.12 * rough + 0.5 * admm.sum_squares(U - seen))
    return Dish(seen, solution[U], truth)


@recipe
def volume(size):
    """A stack whose planes lie three times as far apart as its pixels; the middle plane is shown."""
    n, depth = size // 2, size // 8
    z, i, j = np.meshgrid(np.linspace(-1, 1, depth), *[np.linspace(-1, 1, n)] * 2, indexing="ij")
    truth = 0.1 + sum(
        0.5 * ((z - c) ** 2 + (i - a) ** 2 + (j - b) ** 2 < r**2)
        for a, b, c, r in [(-0.3, -0.3, 0.1, 0.4), (0.4, 0.2, -0.2, 0.5), (0.0, 0.5, 0.4, 0.3), (0.5, -0.5, 0.0, 0.25)]
    )
    kernel = gaussian(7, 1.5)[None] * np.array([0.25, 0.5, 0.25])[:, None, None]
    seen = noisy(np.asarray(admm.conv(truth, kernel, boundary="reflect")), 0.02)
    U = admm.Var("U", depth, n, n)
    fit = admm.conv(U, kernel, boundary="reflect") - seen
    solution = solved(5e-3 * admm.tv(U, p=2, spacing=(3, 1, 1)) + 0.5 * admm.sum_squares(fit))
    return Dish(*(np.asarray(part)[depth // 2] for part in (seen, solution[U], truth)))


@recipe
def changing_blur(size):
    """Sharp at the left, blurred at the right: two kernels and masks that add up to one."""
    truth, kernels = photograph(size), (gaussian(9, 0.6), gaussian(9, 2.5))
    right = np.broadcast_to(np.linspace(0, 1, size), truth.shape)

    def blur(image):
        return sum(admm.conv2d(mask * image, k) for mask, k in zip((1 - right, right), kernels, strict=True))

    seen = noisy(np.asarray(blur(truth)), 0.01)
    U = admm.Var("U", size, size)
    solution = solved(1e-3 * admm.tv2d(U, p=2) + 0.5 * admm.sum_squares(blur(U) - seen))
    return Dish(seen, solution[U], truth)


class Smoother:
    """A denoiser as the prox of a function that nobody knows: a median of neighbours, the more the larger the step."""

    def __call__(self, v):
        """Nothing is known of it."""
        return jnp.zeros((), v.dtype)

    def prox(self, v, step):
        """Neither a certificate nor an estimate follows from this: it ends by its residuals."""
        around = jnp.stack([jnp.roll(v, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        return v + jnp.clip(jnp.median(around, axis=0) - v, -0.05, 0.05)


@recipe
def plug_and_play(size):
    """A denoiser in the place of a function (Venkatakrishnan, Bouman & Wohlberg 2013), without a certificate."""
    truth, kernel = photograph(size), gaussian(9, 2.0)
    seen = noisy(np.asarray(admm.conv2d(truth, kernel, boundary="circular")), 0.01)
    U = admm.Var("U", size, size)
    fit = admm.conv2d(U, kernel, boundary="circular") - seen
    objective = admm.penalty(Smoother(), U) + 0.5 * admm.sum_squares(fit)
    solution = solved(objective, stop="certificate", tol=1e-3, rho=0.02, adapt_rho=False, max_iterations=100)
    return Dish(seen, solution[U], truth)


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
            axis.imshow(np.clip(image, 0, 1) if own else np.asarray(image), cmap="gray", **own)
        pair[0].set_title(name.replace("_", " "), loc="left", fontsize=10)
        pair[1].set_title(f"{psnr(recovered, truth):.1f} dB", loc="right", fontsize=10)
    figure.savefig(output, dpi=100)
    print(f"figure: {output}")


if __name__ == "__main__":
    main()
