"""The forms that a convolution takes once its kernel is known: separable passes, few taps, a spectrum."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from admm_jax.operators import correlation as corr
from admm_jax.operators import fourier
from admm_jax.operators.contract import Defaults, Magnitude, Shape
from admm_jax.operators.window import Window
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class SeparableConvolution(Window):
    """A convolution whose taps are sum_r outer(factors[0][r], ..., factors[-1][r]), done as 1-D passes.

    Args:
        factors: (r, its taps) for each axis, of the taps as a correlation reads them.
        in_shape: of x.
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution; it decides the centring of even kernels.
        circular: whether the image goes on periodically.
        axes: along which it goes; None is all.
    """

    factors: tuple[Array, ...]
    in_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)
    axes: tuple[int, ...] | None = static(default=None)

    @property
    def kernel_shape(self) -> Shape:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(factor.shape[-1] for factor in self.factors)

    @property
    def taps(self) -> Array:
        out = jnp.asarray(self.factors[0])
        for factor in self.factors[1:]:
            out = out[..., None] * jnp.asarray(factor).reshape(len(factor), *(1,) * (out.ndim - 1), -1)
        return jnp.sum(out, axis=0)

    @property
    def description(self) -> str:
        return self.described(f"separable rank {self.factors[0].shape[0]}")

    def __call__(self, x: Array) -> Array:
        x, padding = self.surrounded(self.inward(x), self.padding)
        return self.outward(corr.correlate_separable(x, self.factors, padding))

    def adjoint(self, y: Array) -> Array:
        y, padding = self.surrounded(self.inward(y), corr.adjoint_padding(self.kernel_shape, self.padding))
        turned = tuple(factor[:, ::-1] for factor in self.factors)
        return self.outward(corr.correlate_separable(y, turned, padding))


@pytree_dataclass
class SparseConvolution(Window):
    """A convolution with few taps that are not zero, such as the path of a camera's motion.

    Args:
        values: (t,), the taps as a correlation reads them, filled up with zeros.
        offsets: (t, d) integers, where they are in the kernel: data, so that another path compiles nothing anew.
        in_shape: of x.
        kernel_shape: along each axis.
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
        circular: whether the image goes on periodically.
    """

    values: Array
    offsets: Array
    in_shape: Shape = static()
    kernel_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)
    axes: tuple[int, ...] | None = static(default=None)

    @property
    def taps(self) -> Array:
        places = tuple(jnp.asarray(self.offsets).T)
        return jnp.zeros(self.kernel_shape, self.values.dtype).at[places].add(self.values)

    @property
    def description(self) -> str:
        return self.described(f"{self.values.shape[0]} taps")

    @property
    def models_itself(self) -> bool:
        return True

    @property
    def slices_at_data(self) -> bool:
        return True

    def __call__(self, x: Array) -> Array:
        x, padding = self.surrounded(self.inward(x), self.padding)
        return self.outward(corr.correlate_sparse(x, self.values, self.offsets, self.kernel_shape, padding))

    def adjoint(self, y: Array) -> Array:
        last = jnp.asarray(self.kernel_shape, self.offsets.dtype) - 1
        y, padding = self.surrounded(self.inward(y), corr.adjoint_padding(self.kernel_shape, self.padding))
        return self.outward(corr.correlate_sparse(y, self.values, last - self.offsets, self.kernel_shape, padding))


@pytree_dataclass
class FFTConvolution(Window):
    """A convolution by FFT, holding the kernel's spectrum: y = crop(irfftn(spectrum * rfftn(x))).

    Made by `with_spectrum` outside an iteration, it transforms the kernel once and not at every application.

    Args:
        spectrum: complex, (..., periods[-1] // 2 + 1), the slices before where each has its own kernel.
        in_shape: of x.
        kernel_shape: along each axis.
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
        circular: whether the image goes on periodically.
    """

    spectrum: Array
    in_shape: Shape = static()
    kernel_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)
    axes: tuple[int, ...] | None = static(default=None)

    @property
    def models_itself(self) -> bool:
        return True

    @property
    def taps(self) -> Array:
        return fourier.kernel_of_spectrum(self.spectrum, self.kernel_shape, self.padding, self.periods)

    def symbol(self, periods: Shape) -> Array:
        return self.spectrum if periods == self.periods else super().symbol(periods)

    def magnitude(self) -> Magnitude:
        last = tuple(range(-len(self.kernel_shape), 0))
        return Everywhere(jnp.max(jnp.sum(jnp.abs(self.taps), last)), self.in_shape, self.out_shape)

    @property
    def description(self) -> str:
        return self.described("FFT " + "×".join(map(str, self.periods)))

    def __call__(self, x: Array) -> Array:
        return self.outward(fourier.apply_spectrum(self.inward(x), self.spectrum, self.periods, self.result_shape))

    def adjoint(self, y: Array) -> Array:
        own = jnp.conj(self.spectrum)
        return self.outward(fourier.apply_spectrum(self.inward(y), own, self.periods, self.image_shape))


@pytree_dataclass
class CircularConvolution(Defaults):
    """A periodic convolution by its symbol: x -> F^-1 (S F x).

    Args:
        spectrum: S, complex, broadcasting to F x: (periods[0], periods[1] // 2 + 1) for an image.
        periods: the shape of x and of the result.
        axes: those of the transform F; None is all.
    """

    spectrum: Array
    periods: Shape = static()
    axes: tuple[int, ...] | None = static(default=None)

    @property
    def in_shape(self) -> Shape:
        return self.periods

    @property
    def out_shape(self) -> Shape:
        return self.periods

    @property
    def transform(self) -> fourier.Transform:
        return fourier.Transform(self.periods, self.axes)

    def __call__(self, x: Array) -> Array:
        return self.transform.inverse(self.spectrum * self.transform(x)).astype(x.dtype)

    def adjoint(self, y: Array) -> Array:
        return self.transform.inverse(jnp.conj(self.spectrum) * self.transform(y)).astype(y.dtype)

    @property
    def circular_symbol(self) -> Array | None:
        return self.spectrum

    def magnitude(self) -> Magnitude:
        last = self.transform.axes
        whole = self.transform.shape
        taps = self.transform.inverse(jnp.broadcast_to(self.spectrum, whole))
        return Everywhere(jnp.max(jnp.sum(jnp.abs(taps), last)), self.periods, self.periods)


@pytree_dataclass
class Everywhere:
    """y -> gain max(y), everywhere: for y >= 0 it is above |A| y where sum_j |A_ij| <= gain, and sum_i |A_ij| too.

    So errors behave in a pair of transforms, which spread each over the whole image.
    """

    gain: Array
    in_shape: Shape = static()
    out_shape: Shape = static()

    def __call__(self, x: Array) -> Array:
        return jnp.full(self.out_shape, self.gain * jnp.max(x), x.dtype)

    def adjoint(self, y: Array) -> Array:
        return jnp.full(self.in_shape, self.gain * jnp.max(y), y.dtype)
