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
# One weight for a whole photograph is a compromise: sky wants more, grass wants less, and across an edge nothing at
# all. A weight of its own for each difference of neighbours is far too many numbers to choose by hand, but not too many
# to learn. A small convolutional network looks at the observed image and at a first estimate, the solution for a scalar
# weight, and predicts the map; the solver does the rest, and the derivative of its solution with respect to every entry
# of the map trains the network.
#
# $$U(\Lambda) = \arg\min_U\; \sum_{ij} \Lambda^1_{ij} |D_1 U|_{ij} + \Lambda^2_{ij} |D_2 U|_{ij}
# + \tfrac12 \lVert K * U - B \rVert_F^2, \qquad \Lambda = \mathrm{net}_\theta(B, U(\lambda_0))$$

# %%
import jax.numpy as jnp
import numpy as np
import optax
from skimage import color, data, transform

import admm_jax as admm
from admm_jax import learn, plot

sigma = 6 / 255
rng = np.random.default_rng(0)
kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16

# %% [markdown]
# ## Model
# The map is a `Param` with a weight for each difference, down and right. Constant, it is the scalar of old.


# %%
class Deblurring:
    def __init__(self, side):
        self.U, B, weights = admm.Var("U", side, side), admm.Param("B", side, side), admm.Param("Lam", 2, side, side)
        self.model, self.shape = admm.Model(), (2, side, side)
        residual = admm.conv2d(self.U, kernel, "same") - B
        self.model.setObjective(admm.tv2d(self.U, weight=weights) + 0.5 * admm.sum(admm.square(residual)))

    def recover(self, lam, B):
        return np.asarray(self.model.solve({"Lam": jnp.broadcast_to(jnp.float32(lam), self.shape), "B": B})[self.U])

    def observe(self, truth):
        blurred = [np.asarray(admm.conv2d(image, kernel, "same")) for image in truth]
        observed = [(b + sigma * rng.standard_normal(b.shape)).astype(np.float32) for b in blurred]
        first = [self.recover(3 * sigma**2, b) for b in observed]
        return {"B": np.stack(observed), "first": np.stack(first), "truth": np.stack(truth)}


small, whole = Deblurring(32), Deblurring(112)

# %% [markdown]
# ## Photographs
# Small patches of six photographs to train on, and of a seventh to choose the best epoch. The network is convolutional,
# so that it can be tested on the whole of two other photographs.


# %%
def shrunk(photo, rows):
    grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
    return transform.resize(grey, (rows, rows * grey.shape[1] // grey.shape[0]), anti_aliasing=True).astype(np.float32)


def patches(*photos, count):
    truth = []
    for photo in photos:
        picture = shrunk(photo, 120)
        for _ in range(count):
            i, j = (int(rng.integers(0, n - 32)) for n in picture.shape)
            truth.append(picture[i : i + 32, j : j + 32])
    return small.observe(truth)


train = patches(
    data.astronaut(), data.coffee(), data.rocket(), data.brick(), data.moon(), data.immunohistochemistry(), count=6
)
held = patches(data.chelsea(), count=8)
test = whole.observe([shrunk(photo, 120)[4:116, 4:116] for photo in (data.camera(), data.coins())])

# %% [markdown]
# ## Network
# `learn.network` is a few thousand numbers here; its last layer starts at zero, so training starts from the scalar
# $3\,\sigma^2$. An Equinox or Flax network would take its place in `predict`.


# %%
def predict(net, example):
    return {"Lam": learn.lam_map(net, (example["B"], example["first"]), sigma), "B": example["B"]}


fit = learn.fit(
    small.model,
    learn.PSNR(small.U),
    learn.network(seed=0, hidden=(8, 8), base=3.0, images=2, edges=True),
    train,
    predict=predict,
    optimizer=optax.adam(0.01),
    batch_size=8,
    epochs=4,
    validation=held,
)
fit

# %%
figure = learn.plot.fit(fit)

# %% [markdown]
# ## On photographs that it has not seen
# Against the best scalar for each photograph, which knows the true image: nobody who chooses one number can do better.

# %%
for B, first, truth in zip(test["B"], test["first"], test["truth"], strict=True):
    tried = [whole.recover(lam, B) for lam in sigma**2 * np.geomspace(0.5, 40, 25)]
    best = max(tried, key=lambda u: learn.psnr(u, truth))
    predicted = predict(fit.params, {"B": B, "first": first})["Lam"]
    mapped = whole.recover(predicted, B)
    scores = [float(learn.psnr(u, truth)) for u in (B, best, mapped)]
    print("observed {:.2f} dB, best scalar {:.2f} dB, predicted map {:.2f} dB".format(*scores))

# %% [markdown]
# The map is small where there are edges and large where there are none. Trained for longer, on more and larger patches,
# it gains more: `tests/benchmarks/lam_maps.py` does that.

# %%
ax = learn.plot.lam_map(B, predicted.mean(0) / sigma**2, name="Lam / sigma^2, mean of both directions")
figure = plot.images([truth, B, best, mapped], ["original", "observed", "best scalar", "predicted map"])
