"""Every function of the package keeps the contract; and `check_function` finds what is wrong with one that does not."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from admm_jax.prox.total_variation import TotalVariation
from admm_jax.testing import check_function
from tests.prox.functions import FUNCTIONS, RNG, SHAPE, WEIGHT

EDGES = RNG.uniform(0, 1, (2, *SHAPE))
CASES = {name: (make(lambda value: value), SHAPE) for name, make in FUNCTIONS.items()} | {
    "TotalVariation": (TotalVariation(0.7, 1), SHAPE),
    "TotalVariation, edges": (TotalVariation(EDGES, 1), SHAPE),
    "TotalVariation, isotropic": (TotalVariation(0.7, 2), SHAPE),
    "TotalVariation of a signal": (TotalVariation(0.7, 1), (7,)),
    "TotalVariation of a volume": (TotalVariation(0.7, 2, None, (2.0, 1.0, 0.5)), (3, 2, 3)),
    "TotalVariation of channels": (TotalVariation(WEIGHT[:, :3], 2, (0, 2), None, 1), (3, 2, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_contract(name):
    check_function(*CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_contract_in_float32(name):
    check_function(*CASES[name], dtype="float32")


@partial(jax.tree_util.register_dataclass, data_fields=["weight"], meta_fields=[])
class Absolute:
    """g(v) = w sum |v|, right in everything: the wrong ones below differ from it in one method."""

    def __init__(self, weight=1.3):
        self.weight = weight

    def __call__(self, v):
        return self.weight * jnp.sum(jnp.abs(v))

    def prox(self, v, step):
        return v - jnp.clip(v, -step * self.weight, step * self.weight)

    def project_dual(self, p):
        return jnp.clip(p, -self.weight, self.weight)

    def into_domain(self, p):
        size = jnp.abs(p)
        return jnp.min(jnp.where(size > self.weight, self.weight / jnp.where(size > 0, size, 1), 1))

    def fenchel_gap(self, v, p):
        return jnp.sum(self.weight * jnp.abs(v) - p * v)

    def active(self, z, p):
        return z == 0


def test_a_right_one():
    check_function(Absolute(), (4,))


def register(cls):
    return jax.tree_util.register_dataclass(cls, data_fields=["weight"], meta_fields=[])


@register
class StepForgotten(Absolute):
    def prox(self, v, step):
        return v - jnp.clip(v, -self.weight, self.weight)


@register
class ProxOfAnother(Absolute):
    def prox(self, v, step):
        return v / (1 + step * self.weight)


@register
class DomainTooLarge(Absolute):
    def project_dual(self, p):
        return jnp.clip(p, -2 * self.weight, 2 * self.weight)

    def into_domain(self, p):
        size = jnp.abs(p) / 2
        return jnp.min(jnp.where(size > self.weight, self.weight / jnp.where(size > 0, size, 1), 1))


@register
class DomainTooSmall(Absolute):
    def project_dual(self, p):
        return jnp.clip(p, -self.weight / 2, self.weight / 2)


@register
class NoProjection(Absolute):
    def project_dual(self, p):
        return p * self.into_domain(p)


@register
class AlwaysInside(Absolute):
    def into_domain(self, p):
        return jnp.ones(())


@register
class TooTimid(Absolute):
    def into_domain(self, p):
        return super().into_domain(p) / 2


@register
class GapWithoutConjugate(Absolute):
    def fenchel_gap(self, v, p):
        return jnp.sum(self.weight * jnp.abs(v) - p * v) + jnp.sum(p * p)


@register
class GapOfZero(Absolute):
    def fenchel_gap(self, v, p):
        return jnp.zeros(())


@register
class HoldsNothing(Absolute):
    def active(self, z, p):
        return jnp.zeros(z.shape, bool)


@register
class WrongBounds(Absolute):
    def bounds(self):
        return -self.weight, self.weight


@register
class WrongRecession(Absolute):
    def recession(self):
        return Absolute(self.weight / 2)


@register
class Concave(Absolute):
    def __call__(self, v):
        return self.weight * jnp.sum(jnp.sqrt(jnp.abs(v)))


@register
class ProxAThousandthOff(Absolute):
    def prox(self, v, step):
        return 1.001 * super().prox(v, step)


@register
class CappedFarOut(Absolute):
    def __call__(self, v):
        return self.weight * jnp.sum(jnp.minimum(jnp.abs(v), 1e3))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (StepForgotten, "minimises"),
        (ProxOfAnother, "minimises"),
        (DomainTooLarge, r"gap\(v, p\) >= 0"),
        (DomainTooSmall, r"project_dual\(p\) = p"),
        (NoProjection, "is nearest"),
        (AlwaysInside, r"project_dual\(s p\) = s p"),
        (TooTimid, "the largest s"),
        (GapWithoutConjugate, r"gap\(z, p\) = 0"),
        (GapOfZero, r"gap\(v, p\) - gap\(w, p\)"),
        (HoldsNothing, "active changes"),
        (WrongBounds, "on dom g"),
        (WrongRecession, "recession"),
        (Concave, "minimises|convex"),
        (ProxAThousandthOff, "minimises"),
        (CappedFarOut, "g is convex"),
    ],
)
def test_what_is_wrong_is_found(wrong, says):
    with pytest.raises(AssertionError, match=says) as caught:
        check_function(wrong(), (4,))
    assert wrong.__name__ in str(caught.value)


@register
class Domain(Absolute):
    """w sum v for v >= 0, with a projection that goes too far."""

    def __call__(self, v):
        return self.weight * jnp.sum(v)

    def violation(self, v):
        return 2 * jnp.minimum(v, 0)


def test_a_domain_that_is_none():
    with pytest.raises(AssertionError, match=r"violation|convex|minimises|finite"):
        check_function(Domain(), (4,))


def test_missing_methods_are_named():
    with pytest.raises(AssertionError, match="no method `prox`"):
        check_function(np.sum, (4,))
