"""The units that a problem is solved in, and the ways between them and the user's."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.problem import Point
from admm_jax.pytree import pytree_dataclass, replace
from admm_jax.solver.state import State


@pytree_dataclass
class Scaling:
    """C by variable, r by penalty, and s; scalars, or of the shape of what they scale.

    `stiffness`: rho^ / rho, a power of two; where the rows differ that of their geometric mean.
    """

    columns: Point
    rows: tuple[Array, ...]
    cost: Array
    stiffness: Array

    @property
    def usable(self) -> Array:
        """Whether every unit is a number that can be divided by."""
        units = (*self.columns.values(), *self.rows, self.cost, self.stiffness)
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(unit) & (unit > 0)) for unit in units]))

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
