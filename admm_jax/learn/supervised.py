"""Criteria that know the true image."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.errors import DataError, ShapeError
from admm_jax.learn.trial import Trial

WINDOW = 7  # pixels, side of SSIM's window
K1, K2 = 0.01, 0.03


def mse(image: Array, truth: Any) -> Array:
    """Mean of (image - truth)^2."""
    return jnp.mean((image - truth) ** 2)


def psnr(image: Array, truth: Any, peak: float = 1.0) -> Array:
    """10 log10(peak^2 / mse), in dB.

    Args:
        image: Any shape.
        truth: Of the same shape.
        peak: The value of white.
    """
    return -10 * jnp.log10(mse(image, truth) / peak**2)


def ssim(image: Array, truth: Any, peak: float = 1.0) -> Array:
    """Mean over 7 x 7 windows of (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)).

    m are means, s (co)variances (divided by 48), c1 = (0.01 peak)^2, c2 = (0.03 peak)^2: what scikit-image's
    `structural_similarity` computes by default.

    Args:
        image: (m, n), at least 7 x 7.
        truth: Of the same shape.
        peak: The value of white.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004.
    """
    x, y = image, jnp.asarray(truth, image.dtype)
    if x.ndim != 2 or min(x.shape) < WINDOW:
        raise ShapeError(f"ssim takes images of at least {WINDOW} x {WINDOW} pixels, got shape {x.shape}")

    def local(v: Array) -> Array:
        zero = v.dtype.type(0)  # an array, in `jit`, would hide that the window is summed, whose derivative is known
        return lax.reduce_window(v, zero, lax.add, (WINDOW, WINDOW), (1, 1), "VALID") / WINDOW**2

    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    mx, my = local(x), local(y)
    vx, vy = (unbiased * (local(v * v) - m * m) for v, m in ((x, mx), (y, my)))
    vxy = unbiased * (local(x * y) - mx * my)
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    return jnp.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


@dataclasses.dataclass(frozen=True)
class _Supervised:
    """A comparison of one variable with the true image.

    Args:
        image: The variable, a `Var` or its name.
        truth: The name of the true image in the data.
        part: What of the variable to compare, such as `np.s_[3:-3, 3:-3]` where the unknown is larger than the frame.
        peak: The value of white.
    """

    image: Any
    truth: str = "truth"
    part: Any = ...
    peak: float = 1.0

    def pair(self, trial: Trial) -> tuple[Array, Array]:
        """(recovered, true).

        Raises:
            DataError: the data have no true image.
            ShapeError: its shape is another one.
        """
        if self.truth not in trial.example:
            raise DataError(
                f"a supervised criterion needs the true image as data[{self.truth!r}]; the data have "
                f"{', '.join(map(repr, trial.example))}"
            )
        recovered = trial[self.image][self.part]
        truth = jnp.asarray(trial.example[self.truth], recovered.dtype)
        if truth.shape != recovered.shape:
            raise ShapeError(f"the true image has shape {truth.shape}, the recovered one {recovered.shape}: set `part`")
        return recovered, truth


class MSE(_Supervised):
    """Mean of (u - truth)^2."""

    def __call__(self, trial: Trial) -> Array:
        """The value."""
        return mse(*self.pair(trial))


class PSNR(_Supervised):
    """Minus the peak signal-to-noise ratio in dB: to be minimised, as every criterion."""

    def __call__(self, trial: Trial) -> Array:
        """Minus the PSNR."""
        return -psnr(*self.pair(trial), self.peak)


class SSIM(_Supervised):
    """1 - SSIM."""

    def __call__(self, trial: Trial) -> Array:
        """One minus SSIM."""
        return 1 - ssim(*self.pair(trial), self.peak)
