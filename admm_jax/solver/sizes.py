"""The sizes of things: of x, where it is zero and no measure of itself, and of what a constraint is broken by."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import pytree_dataclass
from admm_jax.solver.rounding import magnitude
from admm_jax.solver.vectors import dtype_of, row_length


@pytree_dataclass
class Units:
    """The sizes of x; they only matter where x is zero, for there nothing is small beside it.

    `point`: as the data suggest it, or the largest that an iterate had; `data`: as the data suggest it, or zero.
    `lower`, `upper`: the range of values among which minimisers are sought, infinite where none is assumed.
    """

    point: Array
    data: Array
    lower: Point
    upper: Point

    @property
    def digits(self) -> Array:
        """What the last digits of x count from: the data, or the iterates where the data suggest nothing."""
        return jnp.where(self.data > 0, self.data, self.point)


def size_of(x: Point) -> Array:
    """The largest |x_i|."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(value)) for value in x.values()]))


def initial_units(problem: Problem, point: Point) -> Units:
    """Units before the first iteration: `point` is what the quadratics say; offsets b of A x + b say |b| / ||A||.

    Of a constraint's b only what lies outside, for the rest asks nothing of x, even where A is next to nothing; but all
    of it where nothing else says anything.
    """
    dtype = dtype_of(point)
    extent, inside = size_of(point), jnp.zeros((), dtype)
    for penalty in problem.penalties:
        constraint = penalty.function.is_constraint
        if np.ndim(penalty.offset) == 0 and not constraint:
            continue  # a norm or a variation of the variables themselves: it says nothing of their size
        length = row_length(penalty.map, dtype)
        offset = jnp.broadcast_to(jnp.asarray(penalty.offset, dtype), penalty.map.out_shape)
        outside = penalty.function.violation(offset) if constraint else offset
        whole, asked = (
            jnp.where(length > 0, jnp.max(jnp.abs(b)) / jnp.where(length > 0, length, 1), 0) for b in (offset, outside)
        )
        extent, inside = jnp.maximum(extent, asked), jnp.maximum(inside, whole)
    extent = jnp.where(extent > 0, extent, inside)
    unbounded = {name: jnp.full((), jnp.inf, dtype) for name in point}
    return Units(extent, extent, {name: -value for name, value in unbounded.items()}, unbounded)


def larger(old: Array, new: Array) -> Array:
    """The larger of a unit and a new size, if that is finite."""
    return jnp.where(jnp.isfinite(new), jnp.maximum(old, new), old)


def violation(problem: Problem, x: Point, units: Units) -> Array:
    """The largest violation of a row of a constraint on A x + b, relative to |A| |x| and to what the row asks for.

    A row's size is that of its own terms at x, |A| |x|, of its bounds and offset, and of |A| times the unit of x:
    x >= 0 at x = 0 has the size of the unit, and x - y <= 0 at x = y = 1 the size 2, although x - y = 0. No row is
    measured by another.

    Args:
        problem: The lifted problem.
        x: The point.
        units: The sizes of x.
    """
    worst = jnp.zeros((), dtype_of(x))
    # x may be zero but for rounding, and is then no measure of itself
    least = float(jnp.finfo(dtype_of(x)).eps) ** 0.5 * units.data
    unit = jnp.clip(size_of(x), least, jnp.where(units.data > 0, units.data, 1))
    sizes = {name: jnp.maximum(jnp.abs(value), unit) for name, value in x.items()}
    for penalty in problem.penalties:
        function = penalty.function
        if not function.has_domain:
            continue
        value = penalty.map(x) + penalty.offset
        excess = jnp.abs(function.violation(value))
        size = jnp.maximum(magnitude(penalty.map, sizes), function.extent(jnp.asarray(penalty.offset, value.dtype)))
        tied = function.ties(value.ndim)
        if tied:  # of a ball the rows are one constraint
            excess, size = jnp.max(excess), jnp.max(size)
        relative = jnp.where(excess > 0, excess / jnp.maximum(size, excess), 0)
        worst = jnp.maximum(worst, jnp.max(relative, initial=0))
    return worst
