"""What every convolution is, however it is done: a window that slides along axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.operators import correlation as corr
from admm_jax.operators import fourier
from admm_jax.operators.border import extend
from admm_jax.operators.contract import Defaults, Magnitude, Shape


class Window(Defaults, ABC):
    """What shapes, mode and orientation say of any convolution, however it is done. It has no fields of its own."""

    in_shape: Shape
    kernel_shape: Shape
    mode: str
    flip: bool
    circular: bool  # whether the image goes on periodically, and is not zero outside; in mode "same" only
    axes: tuple[int, ...] | None  # in order, along which it goes; None is all. The others count slices.

    @property
    def along(self) -> tuple[int, ...]:
        """`axes`, numbered."""
        return tuple(range(len(self.in_shape))) if self.axes is None else self.axes

    @property
    def image_shape(self) -> Shape:
        """The shape of a slice."""
        return tuple(self.in_shape[axis] for axis in self.along)

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def result_shape(self) -> Shape:
        """The shape of a slice of the result."""
        return corr.result_shape(self.image_shape, self.kernel_shape, self.padding)

    @property
    def out_shape(self) -> Shape:
        return self.with_slices(self.result_shape)

    def with_slices(self, shape: Shape) -> Shape:
        """`in_shape` with another shape of its slices."""
        own = dict(zip(self.along, shape, strict=True))
        return tuple(own.get(i, n) for i, n in enumerate(self.in_shape))

    def inward(self, x: Any) -> Any:
        """x with the axes of a slice as its last ones."""
        if self.axes is None:
            return x
        return jnp.moveaxis(x, self.axes, tuple(range(-len(self.axes), 0)))

    def outward(self, x: Any) -> Any:
        """The inverse of `inward`."""
        if self.axes is None:
            return x
        return jnp.moveaxis(x, tuple(range(-len(self.axes), 0)), self.axes)

    @property
    @abstractmethod
    def taps(self) -> Array:
        """Of the shape of the kernel, as a correlation reads them; with the slices before, where each has its own."""

    @property
    def convolution(self) -> Window:
        return self

    @property
    def models_itself(self) -> bool:
        """Whether its periodic model is a good preconditioner and cheap beside it: see `solver.spectral`."""
        return False

    @property
    def periods(self) -> Shape:
        """Those that an FFT takes."""
        if self.circular:
            return self.image_shape
        return fourier.fft_shape(self.image_shape, self.kernel_shape, self.padding)

    @property
    def least_periods(self) -> Shape:
        """The periods from which on the periodic convolution is this one, on the frame that it is wanted on.

        One that is `circular` has these and no others.
        """
        if self.circular:
            return self.image_shape
        return fourier.least_periods(self.image_shape, self.kernel_shape, self.padding)

    def symbol(self, periods: Shape) -> Array:
        """S with A x = crop F^-1 (S F pad x), F with these `periods`; image and result lie at the origin of both.

        The axes of a slice are its last ones; before them are the slices, where each has its own kernel.
        """
        return fourier.kernel_spectrum(self.taps, self.padding, periods)

    def in_place(self, values: Any) -> Any:
        """Taps or a symbol with their axes where x has them, and of length one where all slices share them."""
        if self.axes is None:
            return values
        d = len(self.axes)
        if values.ndim == d:
            values = values.reshape((1,) * (len(self.in_shape) - d) + values.shape)
        xp: Any = jnp if isinstance(values, Array) else np
        return xp.moveaxis(values, tuple(range(-d, 0)), self.axes)

    def surrounded(self, x: Array, padding: corr.Padding) -> tuple[Array, corr.Padding]:
        """(the array to slide over, the zeros that are still to be put around it), of an inward x and its `padding`."""
        if not self.circular:
            return x, padding
        others = ((0, 0),) * (x.ndim - len(padding))
        return extend(x, (*others, *padding), "wrap", jnp), ((0, 0),) * len(padding)

    def magnitude(self) -> Magnitude:
        return jax.tree.map(jnp.abs, self)

    def describe(self, inner: str) -> str:
        return f"{self._name}({inner})"

    @property
    def _name(self) -> str:
        name = "conv" if self.flip else "corr"
        return f"{name}2d" if len(self.in_shape) == 2 and self.axes is None else name

    def described(self, how: str) -> str:
        """One line for `explain`."""
        size = "×".join(map(str, self.kernel_shape))
        return f"{self._name} {size} {self.mode}{' circular' if self.circular else ''}, {how}"
