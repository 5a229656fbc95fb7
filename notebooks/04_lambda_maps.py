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
# One weight for a whole photograph is a compromise: sky wants more, grass wants less. A weight of its own for each
# pixel is far too many numbers to choose by hand, but not too many to learn. A small convolutional network looks at the
# observed image and predicts the map; the solver does the rest, and the derivative of its solution with respect to
# every entry of the map trains the network.
#
# $$U(\Lambda) = \arg\min_U\; \sum_{ij} \Lambda_{ij} \bigl(|D_1 U|_{ij} + |D_2 U|_{ij}\bigr)
# + \tfrac12 \lVert K * U - B \rVert_F^2, \qquad \Lambda = \mathrm{net}_\theta(B)$$

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
# ## Photographs
# Patches of three photographs to train on, of a fourth to choose the best epoch, and of a fifth to test.


# %%
def patches(photo, places):
    grey = color.rgb2gray(photo) if photo.ndim == 3 else photo / 255
    small = transform.resize(grey, (128, 128 * grey.shape[1] // grey.shape[0]), anti_aliasing=True)
    truth = [small[i : i + SIDE, j : j + SIDE].astype(np.float32) for i, j in places]
    observed = [
        (np.asarray(admm.conv2d(patch, kernel, "same")) + sigma * rng.standard_normal(patch.shape)).astype(np.float32)
        for patch in truth
    ]
    return {"B": np.stack(observed), "truth": np.stack(truth)}


train = [patches(photo, [(20, 40), (80, 60)]) for photo in (data.astronaut(), data.coffee(), data.rocket())]
train = {key: np.concatenate([part[key] for part in train]) for key in train[0]}
held = patches(data.chelsea(), [(30, 60), (60, 90)])
test = patches(data.camera(), [(20, 40), (90, 10)])

# %% [markdown]
# ## Model and network
# The map is a `Param` of the image's shape. `learn.network` is a few hundred numbers; its last layer starts at zero, so
# training starts from the scalar $6\,\sigma^2$. An Equinox or Flax network would take its place in `predict`.

# %%
U = admm.Var("U", SIDE, SIDE)
weights, image = admm.Param("Lam", SIDE, SIDE), admm.Param("B", SIDE, SIDE)
model = admm.Model()
model.setObjective(admm.tv2d(U, weight=weights) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - image)))


def predict(net, example):
    return {"Lam": learn.lam_map(net, example["B"], sigma), "B": example["B"]}


net = learn.network(seed=0, hidden=(6,), base=6.0)
fit = learn.fit(
    model,
    learn.PSNR(U),
    net,
    train,
    predict=predict,
    optimizer=optax.adam(0.02),
    batch_size=3,
    epochs=12,
    validation=held,
)
fit

# %%
figure = learn.plot.fit(fit)

# %% [markdown]
# ## On a photograph that it has not seen
# Against the scalar that the network started from, and against the best scalar for each patch, which knows the true
# image. A network of three hundred numbers that has seen six small patches for a minute does not beat the latter: for
# that, train longer, on many more photographs.


# %%
def recover(weights, B):
    return model.solve({"Lam": weights, "B": B})[U]


for B, truth in zip(test["B"], test["truth"], strict=True):
    grid = sigma**2 * np.geomspace(1, 60, 25, dtype=np.float32)
    best = max((recover(np.full((SIDE, SIDE), w, np.float32), B) for w in grid), key=lambda u: learn.psnr(u, truth))
    predicted = learn.lam_map(fit.params, jnp.asarray(B), sigma)
    mapped = recover(predicted, B)
    first = recover(np.full((SIDE, SIDE), 6 * sigma**2, np.float32), B)
    images = {"observed": B, "start": first, "best scalar": best, "predicted map": mapped}
    print(*(f"{name} {learn.psnr(picture, truth):.2f} dB" for name, picture in images.items()), sep=", ")

# %%
ax = learn.plot.lam_map(B, predicted / sigma**2, name="Lam / sigma^2")
figure = plot.images([truth, B, best, mapped], ["original", "observed", "best scalar", "predicted map"])
