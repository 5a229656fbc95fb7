"""The regularisation path of a scalar parameter, each solve warm-started by its neighbour; the L-curve and its corner.

L-curve: (log data term, log R(u)) along the parameter, with the data term sum 1/2 w ||A u - d||^2 and
R(u) = (objective - data term) / parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from admm_jax.errors import DataError
from admm_jax.learn.report import table
from admm_jax.learn.trial import blank, checked_example, default_bind, solve_trial, usable
from admm_jax.model import Model


class Corner(int):
    """The index of a point of a path, and the value of the parameter there.

    Attributes:
        name: Of the parameter.
        value: Of the parameter, as lam.
    """

    name: str
    value: float

    def __new__(cls, index: int, name: str, value: float) -> Corner:
        """Of the point `index` of a path in the parameter `name`, which has there `value`."""
        corner = super().__new__(cls, index)
        corner.name, corner.value = name, value
        return corner

    @property
    def index(self) -> int:
        """The index alone."""
        return int(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Corner, (int(self), self.name, self.value)

    def __repr__(self) -> str:
        return f"{self.name} = {self.value:.6g} (index {int(self)})"


class Path(NamedTuple):
    """Solutions along one parameter, in the order in which its values were given.

    Attributes:
        name: Of the parameter.
        parameter: Its values, (k,).
        values: The variables by name, each (k, *shape), in NumPy.
        objective: f at each solution.
        data_term: sum 1/2 w ||A u - d||^2 of each.
        penalty: (objective - data term) / parameter of each: TV(u) in the home problem.
        gap: The certified relative gap of each.
        converged: Whether each solve met its tolerance.
        iterations: ADMM iterations of each.
    """

    name: str
    parameter: np.ndarray
    values: dict[str, np.ndarray]
    objective: np.ndarray
    data_term: np.ndarray
    penalty: np.ndarray
    gap: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray

    def __getitem__(self, key: Any) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.values[key if isinstance(key, str) else key.label]

    def corner(self) -> Corner:
        """The L-curve's corner: the point of largest curvature of (log data term, log penalty).

        The curve is that of the sorted parameters; curvature is that of the circle through three neighbours on it,
        positive where the curve bends as an L does. Points where a term vanishes do not count.

        Returns:
            Its index, an int that has the parameter beside it: `corner.value`, the same as `path.parameter[corner]`.

        Raises:
            DataError: fewer than three points count.

        Source: Hansen 1992; the circle of three points as in Cultrera & Callegaro 2020.
        """
        order = np.argsort(self.parameter)
        order = order[(self.data_term[order] > 0) & (self.penalty[order] > 0)]
        if len(order) < 3:
            raise DataError(f"the corner of an L-curve needs three points with positive terms, got {len(order)}")
        x, y = np.log(self.data_term[order]), np.log(self.penalty[order])
        a, b, c = (np.stack([x[i : len(x) - 2 + i], y[i : len(y) - 2 + i]]) for i in range(3))
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        sides = np.linalg.norm(b - a, axis=0) * np.linalg.norm(c - b, axis=0) * np.linalg.norm(c - a, axis=0)
        curvature = np.where(sides > 0, 2 * area / np.where(sides > 0, sides, 1), -math.inf)
        place = int(order[1 + int(np.argmax(curvature))])
        return Corner(place, self.name, float(self.parameter[place]))

    def __repr__(self) -> str:
        rows = [
            (f"{p:.6g}", f"{d:.6g}", f"{r:.6g}", f"{g:.1e}", str(i), "" if ok else "not converged")
            for p, d, r, g, i, ok in zip(
                self.parameter,
                self.data_term,
                self.penalty,
                self.gap,
                self.iterations,
                self.converged,
                strict=True,
            )
        ]
        return table((self.name, "data term", "penalty", "gap", "iterations", ""), rows)


def path(
    model: Model,
    name: str,
    values: Sequence[float] | np.ndarray,
    data: Mapping[str, Any] | None = None,
    *,
    progress: Callable[[int, float], None] | None = None,
    **options: Any,
) -> Path:
    """Solve the model for each value of a scalar parameter, each solve starting from the one before.

    Args:
        model: The model.
        name: The parameter, such as "lam".
        values: Its values, best sorted, from the largest down.
        data: The other parameters, by name.
        progress: Called with (index, value) after each solve.
        **options: Of each solve.

    Returns:
        All solutions and the L-curve's coordinates.

    Raises:
        DataError: there are no values, or one is not positive and finite.
    """
    parameter = np.asarray(values, float)
    if parameter.ndim != 1 or not parameter.size or not np.all((parameter > 0) & np.isfinite(parameter)):
        raise DataError(f"a path needs a list of finite values > 0, got {values!r:.80}")
    bind, example = default_bind(model), checked_example(data) if data else {}
    init = blank(model, bind({name: jnp.asarray(parameter[0])}, example), options)
    dtype = init.objective.dtype
    solutions, data_terms = [], []
    for index, value in enumerate(parameter):
        bound = bind({name: jnp.asarray(value, dtype)}, example)
        trial = solve_trial(model, bound, example, init, options)
        weights = [quadratic.weight for quadratic in model.problem(bound).quadratics]
        squares = [
            float(jnp.sum(w * (p - d) ** 2)) for w, p, d in zip(weights, trial.predicted, trial.observed, strict=True)
        ]
        data_terms.append(sum(squares) / 2)
        init = usable(trial.solution, init)
        solutions.append(
            {
                "values": {key: np.asarray(v) for key, v in trial.solution.values.items()},
                "objective": float(trial.solution.objective),
                "gap": float(trial.solution.gap),
                "converged": bool(trial.solution.converged),
                "iterations": int(trial.solution.iterations),
            }
        )
        if progress is not None:
            progress(index, float(value))
    columns = {key: np.array([s[key] for s in solutions]) for key in ("objective", "gap", "converged", "iterations")}
    stacked = {key: np.stack([s["values"][key] for s in solutions]) for key in solutions[0]["values"]}
    terms = np.array(data_terms)
    return Path(
        name, parameter, stacked, data_term=terms, penalty=(columns["objective"] - terms) / parameter, **columns
    )
