"""What the solver needs to know of a convex function g: value, prox, conjugate, and how far a pair is from optimal."""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array


class Function(Protocol):
    """A closed convex g with g >= 0 or an indicator; a pytree whose leaves are its weights.

    The last ones describe the convex conjugate g*(p) = sup_v <p, v> - g(v), whose domain every g here knows in
    closed form. They are all that a duality gap needs.
    """

    @property
    def is_constraint(self) -> bool:
        """Whether g is an indicator: then `__call__` is zero and `violation` says how far v is outside."""
        ...

    def __call__(self, v: Array) -> Array:
        """g(v), a scalar (zero for an indicator)."""
        ...

    def prox(self, v: Array, step: Array) -> Array:
        """argmin_z g(z) + ||z - v||^2 / (2 step)."""
        ...

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """What the prox of a v of this shape starts from the first time; empty where it is a closed form."""
        ...

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        """(`prox`, what the next one starts from); `effort`: the inner steps of one that is no closed form."""
        ...

    def dual(self, y: Array, memory: Array) -> Array:
        """The dual p of h in g = h D (D the identity for most) with D^T p = y: y itself, or what the prox remembers."""
        ...

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        """(y, memory) with `dual` p, for a memory of the same shape: the inverse of `dual`."""
        ...

    def violation(self, v: Array) -> Array:
        """v minus its projection onto dom g: zero where g is finite."""
        ...

    def project_dual(self, p: Array) -> Array:
        """A point of dom g* near p (the projection of p)."""
        ...

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        """g(v) + g*(p) - <v, p> >= 0, a scalar, for v in dom g and p in dom g*; zero iff p is in dg(v).

        Written so that equal terms cancel before they are summed.
        """
        ...

    def rest(self, v: Array, p: Array) -> Array:
        """g(v) - <p, v> = -g*(p) for p in dg(v), with the derivative of -g* in the parameters of g."""
        ...

    def into_domain(self, p: Array) -> Array:
        """The largest s in [0, 1] with s p in dom g*: zero is in it, for g is bounded below by zero."""
        ...

    @property
    def is_balanced(self) -> bool:
        """Whether dom g* = -dom g*, so that what is outside by rounding need only be scaled by one less rounding."""
        ...

    def strength(self) -> Array:
        """The size of dom g*, a scalar or broadcasting to v: how large duals get; zero where nothing bounds them."""
        ...

    def extent(self, offset: Array) -> Array:
        """The size of v - offset that g asks for, entry by entry; zero where it does not say."""
        ...

    def ties(self, ndim: int) -> tuple[int, ...]:
        """The axes of v, of `ndim`, along which `scaled` takes one scale only."""
        ...

    def scaled(self, scale: Array, cost: Array) -> Function:
        """u -> cost g(u / scale), for a scale > 0 (a scalar or of v's shape, see `ties`) and a cost > 0."""
        ...

    def bounds(self) -> tuple[Array, Array] | None:
        """(lower, upper) with lower <= v <= upper, entry by entry, on dom g; None of a g that bounds no entry alone."""
        ...

    def support(self, force: Array, level: Array) -> Array:
        """A bound on sup {|<force, v>| : g(v) <= level}; infinite where g does not bound it."""
        ...

    def recession(self) -> Function:
        """v -> lim g(t v) / t: what a direction costs in the end; tells an unbounded model."""
        ...

    def invalid(self) -> Array:
        """Whether a weight or radius is negative, or a number is none: a traced boolean."""
        ...

    def empty(self) -> Array:
        """Whether bounds cross, so that no v is in dom g: a traced boolean."""
        ...
