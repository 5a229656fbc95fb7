"""Scales that make the logarithms of all numbers of a problem small in the sense of least squares.

    minimise  sum (log |entry| + log r_i + log C_j)^2 + sum (log |data| + log r_i)^2
              + sum (log weight + log s - log r_i)^2

over the scales C of columns, r of rows (of groups of them, which share one) and s of the cost (Curtis & Reid 1972). See
`equilibrate.py` for what is scaled by them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

RIGID = 1e3  # how much more it counts that an identity stays one
RIDGE = 1e-7  # holds the scale of what no number of the problem speaks of at one
# beside the greatest of its kind, once all are scaled, a number says nothing of the units: entries, data, costs
NEGLIGIBLE = 1e-4, 1e-2, 1e-2
PASSES = 5  # of least squares, each without what the last found negligible


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


class Rows(NamedTuple):
    """The numbers of one penalty or quadratic; the members of a group share one scale. `rigid`: of the identity."""

    entries: Array  # (groups, members, columns)
    data: Array  # (groups, members)
    strength: Array  # (groups, members)
    rigid: bool = False


def _at(column: Array, row: Array | float, cost: Array | float) -> Array:
    return column[None, None, :] + row + cost


def _greatest(quadratics: list[Rows], penalties: list[Rows], linear: Array, scales: tuple) -> tuple[Array, ...]:
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
    quadratics: list[Rows], penalties: list[Rows], linear: Array, scales: tuple, negligible: tuple[Array, ...]
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


def log_scales(quadratics: list[Rows], penalties: list[Rows], linear: Array) -> tuple:
    """(log C, log r of each penalty's groups, log s); zeros where no number says how large things are.

    Args:
        quadratics: The numbers of sqrt(w) Q and sqrt(w) d.
        penalties: Those of A and b, and the weights of g.
        linear: c, (columns,).
    """
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
