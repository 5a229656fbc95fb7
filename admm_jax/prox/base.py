"""What the solver needs to know of a convex function g: its prox, its conjugate, and what it holds.

The contract has three tiers. Who knows less of a function gets an answer that claims less, never more:

1. iterate          a model with it is solved; no gap is known, and the solve ends by its residuals
2. certify          and the gap is certified; a derivative is the prox's own, marked as in doubt
3. differentiate    and it is known whether the derivative is exact

g may be h after a linear map D, as total variation is a norm of differences (`inner`). Its duals p then are those of h,
and all that tiers 2 and 3 ask is answered for h, in the shapes of h. For most D is the identity and h is g.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from jax import Array

from admm_jax.operators.base import Operator
from admm_jax.operators.difference import Difference


class Variation(Protocol):
    """A function that is a norm of the differences of neighbours, in which solutions have flat regions."""

    def difference(self, shape: tuple[int, ...]) -> Difference:
        """The differences of an array of this shape that it is a norm of."""
        ...

    @property
    def weight(self) -> Array:
        """A scalar, a map per pixel or, where it is not isotropic, one per edge (number of axes, *shape)."""
        ...

    @property
    def isotropic(self) -> bool:
        """Whether a pixel's differences count together, by their length."""
        ...

    @property
    def by_pixel(self) -> bool:
        """Whether no differences of different pixels count together, as those of the channels of a colour image do."""
        ...

    def balance(
        self, force: Array, field: Array, free: Array, borne: tuple[Array, Array], iterations: Array | int
    ) -> Array:
        """The dual field that balances a force best; arguments as of `TotalVariation.balance`."""
        ...


class Function(Protocol):
    """A closed convex g with g >= 0 or an indicator; a pytree whose leaves are its weights.

    The methods stand in the order of the three tiers.
    """

    # 1. iterate

    def __call__(self, v: Array) -> Array:
        """g(v) for v in dom g, a scalar (zero for an indicator)."""
        ...

    @property
    def is_constraint(self) -> bool:
        """Whether g is an indicator: then `__call__` is zero and `violation` says how far v is outside."""
        ...

    @property
    def has_domain(self) -> bool:
        """Whether g is infinite somewhere: then `violation` is not always zero. A g may have a value and a domain."""
        ...

    def violation(self, v: Array) -> Array:
        """v minus its projection onto dom g: zero where g is finite."""
        ...

    def prox(self, v: Array, step: Array) -> Array:
        """argmin_z g(z) + ||z - v||^2 / (2 step)."""
        ...

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """What the prox of a v of this shape starts from the first time; empty where it is a closed form."""
        ...

    def prox_from(self, v: Array, step: Array, memory: Array, effort: Array | int) -> tuple[Array, Array]:
        """(`prox`, what the next one starts from).

        Args:
            v: The argument.
            step: > 0, a scalar.
            memory: What the prox before left, or `memory`.
            effort: The inner steps, of a prox that is no closed form.
        """
        ...

    def ties(self, ndim: int) -> tuple[int, ...]:
        """The axes of v, of `ndim`, along which `scaled` takes one scale only."""
        ...

    def scaled(self, scale: Array, cost: Array) -> Function:
        """u -> cost g(u / scale), for a scale > 0 (a scalar or of v's shape, see `ties`) and a cost > 0."""
        ...

    def strength(self) -> Array:
        """The size of dom g*, a scalar or broadcasting to v: how large duals get; zero where nothing bounds them."""
        ...

    def secant_curvature(self, size: Array) -> Array:
        """About the curvature of g where v is off its least by `size`: >= 0, a scalar or of v's shape.

        Zero where it is not known, as of a constraint. It decides no more than how large penalty parameters are.
        """
        ...

    def extent(self, offset: Array) -> Array:
        """The size of A x where A x + `offset` lies at a kink or a bound of g, entry by entry; zero if it has none."""
        ...

    def bounds(self) -> tuple[Array, Array] | None:
        """(lower, upper) with lower <= v <= upper, entry by entry, on dom g; None of a g that bounds no entry alone."""
        ...

    @property
    def is_box(self) -> bool:
        """Whether g is the indicator of its `bounds`, and nothing else."""
        ...

    def invalid(self) -> Array:
        """Whether a weight or radius is negative, or any number is NaN: a traced boolean."""
        ...

    def empty(self) -> Array:
        """Whether bounds cross, so that no v is in dom g: a traced boolean."""
        ...

    def likeness(self) -> Hashable | None:
        """What functions of v of one shape have in common that can be stacked; None where it can be with none."""
        ...

    def stacked(self, functions: Sequence[Any], shape: tuple[int, ...]) -> Function:
        """v -> sum_k g_k(v[k]), for functions of one likeness, each of a v[k] of this shape."""
        ...

    def describe(self, steps: int) -> str:
        """How its prox is computed, in words; `steps`: the inner steps of one that is no closed form."""
        ...

    # 2. certify

    @property
    def certifies(self) -> bool:
        """Whether it has this tier; the rest of it is never asked of a g that has not, or proves nothing."""
        ...

    def inner(self, shape: tuple[int, ...]) -> tuple[Operator | None, Function]:
        """(D, h) with g(v) = h(D v), for v of this shape; (None, g) for most."""
        ...

    def variation(self) -> Variation | None:
        """g as a norm of differences, if it is one: for what can be done on flat regions only."""
        ...

    def dual(self, y: Array, memory: Array) -> Array:
        """The dual p of h with D^T p = y: y itself where D is the identity, or what the prox remembers."""
        ...

    def from_dual(self, p: Array, memory: Array) -> tuple[Array, Array]:
        """(y, memory) with `dual` p, for a memory of the same shape: the inverse of `dual`."""
        ...

    def project_dual(self, p: Array) -> Array:
        """The projection of p onto dom g*."""
        ...

    def into_domain(self, p: Array) -> Array:
        """The largest s in [0, 1] with s p in dom g*: zero is in it, for g is bounded below by zero."""
        ...

    @property
    def is_balanced(self) -> bool:
        """Whether dom g* = -dom g*: then a factor of one less some rounding brings into it what rounding left out."""
        ...

    def fenchel_gap(self, v: Array, p: Array) -> Array:
        """g(v) + g*(p) - <v, p> >= 0, a scalar, for v in dom g and p in dom g*; zero iff p is in dg(v).

        Written so that equal terms cancel before they are summed.
        """
        ...

    def rise(self, v: Array, delta: Array) -> Array:
        """A bound, to first order, on |g(v + d) - g(v)| for all |d| <= delta, entry by entry."""
        ...

    def support(self, force: Array, level: Array) -> Array:
        """A bound on sup {sum |force_i v_i| : g(v) <= level}; infinite where g does not bound it."""
        ...

    def recession(self) -> Function:
        """v -> lim g(t v) / t for t -> infinity: what going far along v costs; it tells unbounded models."""
        ...

    # 3. differentiate

    @property
    def differentiates(self) -> bool:
        """Whether it has this tier; of a g that has not, the active set never counts as settled."""
        ...

    def active(self, z: Array, p: Array) -> Array:
        """An array of booleans that changes whenever the active set does, for p in dg(z): as a rule, what is held."""
        ...

    @property
    def holds_entries(self) -> bool:
        """Whether what g holds are entries, each alone or by groups (`held`), and all else is free and smooth."""
        ...

    def held(self, z: Array) -> Array:
        """Which entries of z stand at a kink or a bound, where g `holds_entries`; none where it does not."""
        ...

    def minus_conjugate(self, v: Array, p: Array) -> Array:
        """g(v) - <p, v> = -g*(p) for p in dg(v), with the derivative of -g* in the parameters of g."""
        ...

    @property
    def kinks_move(self) -> bool:
        """Whether a change of the parameters of g may move its kinks, or the edge of its domain."""
        ...

    @property
    def unbounded_curvature(self) -> bool:
        """Whether the curvature of g grows without bound towards what it holds, as that of the norm of a group."""
        ...

    def hessian_diagonal(self, v: Array, held: Array) -> Array:
        """The diagonal of g''(v), zero where `held`; asked only where it is unbounded."""
        ...

    def blur(self, v: Array, z: Array, p: Array, rho: Array) -> Array:
        """How far v and z, two readings of one value, disagree on g'', relative: a scalar; asked where it is unbounded.

        Args:
            v: A x + b.
            z: Near v, with z = prox(z + p / rho).
            p: In dg(z), of the shape of z.
            rho: > 0, a scalar.
        """
        ...
