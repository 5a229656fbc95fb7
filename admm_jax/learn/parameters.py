"""Parameters with a domain: what an optimiser moves freely, and the value that it stands for.

    Positive    value = exp(raw)
    Between     value = low + (high - low) / (1 + exp(-raw))
    Simplex     value = softmax(raw): non-negative, summing to one

Each is a pytree whose only leaf is `raw`, so any optimiser can step it; `values` turns a tree of them into numbers.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.errors import DataError
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class Positive:
    """A positive number or array, moved in its logarithm; `positive(0.1)` makes one."""

    raw: Array

    @property
    def value(self) -> Array:
        """exp(raw)."""
        return jnp.exp(self.raw)


@pytree_dataclass
class Between:
    """A number or array inside an interval; `between(2.0, 0.5, 5.0)` makes one."""

    raw: Array
    low: float = static()
    high: float = static()

    @property
    def value(self) -> Array:
        """Low + (high - low) sigmoid(raw)."""
        return self.low + (self.high - self.low) * jax.nn.sigmoid(self.raw)


@pytree_dataclass
class Simplex:
    """Non-negative taps that sum to one, such as an unknown blur kernel; `simplex(kernel)` makes one."""

    raw: Array

    @property
    def value(self) -> Array:
        """softmax(raw) over all entries."""
        return jax.nn.softmax(self.raw.ravel()).reshape(self.raw.shape)


Constrained = Positive | Between | Simplex


def positive(value: Any) -> Positive:
    """A parameter that stays positive.

    Raises:
        DataError: the value is not positive and finite.
    """
    array = _floating(value)
    if not (np.all(np.asarray(array) > 0) and np.all(np.isfinite(array))):
        raise DataError(f"a positive parameter must start at finite numbers > 0, got {value!r:.60}")
    return Positive(jnp.log(array))


def between(value: Any, low: float, high: float) -> Between:
    """A parameter that stays strictly between two bounds.

    Args:
        value: Where it starts, any shape.
        low: The lower bound.
        high: The upper bound.

    Raises:
        DataError: it does not start there.
    """
    array = _floating(value)
    if not np.all((low < np.asarray(array)) & (np.asarray(array) < high)):
        raise DataError(f"a parameter between {low:g} and {high:g} must start inside, got {value!r:.60}")
    share = (array - low) / (high - low)
    return Between(jnp.log(share) - jnp.log1p(-share), float(low), float(high))


def simplex(taps: Any, floor: float = 1e-4) -> Simplex:
    """Taps >= 0 that sum to one.

    Args:
        taps: Where they start, any shape; scaled to sum to one.
        floor: Added to each, as a share of the largest: a tap of exactly zero could never grow.

    Raises:
        DataError: a tap is negative, or all are zero.
    """
    array = _floating(taps)
    if not (np.all(np.asarray(array) >= 0) and np.sum(array) > 0 and np.all(np.isfinite(array))):
        raise DataError(f"taps must start at finite numbers >= 0 with a positive sum, got {taps!r:.60}")
    return Simplex(jnp.log(array / jnp.max(array) + floor))


def values(tree: Any) -> Any:
    """The tree with the value of each parameter in its place; arrays stay as they are. Differentiable."""
    return jax.tree.map(_value, tree, is_leaf=_is_constrained)


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Constrained) else leaf


def _is_constrained(leaf: Any) -> bool:
    return isinstance(leaf, Constrained)


def _floating(value: Any) -> Array:
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))
