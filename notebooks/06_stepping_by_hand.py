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
# # Stepping by hand
#
# `solve` and `optimize` are loops. Where you want a loop of your own, with another stopping rule, something to look at
# on the way, or a parameter that moves while the solver runs, nothing has to be taken apart: a solve of ten iterations
# that starts at the `Solution` of the ten before goes on where those ended, with their duals and their rho.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import admm_jax as admm
from admm_jax import learn, plot

rng = np.random.default_rng(1)
photo = (data.camera()[60:316, 80:336] / 255).astype(np.float32)
kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256
sigma = 5 / 255
blurred = np.asarray(admm.conv2d(photo, kernel, boundary="reflect"))
B = (blurred + sigma * rng.standard_normal(photo.shape)).astype(np.float32)

U, lam = admm.Var("U", photo.shape), admm.Param("lam")
model = admm.Model()
fit = admm.sum_squares(admm.conv2d(U, kernel, boundary="reflect") - B)
model.setObjective(lam * admm.tv2d(U) + 0.5 * fit)

# %% [markdown]
# ## A step
# At most so many iterations, compiled once for any number of them, any lam and any start. A `Solution` is a pytree; one
# of zeros stands for no start at all, so that the first step needs no program of its own.


# %%
@jax.jit
def step(lam, before, iterations):
    return model.solve({"lam": lam}, init=before, max_iterations=iterations)


lam_0 = jnp.float32(10 * sigma**2)
shapes = jax.eval_shape(lambda: model.solve({"lam": lam_0}))
nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

start = time.perf_counter()
jax.block_until_ready(step(lam_0, nothing, 10))
print(f"the first step, with compiling: {time.perf_counter() - start:.1f} s")

# %% [markdown]
# ## A stopping rule of one's own
# Stop when no pixel moves by more than one grey level of 255 in ten iterations. This is *not* a proof of being near the
# optimum: slow progress looks the same. The proof is the certified gap, which every step brings along, so here the two
# can be compared.

# %%
solution, seen = nothing, []
start = time.perf_counter()
while len(seen) < 60:
    before, solution = solution, step(lam_0, solution, 10)
    moved = 255 * float(jnp.max(jnp.abs(solution[U] - before[U])))
    seen.append((moved, float(solution.gap), float(learn.psnr(solution[U], photo))))
    if moved < 1:
        break
print(f"{10 * len(seen)} iterations in {time.perf_counter() - start:.2f} s, certified gap {solution.gap:.1e}")

whole = step(lam_0, nothing, 1000)
print(f"left alone: {whole.iterations} iterations to a certified gap of {whole.gap:.1e}")

# %%
moves, gaps, scores = np.array(seen).T
iterations = 10 * np.arange(1, len(seen) + 1)
fig, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for ax, values, label in zip(axes, (moves, gaps, scores), ("grey levels", "certified gap", "PSNR [dB]"), strict=True):
    (ax.plot if label.startswith("PSNR") else ax.semilogy)(iterations, values, marker=".")
    ax.set(xlabel="iteration", ylabel=label)
_ = axes[0].set_title("largest change in ten iterations", fontsize="medium")

# %% [markdown]
# A few pixels go on moving long after the objective is settled, so the rule stops late. And the PSNR *falls* on the way
# to the optimum: the first iterates happen to be nearer to the photograph. That is no reason to stop there, for such an
# image belongs to no model: it depends on the start and on rho, and has neither a certificate nor a derivative. It says
# that this lam is not the best one.

# %% [markdown]
# ## A parameter that moves
# The residual should be as large as the noise, $\lVert K * U - B \rVert^2 = n \sigma^2$ (Morozov 1966).
# `learn.search` with `learn.Discrepancy` finds that lam by a few solves, each to its end. In a loop of one's own lam
# can be corrected after every ten iterations, and solver and lam arrive together. The residual grows with lam, so lam
# grows where it is too small. (The principle smooths more than is best, as notebook 03 shows; it is here for its loop.)

# %%
value, solution, trace = jnp.float32(100 * sigma**2), nothing, []
start = time.perf_counter()
for _ in range(20):
    solution = step(value, solution, 10)
    residual = admm.conv2d(solution[U], kernel, boundary="reflect") - B
    excess = float(jnp.mean(residual**2)) / sigma**2
    trace.append((float(value) / sigma**2, excess, float(learn.psnr(solution[U], photo))))
    value = value * jnp.float32(excess**-4)
seconds = time.perf_counter() - start

last = step(jnp.float32(trace[-1][0] * sigma**2), solution, 1000)
print(f"lam = {trace[-1][0]:.2f} sigma^2 after 200 iterations in {seconds:.2f} s")
residual = admm.conv2d(last[U], kernel, boundary="reflect") - B
print(f"solved to the end there: residual {jnp.mean(residual**2) / sigma**2:.4f} sigma^2, gap {last.gap:.1e}")

# %%
weights, excesses, _ = np.array(trace).T
fig, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].semilogy(10 * np.arange(1, 21), weights, marker=".")
axes[0].set(xlabel="iteration", ylabel="lam / sigma^2")
axes[1].plot(10 * np.arange(1, 21), excesses, marker=".")
axes[1].axhline(1, color="0.8")
_ = axes[1].set(xlabel="iteration", ylabel="residual^2 / (n sigma^2)")

# %%
titles = [f"{name}, {learn.psnr(u, photo):.2f} dB" for name, u in (("observed", B), ("recovered", last[U]))]
figure = plot.images([photo, B, last[U]], ["original", *titles], zoom=(20, 60, 64, 64))

# %% [markdown]
# What the loop must not do is to change the model between two steps. A prox, a penalty or an operator of your own goes
# into the model instead: notebook 09.
