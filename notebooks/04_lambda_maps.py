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
# # Lambda maps
#
# One weight for a whole photograph is a compromise. How bad a one depends on the photograph, and above all on the
# noise. A lens lets less light through to the corners of the frame; the camera makes them brighter again, and the noise
# with them. A weight that suits the middle leaves the corners noisy, and one that suits the corners wipes the middle
# out. So let the weight be a map:
#
# $$U(\Lambda) = \arg\min_U\; \sum_{ij} \Lambda_{ij} \bigl(|D_1 U|_{ij} + |D_2 U|_{ij}\bigr)
# + \tfrac12 \lVert U - B \rVert_F^2$$
#
# A number for each pixel is far too many to choose by hand, and three numbers are enough for a lens. What they are is
# learned from pairs of images with and without noise, by the derivative of the solution with respect to every entry of
# the map. Nobody has to know how noisy which pixel is.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from skimage import color, data, transform

import admm_jax as admm
from admm_jax import learn, plot

rng = np.random.default_rng(0)

# %% [markdown]
# ## A camera
# The noise is 4/255 in the middle and eight times that in the corners. `radius` is the square of the distance from the
# middle, one in the corners.


# %%
def radius(side):
    x = (np.arange(side) - (side - 1) / 2) / (side / 2)
    return ((x[:, None] ** 2 + x**2) / 2).astype(np.float32)


def noise(side):
    return 4 / 255 * (1 + radius(side)) ** 3


def photograph(photo, side):
    grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
    width = side * grey.shape[1] // grey.shape[0]
    left = (width - side) // 2
    return transform.resize(grey, (side, width), anti_aliasing=True)[:, left : left + side].astype(np.float32)


def taken(truth):
    return (truth + noise(len(truth)) * rng.standard_normal(truth.shape)).astype(np.float32)


# %% [markdown]
# ## Model
# The map is a `Param`. Constant, it is the scalar of old.


# %%
class Denoising:
    def __init__(self, side):
        self.U, B, weights = admm.Var("U", side, side), admm.Param("B", side, side), admm.Param("Lam", side, side)
        self.model = admm.Model()
        self.model.setObjective(admm.tv2d(self.U, weight=weights) + 0.5 * admm.sum_squares(self.U - B))
        self.model.setOption("tol", 1e-3)
        self.recover = jax.jit(lambda weights, B: self.model.solve({"Lam": weights, "B": B})[self.U])


small, whole = Denoising(96), Denoising(256)
small.model

# %% [markdown]
# ## Learning three numbers
# $\Lambda = \exp(\alpha + \beta r^2 + \gamma r^4)$, from three small photographs.

# %%
train = [photograph(photo, 96) for photo in (data.astronaut(), data.coffee(), data.rocket())]


def lens(numbers, side):
    r2 = radius(side)
    return numbers["middle"] * jnp.exp(numbers["beta"] * r2 + numbers["gamma"] * r2**2)


fit = learn.fit(
    small.model,
    learn.PSNR(small.U),
    {"middle": learn.positive(0.05), "beta": jnp.float32(0), "gamma": jnp.float32(0)},
    {"B": [taken(truth) for truth in train], "truth": train},
    predict=lambda numbers, example: {"Lam": lens(numbers, 96), "B": example["B"]},
    optimizer=optax.adam(0.2),
    batch_size=3,
    epochs=16,
)
fit

# %% [markdown]
# Without a blur lam should go about with the standard deviation of the noise. The map has found the shape of it from
# images alone; it is steeper, perhaps because photographers put what has detail in the middle.

# %%
numbers = learn.values(fit.params)
weights = np.asarray(lens(numbers, 256))
away = np.sqrt(radius(256)).ravel()
order = np.argsort(away)[::64]
ax = plt.subplots(figsize=(5, 3), layout="constrained")[1]
ax.plot(away[order], (weights / weights.min()).ravel()[order], label="map, learned")
ax.plot(away[order], (noise(256) / noise(256).min()).ravel()[order], "--", label="noise, which it was not told")
ax.set(xlabel="distance from the middle", ylabel="relative to the middle")
_ = ax.legend(fontsize="small")

# %% [markdown]
# ## On photographs that it has not seen
# Against the best scalar for each photograph, which knows the true image: nobody who chooses one number can do better.
# The first solve compiles.

# %%
shown = []
for photo in (data.camera(), data.chelsea(), data.coins()):
    truth = photograph(photo, 256)
    B = taken(truth)
    start = time.perf_counter()
    mapped = np.asarray(whole.recover(weights, B))
    seconds = time.perf_counter() - start
    tried = [np.asarray(whole.recover(np.full_like(B, lam), B)) for lam in np.geomspace(0.01, 0.16, 13)]
    best = max(tried, key=lambda u: learn.psnr(u, truth))
    shown.append((truth, B, best, mapped))
    scores = [float(learn.psnr(u, truth)) for u in (B, best, mapped)]
    print("observed {:.2f} dB, best scalar {:.2f} dB, map {:.2f} dB".format(*scores), f"in {seconds:.2f} s")

# %%
names = ["original", "observed", "best scalar", "map"]
figure = plot.images([image for row in shown[:2] for image in row], names * 2, columns=4)

# %% [markdown]
# The middle and a corner, side by side: the scalar has wiped out the fur and left noise in the corner.

# %%
truth, B, best, mapped = shown[1]
parts = [np.s_[90:170, 120:200], np.s_[:80, -80:]]
figure = plot.images([image[part] for part in parts for image in (truth, B, best, mapped)], names * 2, columns=4)

# %% [markdown]
# ## When a map does not matter
# With even noise the best map follows the image and not the lens: less weight where edges are, more where nothing is.
# That is what a network can predict from the image,
#
#     net = learn.network(hidden=(8, 8), base=3.0, images=2, edges=True)
#     predict = lambda net, example: {"Lam": learn.lam_map(net, (example["B"], example["first"]), sigma), ...}
#
# in the place of `lens` above, with a weight for each difference and a first estimate in the data. Trained for long
# enough it beats the best scalar on photographs that are deblurred by a third of a decibel (`tests/benchmarks`,
# `lam_maps.py`), which can be measured and hardly seen.
