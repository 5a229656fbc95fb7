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
# `solve` and `optimize` are loops around pure functions: a problem, a state, and
# `step(problem, plan, workspace, state)`, the only place where the iteration is written. For a stopping rule or a prox
# of your own, write the loop yourself. These modules lie below the public face; they may change between versions.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn, plot
from admm_jax.options import OPTIONS
from admm_jax.problem import Penalty
from admm_jax.prox.functions import ClosedForm
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.loop import advance
from admm_jax.solver.run import begin
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare
from admm_jax.solver.state import data_point, initial_rho, initial_state
from admm_jax.solver.step import residuals, step

rng = np.random.default_rng(1)
photo = transform.resize(data.camera()[40:240, 140:340] / 255, (40, 40), anti_aliasing=True).astype(np.float32)
kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
B = (np.asarray(admm.conv2d(photo, kernel, "same")) + 0.02 * rng.standard_normal(photo.shape)).astype(np.float32)

U, lam = admm.Var("U", photo.shape), admm.Param("lam")
model = admm.Model()
model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))

# %% [markdown]
# ## Problem, plan, state
# `model.problem` binds the parameters; `prepare` chooses how each convolution is done. The plan is static; problem and
# state are pytrees.

# %%
options = {name: model.getOption(name) for name in OPTIONS}
problem, plan, dtype = prepare(model.problem({"lam": np.float32(2e-3)}), options)


def start(problem):
    workspace = plan.x_update.workspace(problem, dtype)
    point, curvature = data_point(problem, workspace.rhs)
    rho = initial_rho(problem, workspace.rhs, point, curvature)
    return workspace, initial_state(problem, rho, plan.x_update.factor(workspace, rho), point)


workspace, state = start(problem)
jax.tree.map(jnp.shape, state)

# %% [markdown]
# ## A loop of one's own
# Stop when the image is no longer seen to move: by less than half a grey level of 255 in ten iterations. This is *not*
# a proof of being near the optimum, which only the certificate below gives.

# %%
one = jax.jit(lambda problem, workspace, state: step(problem, plan, workspace, state))

scores, moves = [], []
while len(scores) < 300:
    before = state
    for _ in range(10):
        state = one(problem, workspace, state)
    scores.append(float(learn.psnr(state.x["U"], photo)))
    moves.append(float(jnp.max(jnp.abs(state.x["U"] - before.x["U"]))))
    if moves[-1] < 0.5 / 255:
        break

primal, dual = residuals(problem, before, state)
print(f"{int(state.iteration)} iterations, {scores[-1]:.2f} dB, primal residual {primal:.1e}")

# %% [markdown]
# ## With the certificate
# `begin` and `advance` are the loop that `solve` runs. Called with a nearer limit they hand back a run in progress: its
# best point, and a bound on how far its objective is from the optimum. Here we stop at a relative gap of one in a
# thousand, whatever the options say.

# %%
settings = settings_for({**options, "tol": 1e-6}, dtype)
run = begin(problem, plan, dtype, settings, problem.zeros(dtype))
go_on = jax.jit(lambda run, limit: advance(problem, plan, run, limit, settings))
gaps = []
while not gaps or (gaps[-1][1] > 1e-3 and gaps[-1][0] < 500):
    run = go_on(run, run.state.iteration + 5)
    gaps.append((int(run.state.iteration), float(run.certificate.relative_gap)))
print("iteration, certified gap:", *(f"{iteration}: {gap:.1e}" for iteration, gap in gaps if np.isfinite(gap)))

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].plot(10 * np.arange(1, len(scores) + 1), scores, marker=".")
axes[0].set(xlabel="iteration", ylabel="PSNR [dB]")
axes[1].semilogy(10 * np.arange(1, len(moves) + 1), moves, marker=".")
_ = axes[1].set(xlabel="iteration", ylabel="largest change in ten iterations")

# %% [markdown]
# ## A prox of one's own
# `step` asks nothing of a term but its `prox`, and `ClosedForm` says that it remembers nothing. Here total variation
# makes way for sparsity in the cosine transform,
# $g(v) = w\,\lVert \mathrm{DCT}\, v \rVert_1$, whose prox is a soft threshold of the coefficients. What certifies,
# polishes and differentiates needs more of a function (`admm_jax.prox.base`); the iteration does not.


# %%
@pytree_dataclass
class SparseCosines(ClosedForm):
    weight: jax.Array

    def prox(self, v, step):
        c = jax.scipy.fft.dctn(v, norm="ortho")
        c = jnp.sign(c) * jnp.maximum(jnp.abs(c) - self.weight * step, 0)
        return jax.scipy.fft.idctn(c, norm="ortho")


term = problem.penalties[0]
other = replace(problem, penalties=(Penalty(SparseCosines(jnp.float32(2e-3)), term.map, term.offset),))
other_workspace, other_state = (
    plan.x_update.workspace(other, dtype),
    initial_state(other, jnp.float32(0.1), state.factor, problem.zeros(dtype)),
)
for _ in range(200):
    other_state = one(other, other_workspace, other_state)

titles = [
    f"{name}, {learn.psnr(u, photo):.2f} dB"
    for name, u in (("observed", B), ("total variation", state.x["U"]), ("cosines", other_state.z[0]))
]
figure = plot.images([B, state.x["U"], other_state.z[0]], titles)
