"""The blur kernel from pairs of a sharp and a blurred image: nonlinear least squares, without any deblurring.

    minimise over theta   1/2 || k(theta) * sharp - blurred ||^2    over the pixels that see nothing beyond the border

by Levenberg and Marquardt's method. Learning a kernel through the solves, by `fit` with an image criterion, answers
another question: which kernel gives the best deblurred images, which is not the true one where the penalty is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from admm_jax.errors import LearningError, ShapeError
from admm_jax.expressions.data import refuse_mask
from admm_jax.learn.parameters import values
from admm_jax.operations import conv2d
from admm_jax.precision import full_precision

DAMPING = 1e-2  # of the first step, relative to the diagonal
LEAST_DAMPING = 1e-9
MOST_DAMPING = 1e9
SETTLED = 1e-5  # relative decrease of the cost to stop at: over noisy pixels it is no better than none


class Refined(NamedTuple):
    """A kernel that explains the pairs; it prints itself.

    Attributes:
        raw: The parameters, as they were given.
        kernel: k at these parameters.
        residual: Root mean square of k * sharp - blurred: the noise level, if the kernel is right.
        converged: Whether the last step was within the tolerance.
        steps: Steps tried.
    """

    raw: Any
    kernel: Array
    residual: float
    converged: bool
    steps: int

    @property
    def params(self) -> Any:
        """The parameters by value."""
        return values(self.raw)

    def __repr__(self) -> str:
        verdict = "converged" if self.converged else "not converged"
        size = "×".join(map(str, self.kernel.shape))
        small = {k: v for k, v in _named(self.params).items() if np.size(v) <= 4}
        shown = "".join(f", {name} = {np.asarray(value).round(6)}" for name, value in small.items())
        return f"{verdict}: kernel {size}{shown}, residual {self.residual:.4g}, {self.steps} steps"


def _named(tree: Any) -> dict[str, Any]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator=".") or "value": leaf for path, leaf in flat}


@full_precision
def refine(
    kernel: Callable[[Any], Array], params: Any, blurred: Any, sharp: Any, *, tol: float = 1e-4, max_steps: int = 200
) -> Refined:
    """Argmin over params of 1/2 ||kernel(params) * sharp - blurred||^2.

    Args:
        kernel: From the parameters by value to the taps, (kh, kw).
        params: A pytree of arrays, `positive(...)`, `between(...)`, `simplex(...)`; of moderate size, as a step solves
            for all of them.
        blurred: (m, n), or a stack of them.
        sharp: As many images of the same shape.
        tol: The change of the raw parameters, relative to their size, to stop at.
        max_steps: Steps tried at most.

    Raises:
        ShapeError: the images differ in shape.
        DataError: one has masked entries.
        LearningError: the start gives no finite residual.

    Source: Levenberg 1944, Marquardt 1963.
    """
    refuse_mask(sharp, "sharp")
    refuse_mask(blurred, "blurred")
    sharp, blurred = (jnp.asarray(image) for image in (sharp, blurred))
    if sharp.shape != blurred.shape or sharp.ndim not in (2, 3):
        raise ShapeError(f"refine takes pairs of images of one shape, got {blurred.shape} and {sharp.shape}")
    sharp, blurred = (image.reshape(-1, *image.shape[-2:]) for image in (sharp, blurred))
    theta, unravel = ravel_pytree(params)
    kh, kw = jnp.shape(kernel(values(params)))
    rows, columns = (slice(n // 2, size - (n - 1) // 2) for n, size in zip((kh, kw), sharp.shape[1:], strict=True))
    seen = blurred[:, rows, columns]

    @jax.jit
    def residual(flat: Array) -> Array:
        taps = kernel(values(unravel(flat)))
        return jnp.stack([conv2d(image, taps, "valid") for image in sharp]).ravel() - seen.ravel()

    @jax.jit
    def normal(flat: Array) -> tuple[Array, Array, Array]:
        error, jacobian = residual(flat), jax.jacfwd(residual)(flat)
        return jnp.sum(error**2), jacobian.T @ jacobian, jacobian.T @ error

    cost, gram, slope = normal(theta)
    if not math.isfinite(float(cost)):
        raise LearningError("the kernel at the start gives no finite residual")
    damping, converged, steps, eps = DAMPING, False, 0, float(jnp.finfo(theta.dtype).eps)
    while steps < max_steps and damping < MOST_DAMPING and not converged:
        steps += 1
        scale = jnp.diag(gram) + eps * jnp.trace(gram) + jnp.finfo(theta.dtype).tiny
        move = -jnp.linalg.solve(gram + damping * jnp.diag(scale), slope)
        after, next_gram, next_slope = normal(theta + move)
        if float(after) < float(cost):
            small = float(jnp.linalg.norm(move)) <= tol * (1 + float(jnp.linalg.norm(theta)))
            converged = small or float(cost - after) <= SETTLED * float(cost)
            theta, cost, gram, slope = theta + move, after, next_gram, next_slope
            damping = max(damping / 10, LEAST_DAMPING)
        else:
            converged = float(jnp.linalg.norm(move)) <= tol * (1 + float(jnp.linalg.norm(theta)))
            damping *= 10
    raw = unravel(theta)
    return Refined(raw, kernel(values(raw)), math.sqrt(float(cost) / seen.size), converged, steps)
