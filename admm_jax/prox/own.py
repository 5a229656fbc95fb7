"""Functions of a user's own, brought to the contract of `base.py`: what they do not say counts as unknown.

    u -> w (g(u / s) - inf g),       w the weight, s the scale of the units that the solver works in

inf g = -g*(0) comes from g's own Fenchel gap, g(v) - inf g = g(v) + g*(0) - <v, 0>; so g may be negative.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.prox.base import Variation
from admm_jax.prox.constraints import Box
from admm_jax.prox.defaults import ClosedForm, is_no_weight
from admm_jax.prox.stacked import MemberByMember
from admm_jax.pytree import pytree_dataclass, replace, static

ITERATES = ("__call__", "prox")
CERTIFIES = ("project_dual", "into_domain", "fenchel_gap")
DIFFERENTIATES = ("active",)
ROUNDING = 64  # an infimum of at most so many eps |g(z)|, z being the point that it was found at, is zero


def offers(function: Any, names: tuple[str, ...]) -> bool:
    """Whether an object has all of these methods."""
    return all(callable(getattr(function, name, None)) for name in names)


@contextlib.contextmanager
def _width(xp: Any) -> Iterator[None]:
    """The context in which a user's function runs: JAX in float64 where numbers are NumPy's, else as it is set.

    NumPy's numbers are computed at once, also in a function that is traced.
    """
    if xp is not np:
        yield
        return
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        yield


class _Same:
    """An object that is no pytree: equal to itself only."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


@dataclasses.dataclass(frozen=True)
class Template:
    """A function without its numbers, which are the leaves of a pytree; one that is no pytree has none."""

    structure: Any
    name: str

    @staticmethod
    def of(function: Any) -> tuple[Template, list]:
        """(the template, its leaves) of a user's object."""
        name = getattr(function, "__name__", type(function).__name__)
        leaves, structure = jax.tree.flatten(function)
        if len(leaves) == 1 and leaves[0] is function:
            return Template(_Same(function), name), []
        return Template(structure, name), leaves

    def build(self, leaves: Any) -> Any:
        """The user's object with these numbers in it."""
        if isinstance(self.structure, _Same):
            return self.structure.value
        return jax.tree.unflatten(self.structure, leaves)

    def value(self, xp: Any, v: Any, leaves: Any) -> Any:
        """g(v), infinite outside dom g.

        Args:
            xp: numpy, which makes it float64, or jax.numpy.
            v: Of the shape that g takes.
            leaves: The numbers of g.
        """
        with _width(xp):
            g, v = self.build(leaves), jnp.asarray(v)
            value = g(v)
            if offers(g, ("violation",)):
                value = jnp.where(jnp.any(g.violation(v) != 0), jnp.inf, value)
            return np.asarray(value) if xp is np else value

    def least(self, xp: Any, shape: tuple[int, ...], dtype: Any, leaves: Any) -> Any:
        """inf g = g(z) - (g(z) + g*(0)) at z = prox(0), zero where g* is not known.

        Args:
            xp: numpy, which makes it float64, or jax.numpy.
            shape: Of the argument of g.
            dtype: Of the computation.
            leaves: The numbers of g.
        """
        with _width(xp):
            g = self.build(leaves)
            if not offers(g, CERTIFIES):
                return xp.zeros((), dtype)
            zero = jnp.zeros(shape, dtype)
            point = g.prox(zero, jnp.ones((), dtype))
            value = g(point)
            least = value - g.fenchel_gap(point, zero)
            least = jnp.where(jnp.abs(least) <= ROUNDING * jnp.finfo(dtype).eps * jnp.abs(value), 0, least)
            return np.asarray(least) if xp is np else least


@pytree_dataclass
class Own(MemberByMember, ClosedForm):
    """u -> w (g(u / s) - inf g), with g made of the `template` and its `leaves`.

    All axes have one scale. Where the weight is zero only the domain of g is left.
    """

    leaves: tuple[Array, ...]
    weight: Array
    scale: Array
    template: Template = static()

    is_balanced = False  # as far as is known
    is_box = False
    holds_entries = False
    kinks_move = True
    unbounded_curvature = True  # as far as is known

    @property
    def own(self) -> Any:
        """The user's object."""
        return self.template.build(self.leaves)

    @property
    def certifies(self) -> bool:
        return offers(self.own, CERTIFIES)

    @property
    def differentiates(self) -> bool:
        return self.certifies and offers(self.own, DIFFERENTIATES)

    @property
    def is_constraint(self) -> bool:
        return bool(getattr(self.own, "is_constraint", False))

    @property
    def has_domain(self) -> bool:
        return offers(self.own, ("violation",))

    def _safe_weight(self) -> Array:
        return jnp.where(self.weight > 0, self.weight, 1)

    def __call__(self, v: Array) -> Array:
        v = v / self.scale
        return self.weight * (self.own.fenchel_gap(v, jnp.zeros_like(v)) if self.certifies else self.own(v))

    def violation(self, v: Array) -> Array:
        return self.scale * self.own.violation(v / self.scale) if self.has_domain else jnp.zeros_like(v)

    def prox(self, v: Array, step: Array) -> Array:
        z = self.scale * self.own.prox(v / self.scale, step * self._safe_weight() / self.scale**2)
        return jnp.where(self.weight > 0, z, v - self.violation(v))

    def ties(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim))

    def scaled(self, scale: Array, cost: Array) -> Own:
        return replace(self, weight=cost * self.weight, scale=jnp.max(scale) * self.scale)

    def strength(self) -> Array:
        return jnp.zeros(())

    def extent(self, offset: Array) -> Array:
        return jnp.abs(offset)

    def bounds(self) -> tuple[Array, Array] | None:
        if not offers(self.own, ("bounds",)):
            return None
        lower, upper = self.own.bounds()
        return lower * self.scale, upper * self.scale

    def invalid(self) -> Array:
        return is_no_weight(self.weight)

    def empty(self) -> Array:
        return jnp.zeros((), bool)

    def describe(self, steps: int) -> str:
        known = "certified" if self.certifies else "no certificate: its conjugate is not known"
        return f"that of {self.template.name}, its own; {known}"

    def variation(self) -> Variation | None:
        return None

    def _own_dual(self, p: Array) -> Array:
        """p as a dual of g."""
        return p * (self.scale / self._safe_weight())

    def project_dual(self, p: Array) -> Array:
        if not self.certifies:
            return p
        own = self.own.project_dual(self._own_dual(p)) * (self._safe_weight() / self.scale)
        return jnp.where(self.weight > 0, own, 0)

    def into_domain(self, p: Array) -> Array:
        if not self.certifies:
            return jnp.ones((), p.dtype)
        own = jnp.asarray(self.own.into_domain(self._own_dual(p)), p.dtype)
        return jnp.where(self.weight > 0, own, jnp.where(jnp.any(p != 0), 0, 1))

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        if not self.certifies:
            return jnp.full((), jnp.inf, v.dtype)
        own = self.weight * self.own.fenchel_gap(v / self.scale, self._own_dual(p))
        return jnp.where(self.weight > 0, own, jnp.where(jnp.any(p != 0), jnp.inf, 0)).astype(v.dtype)

    def rise(self, v: Array, delta: Array) -> Array:
        """sum |g'| delta at v + delta or v - delta, whichever is steeper, entry by entry."""

        def steepness(at: Array) -> Array:
            slope = jnp.abs(jax.grad(lambda u: self.own(u / self.scale))(at - self.violation(at)))
            return jnp.where(delta > 0, slope * delta, 0)  # where delta is zero, a slope of NaN at a kink is no matter

        return self.weight * jnp.sum(jnp.maximum(steepness(v + delta), steepness(v - delta)))

    def support(self, force: Array, level: Array) -> Array:
        return jnp.where(jnp.any(force != 0), jnp.inf, 0).astype(force.dtype)

    def recession(self) -> Any:
        """That of g, where it says it; else no direction is known to be free."""
        if offers(self.own, ("recession",)):
            return _Recession(self.own.recession(), self.weight, self.scale)
        zero = jnp.zeros_like(jnp.asarray(self.scale))
        return Box(zero, zero)

    def held(self, z: Array) -> Array:
        return jnp.zeros(z.shape, bool)

    def active(self, z: Array, p: Array) -> Array:
        if not self.differentiates:
            return jnp.zeros((), bool)
        return self.own.active(z / self.scale, self._own_dual(p))

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        """g(w) - <p, w> at w = prox(v + t p, t), which equals v.

        Its derivative in the parameters is that of -g*(p): w follows the edge of dom g where they move it. Any other
        move of w changes nothing to first order, for w minimises g(w) - <p, w>. t makes t p as large as v.
        """
        sizes = jnp.max(jnp.abs(v), initial=0), jnp.max(jnp.abs(p), initial=0)
        good = (sizes[0] > 0) & (sizes[1] > 0)
        t = lax.stop_gradient(jnp.where(good, sizes[0] / jnp.where(good, sizes[1], 1), 1))
        w = self.prox(v + t * p, t)
        return self(w) - jnp.sum(p * w)

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        return jnp.zeros_like(v)

    def blur(self, v: Array, z: Array, p: Array, rho: Array) -> Array:
        """How differently the prox answers to a push at z + p / rho and at v + p / rho, relative to the push."""

        def moved(at: Array) -> Array:
            return jax.jvp(lambda u: self.prox(u, 1 / rho), (at + p / rho,), (jnp.ones_like(at),))[1]

        return jnp.sqrt(jnp.sum((moved(z) - moved(v)) ** 2) / max(v.size, 1))


@dataclasses.dataclass(frozen=True)
class _Recession:
    """u -> w r(u / s), of a recession function r of the user's own."""

    function: Any
    weight: Array
    scale: Array

    def __call__(self, v: Array) -> Array:
        return self.weight * self.function(v / self.scale)

    def violation(self, v: Array) -> Array:
        return self.function.violation(v) if offers(self.function, ("violation",)) else jnp.zeros_like(v)
