"""One solve as a criterion sees it, and where the solves of a search start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from admm_jax.errors import DataError, ModelError
from admm_jax.expressions.data import refuse_mask
from admm_jax.model import Model
from admm_jax.problem import Point, Quadratic
from admm_jax.solution import Solution
from admm_jax.solver.solve import common_dtype, with_fastest

Example = Mapping[str, Any]


class Trial(NamedTuple):
    """A solution, what it was solved for, and how well it explains the data.

    `trial[U]` is the value of a variable, `trial.example["truth"]` an entry of the data that the caller gave.

    Attributes:
        solution: of the model.
        example: the data of one image, by name: values of `Param`s, and whatever else the criterion reads.
        predicted: A u of each squared term 1/2 w ||A u - d||^2 of the model.
        observed: d of each squared term.
    """

    solution: Solution
    example: Example
    predicted: tuple[Array, ...]
    observed: tuple[Array, ...]

    def __getitem__(self, key: Any) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.solution[key]

    @property
    def term(self) -> tuple[Array, Array]:
        """(A u, d) of the model's only squared term.

        Raises:
            ModelError: the model has none, or several.
        """
        if len(self.observed) != 1:
            raise ModelError(
                f"the model has {len(self.observed)} squared terms: a criterion of the residual needs exactly one, "
                "as in 0.5 * sum(square(conv2d(U, kernel) - B))"
            )
        return self.predicted[0], self.observed[0]

    @property
    def residual(self) -> Array:
        """A u - d of the model's only squared term."""
        predicted, observed = self.term
        return predicted - observed


@runtime_checkable
class TwinCriterion(Protocol):
    """A criterion that compares two solves: of an example, and of its twin, such as one with perturbed data."""

    def twin(self, example: Example) -> Example:
        """The second example."""
        ...

    def __call__(self, trial: Trial, twin: Trial, /) -> Array:
        """The value of the criterion, to be minimised."""
        ...


Criterion = Callable[[Trial], Array] | TwinCriterion
Bind = Callable[[Any, Example], Mapping[str, Any]]


def default_bind(model: Model) -> Bind:
    """Each `Param` of the model from the learned values if they name it, else from the example."""
    names = [parameter.name for parameter in model.parameters]

    def bind(values: Any, example: Example) -> dict[str, Any]:
        given = values if isinstance(values, Mapping) else {}
        missing = [name for name in names if name not in given and name not in example]
        if missing:
            raise DataError(
                f"no value for Param {', '.join(map(repr, missing))}: neither the parameters to learn, "
                f"{', '.join(map(repr, given)) or 'none by name'}, nor the data, "
                f"{', '.join(map(repr, example))}, have it"
            )
        return {name: given[name] if name in given else example[name] for name in names}

    return bind


def solve_trial(
    model: Model, bound: Mapping[str, Any], example: Example, init: Solution, options: Mapping[str, Any]
) -> Trial:
    """Solve the model with its parameters bound, and apply its squared terms to the solution.

    Args:
        model: The model.
        bound: A value for each of its parameters.
        example: What the criterion reads besides.
        init: Where to start, `blank` at first: always a `Solution`, so that one program serves all solves.
        options: Of the solve.
    """
    # callers check for NaN in the derivatives themselves, and report it once
    options = {"derivative_warning": False, **options}
    solution = model.solve(bound, init=jax.tree.map(lax.stop_gradient, init), **options)
    problem = model.problem(bound)
    problem = with_fastest(problem, common_dtype(problem))
    predicted, observed = _terms(problem.quadratics, solution.values)
    return Trial(solution, example, predicted, observed)


@jax.jit  # op by op, a convolution would be hundreds of calls
def _terms(quadratics: tuple[Quadratic, ...], values: Point) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """A u and d of each squared term."""
    predicted = tuple(quadratic.map(values) for quadratic in quadratics)
    observed = tuple(
        jnp.broadcast_to(jnp.asarray(quadratic.data, p.dtype), p.shape)
        for quadratic, p in zip(quadratics, predicted, strict=True)
    )
    return predicted, observed


def evaluate_criterion(
    model: Model,
    criterion: Criterion,
    bind: Bind,
    values: Any,
    example: Example,
    init: Solution,
    options: Mapping[str, Any],
) -> tuple[Array, Solution]:
    """(criterion, solution): one solve, or two where the criterion has a twin; differentiable in `values`.

    Args:
        model: The model.
        criterion: From a `Trial`, or from two, to a number.
        bind: (values, example) -> value of each `Param` of the model.
        values: The learned parameters, by value.
        example: The data of one image.
        init: Where the first solve starts; the second starts at its solution.
        options: Of each solve.
    """
    trial = solve_trial(model, bind(values, example), example, init, options)
    if not isinstance(criterion, TwinCriterion):
        return jnp.asarray(criterion(trial)), trial.solution
    other = criterion.twin(example)
    twin = solve_trial(model, bind(values, other), other, trial.solution, options)
    return jnp.asarray(criterion(trial, twin)), trial.solution


def solves_in(criterion: Criterion) -> int:
    """How many solves one evaluation of a criterion takes."""
    return 2 if isinstance(criterion, TwinCriterion) else 1


def blank(model: Model, bound: Mapping[str, Any], options: Mapping[str, Any]) -> Solution:
    """A solution of zeros, with the shapes of the model's: a solve that starts there starts as if without one.

    Args:
        model: The model.
        bound: A value for each of its parameters.
        options: Of the solves that will start there.
    """
    shapes = jax.eval_shape(lambda given: model.solve(given, **options), {k: jnp.asarray(v) for k, v in bound.items()})
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def usable(new: Solution, old: Solution) -> Solution:
    """Where a later solve starts: `new` where it is finite, else `old`, element by element of a batch."""
    good = jnp.isfinite(new.objective)
    for value in new.values.values():
        good = good & jnp.all(jnp.isfinite(value), axis=tuple(range(good.ndim, value.ndim)))

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(good.reshape(good.shape + (1,) * (a.ndim - good.ndim)), a, b)

    return jax.tree.map(pick, new, old)


def checked_example(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of one image as arrays.

    Raises:
        DataError: it is empty or no mapping, or has masked entries.
    """
    if not isinstance(data, Mapping) or not data:
        raise DataError(f'data must be a mapping such as {{"B": image, "truth": image}}, got {data!r:.60}')
    for key, value in data.items():
        refuse_mask(value, f"data[{str(getattr(key, 'name', key))!r}]")
    return {
        str(getattr(key, "name", key)): np.asarray(value) if np.ndim(value) == 0 else value
        for key, value in data.items()
    }
