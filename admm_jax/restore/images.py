"""Images of a kind, channel by channel: brought to values of 0 to 1, restored by a model, and brought back."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from admm_jax.derivative.tell import called_from
from admm_jax.errors import DataError, ShapeError, SolveWarning
from admm_jax.learn.noise import START, noise_level
from admm_jax.learn.photons import lam_of_counts
from admm_jax.model import Model
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.status import Status

PEDESTAL = 1.0  # times the range of an image: from there its level is taken off, for it costs iterations and digits
DONE = (Status.SOLVE_OPT_SUCCESS, Status.SOLVE_ESTIMATE_REACHED)
ENOUGH = {"tol": 1e-3, "stop": "estimate"}  # a smaller gap changes neither what the eye sees nor the PSNR


class Kind(NamedTuple):
    """What is known of images of a kind.

    `name`: of the argument; `automatic`: from the channels to lam, for "auto"; `counted`: whether they are counts,
    which keep their scale and are not negative.
    """

    name: str
    automatic: Callable[[np.ndarray], float]
    counted: bool = False


def _sigma(channels: np.ndarray) -> float:
    sigma = float(np.mean([float(noise_level(channel)) for channel in channels]))
    if not sigma > 0:
        raise DataError("lam='auto' goes by the noise of the image, and there is none to be seen: pass a number")
    return sigma


PHOTOGRAPH = Kind("image", lambda channels: START * _sigma(channels) ** 2 / float(np.ptp(channels)))
UNBLURRED = Kind("image", _sigma)
COUNTS = Kind("counts", lam_of_counts, counted=True)


def restored(
    image: Any,
    model_of: Callable[[tuple[int, int]], tuple[Model, Callable[[Solution], Any]]],
    lam: float | str | None,
    channel_axis: int | None,
    full_output: bool,
    options: dict[str, Any],
    kind: Kind = PHOTOGRAPH,
    *,
    level_is_free: bool,
) -> Any:
    """Each channel restored by the model in values of 0 to 1, put together again in the scale of the image.

    Args:
        image: As the user gave it.
        model_of: From the shape of a channel to (the model, with the `Param` "image", the function from its solution to
            the channel).
        lam: As the user gave it; None for a model that has none.
        channel_axis: Of the colours; None for an image of one channel.
        full_output: Whether to return the solutions too.
        options: Of `Model.solve`, over `ENOUGH`.
        kind: Of image.
        level_is_free: Whether the solution for image + c is that for the image, plus c.
    """
    if np.ma.isMaskedArray(image):
        raise DataError(f"{kind.name} must be an array without a mask of its own: pass the mask to inpaint")
    array = np.asarray(image)
    channels, axis, scale = _channels(array, channel_axis, kind)
    if kind.counted and channels.min() < 0:
        raise DataError(f"counts must not be negative, got a minimum of {channels.min():.6g}")
    model, seen = model_of((channels.shape[1], channels.shape[2]))
    weight = {} if lam is None else {"lam": np.asarray(_weight(lam, channels, kind), channels.dtype)}
    options = {**ENOUGH, **options}
    levels = [_level(channel) if level_is_free else 0.0 for channel in channels]
    solutions: list[Solution] = []
    for channel, level in zip(channels, levels, strict=True):
        solution = model.solve({**weight, "image": channel - channel.dtype.type(level)}, **options)
        _tell(solution, channel, kind)
        if level:
            values = {name: value + level for name, value in solution.values.items()}
            solution = replace(solution, values=values, range=solution.range + level)
        solutions.append(solution)
    together = np.stack([np.asarray(seen(solution)) for solution in solutions]) * np.asarray(scale, channels.dtype)
    result = together[0] if axis is None else np.moveaxis(together, 0, axis)
    return (result, solutions) if full_output else result


def _level(channel: np.ndarray) -> float:
    """What to take off a channel before it is solved: its median, where that is far from zero beside its range."""
    middle = float(np.median(channel))
    return middle if abs(middle) > PEDESTAL * float(np.ptp(channel)) else 0.0


def _tell(solution: Solution, channel: np.ndarray, kind: Kind) -> None:
    """Refuse what is no image, and warn of one that is not the solution: nobody looks at a status who has only that."""
    status = Status(int(solution.status))
    if status is Status.SOLVE_NAN_FOUND:
        largest, dtype = float(np.max(np.abs(channel))), np.asarray(solution.objective).dtype.name
        raise DataError(
            f"{kind.name} must have squares that {dtype} can hold, got values up to {largest:.3g}: scale it"
        )
    if status not in DONE:
        text = (
            f"the {kind.name} is not restored to the tolerance: {status.name}, {status.meaning} (estimated gap "
            f"{float(solution.estimate):.1e}); full_output=True returns the solution, whose report says what helps"
        )
        warnings.warn_explicit(text, SolveWarning, *called_from())


def _channels(array: np.ndarray, channel_axis: int | None, kind: Kind) -> tuple[np.ndarray, int | None, float]:
    """(channels, height, width), integers brought to 0..1 unless they are counts; the axis of channels; the scale."""
    wanted = 2 if channel_axis is None else 3
    if array.ndim != wanted:
        hint = "; channel_axis names the axis of the colours" if array.ndim == 3 else ""
        raise ShapeError(f"{kind.name} must have {wanted} axes, got shape {array.shape}{hint}")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise DataError(f"{kind.name} must be of floats or integers, got {array.dtype}")
    if channel_axis is not None and not -3 <= channel_axis < 3:
        raise ShapeError(f"channel_axis must lie between -3 and 2, got {channel_axis}")
    if not np.all(np.isfinite(array)):
        raise DataError(f"{kind.name} must be finite, got NaN or infinity")
    scale = float(np.iinfo(array.dtype).max) if np.issubdtype(array.dtype, np.integer) and not kind.counted else 1.0
    single = array.dtype if array.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    channels = array[None] if channel_axis is None else np.moveaxis(array, channel_axis, 0)
    return (channels / scale).astype(single), channel_axis, scale


def unit_kernel(kernel: Any) -> np.ndarray:
    """The kernel, checked, of the sum one."""
    array = np.asarray(kernel)
    if array.dtype.kind not in "fiub":
        raise DataError(f"kernel must be of floats or integers, got {array.dtype}")
    array = array.astype(float)
    if array.ndim != 2 or array.size == 0:
        raise ShapeError(f"kernel must be a 2-D array, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise DataError("kernel must be finite, got NaN or infinity")
    sum_of = array.sum()
    if not sum_of > 1e-6 * np.abs(array).sum():
        raise DataError(f"kernel must have a positive sum, so that it can be scaled to one, got {sum_of}")
    return array / sum_of


def _weight(lam: float | str, channels: np.ndarray, kind: Kind) -> float:
    """lam as given, or for "auto" as the kind of image has it."""
    if isinstance(lam, str):
        check_choice("lam", lam, ("auto",))
        return kind.automatic(channels)
    if np.ndim(lam) or np.asarray(lam).dtype.kind not in "fiu" or not 0 <= lam < np.inf:
        raise DataError(f"lam must be a number that is not negative, or 'auto', got {lam!r}")
    return float(lam)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise DataError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
