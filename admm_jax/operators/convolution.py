"""Convolution and correlation along axes as linear operators: one meaning, several implementations.

`Convolution` says what is meant; `plan_convolution` chooses, on the host, how it is done; `specialise` makes the
operator that does it. All of them agree to rounding, and each adjoint is exact for its own implementation.
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
from admm_jax.operators.contract import Operator, Shape
from admm_jax.operators.convolution_forms import FFTConvolution, SeparableConvolution, SparseConvolution
from admm_jax.operators.convolution_plan import IMPLEMENTATIONS, choose_implementation, cost_of, factorise
from admm_jax.operators.window import Window
from admm_jax.pytree import pytree_dataclass, replace, static

__all__ = [
    "Convolution",
    "FFTConvolution",
    "SeparableConvolution",
    "SparseConvolution",
    "factorise",
    "plan_convolution",
    "specialise",
    "with_spectrum",
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
class Convolution(Window):
    """x -> k * x, equal to `scipy.signal.convolve2d(x, k, mode)` with zero fill, or `boundary="wrap"` if circular.

    y[i, j] = sum_{a, b} k[a, b] x[i - a + s, j - b + t] for `flip=True` (s, t centre the mode's output), and
    y[i, j] = sum_{a, b} k[a, b] x[i + a - s, j + b - t], `scipy.signal.correlate2d(x, k, mode)`, for `flip=False`.

    In other dimensions likewise, and slice by slice where x has other axes too.

    Args:
        kernel: (p, q), any sizes, even ones too; the leaf. With as many axes as x it has one for each slice, and the
            sizes of x along the other axes.
        in_shape: (m, n).
        mode: "full", "same" or "valid".
        flip: true for convolution, false for correlation.
        implementation: "lax", "shift", "fft", "separable", "sparse", or "auto" for the fastest known for these sizes.
            "separable" and "sparse" need a kernel whose values are known when the operator is traced.
        circular: whether the image goes on periodically, in mode "same".
        axes: in order, along which it goes; None is all.

    Raises:
        ValueError: unknown mode or implementation; circular in another mode than "same"; kernel of another dimension,
            empty, or larger than the image in mode "valid".
    """

    kernel: Array
    in_shape: Shape = static()
    mode: str = static()
    flip: bool = static()
    implementation: str = static(default="auto")
    circular: bool = static(default=False)
    axes: tuple[int, ...] | None = static(default=None)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Convolution: mode must be one of {MODES}, got {self.mode!r}")
        if self.implementation not in ("auto", *IMPLEMENTATIONS):
            expected = ("auto", *IMPLEMENTATIONS)
            raise ValueError(f"Convolution: implementation must be one of {expected}, got {self.implementation!r}")
        if self.circular and self.mode != "same":
            raise ValueError(f"Convolution: a circular convolution has the mode 'same', got {self.mode!r}")
        if not self.in_shape or 0 in self.in_shape:
            raise ValueError(f"Convolution: in_shape must be positive numbers, got {self.in_shape}")
        if self.axes is not None and self.axes == tuple(range(len(self.in_shape))):
            object.__setattr__(self, "axes", None)

    @property
    def kernel_shape(self) -> Shape:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Checked here and not at construction: a transformed operator carries leaves of other shapes.
        shape, d = jnp.shape(self.kernel), len(self.along)
        if len(shape) not in (d, len(self.in_shape)) or 0 in shape:
            raise ValueError(f"Convolution: kernel must be a non-empty {d}-D array, got shape {shape}")
        if len(shape) != d:
            shape = tuple(shape[axis] for axis in self.along)
        if self.mode == "valid" and any(p > n for p, n in zip(shape, self.image_shape, strict=True)):
            raise ValueError(
                f"Convolution: in mode 'valid' the kernel must fit in the image, got kernel {shape},"
                f" image {self.in_shape}"
            )
        return shape

    @property
    def shared(self) -> bool:
        """Whether all slices have one kernel."""
        return len(jnp.shape(self.kernel)) == len(self.along)

    @property
    def known(self) -> np.ndarray | None:
        """The kernel's values, where they can be looked at and all slices share them."""
        return self.kernel if isinstance(self.kernel, np.ndarray) and self.shared else None

    @property
    def cost(self) -> float:
        """What an application costs by the fastest implementation, in taps (see `convolution_plan`)."""
        structure, platform = _structure(self.known, _float_dtype(self.kernel)), jax.default_backend()
        name = self.implementation
        if name == "auto":
            name, _ = choose_implementation(self.image_shape, self.kernel_shape, platform, *structure)
        return cost_of(name, self.kernel_shape, *structure)

    @property
    def taps(self) -> Array:
        """The kernel as a correlation reads it."""
        kernel, d = self.kernel, len(self.along)
        if not self.shared:
            xp: Any = np if isinstance(kernel, np.ndarray) else jnp
            kernel = xp.moveaxis(kernel, self.along, tuple(range(-d, 0)))
        return corr.reversed_taps(kernel, d) if self.flip else kernel

    @property
    def description(self) -> str:
        return self.described(NAMES[self.implementation])

    def faster(self, dtype: DTypeLike, platform: str) -> tuple[Operator, str]:
        name, reason = plan_convolution(self, dtype, platform, self.known)
        return replace(self, implementation=name), reason

    def prepared(self, dtype: DTypeLike) -> Operator:
        return self if self.implementation == "auto" else specialise(self, self.implementation, dtype)

    def __call__(self, x: Array) -> Array:
        name = self._resolve(x)
        if name in ("fft", "separable", "sparse"):
            return specialise(self, name)(x)
        apply = corr.correlate_lax if name == "lax" else corr.correlate_shift
        x, padding = self.surrounded(self.inward(x), self.padding)
        return self.outward(apply(x, self.taps, padding))

    def adjoint(self, y: Array) -> Array:
        name = self._resolve(y)
        if name in ("fft", "separable", "sparse"):
            return specialise(self, name).adjoint(y)
        apply = corr.correlate_lax if name == "lax" else corr.correlate_shift
        y, padding = self.surrounded(self.inward(y), corr.adjoint_padding(self.kernel_shape, self.padding))
        return self.outward(apply(y, corr.reversed_taps(self.taps, len(self.along)), padding))

    def _resolve(self, x: Array) -> str:
        if self.implementation != "auto":
            return self.implementation
        return plan_convolution(self, jnp.result_type(x, self.kernel), jax.default_backend(), None)[0]


def with_spectrum(op: Convolution) -> FFTConvolution:
    """`op` with the kernel's spectrum computed; traceable and differentiable in the kernel."""
    op = replace(op, kernel=_as_float(op.kernel, _float_dtype(op.kernel)))
    return FFTConvolution(op.symbol(op.periods), op.in_shape, op.kernel_shape, op.mode, op.flip, op.circular, op.axes)


def specialise(op: Convolution, implementation: str, dtype: DTypeLike | None = None) -> Operator:
    """The operator that does `op` by `implementation`, with what can be computed beforehand computed.

    Args:
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
        return with_spectrum(op) if implementation == "fft" else op
    if isinstance(op.kernel, Tracer):
        raise ValueError(
            f"Convolution: implementation {implementation!r} needs the kernel's values, but the kernel is traced"
        )
    if not op.shared:
        raise ValueError(f"Convolution: implementation {implementation!r} needs one kernel for all slices")
    taps = np.asarray(op.taps)

    def owned(values: np.ndarray, kind: DTypeLike) -> Any:
        return jnp.asarray(values, kind) if isinstance(op.kernel, jax.Array) else values.astype(kind)

    if implementation == "sparse":
        offsets = np.argwhere(taps)
        fill = -len(offsets) % corr.SPARSE_TURN if len(offsets) else corr.SPARSE_TURN
        values = np.pad(taps[taps != 0], (0, fill))
        offsets = np.pad(offsets, ((0, fill), (0, 0)))
        leaves = owned(values, dtype), owned(offsets, np.int32)
        return SparseConvolution(*leaves, op.in_shape, op.kernel_shape, op.mode, op.flip, op.circular, op.axes)
    factors = factorise(taps, dtype=dtype)
    if factors is None:
        size = "×".join(map(str, op.kernel_shape))
        raise ValueError(f"Convolution: implementation 'separable' needs a kernel of rank 1 or 2, got {size} of more")
    leaves = tuple(owned(factor, dtype) for factor in factors)
    return SeparableConvolution(leaves, op.in_shape, op.mode, op.flip, op.circular, op.axes)


def plan_convolution(
    op: Convolution, dtype: DTypeLike, platform: str, concrete_kernel: np.ndarray | None
) -> tuple[str, str]:
    """How `op` is to be done, and why; decided on the host from sizes, dtype, platform and the kernel's values.

    Args:
        op: the convolution; its `implementation`, where it is not "auto", is kept.
        dtype: of the computation.
        platform: JAX's name of the backend, such as "cpu" or "gpu".
        concrete_kernel: the kernel's values, or None where they are not known before the program is built.

    Returns:
        (implementation, reason).
    """
    if op.implementation != "auto":
        return op.implementation, "as asked"
    return choose_implementation(op.image_shape, op.kernel_shape, platform, *_structure(concrete_kernel, dtype))


def _structure(kernel: np.ndarray | None, dtype: DTypeLike) -> tuple[int | None, int | None]:
    """(rank, number of taps that are not zero) of a kernel that is known."""
    if kernel is None:
        return None, None
    factors = factorise(kernel, dtype=dtype)
    return None if factors is None else factors[0].shape[0], int(np.count_nonzero(kernel))


def _float_dtype(kernel: Array) -> DTypeLike:
    return kernel.dtype if jnp.issubdtype(kernel.dtype, jnp.floating) else jnp.result_type(float)


def _as_float(kernel: Any, dtype: DTypeLike) -> Any:
    """The kernel in `dtype`: by JAX if JAX owns it, else by NumPy, where float64 needs no mode and nothing compiles."""
    return kernel.astype(dtype) if isinstance(kernel, jax.Array) else np.asarray(kernel, dtype)
