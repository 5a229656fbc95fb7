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
# # Learning a kernel
#
# The blur of a camera can be measured: photograph a scene whose sharp image is known. From one such pair the kernel
# follows by least squares, and everything that the camera sees later is deblurred with it.

# %%
import time

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn, plot, restore

SIDE, SIZE, sigma = 40, 9, 2 / 255
rng = np.random.default_rng(4)
scene = transform.resize(data.camera() / 255, (160, 160), anti_aliasing=True).astype(np.float32)
sharp, other = scene[10:138, 10:138], scene[20 : 20 + SIDE, 50 : 50 + SIDE]


def observe(image, kernel):
    return (np.asarray(admm.conv2d(image, kernel, "same")) + sigma * rng.standard_normal(image.shape)).astype("float32")


# %% [markdown]
# ## A width
# A Gaussian blur of unknown width, found from a start of twice the width.

# %%
true = learn.kernels.gaussian(1.4, SIZE)
learn.refine(
    lambda p: learn.kernels.gaussian(p["width"], SIZE), {"width": learn.positive(2.8)}, observe(sharp, true), sharp
)

# %% [markdown]
# ## A motion
# Length and angle, in pixels and radians.

# %%
motion = learn.kernels.motion(6.0, 0.6, SIZE)
blurred = observe(sharp, motion)
learn.refine(
    lambda p: learn.kernels.motion(p["length"], p["angle"], SIZE),
    {"length": learn.positive(4.0), "angle": jnp.asarray(0.3)},
    blurred,
    sharp,
)

# %% [markdown]
# ## Free taps
# Nothing known but that the 81 taps are not negative and sum to one. The residual is the noise level if the kernel is
# right: 2/255 = 0.0078.

# %%
found = learn.refine(lambda taps: taps, learn.simplex(np.ones((SIZE, SIZE))), blurred, sharp)
error = float(jnp.linalg.norm(found.kernel - motion) / jnp.linalg.norm(motion))
print(found, f"- error {100 * error:.1f} %")

fig, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for ax, kernel, title in zip(axes, (motion, found.kernel), ("true", "found"), strict=True):
    plot.image(kernel, ax, title=title, limits=(0, float(jnp.max(motion))))

# %% [markdown]
# ## Using it
# Everything that the camera sees from now on is deblurred with the kernel that was found, here a photograph in colour,
# of 256 x 256 pixels, whose scene goes on beyond its frame.

# %%
reach = SIZE // 2
beyond = data.astronaut()[10 : 266 + 2 * reach, 110 : 366 + 2 * reach] / 255
photo = beyond[reach:-reach, reach:-reach]
clean = np.asarray(admm.conv(beyond, np.asarray(motion), "valid", axes=(0, 1)))
seen = (clean + sigma * rng.standard_normal(clean.shape)).astype(np.float32)

for call in ("first", "second"):
    start = time.perf_counter()
    deblurred = restore.deblur(seen, found.kernel, channel_axis=-1)
    print(f"{call} call: {time.perf_counter() - start:.1f} s")

titles = ["original", *(f"{learn.psnr(image, photo):.2f} dB" for image in (seen, deblurred))]
figure = plot.images([photo, seen, deblurred], titles, zoom=(60, 90, 64, 64))

# %% [markdown]
# ## Through the solves
# `learn.fit` can move the kernel as well, towards the best *deblurred* image, together with lam. That is another
# question. Its answer lies near the true kernel but not on it, for it makes up for what total variation gets wrong. Ask
# it when the image matters, and `refine` when the kernel does. Here for a small image and the Gaussian blur of above.

# %%
U, lam = admm.Var("U", SIDE, SIDE), admm.Param("lam")
K, B = admm.Param("K", SIZE, SIZE), admm.Param("B", SIDE, SIDE)
model = admm.Model()
model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, K, "same") - B)))


def predict(params, example):
    return {"lam": params["lam"], "K": learn.kernels.gaussian(params["width"], SIZE), "B": example["B"]}


fit = learn.fit(
    model,
    learn.PSNR(U),
    {"lam": learn.positive(10 * sigma**2), "width": learn.positive(1.0)},
    {"B": observe(other, true)[None], "truth": other[None]},
    predict=predict,
    optimizer=optax.adam(0.05),
    epochs=14,
)
fit

# %%
figure = learn.plot.fit(fit)
