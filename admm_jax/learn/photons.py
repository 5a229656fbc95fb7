"""A criterion for counts: photons are independent, so some are held out and the others must predict them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import kl_div

from admm_jax.errors import DataError
from admm_jax.learn.trial import Example, Trial

PER_COUNT = 3.0  # lam of counts times their range; measured, see `restore.deblur_poisson`


def thin(counts: Any, share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(seen, held) = ((y - h) / (1 - share), h / share),   h ~ binomial(y, share) in each pixel.

    Each photon is held out with probability `share`. Where the counts y are Poisson of mean m, y - h and h are
    independent and Poisson of the means (1 - share) m and share m: seen and held are two images of the mean m, each
    with noise of its own. A model written for y, with its background, stands for both, and its lam too.

    Args:
        counts: y, whole numbers, none negative, of any shape.
        share: Of the photons that are held out, between 0 and 1.
        seed: Of the choice.

    Returns:
        seen and held, of the shape of y, in its units.

    Raises:
        DataError: y are no counts, or the share leaves nothing to see or nothing to hold out.

    Source: Neufeld, Dharamshi, Gao & Witten, Data thinning for convolution-closed distributions, 2024.
    """
    y = np.asarray(counts)
    if not 0 < share < 1:
        raise DataError(f"share must lie between 0 and 1, got {share}")
    if y.dtype.kind not in "iuf" or not np.all((y >= 0) & (y == np.round(y)) & (y < 2.0**53)):
        raise DataError(
            f"counts must be whole numbers and none negative, got {y.dtype} of shape {y.shape} that are not"
        )
    held = np.random.default_rng(seed).binomial(y.astype(np.int64), share)
    return (y - held) / (1 - share), held / share


def lam_of_counts(counts: Any) -> float:
    """3 / (q_0.99 - min): a weight of the total variation of counts, by their range without the largest percent.

    Args:
        counts: Of any shape, in photons.

    Raises:
        DataError: they are all equal.
    """
    spread = float(np.quantile(counts, 0.99) - np.min(counts))
    if not spread > 0:
        raise DataError("lam goes by the range of the counts, and they are all equal: pass a number")
    return PER_COUNT / spread


@dataclasses.dataclass(frozen=True)
class HeldOutPhotons:
    """2 mean(h log(h / m) - h + m), m = A u + b: how badly the restored image predicts photons that it did not see.

    The model is solved for the photons that were seen, and no noise level is needed:

        seen, held = learn.thin(counts)
        found = learn.search(model, "lam", learn.HeldOutPhotons(lambda u: blur(u) + b, U), {"B": seen, "held": held})
        model.solve({**found.values, "B": counts})  # all photons, with that lam

    Args:
        predict: u -> A u + b, the expected counts of all photons, background and all.
        image: The variable u, a `Var` or its name.
        held: The name of the photons held out, h, in the data.
    """

    predict: Any
    image: Any
    held: str = "held"

    def start(self, example: Example) -> float:
        """Where a search for lam begins: at `lam_of_counts` of the photons held out.

        Raises:
            DataError: they are missing, or all equal.
        """
        return lam_of_counts(self._of(example))

    def _of(self, example: Example) -> Any:
        if self.held not in example:
            raise DataError(f"HeldOutPhotons reads data[{self.held!r}], which is missing; learn.thin makes it")
        return example[self.held]

    def __call__(self, trial: Trial) -> Array:
        """The deviance of the photons held out, for each pixel."""
        held = jnp.asarray(self._of(trial.example))
        # a photon where none is predicted makes the deviance infinite, and no search finds its way from there
        least = jnp.finfo(held.dtype).eps * jnp.mean(held)
        return 2 * jnp.mean(kl_div(held, jnp.maximum(self.predict(trial[self.image]), least)))
