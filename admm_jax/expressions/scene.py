"""`Scene`: the unknown of a camera, larger than the frame that is seen of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.errors import ShapeError
from admm_jax.expressions.data import ONE_IMAGE
from admm_jax.expressions.leaves import Var
from admm_jax.expressions.node import Shape


class Scene(Var):
    """U of shape (m + p - 1, n + q - 1), of which `conv2d(U, kernel, "valid")` is an image of (m, n).

    A camera's frame shows a part of a scene that goes on beyond it, and a blur brings in light from there. No border is
    assumed: what lies beyond the frame is estimated along with the rest, from the little of it that the blur brought in
    and from the penalties. It is not seen, and `frame` leaves it out.

        U = Scene("U", B, kernel)
        model.setObjective(lam * tv2d(U) + 0.5 * sum(square(conv2d(U, kernel, "valid") - B)))
        sharp = U.frame(model.solve({"lam": 0.01}))  # of the shape of B, each pixel where it is in B

    Args:
        name: As of `Var`; None leaves it to the model.
        like: The image that is seen: an array, a `Param`, or its shape (m, n).
        kernel: Of the blur: an array, a `Param`, or its shape (p, q). Its middle is at ((p - 1) // 2, (q - 1) // 2), as
            in the mode "same" of `conv2d`; `corr2d` has that of an even kernel one pixel further.
        **attributes: `nonneg=True` or `nonpos=True`, elementwise.

    Raises:
        ShapeError: the image or the kernel is not 2-D, or empty.
    """

    __slots__ = ("_part",)

    def __init__(self, name: str | None, like: Any, kernel: Any, **attributes: Any) -> None:
        what = f"of the scene {name!r}" if name else "of a scene"
        (m, n), (p, q) = _shape(like, f"the image {what}"), _shape(kernel, f"the kernel {what}")
        super().__init__(name, (m + p - 1, n + q - 1), **attributes)
        self._part = slice(p // 2, p // 2 + m), slice(q // 2, q // 2 + n)

    @property
    def part(self) -> tuple[slice, slice]:
        """Where the frame lies in the scene: `x[U.part]`, or `part=U.part` of the criteria of `admm_jax.learn`."""
        return self._part

    @property
    def remark(self) -> str:
        """What a model prints beside the size."""
        rows, columns = self._part
        return f", of which a frame of {rows.stop - rows.start}×{columns.stop - columns.start} is seen"

    def frame(self, value: Any = None) -> Any:
        """The part that is seen, (m, n): no more is known of what is left out than that it explains the border.

        Args:
            value: A `Solution`, or an array or an expression of the scene's shape, batches before it; None is the
                solution of the last `optimize`.

        Returns:
            The part, of the kind of `value`, its dtype, and its batches.

        Raises:
            ShapeError: it has another shape.
        """
        image = self.X if value is None else value if hasattr(value, "shape") else value[self]
        if image.shape[-2:] != self.shape:
            raise ShapeError(f"the frame of the scene `{self}` is a part of shape {self.shape}, got {image.shape}")
        return image[(..., *self._part)]


def _shape(given: Any, what: str) -> Shape:
    """That of an array or an expression, or what was given as a shape itself."""
    shape: Any = getattr(given, "shape", None)
    if shape is None:
        is_shape = isinstance(given, tuple | list) and all(isinstance(n, int | np.integer) for n in given)
        shape = tuple(given) if is_shape else np.shape(given)
    if len(shape) != 2 or not all(n > 0 for n in shape):
        hint = ONE_IMAGE if len(shape) == 3 else ""
        raise ShapeError(f"{what} must be 2-D and not empty, got shape {shape}{hint}")
    return int(shape[0]), int(shape[1])
