"""Criteria without the true image. r = A u - d is the residual of the model's only squared term, of n entries."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from admm_jax.errors import DataError, ShapeError
from admm_jax.learn.noise import noise_level
from admm_jax.learn.trial import Example, Trial

STREAM = 0x5C6A2  # makes a stream of random numbers apart: e must not be the noise that a user drew from the same seed


def _sigma(given: float | None, example: Example, name: str) -> Any:
    """The noise level: the criterion's own, else the data's.

    Raises:
        DataError: there is neither, or it is not positive.
    """
    sigma = given if given is not None else example.get("sigma")
    if sigma is None:
        raise DataError(
            f"{name} needs the noise level: pass {name}(sigma=...) or data['sigma']; "
            "learn.noise_level estimates it from an image, and Whiteness, NoiseWhiteness and HeldOut need none"
        )
    if not isinstance(sigma, Tracer) and not np.all(np.asarray(sigma) > 0):
        raise DataError(f"{name} needs a noise level > 0, got {sigma}")
    return sigma


def _perturbed(example: Example, name: str, sigma: Any, seed: int) -> dict[str, Any]:
    """The example with d + h e in the place of d: e white noise of variance 1, h = 2 sigma / n^0.3.

    Args:
        example: The data of one image.
        name: Of d, of n entries, in it.
        sigma: The noise level of d.
        seed: Of e.
    """
    observed = jnp.asarray(example[name])
    step = 2 * jnp.asarray(sigma, observed.dtype) / observed.size**0.3
    direction = np.random.default_rng((seed, STREAM)).standard_normal(observed.shape)
    return {**example, name: observed + step * jnp.asarray(direction, observed.dtype)}


@dataclasses.dataclass(frozen=True)
class SUGAR:
    """An unbiased estimate of the prediction error mean (A u - A u_true)^2, whose derivative can be trusted.

        (||r||^2 - n sigma^2 + 2 sigma^2 div) / n,   div = <e, A u(d + h e) - A u(d)> / h,   h = 2 sigma / n^0.3

    e is white Gaussian noise from a seed. The exact divergence is a number of regions, piecewise constant: its
    derivative is zero almost everywhere and leaves that of ||r||^2 alone, which drives lam to zero. The difference
    over h is smooth enough to be differentiated. Each evaluation takes two solves.

    Args:
        sigma: Standard deviation of the noise; None reads data["sigma"].
        data: The name of the `Param` that holds the observed image.
        seed: Of e.

    Source: Deledalle, Vaiter, Fadili & Peyré 2014.
    """

    sigma: float | None = None
    data: str = "B"
    seed: int = 0

    def twin(self, example: Example) -> dict[str, Any]:
        """The example with d + h e in the place of d.

        Raises:
            DataError: the data lack the observed image or the noise level.
        """
        if self.data not in example:
            raise DataError(f"SUGAR perturbs data[{self.data!r}], which is missing: set `data` to the observed image")
        return _perturbed(example, self.data, _sigma(self.sigma, example, "SUGAR"), self.seed)

    def __call__(self, trial: Trial, twin: Trial, /) -> Array:
        """The estimate, per entry of the data."""
        (predicted, observed), (other, perturbed) = trial.term, twin.term
        sigma = _sigma(self.sigma, trial.example, "SUGAR")
        n = observed.size
        step = 2 * sigma / n**0.3
        # h e as it arrived in the squared term, whichever sign the data have there
        divergence = jnp.sum((perturbed - observed) * (other - predicted)) / step**2
        return jnp.mean((predicted - observed) ** 2) - sigma**2 + 2 * sigma**2 * divergence / n


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """log(||r||^2 / (n (tau sigma)^2)), whose root is the answer: the residual is as large as the noise.

    ||r||^2 never decreases in lam, so there is one root or none.

    Args:
        sigma: Standard deviation of the noise; None reads data["sigma"].
        tau: The residual asked for, in units of the noise.

    Source: Morozov 1966.
    """

    sigma: float | None = None
    tau: float = 1.0
    root = True  # `search` looks for the zero and not for the minimum

    def __call__(self, trial: Trial) -> Array:
        """The logarithm; zero where the principle holds."""
        sigma = _sigma(self.sigma, trial.example, "Discrepancy")
        return jnp.log(jnp.mean(trial.residual**2)) - 2 * jnp.log(self.tau * jnp.asarray(sigma, trial.residual.dtype))


def autocorrelation(residual: Any) -> Array:
    """(r * r)(shift) / ||r||^2 for all shifts, zero shift in the middle, with zeros beyond the border.

    Args:
        residual: (m, n).

    Returns:
        (2 m - 1, 2 n - 1), 1 in the middle.
    """
    r = jnp.asarray(residual)
    if r.ndim != 2:
        raise ShapeError(f"the autocorrelation is that of a 2-D residual, got shape {r.shape}")
    energy = jnp.sum(r**2)
    return _correlation(r, r) / jnp.where(energy > 0, energy, 1)


def _correlation(a: Array, b: Array) -> Array:
    """sum_x a(x) b(x + s) for all shifts s, (2 m - 1, 2 n - 1)."""
    m, n = a.shape
    shape = (2 * m - 1, 2 * n - 1)
    spectrum = jnp.conj(jnp.fft.rfft2(a, shape)) * jnp.fft.rfft2(b, shape)
    return jnp.fft.fftshift(jnp.fft.irfft2(spectrum, shape))


def _near(correlation: Array, reach: int) -> Array:
    """The shifts of at most `reach` pixels."""
    rows, columns = (n // 2 for n in correlation.shape)
    return correlation[max(rows - reach, 0) : rows + reach + 1, max(columns - reach, 0) : columns + reach + 1]


@dataclasses.dataclass(frozen=True)
class Whiteness:
    """sum over shifts s of ((r * r)(s) / ||r||^2)^2: least where the residual looks like white noise.

    It needs no noise level, as noise of any strength is white.

    Args:
        reach: The largest shift that counts, in pixels; None counts all.

    Source: Almeida & Figueiredo 2013; Lanza, Pragliola & Sgallari 2020.
    """

    reach: int | None = None

    def __call__(self, trial: Trial) -> Array:
        """The sum of squares, zero shift left out."""
        correlation = autocorrelation(trial.residual)
        if self.reach is not None:
            correlation = _near(correlation, self.reach)
        return jnp.sum(correlation**2) - 1


@dataclasses.dataclass(frozen=True)
class NoiseWhiteness:
    """sum over shifts 0 < |s| <= reach of (c(s) / c(0))^2: least where residual and absorbed noise are white together.

        c = r * r + share sigma^2 (e * H e),   sigma^2 = ||r||^2 / (n - <e, H e>),   H e = (A u(d + h e) - A u(d)) / h

    The solution takes up some of the noise, which is then missing in the residual: at the best lam that is not white,
    and `Whiteness` chooses too large a lam. Of the noise n the residual keeps (I - H) n, whose correlation is
    sigma^2 (delta - e * H e): sigma^2 e * H e is what was absorbed. Only a share of it is put back, for the bias of the
    solution fills the residual too: where its square grows as lam^2 and the variance falls as 1 / lam, their sum is
    least with half as much bias as variance. No noise level is needed; each evaluation takes two solves.

    Args:
        data: The name of the `Param` that holds the observed image, (m, n).
        reach: The largest shift that counts, in pixels.
        share: Of the absorbed noise that is put back.
        seed: Of e, white Gaussian noise.

    Source: the residual whiteness principle (see `Whiteness`), with the divergence of SUGAR for every shift.
    """

    data: str = "B"
    reach: int = 8
    share: float = 0.5
    seed: int = 0

    def twin(self, example: Example) -> dict[str, Any]:
        """The example with d + h e in the place of d; h is of the size of the noise, as `noise_level` estimates it.

        Raises:
            DataError: the data lack the observed image.
        """
        if self.data not in example:
            raise DataError(f"NoiseWhiteness perturbs data[{self.data!r}], which is missing: set `data`")
        return _perturbed(example, self.data, noise_level(example[self.data]), self.seed)

    def __call__(self, trial: Trial, twin: Trial, /) -> Array:
        """The sum of squares, zero shift left out."""
        (predicted, observed), (other, perturbed) = trial.term, twin.term
        if observed.ndim != 2:
            raise ShapeError(f"NoiseWhiteness takes a 2-D residual, got shape {observed.shape}")
        residual, push = predicted - observed, perturbed - observed
        step = jnp.mean(push**2)  # h^2, whichever sign the data have in the squared term
        absorbed = _correlation(push, other - predicted) / step
        absorbed = (absorbed + absorbed[::-1, ::-1]) / 2
        left = observed.size - absorbed[observed.shape[0] - 1, observed.shape[1] - 1]
        variance = jnp.sum(residual**2) / jnp.maximum(left, 1)
        near = _near(_correlation(residual, residual) + self.share * variance * absorbed, self.reach)
        return jnp.sum((near / near[near.shape[0] // 2, near.shape[1] // 2]) ** 2) - 1


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Mean of r^2 over pixels that the solve did not see: an estimate of the prediction error plus sigma^2.

    The model's squared term is masked, 0.5 * sum(square(mask * (conv2d(U, kernel, "same") - B))), with a
    `Param` for the mask, which `held_out_mask` makes. No noise level is needed. Afterwards solve with a mask of ones.

    Args:
        predict: u -> A u, the prediction of all pixels: `lambda u: admm.conv2d(u, kernel, "same")`.
        image: The variable u, a `Var` or its name.
        data: The name of the observed image in the data.
        mask: The name of the mask in the data; 0 on the pixels held out, 1 elsewhere.
    """

    predict: Any
    image: Any
    data: str = "B"
    mask: str = "mask"

    def __call__(self, trial: Trial) -> Array:
        """The error on the pixels held out."""
        missing = [name for name in (self.data, self.mask) if name not in trial.example]
        if missing:
            raise DataError(f"HeldOut reads data[{missing[0]!r}], which is missing; held_out_mask makes a mask")
        unseen = 1 - jnp.asarray(trial.example[self.mask])
        predicted = self.predict(trial[self.image])
        return jnp.sum(unseen * (predicted - jnp.asarray(trial.example[self.data])) ** 2) / jnp.sum(unseen)


def held_out_mask(shape: tuple[int, ...], share: float = 0.1, seed: int = 0) -> np.ndarray:
    """1 on the pixels to be seen and 0 on a random share of them, the same for the same seed.

    Args:
        shape: Of the observed image.
        share: Of the pixels held out, between 0 and 1.
        seed: Of the choice.

    Raises:
        DataError: the share leaves nothing to see or nothing to hold out.
    """
    size = int(np.prod(shape))
    count = round(share * size)
    if not 0 < count < size:
        raise DataError(f"share must hold out some of the {size} pixels and not all, got {share}")
    mask = np.ones(size)
    mask[np.random.default_rng(seed).choice(size, count, replace=False)] = 0.0
    return mask.reshape(shape)
