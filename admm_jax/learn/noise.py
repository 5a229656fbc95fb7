"""The noise level of an image, and lam in its units."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions.data import refuse_mask

QUARTILE = 0.6744897501960817  # median of |N(0, 1)|
START = 10.0  # oracle values of lam lay between 5 and 15 sigma^2 over photographs, kernels and noise levels


def noise_level(image: Any) -> Array:
    """sigma = median |M * image| / 0.6745, with the second difference M of both directions, of unit norm.

        M = 1/6 [1 -2 1; -2 4 -2; 1 -2 1]

    White Gaussian noise passes M with its standard deviation unchanged; smooth images and straight edges along the
    axes vanish, and the median forgets what is left of the rest. Blurred images suit it well. Rank-one trends cost
    nothing; texture as fine as the noise is taken for noise.

    Args:
        image: The observed image, (height, width), at least 3 x 3.

    Returns:
        The standard deviation of the noise, in the units of the image.

    Raises:
        ShapeError: the image is no array of at least 3 x 3.
        DataError: it has masked entries.

    Source: the mask of Immerkaer 1996, "Fast noise variance estimation"; the median of Donoho 1995.
    """
    refuse_mask(image, "the image of noise_level")
    y = jnp.asarray(image)
    if y.ndim != 2 or min(y.shape) < 3:
        raise ShapeError(f"noise_level takes an image of at least 3 x 3 pixels, got shape {y.shape}")
    y = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(jnp.result_type(float))
    for axis in (0, 1):
        n = y.shape[axis]
        y = (
            lax.slice_in_dim(y, 0, n - 2, axis=axis)
            - 2 * lax.slice_in_dim(y, 1, n - 1, axis=axis)
            + lax.slice_in_dim(y, 2, n, axis=axis)
        )
    return jnp.median(jnp.abs(y)) / (6 * QUARTILE)


def from_noise_units(units: Any, sigma: Any) -> Any:
    """lam = units * sigma^2: the size that the weight of a total variation has beside 1/2 ||A u - d||^2."""
    return units * sigma**2


def to_noise_units(lam: Any, sigma: Any) -> Any:
    """units = lam / sigma^2."""
    return lam / sigma**2


def starting_lam(sigma: float) -> float:
    """10 sigma^2.

    Raises:
        DataError: sigma is not positive.
    """
    if not sigma > 0:
        raise DataError(f"the noise level must be positive to start a search from it, got {sigma}: pass `start`")
    return START * sigma**2
