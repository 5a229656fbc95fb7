"""What an operator is: a product, its adjoint, and what else the solver asks of it.

Whatever computes asks the operator and never its type. Only the first four of `Operator` must be written; `Defaults`
answers the rest so that nothing is claimed: no magnitude, no structure, a value that is known to no digit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

if TYPE_CHECKING:
    from admm_jax.operators.window import Window

Shape = tuple[int, ...]


class Magnitude(Protocol):
    """|A| for sizes y >= 0, or what is above it: no entry of the results is below |A| y and |A|^T y."""

    def __call__(self, y: Array, /) -> Array: ...
    def adjoint(self, y: Array, /) -> Array: ...


class Operator(Protocol):
    """x -> A x, with <A x, y> = <x, A^T y> to rounding.

    Implementations are pytrees: matrices, kernels and weights are leaves, shapes are static.
    """

    @property
    def in_shape(self) -> Shape: ...
    @property
    def out_shape(self) -> Shape: ...
    def __call__(self, x: Array) -> Array: ...
    def adjoint(self, y: Array) -> Array: ...

    # what rounding does

    def magnitude(self) -> Magnitude | None:
        """|A|, entry by entry, or what is little above it; None where that is not known.

        A sum counts as zero where it is rounding beside |A| |x|. What is far above |A| would make sums zero that are
        not, and so counts as not known.
        """
        ...

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        """How far `out`, the computed A value, may be from A x, of out's shape; infinite where that is not known.

        For sums of products that is |A| (error + eps |value|) (Higham 2002, section 3.5).

        Args:
            value: What stands for x.
            error: >= |value - x|, entry by entry, of its shape.
            out: A value, as it was computed.
        """
        ...

    # how it is done

    def faster(self, dtype: DTypeLike, platform: str) -> tuple[Operator, str]:
        """(an equal operator, said how it is to be done; the reason, empty where there was nothing to choose).

        Decided on the host, at no cost: `explain` asks for it too.
        """
        ...

    @property
    def description(self) -> str:
        """How it is done, for `explain`."""
        ...

    def prepared(self, dtype: DTypeLike) -> Operator:
        """An equal operator with what can be computed beforehand computed, in `dtype`."""
        ...

    @property
    def cost(self) -> float:
        """What an application costs beside a few passes over the array, in taps of a convolution."""
        ...

    @property
    def slices_at_data(self) -> bool:
        """Whether it slices the array at places that are data, which decides how it is compiled."""
        ...

    # its structure, where it has one

    @property
    def diagonal(self) -> Array | None:
        """The factor, if x -> factor * x, elementwise."""
        ...

    @property
    def dense(self) -> Array | None:
        """M, if x -> M x for a vector x and a matrix that is at hand."""
        ...

    @property
    def keeps_order(self) -> bool:
        """Whether it only gives the entries another shape."""
        ...

    @property
    def picks(self) -> bool:
        """Whether A x are entries of x, each at most once and in their order, in another shape perhaps."""
        ...

    @property
    def edge_length(self) -> float | None:
        """The largest h, if A x are forward differences along all axes, each over its h, as `Difference` has them."""
        ...

    def gram_diagonal(self, weight: Array) -> Array | None:
        """The diagonal of A^T W A, W the diagonal matrix of `weight`, which has the shape of A x; None: not known."""
        ...

    @property
    def convolution(self) -> Window | None:
        """What there is to know of a convolution, zero outside or circular, if it is one: symbol, taps, padding."""
        ...

    @property
    def circular_symbol(self) -> Array | None:
        """S, if x -> F^-1 (S F x), F the transform along all axes of x or some (`CircularConvolution`)."""
        ...

    def gram_symbol(self, periods: tuple[int, ...]) -> np.ndarray | None:
        """The symbol of A^T A on a periodic array, (*periods[:-1], periods[-1] // 2 + 1); at the border it differs."""
        ...

    # how many are one

    def likeness(self) -> Hashable | None:
        """What operators have in common that can be stacked, with shapes; None where it can be with none."""
        ...

    def stacked(self, ops: Sequence[Any], *, shared: bool) -> tuple[Operator, ...]:
        """Operators, first to last, that do x -> (A_1 x_1, ..., A_n x_n), with the members on a leading axis.

        Args:
            ops: A_1, ..., A_n, at least two of one likeness.
            shared: Whether all act on one x, and not each on its own part x[k].
        """
        ...

    def describe(self, inner: str) -> str:
        """A x in words, for an x in words."""
        ...


class Defaults:
    """The answers of an operator that says nothing of itself: all of them are safe, whatever it is."""

    if TYPE_CHECKING:

        def __call__(self, x: Array) -> Array: ...

    def magnitude(self) -> Any:
        return None

    def rounded(self, value: Array, error: Array, out: Array) -> Array:
        magnitude = self.magnitude()
        if magnitude is None:
            return jnp.full_like(out, jnp.inf)
        return magnitude(error + jnp.finfo(out.dtype).eps * jnp.abs(value))

    def faster(self, dtype: DTypeLike, platform: str) -> tuple[Any, str]:
        return self, ""

    @property
    def description(self) -> str:
        return type(self).__name__

    def prepared(self, dtype: DTypeLike) -> Any:
        return self

    @property
    def cost(self) -> float:
        return 0.0

    @property
    def slices_at_data(self) -> bool:
        return False

    @property
    def diagonal(self) -> Array | None:
        return None

    @property
    def dense(self) -> Array | None:
        return None

    @property
    def keeps_order(self) -> bool:
        return False

    @property
    def picks(self) -> bool:
        return self.keeps_order

    @property
    def edge_length(self) -> float | None:
        return None

    def gram_diagonal(self, weight: Array) -> Array | None:
        return None

    @property
    def convolution(self) -> Window | None:
        return None

    @property
    def circular_symbol(self) -> Array | None:
        return None

    def gram_symbol(self, periods: tuple[int, ...]) -> np.ndarray | None:
        return None

    def likeness(self) -> Hashable | None:
        return None

    def stacked(self, ops: Sequence[Any], *, shared: bool) -> tuple[Any, ...]:
        raise NotImplementedError(f"{type(self).__name__} is stacked with none")

    def describe(self, inner: str) -> str:
        return f"{type(self).__name__}({inner})"
