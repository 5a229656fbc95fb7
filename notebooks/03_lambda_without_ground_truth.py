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
# # Lambda without ground truth
#
# Nobody knows the true image of a photograph that has been taken already. What is left after the prediction, the
# residual $r = K * U(\lambda) - B$, still tells much about $\lambda$:
#
# | criterion | asks for | needs the noise level |
# |---|---|---|
# | `SUGAR` | the least estimated prediction error | yes |
# | `Discrepancy` | a residual as large as the noise | yes |
# | `Whiteness` | a residual that looks like white noise | no |
# | `NoiseWhiteness` | the same, the noise that the solution took up put back | no |
# | `HeldOut` | the best prediction of pixels that were not shown | no |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn, plot

rng = np.random.default_rng(3)
photo = transform.resize(data.camera()[30:286, 130:386] / 255, (128, 128), anti_aliasing=True).astype(np.float32)
kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256
noise = 7 / 255
B = (np.asarray(admm.conv2d(photo, kernel, "same")) + noise * rng.standard_normal(photo.shape)).astype(np.float32)

U, lam, image = admm.Var("U", photo.shape), admm.Param("lam"), admm.Param("B", photo.shape)
model = admm.Model()
model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - image)))

# %% [markdown]
# ## The noise level
# A blurred image is smooth, so what its second differences see is noise. The median of their size does not mind the few
# that lie on edges.

# %%
sigma = float(learn.noise_level(B))
print(f"estimated {255 * sigma:.2f}/255, true {255 * noise:.2f}/255")

# %% [markdown]
# ## Four criteria
# Each is one call. Only the oracle looks at the true image. The times are with compiling.

# %%
criteria = {
    "SUGAR": learn.SUGAR(sigma),
    "discrepancy": learn.Discrepancy(sigma),
    "whiteness": learn.Whiteness(),
    "noise whiteness": learn.NoiseWhiteness(),
}
criteria["oracle"] = learn.MSE(U)
found = {}
for name, criterion in criteria.items():
    start = time.perf_counter()
    found[name] = learn.search(model, "lam", criterion, {"B": B, "truth": photo})
    seconds = time.perf_counter() - start
    score = float(learn.psnr(found[name].solution[U], photo))
    units = learn.to_noise_units(found[name].value, noise)
    print(f"{name:<15} lam = {units:4.1f} sigma^2   {score:.2f} dB   {found[name].solves:2d} solves, {seconds:4.1f} s")

# %%
figure = plot.images([B] + [result.solution[U] for result in found.values()], ["observed", *found], columns=3)

# %% [markdown]
# ## What the criteria see
# The prediction error that SUGAR estimates has its minimum near that of the true error. The discrepancy crosses zero at
# a larger weight: it forgets that the solution has followed a part of the noise, so it always smooths more. So does the
# whiteness of the residual, from which that part is missing; `NoiseWhiteness` measures it with a second solve, as SUGAR
# does, and puts it back.

# %%
fig, axes = plt.subplots(1, 4, figsize=(16, 3.4), layout="constrained")
for ax, name in zip(axes, list(criteria)[:4], strict=True):
    learn.plot.search(found[name], ax, label=name)
    ax.axvline(found["oracle"].value, color="0.6", linestyle=":", label="oracle")
    ax.legend(fontsize="small")
_ = axes[1].axhline(0, color="0.8")

# %% [markdown]
# ## Looking at the residual
# Too small a weight leaves a residual that is weaker than the noise; too large a weight leaves edges in it, and its
# neighbouring pixels agree. At the weight of SUGAR neither can be seen.

# %%
far = {"start": 30 * found["SUGAR"].value, "max_evaluations": 1}  # a search of one solve
for result in (found["SUGAR"], learn.search(model, "lam", criteria["whiteness"], {"B": B}, **far)):
    residual = admm.conv2d(result.solution[U], kernel, "same") - B
    learn.plot.residual(residual, sigma=sigma)

# %% [markdown]
# ## Why not plain SURE
# The unbiased risk estimate counts degrees of freedom: the number of flat regions, which is constant between the kinks.
# Its derivative is zero wherever it exists, and what is left, that of $\lVert r \rVert^2$, is never negative. An
# optimiser that follows it goes to $\lambda = 0$, whatever the image. SUGAR differentiates a difference quotient of a
# finite step instead.

# %%
for start in (1, 10, 100):
    at = {"start": start * sigma**2, "max_evaluations": 1}
    fit = learn.search(model, "lam", lambda trial: (trial.residual**2).mean(), {"B": B}, **at)
    sugar = learn.search(model, "lam", learn.SUGAR(sigma), {"B": B}, **at)
    slopes = f"{fit.history[0].slope:+.1e} of plain SURE, {sugar.history[0].slope:+.1e} of SUGAR"
    print(f"lam = {start:3d} sigma^2: slope {slopes}")
