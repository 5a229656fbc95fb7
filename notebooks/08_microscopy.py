# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Microscopy
#
# A confocal stack of two dyes: few photons, a background, planes three times as far apart as pixels, a point spread
# function that is long in depth and another one for each colour. Richardson and Lucy's iteration is what most programs
# offer. It climbs the likelihood of the counts without end, and has to be stopped by eye. Here the same likelihood gets
# a total variation in micrometres, and an end:
#
# $$\min_{U \ge 0}\;\; \lambda\,\mathrm{TV}_h(U) + \sum_i \bigl(m_i - c_i \log m_i\bigr), \qquad m = K * U + b$$

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.signal

import admm_jax as admm
from admm_jax import learn, plot

rng = np.random.default_rng(0)
pitch = np.array([0.3, 0.1, 0.1])  # micrometres from voxel to voxel: planes, rows, columns

# %% [markdown]
# ## The stack
# Light of a longer wavelength is blurred more. The scene is larger than the stack by half a kernel on each side, for
# planes above and below send their light too.


# %%
def psf(wavelength, shape=(7, 11, 11)):
    """A Gaussian beam, which widens away from its focus."""
    z, y, x = np.meshgrid(*((np.arange(n) - n // 2) * h for n, h in zip(shape, pitch, strict=True)), indexing="ij")
    width = 0.3 * wavelength * np.sqrt(1 + (z / (0.6 * wavelength)) ** 2)
    kernel = np.exp(-(x**2 + y**2) / (2 * width**2)) / width**2
    return kernel / kernel.sum()


psfs = np.stack([psf(0.52), psf(0.67)])  # a green and a red dye, micrometres
margin = np.array(psfs.shape[1:]) // 2
stack = (10, 56, 56)
grid = np.meshgrid(*((np.arange(n + 2 * m) * h for n, m, h in zip(stack, margin, pitch, strict=True))), indexing="ij")
size = [axis.max() for axis in grid]


def ball(centre, radius):
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < radius**2


scene = np.zeros((2, *grid[0].shape))
for _ in range(7):  # fibres, green
    start, along, bend = rng.uniform(0, size), rng.normal(size=3) * [0.25, 1, 1], rng.normal(size=3) * [0, 0.08, 0.08]
    for t in np.arange(-6, 6, 0.1):
        scene[0][ball(start + t * along / np.linalg.norm(along) + t**2 * bend, 0.2)] = 1
for _ in range(16):  # vesicles, red
    bright, inside = rng.uniform(0.3, 1), ball(rng.uniform(0, size), rng.uniform(0.4, 0.9))
    scene[1][inside] = np.maximum(scene[1][inside], bright)

photons, background = 20, 2  # for each voxel and exposure
scene *= photons
mean = np.asarray(admm.conv(scene, psfs, "valid", axes=(1, 2, 3))) + background
counts = rng.poisson(mean).astype(np.float32)
seen = (slice(None), *(slice(m, -m) for m in margin))
truth = scene[seen]
print(f"stack {counts.shape}, scene {scene.shape}, {counts.mean():.1f} photons a voxel, at most {counts.max():.0f}")


def psnr(image):
    return float(learn.psnr(image / photons, truth / photons))


def both(image, axis):
    """The brightest along an axis (0: depth, 1: rows), fibres in green and vesicles in magenta."""
    green, red = np.clip(np.asarray(image) / photons, 0, 1).max(axis + 1)
    return np.stack([red, green, red], axis=-1)


# %% [markdown]
# ## The model
# `conv` goes along the three axes of space and has one kernel for each colour. `tv` takes its differences by the
# distance of the voxels. The unknown is not negative; what the counts are compared with is its blur and the background.

# %%
U, lam, C = admm.Var("U", scene.shape, nonneg=True), admm.Param("lam"), admm.Param("C", counts.shape, nonneg=True)
blurred = admm.conv(U, psfs, "valid", axes=(1, 2, 3))
model = admm.Model()
rough = admm.tv(U, p=2, axes=(1, 2, 3), spacing=pitch / pitch.min())
model.setObjective(lam * rough + admm.kullback_leibler(blurred + background, C))
model

# %% [markdown]
# One program serves all that follows. What it starts from is a solution of zeros first, then the one before.


# %%
@jax.jit
def solve(lam, counts, before, tol):
    return model.solve({"lam": lam, "C": counts}, init=before, tol=tol, stop="estimate")


shapes = jax.eval_shape(lambda: model.solve({"lam": jnp.float32(1), "C": jnp.asarray(counts)}))
nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

# %% [markdown]
# ## Which lam?
# Photons come one by one and know nothing of each other. So toss a coin for each: four of five go into a stack to be
# restored, the fifth into another, which is just as honest and was not looked at. The lam whose restoration explains
# the photons that were held out best is taken. It needs neither the truth nor a noise level.

# %%
share = 0.8
shown = rng.binomial(counts.astype(int), share)
held = counts - shown


def blur(image, mode="valid", kernels=psfs):
    return scipy.signal.fftconvolve(image, kernels, mode, axes=(1, 2, 3))


solution, tried, start = nothing, [], time.perf_counter()
for weight in (0.04, 0.02, 0.01, 0.005, 0.0025):
    solution = solve(np.float32(weight), (shown / share).astype(np.float32), solution, 1e-3)
    expected = (1 - share) * (np.maximum(blur(solution[U]), 0) + background)
    misfit = 2 * float(admm.kullback_leibler(expected, held)) / held.size
    tried.append((misfit, weight))
    seconds, start = time.perf_counter() - start, time.perf_counter()
    print(f"lam = {weight:<6} held out {misfit:.5f}, {psnr(solution[U][seen]):.2f} dB", end="   ")
    print(f"{solution.iterations:3d} iterations, {seconds:4.1f} s")
best = min(tried)[1]
print(f"lam = {best}; the PSNR stands there for comparison only")

# %% [markdown]
# ## The restoration, and its certificate
# All photons again, with that lam. The certificate says how far the objective can be from the best of all images that
# are not negative and no brighter than a bound far above the data.

# %%
start = time.perf_counter()
restored = model.solve({"lam": np.float32(best), "C": counts}, init=solution, tol=1e-2)
restored[U].block_until_ready()
print(f"{time.perf_counter() - start:.1f} s with compiling")
restored

# %% [markdown]
# ## Richardson and Lucy
# With the background, the border beyond the stack, and one kernel for each colour, as fair as it can be, and stopped at
# the iteration that is nearest to the truth, which nobody knows.

# %%
turned = psfs[:, ::-1, ::-1, ::-1]
reached = np.maximum(blur(np.ones(counts.shape), "full", turned), 1e-3)
image, scores = np.full(scene.shape, counts.mean() - background), []
start = time.perf_counter()
for _ in range(120):
    image = np.maximum(image * blur(counts / (blur(image) + background), "full", turned) / reached, 0)
    scores.append(psnr(image[seen]))
    if scores[-1] == max(scores):
        lucy = image[seen]
final = np.asarray(restored[U])[seen]
print(f"Richardson-Lucy: {max(scores):.2f} dB after {np.argmax(scores) + 1} iterations, {scores[-1]:.2f} dB after 120,")
print(f"which take {time.perf_counter() - start:.1f} s; total variation: {psnr(final):.2f} dB")

ax = plt.subplots(figsize=(5, 3), layout="constrained")[1]
ax.plot(np.arange(1, 121), scores, label="Richardson-Lucy")
ax.axhline(psnr(final), color="C1", label="total variation, lam by held-out photons")
ax.legend(fontsize="small")
_ = ax.set(xlabel="iteration", ylabel="PSNR [dB]", ylim=(max(scores) - 4, None))

# %%
stacks = {"truth": truth, "counts": counts - background, "Richardson-Lucy": lucy, "total variation": final}
titles = [name if name == "truth" else f"{name}, {psnr(image):.2f} dB" for name, image in stacks.items()]
from_above = plot.images([both(image, 0) for image in stacks.values()], titles)

# %% [markdown]
# From the side, where the blur is longest. A pixel is 0.1 micrometres here too.

# %%
from_the_side = plot.images([np.repeat(both(image, 1), 3, axis=0) for image in stacks.values()])

# %% [markdown]
# With total variation the vesicles have their outline and about the brightness that they should have, where Richardson
# and Lucy's have holes and spots of noise. The fibres are the price: what is thin loses contrast to a penalty on its
# surface, and they come out wide and dim. From the side both are drawn out: the point spread function hides the depth.
