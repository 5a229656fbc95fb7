"""The forms that a convolution takes once its kernel is known: separable passes, few taps, a spectrum."""

from __future__ import annotations

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp
from jax import Array

from admm_jax.operators import correlation as corr
from admm_jax.operators.border import extend
from admm_jax.operators.contract import Defaults, Magnitude, Shape
from admm_jax.pytree import pytree_dataclass, static


class Window(Defaults, ABC):
    """What shapes, mode and orientation say of any convolution, however it is done. It has no fields of its own."""

    in_shape: Shape
    kernel_shape: tuple[int, int]
    mode: str
    flip: bool
    circular: bool  # whether the image goes on periodically, and is not zero outside; in mode "same" only

    @property
    def image_shape(self) -> tuple[int, int]:
        return self.in_shape[0], self.in_shape[1]

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def out_shape(self) -> tuple[int, int]:
        return corr.result_shape(self.image_shape, self.kernel_shape, self.padding)

    @property
    @abstractmethod
    def taps(self) -> Array:
        """(p, q), as a correlation reads them."""

    @property
    def convolution(self) -> Window:
        return self

    @property
    def models_itself(self) -> bool:
        """Whether its periodic model is a good preconditioner and cheap beside it: see `solver.spectral`."""
        return False

    @property
    def periods(self) -> tuple[int, int]:
        """Those that an FFT takes."""
        if self.circular:
            return self.image_shape
        return corr.fft_shape(self.image_shape, self.kernel_shape, self.padding)

    @property
    def least_periods(self) -> tuple[int, int]:
        """The periods from which on the periodic convolution is this one, on the frame that it is wanted on.

        One that is `circular` has these and no others.
        """
        if self.circular:
            return self.image_shape
        return corr.least_periods(self.image_shape, self.kernel_shape, self.padding)

    def symbol(self, periods: tuple[int, int]) -> Array:
        """S with A x = crop F^-1 (S F pad x), F with these `periods`; image and result lie at the origin of both."""
        return corr.kernel_spectrum(self.taps, self.padding, periods)

    def surrounded(self, x: Array, padding: corr.Padding) -> tuple[Array, corr.Padding]:
        """(the array to slide over, the zeros that are still to be put around it), of x and its `padding`."""
        return (extend(x, padding, "wrap", jnp), corr.NO_PADDING) if self.circular else (x, padding)

    def magnitude(self) -> Magnitude:
        return jax.tree.map(jnp.abs, self)

    def describe(self, inner: str) -> str:
        return f"{self._name}({inner})"

    @property
    def _name(self) -> str:
        return "conv2d" if self.flip else "corr2d"

    def described(self, how: str) -> str:
        """One line for `explain`."""
        p, q = self.kernel_shape
        return f"{self._name} {p}×{q} {self.mode}{' circular' if self.circular else ''}, {how}"


@pytree_dataclass
class SeparableConv2D(Window):
    """A convolution whose taps are sum_r outer(columns[r], rows[r]), done as 1-D passes.

    Args:
        columns: (r, p), of the taps as a correlation reads them.
        rows: (r, q).
        in_shape: (m, n).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution; it decides the centring of even kernels.
        circular: whether the image goes on periodically.
    """

    columns: Array
    rows: Array
    in_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)

    @property
    def kernel_shape(self) -> tuple[int, int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.columns.shape[-1], self.rows.shape[-1]

    @property
    def taps(self) -> Array:
        return jnp.sum(jnp.asarray(self.columns)[:, :, None] * jnp.asarray(self.rows)[:, None, :], axis=0)

    @property
    def description(self) -> str:
        return self.described(f"separable rank {self.columns.shape[0]}")

    def __call__(self, x: Array) -> Array:
        x, padding = self.surrounded(x, self.padding)
        return corr.correlate_separable(x, self.columns, self.rows, padding)

    def adjoint(self, y: Array) -> Array:
        y, padding = self.surrounded(y, corr.adjoint_padding(self.kernel_shape, self.padding))
        return corr.correlate_separable(y, self.columns[:, ::-1], self.rows[:, ::-1], padding)


@pytree_dataclass
class SparseConv2D(Window):
    """A convolution with few taps that are not zero, such as the path of a camera's motion.

    Args:
        values: (t,), the taps as a correlation reads them, filled up with zeros.
        offsets: (t, 2) integers, where they are in the kernel: data, so that another path compiles nothing anew.
        in_shape: (m, n).
        kernel_shape: (p, q).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
        circular: whether the image goes on periodically.
    """

    values: Array
    offsets: Array
    in_shape: Shape = static()
    kernel_shape: tuple[int, int] = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)

    @property
    def taps(self) -> Array:
        return (
            jnp.zeros(self.kernel_shape, self.values.dtype).at[self.offsets[:, 0], self.offsets[:, 1]].add(self.values)
        )

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
        x, padding = self.surrounded(x, self.padding)
        return corr.correlate_sparse(x, self.values, self.offsets, self.kernel_shape, padding)

    def adjoint(self, y: Array) -> Array:
        last = jnp.asarray(self.kernel_shape, self.offsets.dtype) - 1
        y, padding = self.surrounded(y, corr.adjoint_padding(self.kernel_shape, self.padding))
        return corr.correlate_sparse(y, self.values, last - self.offsets, self.kernel_shape, padding)


@pytree_dataclass
class FFTConv2D(Window):
    """A convolution by FFT, holding the kernel's spectrum: y = crop(irfft2(spectrum * rfft2(x))).

    Made by `with_spectrum` outside an iteration, it transforms the kernel once and not at every application.

    Args:
        spectrum: complex, (periods[0], periods[1] // 2 + 1).
        in_shape: (m, n).
        kernel_shape: (p, q).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
        circular: whether the image goes on periodically.
    """

    spectrum: Array
    in_shape: Shape = static()
    kernel_shape: tuple[int, int] = static()
    mode: str = static()
    flip: bool = static()
    circular: bool = static(default=False)

    @property
    def models_itself(self) -> bool:
        return True

    @property
    def taps(self) -> Array:
        return corr.kernel_of_spectrum(self.spectrum, self.kernel_shape, self.padding, self.periods)

    def symbol(self, periods: tuple[int, int]) -> Array:
        return self.spectrum if periods == self.periods else super().symbol(periods)

    def magnitude(self) -> Magnitude:
        return Everywhere(jnp.sum(jnp.abs(self.taps)), self.in_shape, self.out_shape)

    @property
    def description(self) -> str:
        return self.described(f"FFT {self.periods[0]}×{self.periods[1]}")

    def __call__(self, x: Array) -> Array:
        return corr.apply_spectrum(x, self.spectrum, self.periods, self.out_shape)

    def adjoint(self, y: Array) -> Array:
        return corr.apply_spectrum(y, jnp.conj(self.spectrum), self.periods, self.image_shape)


@pytree_dataclass
class CircularConv2D(Defaults):
    """A periodic convolution by its symbol: x -> F^-1 (S F x).

    Args:
        spectrum: S, complex, (periods[0], periods[1] // 2 + 1).
        periods: the shape of x and of the result.
    """

    spectrum: Array
    periods: tuple[int, int] = static()

    @property
    def in_shape(self) -> Shape:
        return self.periods

    @property
    def out_shape(self) -> Shape:
        return self.periods

    def __call__(self, x: Array) -> Array:
        return corr.apply_spectrum(x, self.spectrum, self.periods, self.periods)

    def adjoint(self, y: Array) -> Array:
        return corr.apply_spectrum(y, jnp.conj(self.spectrum), self.periods, self.periods)

    @property
    def circular_symbol(self) -> Array:
        return self.spectrum

    def magnitude(self) -> Magnitude:
        taps = jnp.fft.irfft2(self.spectrum, self.periods)
        return Everywhere(jnp.sum(jnp.abs(taps)), self.periods, self.periods)


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
