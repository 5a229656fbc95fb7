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
# # Learning lambda
#
# How strongly should an image be regularised? Where the true image is known, for a calibration or a training set, the
# answer is the weight whose solution comes nearest to it:
#
# $$\min_\lambda\;\; \lVert U(\lambda) - U_{\text{true}} \rVert^2, \qquad
# U(\lambda) = \arg\min_U\; \lambda\,\mathrm{TV}(U) + \tfrac12 \lVert K * U - B \rVert_F^2$$
#
# A grid search solves the model some hundred times. But $U(\lambda)$ has an exact derivative, and with it a handful of
# solves is enough.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import optax
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn, plot

# %%
rng = np.random.default_rng(1)
photo = transform.resize(data.camera()[40:296, 110:366] / 255, (128, 128), anti_aliasing=True).astype(np.float32)
kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
sigma = 8 / 255


def observe(image):
    return (np.asarray(admm.conv2d(image, kernel, "same")) + sigma * rng.standard_normal(image.shape)).astype("float32")


B = observe(photo)


def deblurring(shape):
    U, lam, image = admm.Var("U", shape), admm.Param("lam"), admm.Param("B", shape)
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - image)))
    return model, U


model, U = deblurring(photo.shape)
model

# %% [markdown]
# ## One call
# `learn.search` starts at $10\,\sigma^2$, with $\sigma$ estimated from the data, and follows the exact slope in
# $\log\lambda$. It prints what it did.

# %%
start = time.perf_counter()
found = learn.search(model, "lam", learn.MSE(U), {"B": B, "truth": photo})
print(f"{time.perf_counter() - start:.1f} s, most of them for compiling")
found

# %% [markdown]
# ## Against a grid
# `learn.path` solves the model for many values, each from its neighbour's solution. The orange strokes are the slopes
# that the search saw; they are tangents of the curve.

# %%
start = time.perf_counter()
path = learn.path(model, "lam", np.geomspace(1.0, 1e-4, 40), {"B": B})
seconds = time.perf_counter() - start
errors = np.mean((path[U] - photo) ** 2, axis=(1, 2))
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
learn.plot.search(found, axes[0], curve=(path.parameter, errors), label="mean squared error")
learn.plot.l_curve(path, axes[1])
print(f"best of {len(errors)} solves: {10 * np.log10(1 / errors.min()):.2f} dB, in {seconds:.1f} s")
print(f"search, {found.solves} solves:  {-10 * np.log10(found.criterion):.2f} dB")

# %%
blurred, best = learn.psnr(B, photo), learn.psnr(found.solution[U], photo)
titles = ["original", f"observed, {blurred:.2f} dB", f"recovered, {best:.2f} dB"]
figure = plot.images([photo, B, found.solution[U]], titles, zoom=(10, 30, 32, 32))

# %% [markdown]
# ## Kinks, and how far a derivative can be trusted
# Along the path, flat regions of the image merge and split. $U(\lambda)$ is linear in between, and its slope jumps
# where they do. In a large image there are so many that the curve looks smooth. A closer look at 40 x 40 pixels and a
# few per cent of $\lambda$ shows the pieces, and that the curve has small minima of its own. That is why `search` keeps
# a bracket and does not trust a single slope.

# %%
cut = np.s_[10:50, 40:80]
model, U = deblurring((40, 40))
pair = {"B": observe(photo[cut]), "truth": photo[cut]}


def look(lam):
    """A search of one evaluation: the error at lam, and its slope."""
    step = learn.search(model, "lam", learn.MSE(U), pair, start=lam, max_evaluations=1).history[0]
    return step.criterion, step.slope


near = 9 * sigma**2 * np.exp(np.linspace(-0.1, 0.1, 41))
values, slopes = np.array([look(lam) for lam in near]).T
fig, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
axes[0].plot(near, values)
axes[1].step(near, slopes, where="mid")
axes[1].axhline(0, color="0.8")
axes[0].set(xlabel="lam", ylabel="mean squared error")
for ax in axes:
    ax.locator_params(axis="x", nbins=5)
_ = axes[1].set(xlabel="lam", ylabel="slope in log lam")

# %% [markdown]
# `model.diagnose({"lam": lam, "B": image}, along=["lam"])` tells what a derivative rests on: whether the solve has
# converged, whether the flat regions are settled, how exactly the linear system behind the derivative was solved, and
# how far the next kink is.

# %% [markdown]
# ## One lambda for many images
# `learn.fit` takes any parameters, any number of images in batches, and an optimiser of optax. Positive parameters move
# in their logarithm. Here four patches share one weight; two more choose the best epoch. Each image is solved to its
# own tolerance and starts from its solution of the epoch before.

# %%
scene = transform.resize(data.camera() / 255, (160, 160), anti_aliasing=True).astype(np.float32)
patches = [scene[i : i + 40, j : j + 40] for i, j in [(30, 50), (20, 90), (70, 60), (80, 20), (110, 100), (60, 110)]]
observed = [observe(patch) for patch in patches]

fit = learn.fit(
    model,
    learn.MSE(U),
    {"lam": learn.positive(40 * sigma**2)},
    {"B": observed[:4], "truth": patches[:4]},
    validation={"B": observed[4:], "truth": patches[4:]},
    batch_size=2,
    optimizer=optax.adam(0.25),
    epochs=10,
)
fit

# %%
figure = learn.plot.fit(fit)
