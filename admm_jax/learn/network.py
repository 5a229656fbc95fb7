"""A small convolutional network that predicts a lam map from the observed image, in plain JAX.

    lam = base * sigma^2 * exp(reach * tanh(net(features(y / sigma))))

The last layer starts at zero, so a fit starts at the scalar base * sigma^2. Any other network plugs in the same way: it
is a pytree of arrays, and `predict` of `fit` applies it. With Equinox, split off what is no array first:

    arrays, static = eqx.partition(net, eqx.is_inexact_array)
    fit(..., params=arrays, predict=lambda arrays, example: {"lam": eqx.combine(arrays, static)(example["B"]), ...})

With Flax, `params` are the variables, and `predict` calls `net.apply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from admm_jax.errors import ShapeError

FEATURES = 4
SCALES = (3, 7, 15)  # sides of the windows whose variance the network sees


class Layer(NamedTuple):
    """A convolution: weight (out, in, height, width), bias (out,)."""

    weight: Array
    bias: Array


class Network(NamedTuple):
    """What is learned: the logarithm of the lam that it starts from, in units of sigma^2, and the layers."""

    log_base: Array
    layers: tuple[Layer, ...]


def network(seed: int = 0, hidden: Sequence[int] = (8, 8), size: int = 3, base: float = 10.0) -> Network:
    """A network with random hidden layers and a last layer of zeros.

    Args:
        seed: Of the random weights (He initialisation).
        hidden: Channels of the hidden layers.
        size: Side of the convolutions, odd; layer i is dilated by 2^i.
        base: The lam that it starts from, in units of sigma^2.

    Raises:
        ShapeError: the size is even.
    """
    if size % 2 == 0:
        raise ShapeError(f"the convolutions of a network need an odd size, got {size}")
    channels = (FEATURES, *hidden, 1)
    keys = jax.random.split(jax.random.key(seed), len(channels) - 1)
    layers = []
    for place, (key, before, after) in enumerate(zip(keys, channels[:-1], channels[1:], strict=True)):
        scale = 0.0 if place == len(channels) - 2 else (2 / (before * size**2)) ** 0.5
        layers.append(Layer(scale * jax.random.normal(key, (after, before, size, size)), jnp.zeros(after)))
    return Network(jnp.log(jnp.asarray(base)), tuple(layers))


def features(image: Array, sigma: Any) -> Array:
    """What the network sees, (4, m, n): second difference and local variances at three scales, in units of sigma.

    Each is compressed, log(1 + |v|): a lam map follows from how much the image varies, not from how bright it is.
    """
    y = image / sigma
    padded = jnp.pad(y, 1, mode="edge")
    second = 4 * y - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:]
    channels = [second**2 / 20]
    for side in SCALES:
        mean = _box(y, side)
        channels.append(jnp.maximum(_box(y * y, side) - mean**2, 0))
    return jnp.log1p(jnp.stack(channels)) - 1


def _box(image: Array, side: int) -> Array:
    """The mean over windows, the image mirrored beyond its border."""
    wide = jnp.pad(image, side // 2, mode="reflect")
    total = lax.reduce_window(wide, jnp.zeros((), wide.dtype), lax.add, (side, side), (1, 1), "VALID")
    return total / side**2


def apply(layers: Sequence[Layer], channels: Array) -> Array:
    """(c, m, n) -> (m, n): convolutions of the same size with leaky rectifiers between."""
    value = channels[None]
    for place, layer in enumerate(layers):
        reach = 2**place * (layer.weight.shape[-1] // 2)
        wide = jnp.pad(value, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
        value = lax.conv_general_dilated(
            wide, layer.weight.astype(value.dtype), (1, 1), "VALID", rhs_dilation=(2**place, 2**place)
        )
        value = value + layer.bias[:, None, None].astype(value.dtype)
        if place < len(layers) - 1:
            value = jax.nn.leaky_relu(value, 0.1)
    return value[0, 0]


def lam_map(net: Network, image: Array, sigma: Any, reach: float = 2.0) -> Array:
    """The predicted lam of each pixel, (m, n).

    Args:
        net: From `network`.
        image: Observed, (m, n), at least 9 x 9.
        sigma: Its noise level.
        reach: The map lies within exp(+-reach) times the base.
    """
    if image.ndim != 2 or min(image.shape) <= max(SCALES) // 2:
        raise ShapeError(f"lam_map takes an image of more than {max(SCALES) // 2} pixels a side, got {image.shape}")
    correction = reach * jnp.tanh(apply(net.layers, features(image, sigma)))
    return jnp.exp(net.log_base + correction) * sigma**2


def patches(coarse: Array, shape: tuple[int, int], *, smooth: bool = False) -> Array:
    """A map (m, n) from one number a patch, repeated or, if `smooth`, interpolated linearly in between.

    Args:
        coarse: One number a patch, (rows, columns).
        shape: (m, n); patches are as equal as whole pixels allow.
        smooth: Whether to interpolate between the patches' centres.
    """
    if coarse.ndim != 2 or any(c > n for c, n in zip(coarse.shape, shape, strict=True)):
        raise ShapeError(f"patches takes (rows, columns) of at most {shape}, got shape {coarse.shape}")
    return jax.image.resize(coarse, shape, "linear" if smooth else "nearest")
