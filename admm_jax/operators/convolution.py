"""Two-dimensional convolution and correlation as linear operators: one meaning, several implementations.

`Conv2D` says what is meant; `plan_convolution` chooses, on the host, how it is done; `specialise` makes the operator
that does it. All of them agree to rounding, and each adjoint is exact for its own implementation.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import DTypeLike

from admm_jax.operators import correlation as corr
from admm_jax.operators.base import Operator, Shape
from admm_jax.operators.convolution_plan import IMPLEMENTATIONS, choose_implementation, factorise
from admm_jax.pytree import pytree_dataclass, replace, static

__all__ = [
    "Conv2D",
    "FFTConv2D",
    "SeparableConv2D",
    "SparseConv2D",
    "factorise",
    "plan_convolution",
    "prepare",
    "specialise",
]

MODES = ("full", "same", "valid")
NAMES = {
    "auto": "not yet planned",
    "lax": "XLA's convolution",
    "shift": "shift-and-add",
    "separable": "separable",
    "sparse": "its taps that are not zero",
    "fft": "FFT",
}


@pytree_dataclass
class Conv2D:
    """x -> k * x, equal to `scipy.signal.convolve2d(x, k, mode)` with zero fill.

    y[i, j] = sum_{a, b} k[a, b] x[i - a + s, j - b + t] for `flip=True` (s, t centre the mode's output), and
    y[i, j] = sum_{a, b} k[a, b] x[i + a - s, j + b - t], `scipy.signal.correlate2d(x, k, mode)`, for `flip=False`.

    Arguments:
        kernel: (p, q), any sizes, even ones too; the leaf.
        in_shape: (m, n).
        mode: "full", "same" or "valid".
        flip: true for convolution, false for correlation.
        implementation: "lax", "shift", "fft", "separable", "sparse", or "auto" for the fastest known for these sizes.
            "separable" and "sparse" need a kernel whose values are known when the operator is traced.

    Raises:
        ValueError: unknown mode or implementation; kernel not 2-D, empty, or larger than the image in mode "valid".
    """

    kernel: Array
    in_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    implementation: str = static(default="auto")

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Conv2D: mode must be one of {MODES}, got {self.mode!r}")
        if self.implementation not in ("auto", *IMPLEMENTATIONS):
            expected = ("auto", *IMPLEMENTATIONS)
            raise ValueError(f"Conv2D: implementation must be one of {expected}, got {self.implementation!r}")
        if len(self.in_shape) != 2 or 0 in self.in_shape:
            raise ValueError(f"Conv2D: in_shape must be two positive numbers, got {self.in_shape}")

    @property
    def kernel_shape(self) -> tuple[int, int]:
        # Checked here and not at construction: a transformed operator carries leaves of other shapes.
        shape = jnp.shape(self.kernel)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"Conv2D: kernel must be a non-empty 2-D array, got shape {shape}")
        if self.mode == "valid" and (shape[0] > self.in_shape[0] or shape[1] > self.in_shape[1]):
            raise ValueError(
                f"Conv2D: in mode 'valid' the kernel must fit in the image, got kernel {shape}, image {self.in_shape}"
            )
        return shape[0], shape[1]

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def taps(self) -> Array:
        """The kernel as a correlation reads it."""
        return self.kernel[::-1, ::-1] if self.flip else self.kernel

    @property
    def out_shape(self) -> Shape:
        return corr.result_shape(self._image_shape, self.kernel_shape, self.padding)

    @property
    def _image_shape(self) -> tuple[int, int]:
        return self.in_shape[0], self.in_shape[1]

    @property
    def description(self) -> str:
        return _describe(self.flip, self.kernel_shape, self.mode, NAMES[self.implementation])

    def __call__(self, x: Array) -> Array:
        name = self._resolve(x)
        if name in ("fft", "separable", "sparse"):
            return specialise(self, name)(x)
        apply = corr.correlate_lax if name == "lax" else corr.correlate_shift
        return apply(x, self.taps, self.padding)

    def adjoint(self, y: Array) -> Array:
        name = self._resolve(y)
        if name in ("fft", "separable", "sparse"):
            return specialise(self, name).adjoint(y)
        apply = corr.correlate_lax if name == "lax" else corr.correlate_shift
        return apply(y, self.taps[::-1, ::-1], corr.complement(self.kernel_shape, self.padding))

    def _resolve(self, x: Array) -> str:
        if self.implementation != "auto":
            return self.implementation
        return plan_convolution(self, jnp.result_type(x, self.kernel), jax.default_backend(), None)[0]


@pytree_dataclass
class SeparableConv2D:
    """A convolution whose taps are sum_r outer(columns[r], rows[r]), done as 1-D passes.

    Arguments:
        columns: (r, p), of the taps as a correlation reads them.
        rows: (r, q).
        in_shape: (m, n).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution; it decides the centring of even kernels.
    """

    columns: Array
    rows: Array
    in_shape: Shape = static()
    mode: str = static()
    flip: bool = static()

    @property
    def kernel_shape(self) -> tuple[int, int]:
        return self.columns.shape[-1], self.rows.shape[-1]

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def out_shape(self) -> Shape:
        return corr.result_shape((self.in_shape[0], self.in_shape[1]), self.kernel_shape, self.padding)

    @property
    def description(self) -> str:
        return _describe(self.flip, self.kernel_shape, self.mode, f"separable rank {self.columns.shape[0]}")

    def __call__(self, x: Array) -> Array:
        return corr.correlate_separable(x, self.columns, self.rows, self.padding)

    def adjoint(self, y: Array) -> Array:
        padding = corr.complement(self.kernel_shape, self.padding)
        return corr.correlate_separable(y, self.columns[:, ::-1], self.rows[:, ::-1], padding)


@pytree_dataclass
class SparseConv2D:
    """A convolution with few taps that are not zero, such as the path of a camera's motion.

    Arguments:
        values: (t,), the taps as a correlation reads them, filled up with zeros.
        offsets: (t, 2) integers, where they are in the kernel: data, so that another path compiles nothing anew.
        in_shape: (m, n).
        kernel_shape: (p, q).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
    """

    values: Array
    offsets: Array
    in_shape: Shape = static()
    kernel_shape: tuple[int, int] = static()
    mode: str = static()
    flip: bool = static()

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def taps(self) -> Array:
        return (
            jnp.zeros(self.kernel_shape, self.values.dtype).at[self.offsets[:, 0], self.offsets[:, 1]].add(self.values)
        )

    @property
    def out_shape(self) -> Shape:
        return corr.result_shape((self.in_shape[0], self.in_shape[1]), self.kernel_shape, self.padding)

    @property
    def description(self) -> str:
        return _describe(self.flip, self.kernel_shape, self.mode, f"{self.values.shape[0]} taps")

    def __call__(self, x: Array) -> Array:
        return corr.correlate_sparse(x, self.values, self.offsets, self.kernel_shape, self.padding)

    def adjoint(self, y: Array) -> Array:
        last = jnp.asarray(self.kernel_shape, self.offsets.dtype) - 1
        padding = corr.complement(self.kernel_shape, self.padding)
        return corr.correlate_sparse(y, self.values, last - self.offsets, self.kernel_shape, padding)


@pytree_dataclass
class FFTConv2D:
    """A convolution by FFT, holding the kernel's spectrum: y = crop(irfft2(spectrum * rfft2(x))).

    Made by `prepare` outside an iteration, it transforms the kernel once and not at every application.

    Arguments:
        spectrum: complex, (periods[0], periods[1] // 2 + 1).
        in_shape: (m, n).
        kernel_shape: (p, q).
        mode: "full", "same" or "valid".
        flip: whether the kernel was given for convolution.
    """

    spectrum: Array
    in_shape: Shape = static()
    kernel_shape: tuple[int, int] = static()
    mode: str = static()
    flip: bool = static()

    @property
    def padding(self) -> corr.Padding:
        return corr.mode_padding(self.kernel_shape, self.mode, self.flip)

    @property
    def periods(self) -> tuple[int, int]:
        return corr.fft_shape(self._image_shape, self.kernel_shape, self.padding)

    @property
    def _image_shape(self) -> tuple[int, int]:
        return self.in_shape[0], self.in_shape[1]

    @property
    def out_shape(self) -> tuple[int, int]:
        return corr.result_shape(self._image_shape, self.kernel_shape, self.padding)

    @property
    def description(self) -> str:
        return _describe(self.flip, self.kernel_shape, self.mode, f"FFT {self.periods[0]}×{self.periods[1]}")

    def __call__(self, x: Array) -> Array:
        return corr.apply_spectrum(x, self.spectrum, self.periods, self.out_shape)

    def adjoint(self, y: Array) -> Array:
        return corr.apply_spectrum(y, jnp.conj(self.spectrum), self.periods, self._image_shape)


def spectrum_of(op: Conv2D | SparseConv2D | FFTConv2D) -> Array:
    """The kernel's spectrum at the periods that an FFT would take, however the convolution is done."""
    if isinstance(op, FFTConv2D):
        return op.spectrum
    shape = corr.fft_shape((op.in_shape[0], op.in_shape[1]), op.kernel_shape, op.padding)
    return corr.kernel_spectrum(op.taps, op.padding, shape)


def prepare(op: Conv2D) -> FFTConv2D:
    """`op` with the kernel's spectrum computed; traceable and differentiable in the kernel."""
    spectrum = spectrum_of(replace(op, kernel=_as_float(op.kernel, _float_dtype(op.kernel))))
    return FFTConv2D(spectrum, op.in_shape, op.kernel_shape, op.mode, op.flip)


def specialise(op: Conv2D, implementation: str, dtype: DTypeLike | None = None) -> Operator:
    """The operator that does `op` by `implementation`, with what can be computed beforehand computed.

    Arguments:
        op: the convolution.
        implementation: "lax", "shift" or "fft", traceable in the kernel, "separable" or "sparse", which are not.
        dtype: of the computation, to which the kernel is brought; by default the kernel's own.

    Returns:
        The operator; its leaves are NumPy's where the kernel is, and JAX's where not.

    Raises:
        ValueError: "separable" or "sparse" with a kernel that is traced; "separable" with one that is not of rank 1 or
            2 to the rounding of `dtype`.
    """
    dtype = _float_dtype(op.kernel) if dtype is None else dtype
    if implementation in ("lax", "shift", "fft"):
        op = replace(op, kernel=_as_float(op.kernel, dtype), implementation=implementation)
        return prepare(op) if implementation == "fft" else op
    if isinstance(op.kernel, Tracer):
        raise ValueError(
            f"Conv2D: implementation {implementation!r} needs the kernel's values, but the kernel is traced"
        )
    taps = np.asarray(op.kernel)[::-1, ::-1] if op.flip else np.asarray(op.kernel)

    def owned(values: np.ndarray, kind: DTypeLike) -> Any:
        return jnp.asarray(values, kind) if isinstance(op.kernel, jax.Array) else values.astype(kind)

    if implementation == "sparse":
        offsets = np.argwhere(taps)
        fill = -len(offsets) % corr.SPARSE_TURN if len(offsets) else corr.SPARSE_TURN
        values = np.pad(taps[taps != 0], (0, fill))
        offsets = np.pad(offsets, ((0, fill), (0, 0)))
        return SparseConv2D(
            owned(values, dtype), owned(offsets, np.int32), op.in_shape, op.kernel_shape, op.mode, op.flip
        )
    factors = factorise(taps, dtype=dtype)
    if factors is None:
        p, q = op.kernel_shape
        raise ValueError(f"Conv2D: implementation 'separable' needs a kernel of rank 1 or 2, got {p}×{q} of more")
    return SeparableConv2D(owned(factors[0], dtype), owned(factors[1], dtype), op.in_shape, op.mode, op.flip)


def plan_convolution(
    op: Conv2D, dtype: DTypeLike, platform: str, concrete_kernel: np.ndarray | None
) -> tuple[str, str]:
    """How `op` is to be done, and why; decided on the host from sizes, dtype, platform and the kernel's values.

    Arguments:
        op: the convolution; its `implementation`, where it is not "auto", is kept.
        dtype: of the computation.
        platform: JAX's name of the backend, such as "cpu" or "gpu".
        concrete_kernel: the kernel's values, or None where they are not known before the program is built.

    Returns:
        (implementation, reason).
    """
    if op.implementation != "auto":
        return op.implementation, "as asked"
    factors = None if concrete_kernel is None else factorise(concrete_kernel, dtype=dtype)
    rank = None if factors is None else factors[0].shape[0]
    nonzero = None if concrete_kernel is None else int(np.count_nonzero(concrete_kernel))
    return choose_implementation((op.in_shape[0], op.in_shape[1]), op.kernel_shape, platform, rank, nonzero)


def _float_dtype(kernel: Array) -> DTypeLike:
    return kernel.dtype if jnp.issubdtype(kernel.dtype, jnp.floating) else jnp.result_type(float)


def _as_float(kernel: Any, dtype: DTypeLike) -> Any:
    """The kernel in `dtype`: by JAX if JAX owns it, else by NumPy, where float64 needs no mode and nothing compiles."""
    return kernel.astype(dtype) if isinstance(kernel, jax.Array) else np.asarray(kernel, dtype)


def _describe(flip: bool, kernel_shape: tuple[int, int], mode: str, how: str) -> str:
    return f"{'conv2d' if flip else 'corr2d'} {kernel_shape[0]}×{kernel_shape[1]} {mode}, {how}"
