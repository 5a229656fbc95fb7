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
# # Deblurring an image
#
# We see a blurred image $B$ and know the blur kernel $K$. Which sharp image $U$ could it have been? Undoing the blur
# alone amplifies noise without bound, so we also ask for a small *total variation*, the sum of the differences of
# neighbouring pixels. It makes flat regions flat and leaves edges where they are:
#
# $$\min_U\;\; \lambda\,\mathrm{TV}(U) + \tfrac12 \lVert K * U - B \rVert_F^2$$

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import admm_jax as admm
from admm_jax import learn, plot

# %% [markdown]
# ## Data
# A piecewise constant image, a small binomial kernel, and noise on what is seen. `admm.conv2d` works on arrays as well
# as on variables; `"same"` keeps the shape and takes the scene to be black beyond the border.

# %%
rng = np.random.default_rng(1)
image = np.zeros((40, 50))
image[:20, :25] = 0.8
image[20:, 25:] = 0.6
image[10:30, 10:40] = 1.0

kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
B = admm.conv2d(image, kernel, "same") + 0.05 * rng.standard_normal(image.shape)

# %% [markdown]
# ## Model
# The objective is written the way it stands above. A `Param` is a constant whose value comes later. A model shows
# itself as mathematics.

# %%
U, lam = admm.Var("U", image.shape), admm.Param("lam")
model = admm.Model()
model.setObjective(lam * admm.tv2d(U, p=1) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))
model

# %% [markdown]
# ## Solution
# `optimize` solves in float64, NumPy in and out, and keeps the outcome in the model. The status says success only if
# the certified gap is below the tolerance: the objective is then at most that much, relatively, above the true minimum.

# %%
model.optimize({"lam": 0.1})
print(model.ObjVal, model.StatusString)
model.Solution

# %%
print(f"error of the blurred image:   {np.linalg.norm(B - image):.2f}")
print(f"error of the recovered image: {np.linalg.norm(U.X - image):.2f}")
figure = plot.deblurring(image, B, U.X, model.Solution, tol=1e-6)

# %% [markdown]
# The solver says beforehand what it is going to do, and why.

# %%
print(model.explain({"lam": 0.1}))

# %% [markdown]
# ## A pure function
# `Model.solve` touches no object. It is a function of the parameters that goes through `jax.jit` and `jax.vmap`, here
# over the weight: one program for all of them, each stopping by its own certificate.

# %%
weights = jnp.geomspace(3e-3, 1.0, 10)
solutions = jax.jit(jax.vmap(lambda value: model.solve({"lam": value})))(weights)
errors = jnp.linalg.norm(solutions[U] - image, axis=(1, 2))
best = int(jnp.argmin(errors))
print(f"lam = {weights[best]:.3f} leaves an error of {errors[best]:.2f}; largest gap {jnp.max(solutions.gap):.1e}")

ax = plt.subplots(figsize=(5, 3), layout="constrained")[1]
ax.semilogx(weights, errors, marker=".")
_ = ax.set(xlabel="lam", ylabel="error of the recovered image")

# %% [markdown]
# ## A photograph
# A camera's frame shows a part of a scene that goes on beyond it, and the light at the border comes partly from
# outside. To take the outside to be black is wrong, and the error rings into the image. A `Scene` is larger than the
# frame: `"valid"` uses only what the frame really sees, and `frame` leaves out what is beyond. Notebook 07 compares the
# borders.

# %%
scene = data.camera()[30:292, 100:362] / 255
motion = np.eye(7) / 7
blurred = admm.conv2d(scene, motion, "valid")
frame = (blurred + 0.01 * rng.standard_normal(blurred.shape)).astype(np.float32)

V, lam = admm.Scene("V", frame, motion), admm.Param("lam")
photograph = admm.Model()
photograph.setObjective(lam * admm.tv2d(V) + 0.5 * admm.sum(admm.square(admm.conv2d(V, motion, "valid") - frame)))
for call in ("first", "second"):
    start = time.perf_counter()
    solution = photograph.solve({"lam": 1e-3})
    solution[V].block_until_ready()
    print(f"{call} solve of {V.shape}: {time.perf_counter() - start:.1f} s, certified gap {solution.gap:.1e}")

truth = scene[V.part]
titles = ["in the frame", f"blurred, {learn.psnr(frame, truth):.2f} dB"]
titles += [f"recovered, {learn.psnr(V.frame(solution), truth):.2f} dB"]
figure = plot.images([truth, frame, V.frame(solution)], titles, zoom=(40, 90, 64, 64))
# %% [markdown]
# ## Constraints
# Anything convex that is known of the image can be added. Grey values lie between 0 and 1.

# %%
boxed = admm.Model()
Z, lam = admm.Var("Z", image.shape), admm.Param("lam")
boxed.setObjective(lam * admm.tv2d(Z, p=1) + 0.5 * admm.sum(admm.square(admm.conv2d(Z, kernel, "same") - B)))
boxed.addConstr(Z >= 0)
boxed.addConstr(Z <= 1)
boxed.optimize({"lam": 0.1})
print(boxed)
print(boxed.StatusString, "- values from", Z.X.min(), "to", Z.X.max())
