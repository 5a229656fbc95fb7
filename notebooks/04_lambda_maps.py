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

SIDE, sigma = 32, 6 / 255
rng = np.random.default_rng(0)
kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16

# %% [markdown]
# ## Model
# The map is a `Param` with a weight for each difference, down and right. Constant, it is the scalar of old.

# %%
U = admm.Var("U", SIDE, SIDE)
weights, image = admm.Param("Lam", 2, SIDE, SIDE), admm.Param("B", SIDE, SIDE)
model = admm.Model()
model.setObjective(admm.tv2d(U, weight=weights) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - image)))


def recover(lam, B):
    return np.asarray(model.solve({"Lam": jnp.broadcast_to(jnp.float32(lam), (2, SIDE, SIDE)), "B": B})[U])


# %% [markdown]
# ## Photographs
# Patches of six photographs to train on, of a seventh to choose the best epoch, and of two more to test.


# %%
def patches(*photos, count):
    truth = []
    for photo in photos:
        grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
        small = transform.resize(grey, (160, 160 * grey.shape[1] // grey.shape[0]), anti_aliasing=True)
        for _ in range(count):
            i, j = (int(rng.integers(0, n - SIDE)) for n in small.shape)
            truth.append(small[i : i + SIDE, j : j + SIDE].astype(np.float32))
    blurred = [np.asarray(admm.conv2d(patch, kernel, "same")) for patch in truth]
    observed = [(b + sigma * rng.standard_normal(b.shape)).astype(np.float32) for b in blurred]
    first = [recover(3 * sigma**2, b) for b in observed]
    return {"B": np.stack(observed), "first": np.stack(first), "truth": np.stack(truth)}


train = patches(
    data.astronaut(), data.coffee(), data.rocket(), data.brick(), data.moon(), data.immunohistochemistry(), count=6
)
held = patches(data.chelsea(), count=6)
test = patches(data.camera(), data.coins(), count=4)

# %% [markdown]
# ## Network
# `learn.network` is a few thousand numbers here; its last layer starts at zero, so training starts from the scalar
# $3\,\sigma^2$. An Equinox or Flax network would take its place in `predict`.


# %%
def predict(net, example):
    return {"Lam": learn.lam_map(net, (example["B"], example["first"]), sigma), "B": example["B"]}


fit = learn.fit(
    model,
    learn.PSNR(U),
    learn.network(seed=0, hidden=(8, 8), base=3.0, images=2, edges=True),
    train,
    predict=predict,
    optimizer=optax.adam(0.01),
    batch_size=6,
    epochs=8,
    validation=held,
)
fit

# %%
figure = learn.plot.fit(fit)

# %% [markdown]
# ## On photographs that it has not seen
# Against the best scalar for each patch, which knows the true image: no method of choosing one number can do better.

# %%
rows = []
for B, first, truth in zip(test["B"], test["first"], test["truth"], strict=True):
    tried = [recover(lam, B) for lam in sigma**2 * np.geomspace(0.5, 40, 25)]
    best = max(tried, key=lambda u: learn.psnr(u, truth))
    predicted = predict(fit.params, {"B": B, "first": first})["Lam"]
    mapped = recover(predicted, B)
    rows.append([float(learn.psnr(u, truth)) for u in (B, best, mapped)])
    print("observed {:.2f} dB, best scalar {:.2f} dB, predicted map {:.2f} dB".format(*rows[-1]))

print(f"in the mean: map - best scalar {np.mean([mapped - best for _, best, mapped in rows]):+.2f} dB")

# %% [markdown]
# The map is small where there are edges and large where there are none. Trained for longer, on more and larger patches,
# it gains more: `tests/benchmarks/lam_maps.py` does that.

# %%
ax = learn.plot.lam_map(B, predicted.mean(0) / sigma**2, name="Lam / sigma^2, mean of both directions")
figure = plot.images([truth, B, best, mapped], ["original", "observed", "best scalar", "predicted map"])
