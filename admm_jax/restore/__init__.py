"""One call for a photograph on the conventions of `skimage.restoration`: deblur, deblur_poisson, denoise, inpaint.

Each is a short model of the builder, solved; read them as recipes. Images are 2-D, or have a `channel_axis`; integers
are brought to 0..1 and back, so that what comes out has the scale of what went in.

    >>> import numpy as np
    >>> from admm_jax import restore
    >>> sharp = restore.deblur(np.eye(32), np.ones((3, 3)), lam=1e-3)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from admm_jax.errors import DataError, ShapeError
from admm_jax.expressions import Expr, Param, Scene, Var
from admm_jax.model import Model
from admm_jax.operations import conv2d, kullback_leibler, square, tv2d
from admm_jax.operations import sum as total
from admm_jax.operations.convolution import BOUNDARIES
from admm_jax.restore.images import COUNTS, UNBLURRED, check_choice, restored, unit_kernel
from admm_jax.solution import Solution

VARIATIONS = {"anisotropic": 1, "isotropic": 2}


def deblur(
    image: Any,
    kernel: Any,
    *,
    lam: float | str = "auto",
    boundary: str = "unknown",
    tv: str = "isotropic",
    channel_axis: int | None = None,
    full_output: bool = False,
    **options: Any,
) -> Any:
    """argmin_u lam TV(u) + 1/2 ||k * u - image||^2, for each channel.

    Args:
        image: (height, width), or with a `channel_axis`; floats or integers.
        kernel: (p, q), the point spread function, its middle at ((p - 1) // 2, (q - 1) // 2); scaled to the sum one, so
            that brightness stays.
        lam: Weight of the total variation of an image with values from 0 to 1; "auto": ten times the variance of the
            noise, which is estimated from the image.
        boundary: What lies beyond the frame: "unknown", as of a photograph, where it is estimated too and cut off (see
            `admm_jax.Scene`); or "zero", black, "circular", "reflect" or "replicate", as `admm_jax.conv2d` has them.
        tv: "isotropic" or "anisotropic".
        channel_axis: Of the colours, which are restored one by one with the same lam.
        full_output: Whether to return the solutions too.
        **options: Of `Model.solve`, in the place of tol=1e-3, stop="estimate".

    Returns:
        The image, of the shape and scale of `image`, in floats; with `full_output` also a list with the `Solution` of
        each channel, in units of 0 to 1 and with its whole frame.

    Warns:
        SolveWarning: the solve did not come to its tolerance, as where `max_iterations` is small.

    Raises:
        DataError, ShapeError: an argument is wrong; it says which and what was expected.
    """
    kernel = unit_kernel(kernel)
    check_choice("boundary", boundary, ("unknown", *BOUNDARIES))

    def model_of(shape: tuple[int, int]) -> tuple[Model, Callable[[Solution], Any]]:
        seen = Param("image", *shape)
        u, blurred, frame = _blurred(seen, kernel, boundary)
        return _model(u, tv, 0.5 * total(square(blurred - seen))), frame

    level_is_free = boundary != "zero"  # the kernel sums to one
    return restored(image, model_of, lam, channel_axis, full_output, options, level_is_free=level_is_free)


def deblur_poisson(
    counts: Any,
    kernel: Any,
    *,
    background: Any = 0.0,
    lam: float | str = "auto",
    boundary: str = "unknown",
    tv: str = "isotropic",
    channel_axis: int | None = None,
    full_output: bool = False,
    **options: Any,
) -> Any:
    """argmin_u lam TV(u) + KL(k * u + background, counts) over u >= 0, for each channel, with KL of `kullback_leibler`.

    What `skimage.restoration.richardson_lucy` climbs towards without the total variation, where it has to be stopped in
    time (Dey et al., Microsc. Res. Tech. 69, 2006).

    Args:
        counts: Photon counts >= 0, (height, width), or with a `channel_axis`; integers are taken as they are. Of a
            camera's numbers they are those less its offset, divided by its gain.
        kernel: (p, q), the point spread function, as of `deblur`; scaled to the sum one.
        background: Counts that no part of the scene causes, >= 0, such as dark current; a scalar or (height, width).
        lam: Weight of the total variation; "auto": 3 over the range of the counts without their largest percent. Of
            three photographs under two kernels, with peaks of 10 to 300 counts, it lost 0.03 dB in the median and 0.2
            dB at most against the best of 1, 2, 3, 5 and 8.
        boundary: As of `deblur`.
        tv: "isotropic" or "anisotropic".
        channel_axis: Of the colours, which are restored one by one with the same lam.
        full_output: Whether to return the solutions too.
        **options: Of `Model.solve`, in the place of tol=1e-3, stop="estimate".

    Returns:
        The scene in counts, of the shape of `counts`, in floats; with `full_output` also a list with the `Solution` of
        each channel, with its whole frame.

    Raises:
        DataError, ShapeError: an argument is wrong; it says which and what was expected.
    """
    kernel = unit_kernel(kernel)
    check_choice("boundary", boundary, ("unknown", *BOUNDARIES))
    dark = np.asarray(background, float)
    if not np.all(np.isfinite(dark)) or np.any(dark < 0):
        raise DataError(f"background must be finite and not negative, got a minimum of {np.min(dark):.6g}")

    def model_of(shape: tuple[int, int]) -> tuple[Model, Callable[[Solution], Any]]:
        if dark.shape not in ((), shape):
            raise ShapeError(f"background must be a scalar or have the shape {shape} of the counts, got {dark.shape}")
        seen = Param("image", *shape, nonneg=True)
        u, blurred, frame = _blurred(seen, kernel, boundary)
        model = _model(u, tv, kullback_leibler(blurred + dark, seen))
        model.addConstr(u >= 0)
        return model, frame

    return restored(counts, model_of, lam, channel_axis, full_output, options, COUNTS, level_is_free=False)


def denoise(
    image: Any,
    *,
    lam: float | str = "auto",
    tv: str = "isotropic",
    channel_axis: int | None = None,
    full_output: bool = False,
    **options: Any,
) -> Any:
    """argmin_u lam TV(u) + 1/2 ||u - image||^2, for each channel (Rudin, Osher & Fatemi 1992).

    Args:
        image: (height, width), or with a `channel_axis`; floats or integers.
        lam: As for `deblur`; "auto" is 1 sigma here, the rule of thumb without a blur, sigma being estimated.
        tv: "isotropic" or "anisotropic".
        channel_axis: Of the colours.
        full_output: Whether to return the solutions too.
        **options: Of `Model.solve`, in the place of tol=1e-3, stop="estimate".

    Returns:
        As `deblur`.

    Raises:
        DataError, ShapeError: an argument is wrong; it says which and what was expected.
    """

    def model_of(shape: tuple[int, int]) -> tuple[Model, Callable[[Solution], Any]]:
        u, noisy = Var("u", *shape), Param("image", *shape)
        return _model(u, tv, 0.5 * total(square(u - noisy))), lambda solution: solution["u"]

    return restored(image, model_of, lam, channel_axis, full_output, options, UNBLURRED, level_is_free=True)


def inpaint(
    image: Any,
    mask: Any,
    *,
    tv: str = "isotropic",
    channel_axis: int | None = None,
    full_output: bool = False,
    **options: Any,
) -> Any:
    """argmin_u TV(u) with u = image where the mask is not set, for each channel.

    Args:
        image: (height, width), or with a `channel_axis`; floats or integers.
        mask: (height, width), true where pixels are missing, as `skimage.restoration.inpaint_biharmonic` has it.
        tv: "isotropic" or "anisotropic".
        channel_axis: Of the colours.
        full_output: Whether to return the solutions too.
        **options: Of `Model.solve`, in the place of tol=1e-3.

    Returns:
        As `deblur`; known pixels are those of the image.

    Raises:
        DataError, ShapeError: an argument is wrong; it says which and what was expected.
    """
    missing = np.asarray(mask)
    if missing.dtype != bool:
        raise DataError(f"mask must be an array of booleans, true where pixels are missing, got {missing.dtype}")
    if missing.all():
        raise DataError("mask says that all pixels are missing: there is nothing to go by")

    def model_of(shape: tuple[int, int]) -> tuple[Model, Callable[[Solution], Any]]:
        if missing.shape != shape:
            raise ShapeError(f"mask must have the shape {shape} of the image, got {missing.shape}")
        u, known = Var("u", *shape), Param("image", *shape)
        model = Model()
        model.setObjective(_variation(u, tv))
        model.addConstr(u[~missing] == known[~missing])
        return model, lambda solution: solution["u"]

    options = {"tol": 1e-3, "stop": "certificate", **options}
    return restored(image, model_of, None, channel_axis, full_output, options, level_is_free=True)


def _variation(u: Var, tv: str) -> Expr:
    check_choice("tv", tv, tuple(VARIATIONS))
    return tv2d(u, VARIATIONS[tv])


def _model(u: Var, tv: str, fit: Expr) -> Model:
    model = Model()
    model.setObjective(Param("lam") * _variation(u, tv) + fit)
    return model


def _blurred(seen: Param, kernel: np.ndarray, boundary: str) -> tuple[Var, Expr, Callable[[Solution], Any]]:
    """(the unknown u, k * u, the function from a solution to what is seen of u)."""
    if boundary == "unknown":
        scene = Scene("u", seen, kernel)
        return scene, conv2d(scene, kernel, "valid"), scene.frame
    u = Var("u", *seen.shape)
    return u, conv2d(u, kernel, "same", boundary), lambda solution: solution["u"]
