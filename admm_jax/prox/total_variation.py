"""Total variation and its prox: Chambolle's dual projection, accelerated and warm-started.

    TV(v) = sum_e w_e |(D v)_e|  (p = 1, anisotropic)    or    sum_pixels w ||(D v)_pixel||_2  (p = 2, isotropic)

    prox(v, t) = v - t D^T p,   p = argmin_{p in C} ||v - t D^T p||^2,   C = {|p_e| <= w_e} or {||p_pixel|| <= w}

(Chambolle 2004; the accelerated projected gradient on p is FGP, Beck & Teboulle 2009, with ||D||^2 <= 4 ndim). The
dual field p is feasible at any moment and does not depend on t, so it is carried from one prox to the next.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.base import Difference
from admm_jax.prox.functions import L1, GroupL2
from admm_jax.pytree import pytree_dataclass, static


@pytree_dataclass
class TotalVariation:
    """w TV(v) of a 1-D or 2-D array.

    `weight` is a scalar, a map per pixel, or (p = 1) a map per edge (ndim, *shape).
    """

    weight: Array
    p: int = static()

    @property
    def is_constraint(self) -> bool:
        return False

    def lifted(self) -> L1 | GroupL2:
        """The function h on the differences: TV = h(D v)."""
        return L1(self.weight) if self.p == 1 else GroupL2(self.weight, (0,))

    def __call__(self, v: Array) -> Array:
        return self.lifted()(Difference(v.shape)(v))

    def prox_from(self, v: Array, step: Array, field: Array, iterations: Array | int) -> tuple[Array, Array]:
        """`iterations` steps of FGP from the dual `field`; returns the prox and the new field."""
        difference, dual = Difference(v.shape), self.lifted()
        rate = 1 / (4 * v.ndim * step)

        def body(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            previous, extrapolated, t = carry
            gradient = difference(v - step * difference.adjoint(extrapolated))
            current = dual.project_dual(extrapolated + rate * gradient)
            following = (1 + jnp.sqrt(1 + 4 * t * t)) / 2  # Beck & Teboulle 2009, equation 4.2
            return current, current + (t - 1) / following * (current - previous), following

        field, *_ = lax.fori_loop(0, iterations, body, (field, field, jnp.ones((), v.dtype)))
        return v - step * difference.adjoint(field), field

    def invalid(self) -> Array:
        return self.lifted().invalid()
