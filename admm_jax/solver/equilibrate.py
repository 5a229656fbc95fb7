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
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import Array, lax

from admm_jax.operators.base import Scale
from admm_jax.problem import Chain, LinearMap, Penalty, Point, Problem, Quadratic
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.rewrite import VECTOR, dense_map, matrix_of
from admm_jax.solver.state import State
from admm_jax.solver.vectors import row_length

RIGID = 1e3  # how much more it counts that an identity stays one
RIDGE = 1e-7  # holds the scale of what no number of the problem speaks of at one
# beside the greatest of its kind, once all are scaled, a number says nothing of the units: entries, data, costs
NEGLIGIBLE = 1e-4, 1e-2, 1e-2
PASSES = 5  # of least squares, each without what the last found negligible


@pytree_dataclass
class Scaling:
    """C by variable, r by penalty, and s; scalars, or of the shape of what they scale.

    `stiffness`: rho^ / rho, a power of two; where the rows differ that of their geometric mean.
    """

    columns: Point
    rows: tuple[Array, ...]
    cost: Array
    stiffness: Array

    def leave_state(self, state: State) -> State:
        """The state in the user's units; NumPy stays NumPy."""
        return self._moved(state, self.leave, self.splits, self.duals, 1 / self.stiffness)

    def enter_state(self, state: State) -> State:
        """The inverse of `leave_state`."""
        return self._moved(state, self.enter, self.enter_splits, self.enter_duals, self.stiffness)

    @staticmethod
    def _moved(state: State, points: Any, splits: Any, duals: Any, rho: Any) -> State:
        def fields(old: tuple[Array, ...]) -> tuple[Array, ...]:
            """Those that there are: a dense problem has none, and other terms have empty ones."""
            scaled = duals(tuple(f if np.size(f) else np.zeros((), f.dtype) for f in old))
            return tuple(new if np.size(f) else f for f, new in zip(old, scaled, strict=True))

        return replace(
            state,
            x=points(state.x),
            z=splits(state.z),
            y=duals(state.y),
            fields=fields(state.fields),
            rho=state.rho * rho,
        )

    def enter(self, x: Point) -> Point:
        """x -> x^."""
        return {name: value / self.columns[name] for name, value in x.items()}

    def leave(self, x: Point) -> Point:
        """x^ -> x."""
        return {name: value * self.columns[name] for name, value in x.items()}

    def _rows_of(self, splits: tuple[Array, ...]) -> tuple[Array, ...]:
        """r of each split; those of losses come last (see `decouple`), in the units of the one variable."""
        more = len(splits) - len(self.rows)
        return (*self.rows, *(1 / column for column in self.columns.values() for _ in range(more)))

    def splits(self, z: tuple[Array, ...]) -> tuple[Array, ...]:
        """z^ -> z."""
        return tuple(value / row for value, row in zip(z, self._rows_of(z), strict=True))

    def duals(self, p: tuple[Array, ...]) -> tuple[Array, ...]:
        """p^ -> p."""
        return tuple(value * (row / self.cost) for value, row in zip(p, self._rows_of(p), strict=True))

    def enter_splits(self, z: tuple[Array, ...]) -> tuple[Array, ...]:
        """z -> z^."""
        return tuple(value * row for value, row in zip(z, self._rows_of(z), strict=True))

    def enter_duals(self, p: tuple[Array, ...]) -> tuple[Array, ...]:
        """p -> p^."""
        return tuple(value * (self.cost / row) for value, row in zip(p, self._rows_of(p), strict=True))


class _Sums:
    """Sums of the logarithms of what is not zero: the equations log |number| + unknowns = 0, gathered."""

    def __init__(self, number: Array) -> None:
        magnitude = jnp.abs(number)
        self.counts = ((magnitude > 0) & jnp.isfinite(magnitude)).astype(magnitude.dtype)
        self.logs = jnp.where(self.counts > 0, jnp.log(jnp.where(self.counts > 0, magnitude, 1)), 0)

    def greatest(self, shift: Array) -> Array:
        """The logarithm of the greatest number once they are scaled by exp(shift); -inf if there is none."""
        return jnp.max(jnp.where(self.counts > 0, self.logs + shift, -jnp.inf), initial=-jnp.inf)

    def without(self, shift: Array, negligible: Array) -> _Sums:
        """Without the numbers that are below exp(negligible) once they are scaled by exp(shift)."""
        out = object.__new__(_Sums)
        out.counts = jnp.where(self.logs + shift >= negligible, self.counts, 0)
        out.logs = out.counts * self.logs
        return out


class _Rows(NamedTuple):
    """The numbers of one penalty or quadratic; the members of a group share one scale. `rigid`: of the identity."""

    entries: Array  # (groups, members, columns)
    data: Array  # (groups, members)
    strength: Array  # (groups, members)
    rigid: bool = False


def _at(column: Array, row: Array | float, cost: Array | float) -> Array:
    return column[None, None, :] + row + cost


def _greatest(quadratics: list[_Rows], penalties: list[_Rows], linear: Array, scales: tuple) -> tuple[Array, ...]:
    """The greatest of the scaled entries, data, and costs and strengths, as logarithms."""
    columns, rows, cost = scales
    entries = [_Sums(part.entries).greatest(_at(columns, 0, cost / 2)) for part in quadratics]
    data = [_Sums(part.data).greatest(cost / 2) for part in quadratics]
    costs = [_Sums(linear).greatest(columns + cost)]
    for part, row in zip(penalties, rows, strict=True):
        entries.append(_Sums(part.entries).greatest(_at(columns, row[:, None, None], 0)))
        data.append(_Sums(part.data).greatest(row[:, None]))
        costs.append(_Sums(part.strength).greatest(cost - row[:, None]))
    none = [jnp.full((), -jnp.inf, linear.dtype)]
    return tuple(jnp.max(jnp.stack(kind or none)) for kind in (entries, data, costs))


def _least_squares(
    quadratics: list[_Rows], penalties: list[_Rows], linear: Array, scales: tuple, negligible: tuple[Array, ...]
) -> tuple[Array, list[Array], Array]:
    """(log C, log r of each penalty's groups, log s), without what is `negligible` in the earlier `scales`.

    That is less than three numbers: of the entries of matrices, of data, and of costs and strengths.
    """
    few, small, cheap = negligible
    n, dtype = linear.size, linear.dtype
    costs = _Sums(linear).without(scales[0] + scales[2], cheap)
    # the normal equations [[diag(own) - joint, cross], [cross^T, last]] [log C, log s] = -[force, pull], of s C c first
    own, joint, cross, last = costs.counts, jnp.zeros((n, n), dtype), costs.counts, jnp.sum(costs.counts)
    force, pull = costs.logs, jnp.sum(costs.logs)
    for part in quadratics:  # sqrt(s w) Q C and sqrt(s w) d
        entries = _Sums(part.entries).without(_at(scales[0], 0, scales[2] / 2), few)
        data = _Sums(part.data).without(scales[2] / 2, small)
        counts, logs = (jnp.sum(value, (0, 1)) for value in (entries.counts, entries.logs))
        own, cross, force = own + counts, cross + counts / 2, force + logs
        last = last + (jnp.sum(counts) + jnp.sum(data.counts)) / 4
        pull = pull + (jnp.sum(logs) + jnp.sum(data.logs)) / 2
    groups = []
    for i, part in enumerate(penalties):  # r A C, r b and s w / r, where r is eliminated
        row = scales[1][i][:, None]
        entries = _Sums(part.entries).without(_at(scales[0], row[..., None], 0), few)
        data = _Sums(part.data).without(row, small)
        strength = _Sums(part.strength).without(scales[2] - row, cheap)
        weight = RIGID if part.rigid else 1.0
        counts, logs = (weight * jnp.sum(value, 1) for value in (entries.counts, entries.logs))  # (groups, columns)
        strong = jnp.sum(strength.counts, 1)
        total = jnp.sum(counts, 1) + jnp.sum(data.counts, 1) + strong
        constant = jnp.sum(logs, 1) + jnp.sum(data.logs, 1) - jnp.sum(strength.logs, 1)
        share = 1 / jnp.maximum(total, 1)
        own, joint = own + jnp.sum(counts, 0), joint + counts.T @ (share[:, None] * counts)
        cross = cross + counts.T @ (share * strong)
        last = last + jnp.sum(strong) - jnp.sum(share * strong**2)
        force = force + jnp.sum(logs, 0) - counts.T @ (share * constant)
        pull = pull + jnp.sum(share * strong * constant) + jnp.sum(strength.logs)
        groups.append((counts, strong, constant, share))
    gram = jnp.block([[jnp.diag(own) - joint, cross[:, None]], [cross[None], last[None, None]]])
    rhs = jnp.append(force, pull)
    scale = jnp.maximum(jnp.max(jnp.diagonal(gram)), 1)
    factor = jsl.cholesky(gram + RIDGE * scale * jnp.eye(n + 1, dtype=dtype), lower=True)

    def refined(_: int, solution: Array) -> Array:  # the ridge is to hold only what nothing else does
        return solution + jsl.cho_solve((factor, True), -rhs - gram @ solution)

    solution = lax.fori_loop(0, 3, refined, jnp.zeros(n + 1, dtype))
    columns, cost = solution[:n], solution[n]
    rows = [share * (strong * cost - counts @ columns - constant) for counts, strong, constant, share in groups]
    return columns, rows, cost


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


def _solved(quadratics: list[_Rows], penalties: list[_Rows], linear: Array) -> tuple:
    dtype = linear.dtype
    none = (jnp.zeros(linear.size, dtype), [jnp.zeros(len(p.entries), dtype) for p in penalties], jnp.zeros((), dtype))

    def again(i: Array, scales: tuple) -> tuple:
        greatest = _greatest(quadratics, penalties, linear, scales)
        negligible = tuple(
            jnp.where(i == 0, -jnp.inf, kind + math.log(share))
            for kind, share in zip(greatest, NEGLIGIBLE, strict=True)
        )
        return _least_squares(quadratics, penalties, linear, scales, negligible)

    scales = lax.fori_loop(0, PASSES, again, none)
    # a problem without a number that says how large things are, or numbers beyond all range, keeps its units
    good = jnp.isfinite(scales[2]) & jnp.all(jnp.isfinite(scales[0]))
    for row in scales[1]:
        good = good & jnp.all(jnp.isfinite(row))
    return (
        jnp.where(good, scales[0], 0),
        [jnp.where(good, row, 0) for row in scales[1]],
        jnp.where(good, scales[2], 0),
    )


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
        quadratics.append(_Rows(entries[None], data[None], jnp.zeros((1, 1), data.dtype)))
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
        penalties.append(_Rows(entries, extent, strength))
    columns, rows, cost = _solved(quadratics, penalties, problem.linear[VECTOR])
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
        quadratics.append(_Rows(entries[None, None], root * _typical(quadratic.data, dtype) * one, 0 * one))
    for penalty in problem.penalties:
        extent = _typical(penalty.function.extent(jnp.asarray(penalty.offset, dtype)), dtype)
        strength = _typical(penalty.function.strength(), dtype)
        entries = _by_variable(penalty.map, names, dtype)
        rigid = penalty.map.identity_on is not None
        penalties.append(_Rows(entries[None, None], extent * one, strength * one, rigid))
    linear = jnp.stack([_typical(problem.linear.get(name, jnp.zeros(())), dtype) for name in names])
    columns, rows, cost = _solved(quadratics, penalties, linear)
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
