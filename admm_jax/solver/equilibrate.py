"""Units of a problem's own: the same problem with numbers near one, so that whatever is decided is decided in them.

    x = C x^,   v_j = v_j^ / r_j,   f = f^ / s        C diagonal, r_j > 0 for each row of A_j, s > 0

    1/2 s w (Q C x^ - d)^2,   s <c, C x^>,   s g_j((r_j A_j C x^ + r_j b_j) / r_j),      duals p_j = r_j p_j^ / s

The scales make the logarithms of all numbers of the scaled problem small in the sense of least squares: of the entries
of sqrt(s w) Q C, r A C and s C c, of sqrt(s w) d and r b, which say how large x^ is, and of s w / r for a g with the
weight w, which says how large its duals are (Curtis & Reid 1972, for matrices). Least squares of logarithms are
equivariant: a problem whose variables, rows, data or cost come in other units has the same scaled problem.

In matrices every entry counts and every row and column has a scale; without, every term and every variable has one, and
an entry stands for the typical one (`row_length`). Where a map is the identity its r is 1 / C, and it stays so.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

from admm_jax.operators.base import Scale
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.solver.log_scales import Rows, log_scales
from admm_jax.solver.rewrite import VECTOR, dense_map, matrix_of
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.vectors import row_length


def _grouped(value: Array, ties: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """(rows of `shape`, ...) -> (groups, members, ...), the members of a group lying along the tied axes."""
    extra = value.shape[1:]
    value = value.reshape(*shape, *extra)
    ties = tuple(axis % len(shape) for axis in ties)
    free = [axis for axis in range(len(shape)) if axis not in ties]
    value = value.transpose(*free, *ties, *range(len(shape), value.ndim))
    groups = math.prod(shape[axis] for axis in free)
    members = math.prod(shape[axis] for axis in ties)
    return value.reshape(groups, members, *extra)


def _spread(scale: Array, ties: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """(groups,) -> an array that broadcasts to `shape`, one along the tied axes."""
    ties = tuple(axis % len(shape) for axis in ties)
    return jnp.broadcast_to(scale.reshape([1 if axis in ties else n for axis, n in enumerate(shape)]), shape)


def _even(scale: Array) -> Array:
    """The power of two next to exp(scale): rho, scaled by it there and back, keeps its digits."""
    return jnp.exp2(jnp.round(scale / math.log(2)))


def _scaling(columns: Point, rows: tuple[Array, ...], cost: Array) -> Scaling:
    logs = [jnp.mean(jnp.log(row)) for row in rows]
    stiffness = _even(jnp.log(cost) - 2 * sum(logs, start=jnp.zeros_like(cost)) / max(len(logs), 1))
    return Scaling(columns, rows, cost, stiffness)


def _dense_scaling(problem: Problem) -> Scaling:
    quadratics, penalties, ties = [], [], []
    for quadratic in problem.quadratics:
        root = jnp.sqrt(jnp.broadcast_to(quadratic.weight, quadratic.map.out_shape)).ravel()
        data = root * jnp.broadcast_to(quadratic.data, quadratic.map.out_shape).ravel()
        entries = root[:, None] * matrix_of(quadratic.map)
        quadratics.append(Rows(entries[None], data[None], jnp.zeros((1, 1), data.dtype)))
    for penalty in problem.penalties:
        shape, function = penalty.map.out_shape, penalty.function
        tied = function.ties(len(shape))
        extent, strength = (
            jnp.broadcast_to(value, shape).astype(matrix_of(penalty.map).dtype).ravel()
            for value in (function.extent(jnp.broadcast_to(penalty.offset, shape)), function.strength())
        )
        ties.append(tied)
        entries, extent, strength = (
            _grouped(value, tied, shape) for value in (matrix_of(penalty.map), extent, strength)
        )
        penalties.append(Rows(entries, extent, strength))
    columns, rows, cost = log_scales(quadratics, penalties, problem.linear[VECTOR])
    spread = tuple(
        _spread(jnp.exp(row), tied, penalty.map.out_shape)
        for row, tied, penalty in zip(rows, ties, problem.penalties, strict=True)
    )
    return _scaling({VECTOR: jnp.exp(columns)}, spread, jnp.exp(cost))


def _typical(value: Array, dtype: jnp.dtype) -> Array:
    """The root mean square of the entries that are finite and not zero."""
    value = jnp.asarray(value, dtype)
    counted = jnp.isfinite(value) & (value != 0)
    largest = jnp.max(jnp.where(counted, jnp.abs(value), 0), initial=0)
    unit = jnp.where(largest > 0, largest, 1)
    squares = jnp.sum(jnp.where(counted, value / unit, 0) ** 2)
    return unit * jnp.sqrt(squares / jnp.maximum(jnp.sum(counted), 1))


def _by_variable(linear_map: LinearMap, names: list[str], dtype: jnp.dtype) -> Array:
    """The typical length of a row of the map in each variable, zero in those that it does not read."""
    out = jnp.zeros(len(names), dtype)
    for name in sorted({chain.variable for chain in linear_map.chains}):
        chains = tuple(chain for chain in linear_map.chains if chain.variable == name)
        out = out.at[names.index(name)].set(row_length(LinearMap(chains, linear_map.out_shape), dtype))
    return out


def _block_scaling(problem: Problem, dtype: jnp.dtype) -> Scaling:
    names = [name for name, _ in problem.variables]
    one = jnp.ones((1, 1), dtype)
    quadratics, penalties = [], []
    for quadratic in problem.quadratics:
        root = jnp.sqrt(_typical(quadratic.weight, dtype))
        entries = root * _by_variable(quadratic.map, names, dtype)
        quadratics.append(Rows(entries[None, None], root * _typical(quadratic.data, dtype) * one, 0 * one))
    for penalty in problem.penalties:
        extent = _typical(penalty.function.extent(jnp.asarray(penalty.offset, dtype)), dtype)
        strength = _typical(penalty.function.strength(), dtype)
        entries = _by_variable(penalty.map, names, dtype)
        rigid = penalty.map.identity_on is not None
        penalties.append(Rows(entries[None, None], extent * one, strength * one, rigid))
    linear = jnp.stack([_typical(problem.linear.get(name, jnp.zeros(())), dtype) for name in names])
    columns, rows, cost = log_scales(quadratics, penalties, linear)
    scales = dict(zip(names, jnp.exp(columns), strict=True))
    kept = tuple(
        jnp.exp(row[0]) if penalty.map.identity_on is None else 1 / scales[penalty.map.identity_on]
        for row, penalty in zip(rows, problem.penalties, strict=True)
    )
    return _scaling(scales, kept, jnp.exp(cost))


def unscaled(problem: Problem, dtype: jnp.dtype) -> Scaling:
    """The units that a problem has."""
    one = jnp.ones((), dtype)
    return Scaling({name: one for name, _ in problem.variables}, (one,) * len(problem.penalties), one, one)


def find_scaling(problem: Problem, dtype: jnp.dtype, *, dense: bool) -> Scaling:
    """The units of a problem.

    Args:
        problem: As the x-update has it rewritten.
        dtype: Of the solve.
        dense: Whether it is one of matrices: then each row and each entry of x has a unit, else each variable and term.
    """
    return lax.stop_gradient(_dense_scaling(problem) if dense else _block_scaling(problem, dtype))


def _scaled_map(linear_map: LinearMap, row: Array, columns: Point) -> LinearMap:
    """r A C, with a factor on each chain."""
    chains = []
    for chain in linear_map.chains:
        factor = row * columns[chain.variable]
        chains.append(Chain((*chain.ops, Scale(factor, linear_map.out_shape)), chain.variable))
    return LinearMap(tuple(chains), linear_map.out_shape)


def _scaled_quadratic(quadratic: Quadratic, scaling: Scaling) -> Quadratic:
    """With one variable the map stays what it is: 1/2 s w C^2 (Q x^ - d / C)^2."""
    names = sorted({chain.variable for chain in quadratic.map.chains})
    unit = scaling.columns[names[0]]
    weight = quadratic.weight * unit * scaling.cost * unit
    shape = quadratic.map.out_shape
    chains = tuple(
        chain
        if chain.variable == names[0]
        else Chain((*chain.ops, Scale(scaling.columns[chain.variable] / unit, shape)), chain.variable)
        for chain in quadratic.map.chains
    )
    return Quadratic(LinearMap(chains, shape), quadratic.data / unit, weight, quadratic.label)


def equilibrate(problem: Problem, scaling: Scaling, *, dense: bool) -> Problem:
    """x^ -> s f(C x^). It is differentiable in the problem, the units being fixed.

    Args:
        problem: In the user's units.
        scaling: Of `find_scaling`.
        dense: Whether it is one of matrices.
    """
    linear = {name: scaling.cost * scaling.columns[name] * value for name, value in problem.linear.items()}
    penalties = []
    for penalty, row in zip(problem.penalties, scaling.rows, strict=True):
        shape = penalty.map.out_shape
        if dense:
            matrix = row.ravel()[:, None] * matrix_of(penalty.map) * scaling.columns[VECTOR][None]
            scaled = dense_map(matrix, shape)
        elif penalty.map.identity_on is not None:
            scaled = penalty.map
        else:
            scaled = _scaled_map(penalty.map, row, scaling.columns)
        function = penalty.function.scaled(row, scaling.cost)
        penalties.append(Penalty(function, scaled, row * penalty.offset, penalty.label))
    if dense:
        quadratics = tuple(
            Quadratic(
                dense_map(matrix_of(q.map) * scaling.columns[VECTOR][None], q.map.out_shape),
                q.data,
                scaling.cost * q.weight,
                q.label,
            )
            for q in problem.quadratics
        )
    else:
        quadratics = tuple(_scaled_quadratic(q, scaling) for q in problem.quadratics)
    return Problem(quadratics, tuple(penalties), linear, scaling.cost * problem.constant, problem.variables)
