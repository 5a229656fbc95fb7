"""A small convolutional network that predicts maps of lam from images, in plain JAX.

    lam = base * sigma^2 * exp(reach * tanh(net(features(images))))

It sees the observed image and, if you have one, a first estimate: the solution for a scalar lam tells edges from noise
better than the observed image does. The last layer starts at zero, so a fit starts at the scalar base * sigma^2.

Any other network plugs in the same way: it is a pytree of arrays, and `predict` of `fit` applies it. With Equinox,
split off what is no array first:

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

SCALES = (3, 7, 15)  # sides of the windows that the network sees the image through
FEATURES = 2 * (1 + len(SCALES)) + len(SCALES)  # of each image


class Layer(NamedTuple):
    """A convolution: weight (out, in, height, width), bias (out,)."""

    weight: Array
    bias: Array


class Network(NamedTuple):
    """What is learned: the logarithm of the lam that it starts from, in units of sigma^2, and the layers."""

    log_base: Array
    layers: tuple[Layer, ...]


def network(
    seed: int = 0,
    hidden: Sequence[int] = (8, 8),
    size: int = 3,
    base: float = 10.0,
    *,
    images: int = 1,
    edges: bool = False,
) -> Network:
    """A network with random hidden layers and a last layer of zeros.

    Args:
        seed: Of the random weights (He initialisation).
        hidden: Channels of the hidden layers.
        size: Side of the convolutions, odd; layer i is dilated by 2^i.
        base: The lam that it starts from, in units of sigma^2.
        images: How many images it sees: 2 for the observed one and a first estimate.
        edges: Whether each difference has a weight of its own, for anisotropic TV, or each pixel one.

    Raises:
        ShapeError: the size is even.
    """
    if size % 2 == 0:
        raise ShapeError(f"the convolutions of a network need an odd size, got {size}")
    channels = (images * FEATURES, *hidden, 2 if edges else 1)
    keys = jax.random.split(jax.random.key(seed), len(channels) - 1)
    layers = []
    for place, (key, before, after) in enumerate(zip(keys, channels[:-1], channels[1:], strict=True)):
        scale = 0.0 if place == len(channels) - 2 else (2 / (before * size**2)) ** 0.5
        layers.append(Layer(scale * jax.random.normal(key, (after, before, size, size)), jnp.zeros(after)))
    return Network(jnp.log(jnp.asarray(base)), tuple(layers))


def features(image: Array, sigma: Any) -> Array:
    """What the network sees of an image, (FEATURES, m, n): how much it varies, in units of sigma.

    The absolute differences down and right, as they are and in the mean over windows of `SCALES`, and the standard
    deviations in these windows. Each is compressed, log(1 + v): a lam map follows from how much the image varies, not
    from how bright it is.
    """
    y = image / sigma
    padded = jnp.pad(y, ((0, 1), (0, 1)), mode="edge")
    differences = jnp.abs(jnp.stack([padded[1:, :-1] - y, padded[:-1, 1:] - y]))
    channels = [*differences]
    for side in SCALES:
        variance = jnp.maximum(_box(y * y, side) - _box(y, side) ** 2, 0)
        # a root has no derivative at zero, and flat windows are at zero
        deviation = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
        channels += [*(_box(difference, side) for difference in differences), deviation]
    return jnp.log1p(jnp.stack(channels)) - 1


def _box(image: Array, side: int) -> Array:
    """The mean over windows, the image mirrored beyond its border."""
    wide = jnp.pad(image, side // 2, mode="reflect")
    total = lax.reduce_window(wide, jnp.zeros((), wide.dtype), lax.add, (side, side), (1, 1), "VALID")
    return total / side**2


def apply_layers(layers: Sequence[Layer], channels: Array) -> Array:
    """(c, m, n) -> (k, m, n): convolutions that keep m and n, dilated by 2^i in layer i, leaky rectifiers between."""
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
    return value[0]


def lam_map(net: Network, images: Array | Sequence[Array], sigma: Any, reach: float = 2.5) -> Array:
    """The predicted lam of each pixel, (m, n), or of each difference, (2, m, n): what `tv2d` takes as its weight.

    Args:
        net: From `network`.
        images: The observed image, (m, n), at least 9 x 9; or as many as the network was made for, such as
            (observed, first estimate).
        sigma: The noise level of the observed image.
        reach: The map lies within exp(+-reach) times the base.

    Raises:
        ShapeError: the images are too small, of different shapes, or not as many as the network sees.
    """
    seen: Any = list(images) if isinstance(images, tuple | list) else [images]
    shapes = {jnp.shape(image) for image in seen}
    shape = shapes.pop() if len(shapes) == 1 else ()
    if len(shape) != 2 or min(shape) <= max(SCALES) // 2:
        given = ", ".join(str(jnp.shape(image)) for image in seen)
        raise ShapeError(f"lam_map takes images of one shape, more than {max(SCALES) // 2} pixels a side, got {given}")
    expected = net.layers[0].weight.shape[1]
    if len(seen) * FEATURES != expected:
        raise ShapeError(f"the network was made for {expected // FEATURES} images, lam_map got {len(seen)}")
    correction = reach * jnp.tanh(apply_layers(net.layers, jnp.concatenate([features(image, sigma) for image in seen])))
    lam = jnp.exp(net.log_base + correction) * sigma**2
    return lam if lam.shape[0] == 2 else lam[0]


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
