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
# # Your own operator
#
# A scanner that no library knows: it measures a part of the Fourier transform of an image, line by line, as MRI does,
# and between two lines the patient moves. What has to be written is the scanner, as a function of JAX; a penalty that
# nobody has thought of, as its value and its prox. The solver takes both as if they were its own, with certificates,
# and with derivatives in whatever the function reads besides, here the movement.

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn, plot
from admm_jax.testing import check_function, check_operator

N, sigma = 128, 0.01
rng = np.random.default_rng(2)
truth = transform.resize(data.shepp_logan_phantom(), (N, N), anti_aliasing=True).astype(np.float32)

# %% [markdown]
# ## The scanner
# A third of the lines of k-space are measured, those of the middle and some of the rest, in an order of chance. After
# half of them the patient has moved. A movement by $d$ multiplies the transform by $e^{-2\pi i \langle k, d \rangle}$.
# What comes out are real and imaginary parts.

# %%
frequency = np.fft.fftfreq(N).astype(np.float32)
k = np.stack(np.meshgrid(frequency, frequency, indexing="ij"))
lines = rng.random(N) < 0.22 + 2 * (np.abs(frequency) < 0.06)
measured = np.broadcast_to(lines[:, None], (N, N)).astype(np.float32)
late = np.broadcast_to(rng.random(N)[:, None] < 0.5, (N, N)).astype(np.float32)


def scanner(x, move):
    phase = 2 * jnp.pi * late * jnp.tensordot(move, k, 1)
    signal = measured * jnp.fft.fft2(x, norm="ortho") * jnp.exp(-1j * phase)
    return jnp.stack([signal.real, signal.imag])


moved = jnp.array([2.3, -1.4], jnp.float32)  # pixels: down, and to the left
clean = np.asarray(scanner(truth, moved))
S = (clean + measured * sigma * rng.standard_normal(clean.shape)).astype(np.float32)
print(f"{lines.mean():.0%} of the lines; noise {sigma} at a signal of {np.abs(clean).max():.1f} at most")

# %% [markdown]
# Is it linear, and is the adjoint that JAX finds the right one? `check_operator` shows it on random numbers, or says
# which identity fails.

# %%
start = time.perf_counter()
check_operator(scanner, (N, N), moved, dtype=np.float32)
print(f"checked in {time.perf_counter() - start:.1f} s")

# %% [markdown]
# ## The image, if the movement is known
# The movement is a `Param`, and so are the data, and a weight that can hide a part of them.

# %%
U, lam = admm.Var("U", N, N), admm.Param("lam")
move, shown, D = admm.Param("move", 2), admm.Param("shown", N, N), admm.Param("D", S.shape)
model = admm.Model()
model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum_squares(shown * (admm.linear(scanner, U, move) - D)))
model.setOption("tol", 1e-3)

weight, everything, still = jnp.float32(3e-3), jnp.ones((N, N), jnp.float32), jnp.zeros(2, jnp.float32)
image = jax.jit(lambda lam, move, data: model.solve({"lam": lam, "move": move, "D": data, "shown": everything}))

for label, where in (("movement known, compiled", moved), ("movement known", moved), ("taken to lie still", still)):
    start = time.perf_counter()
    solution = jax.block_until_ready(image(weight, where, S))
    seconds = time.perf_counter() - start
    print(f"{label:<25} {learn.psnr(solution[U], truth):5.2f} dB, gap {solution.gap:.1e}, {seconds:.2f} s")

# %% [markdown]
# ## Finding the movement
# Nobody has told it. Hide a tenth of the measured numbers: the right movement is the one whose image, made from the
# others, predicts them,
#
# $$\min_d\;\; \bigl\lVert h \cdot (A_d\, U(d) - S) \bigr\rVert^2, \qquad
# U(d) = \arg\min_U\; \lambda\,\mathrm{TV}(U) + \tfrac12 \lVert (1 - h) \cdot (A_d U - S) \rVert^2.$$
#
# $d$ acts twice, through the operator and through the image, and JAX differentiates both. Far from the right movement
# data and model contradict each other, and which small regions of the image are flat is not settled. A
# `DerivativeWarning` would say so; here it is switched off, and a difference quotient takes its place.

# %%
hidden = measured * (rng.random((N, N)) < 0.1)


@jax.jit
@jax.value_and_grad
def prediction(d):
    params = {"lam": weight, "move": d, "D": S, "shown": 1 - hidden}
    solution = model.solve(params, derivative_warning=False)
    return jnp.sum((hidden * (scanner(solution[U], d) - S)) ** 2) / (2 * jnp.sum(hidden) * sigma**2)


start = time.perf_counter()
value, slope = jax.block_until_ready(prediction(still))
print(f"value and gradient, with compiling: {time.perf_counter() - start:.1f} s")
aside = jnp.array([0.02, 0.0], jnp.float32)
quotient = (prediction(still + aside)[0] - prediction(still - aside)[0]) / 0.04
print(f"slope downwards: {slope[0]:.2f}, by a difference quotient {quotient:.2f}")

# %%
steps = []


def watched(d):
    value, slope = prediction(jnp.asarray(d, jnp.float32))
    steps.append((float(value), *d))
    return float(value), np.asarray(slope, float)


start = time.perf_counter()
found = scipy.optimize.minimize(watched, np.zeros(2), jac=True, method="BFGS", options={"gtol": 0.05, "maxiter": 20})
print(f"{len(steps)} evaluations in {time.perf_counter() - start:.1f} s")
for value, down, right in steps:
    print(f"   movement {down:6.3f}, {right:6.3f}   error of the prediction {value:8.3f} of the noise")

# %%
corrected = image(weight, jnp.asarray(found.x, jnp.float32), S)
print(f"found {found.x.round(3)}, true {np.asarray(moved).round(3)}")
images = {"taken to lie still": solution[U], "movement found": corrected[U]}
titles = [f"{name}, {learn.psnr(u, truth):.2f} dB" for name, u in images.items()]
figure = plot.images([truth, *images.values()], ["truth", *titles], zoom=(40, 20, 40, 40))
corrected

# %% [markdown]
# ## A penalty of one's own
# Now a few of the numbers are wrong: sparks in the scanner. Squares believe them. A loss that does not has a slope of
# one however far a number is off; and for what the noise explains there should be no loss at all:
#
# $$g(v) = \sum_k \max(|v_k| - \varepsilon, 0), \qquad |v_k| \text{ the absolute value of a complex number.}$$
#
# Its prox leaves what is short, brings to $\varepsilon$ what is a little longer, and shortens the rest by the step.
# With that the model is solved. The three methods below the prox are of the conjugate,
# $g^*(p) = \varepsilon \sum_k |p_k|$ for $|p_k| \le 1$, and buy the certificate.


# %%
class Sparks:
    """g(v) of v = (real, imaginary) parts."""

    def __init__(self, slack):
        self.slack = slack

    def __call__(self, v):
        return jnp.sum(jnp.maximum(length(v) - self.slack, 0))

    def prox(self, v, step):
        r = length(v)
        shorter = jnp.maximum(jnp.minimum(r, self.slack), r - step)
        return v * jnp.where(r > 0, shorter / jnp.where(r > 0, r, 1), 1)

    def project_dual(self, p):
        return p / jnp.maximum(length(p), 1)

    def into_domain(self, p):
        return 1 / jnp.maximum(jnp.max(length(p)), 1)

    def fenchel_gap(self, v, p):
        return jnp.sum(jnp.maximum(length(v) - self.slack, 0) + self.slack * length(p) - jnp.sum(v * p, axis=0))


def length(v):
    return jnp.linalg.norm(v, axis=0)


start = time.perf_counter()
check_function(Sparks(0.5), (2, 3))
print(f"checked in {time.perf_counter() - start:.1f} s")

# %%
sparks = measured * (rng.random((N, N)) < 1 / 300)
T = (S + sparks * rng.normal(0, 3, S.shape)).astype(np.float32)
print(f"{int(sparks.sum())} sparks among {int(measured.sum())} numbers")

robust = admm.Model()
robust.setObjective(lam * admm.tv2d(U) + admm.penalty(Sparks(2 * sigma), admm.linear(scanner, U, moved) - D))
own = jax.jit(lambda lam, move, data: robust.solve({"lam": lam, "D": data}, tol=1e-2))

shots = {}
for name, solve, weights in (("squares", image, (0.01, 0.03, 0.1, 0.3)), ("own penalty", own, (0.03, 0.06, 0.1))):
    for value in weights:  # each at its best, by the truth
        start = time.perf_counter()
        solution = jax.block_until_ready(solve(jnp.float32(value), moved, T))
        seconds, score = time.perf_counter() - start, float(learn.psnr(solution[U], truth))
        print(f"{name:<12} lam = {value:<5} {score:5.2f} dB, gap {solution.gap:.1e}, {seconds:4.1f} s")
        shots[name] = max(shots.get(name, (0,)), (score, solution[U]), key=lambda shot: shot[0])

# %%
zero_filled = np.fft.ifft2((T[0] + 1j * T[1]), norm="ortho").real
titles = ["zeros for what was not measured", *(f"{name}, {shot[0]:.2f} dB" for name, shot in shots.items())]
figure = plot.images([zero_filled, *(shot[1] for shot in shots.values())], titles)
