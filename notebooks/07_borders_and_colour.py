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
# # Borders and colour
#
# A photograph was taken with a shaking hand, and the path of the hand is known, from a gyroscope or a calibration. Two
# things decide how good the sharp image becomes, and neither is the solver: what is taken to lie *beyond the frame*,
# and whether the three colours are told that they show *one* scene.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import admm_jax as admm
from admm_jax import learn, plot, restore

rng = np.random.default_rng(6)

# %% [markdown]
# ## The photograph
# A hand is pushed at random and pulled back. Its path, drawn as a line, is the kernel. The frame is a part of a
# photograph: the light near its border comes partly from outside, as with every camera. The noise is 3/255.


# %%
def shake(side, steps=300):
    """The path of a hand as a kernel: a noisy oscillator, each of its points shared by four pixels."""
    place, speed, path = np.zeros(2), np.zeros(2), []
    for _ in range(steps):
        speed = 0.97 * speed - 0.003 * place + rng.standard_normal(2)
        place = place + speed
        path.append(place)
    path = np.array(path) - np.mean(path, axis=0)
    path = (side - 1) / 2 + path * ((side - 3) / 2 / np.abs(path).max())
    pixels = np.arange(side)
    rows, columns = (np.maximum(1 - np.abs(pixels - at[:, None]), 0) for at in path.T)
    kernel = rows.T @ columns
    return kernel / kernel.sum()


SIDE, noise = 21, 3 / 255
margin = SIDE // 2
kernel = shake(SIDE)
scene = data.coffee()[50 : 50 + 256 + 2 * margin, 170 : 170 + 256 + 2 * margin] / 255
truth = scene[margin:-margin, margin:-margin]
clean = np.asarray(admm.conv(scene, kernel, "valid", axes=(0, 1)))
B = (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)

fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
plot.image(truth, axes[0], title="the scene in the frame")
plot.image(B, axes[1], title=f"as it was taken, {learn.psnr(B, truth):.2f} dB")
plot.image(kernel, axes[2], title=f"the path of the hand, {SIDE} x {SIDE}", limits=(0, kernel.max()))

# %% [markdown]
# ## One call
# `restore.deblur` does it all: lam goes by the noise that it sees in the image, and what lies beyond the frame is
# unknown. The first call compiles, which takes most of its time.

# %%
for call in ("first", "second"):
    start = time.perf_counter()
    sharp, solutions = restore.deblur(B, kernel, channel_axis=-1, full_output=True)
    print(f"{call} call: {time.perf_counter() - start:.1f} s, {learn.psnr(sharp, truth):.2f} dB")
solutions[0]

# %% [markdown]
# ## Five borders
# The same with an assumption in the place of the unknown. Everything else is equal, lam too. The interior is what lies
# further from the border than the kernel reaches, where one would think that the border does not matter.

# %%
found = {"unknown": sharp}
for boundary in ("replicate", "reflect", "circular", "zero"):
    start = time.perf_counter()
    found[boundary] = restore.deblur(B, kernel, channel_axis=-1, boundary=boundary)
    print(f"{boundary:<10} {time.perf_counter() - start:4.1f} s with compiling")

inside = np.s_[SIDE:-SIDE, SIDE:-SIDE]
print("\nPSNR in dB     red  green   blue | interior")
for name, image in {"blurred": B, **found}.items():
    colours = "  ".join(f"{learn.psnr(image[..., c], truth[..., c]):5.2f}" for c in range(3))
    print(f"{name:<10}   {colours} | {learn.psnr(image[inside], truth[inside]):5.2f}")

# %% [markdown]
# ## What ringing looks like
# A wrong border is an edge that no blur could have let through. Its inverse answers with waves of the kernel's size,
# and they run far into the image. Zero and circular are wrong wherever the frame cuts through something bright.
# Mirrors and repeated pixels are continuous, so that their waves stay near the border; yet they know nothing of what
# the scene beyond it did to the light inside.

# %%
titles = [f"{name}, {learn.psnr(image, truth):.2f} dB" for name, image in found.items()]
figure = plot.images([truth, *found.values()], ["truth", *titles], columns=3, zoom=(0, 0, 64, 64))

# %% [markdown]
# The red channel along a row, from the left border inwards:

# %%
ax = plt.subplots(figsize=(9, 3), layout="constrained")[1]
row, away = 150, 90
ax.plot(truth[row, :away, 0], color="0.75", linewidth=4, label="truth")
for name in ("unknown", "reflect", "zero", "circular"):
    ax.plot(found[name][row, :away, 0], linewidth=1.2, label=name)
ax.set(xlabel="pixels from the left border", ylabel="red", ylim=(-0.3, 1.3))
_ = ax.legend(ncols=5, fontsize="small")

# %% [markdown]
# ## Colours that share their edges
# `restore.deblur` treats the channels one by one. With more noise this shows: each channel keeps other specks, and
# together they are coloured. As a model, three lines, one total variation can be that of all three colours,
#
# $$\min_U\;\; \lambda \sum_{ij} \Bigl(\sum_c (D_1 U_c)_{ij}^2 + (D_2 U_c)_{ij}^2\Bigr)^{1/2}
# + \tfrac12 \sum_c \lVert K * U_c - B_c \rVert_F^2,$$
#
# so that an edge that all colours have is paid for once. The unknown is larger than the frame here too: `"valid"` only
# uses what the frame has seen.

# %%
strong = 10 / 255
N = (clean + strong * rng.standard_normal(clean.shape)).astype(np.float32)

U, lam = admm.Var("U", scene.shape), admm.Param("lam")
model = admm.Model()
residual = admm.conv(U, kernel, "valid", axes=(0, 1)) - N
model.setObjective(lam * admm.tv(U, p=2, channel_axis=2) + 0.5 * admm.sum_squares(residual))
print(model)

scores, images = [], []
for units in (2.5, 5.0, 10.0):  # both at their best, by the truth: a comparison of the two penalties and no more
    weight = np.float32(units * strong**2)
    start = time.perf_counter()
    together = model.solve({"lam": weight}, tol=1e-3, stop="estimate")[U][margin:-margin, margin:-margin]
    together.block_until_ready()
    seconds = time.perf_counter() - start
    apart = restore.deblur(N, kernel, lam=float(weight), channel_axis=-1)
    images.append((apart, together))
    scores.append([float(learn.psnr(image, truth)) for image in images[-1]])
    each, shared = scores[-1]
    print(f"lam = {units:4.1f} sigma^2: each by itself {each:.2f} dB, together {shared:.2f} dB in {seconds:.1f} s")

# %%
best = np.argmax(scores, axis=0)
shown = [images[best[0]][0], images[best[1]][1]]
titles = [f"each by itself, {scores[best[0]][0]:.2f} dB", f"together, {scores[best[1]][1]:.2f} dB"]
figure = plot.images([N, *shown], ["blurred, noise 10/255", *titles], zoom=(180, 140, 70, 70))
