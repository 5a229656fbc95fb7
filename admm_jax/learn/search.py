"""One scalar parameter by its exact derivative: a minimum or a root over its logarithm, in about ten solves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.errors import LearningError
from admm_jax.learn import scalar
from admm_jax.learn.display import Bar, Display, Table, display_of
from admm_jax.learn.noise import noise_level, starting_lam
from admm_jax.learn.report import table
from admm_jax.learn.trial import (
    Criterion,
    blank,
    checked_example,
    default_bind,
    evaluate_criterion,
    solves_in,
    usable,
)
from admm_jax.model import Model
from admm_jax.options import OPTIONS, merged
from admm_jax.solution import Solution
from admm_jax.solver.solve import prepare

SLOPE = 0.1  # relative accuracy of the slopes that lead to the minimum, where they are as accurate as is asked for
RANGE = 1e4  # the factor that the search goes from its start, either way


class SearchStep(NamedTuple):
    """One evaluation: the parameter, the criterion, its derivative in log(parameter), the ADMM iterations."""

    value: float
    criterion: float
    slope: float
    iterations: int


class Found(NamedTuple):
    """What a search found; it prints itself, and `admm_jax.learn.plot.search` draws it.

    Attributes:
        name: Of the parameter.
        value: The best value seen.
        criterion: The criterion there.
        solution: The solution there.
        converged: Whether the search met its tolerance.
        message: Why it stopped.
        solves: Solves done; a criterion with a twin takes two an evaluation.
        history: One entry an evaluation, in order.
    """

    name: str
    value: float
    criterion: float
    solution: Solution
    converged: bool
    message: str
    solves: int
    history: tuple[SearchStep, ...]

    def __repr__(self) -> str:
        verdict = "converged" if self.converged else "not converged"
        head = f"{self.name} = {self.value:.6g}, criterion {self.criterion:.6g}, {self.solves} solves"
        return f"{verdict}: {head} ({self.message})\n" + table(_titles(self.name), [_cells(s) for s in self.history])


def _titles(name: str) -> tuple[str, ...]:
    return name, "criterion", "slope", "iterations"


def _cells(step: SearchStep) -> tuple[str, ...]:
    return f"{step.value:.6g}", f"{step.criterion:.6g}", f"{step.slope:.2e}", str(step.iterations)


def search(
    model: Model,
    name: str,
    criterion: Criterion,
    data: Mapping[str, Any],
    *,
    start: float | None = None,
    bounds: tuple[float, float] | None = None,
    tol: float | None = None,
    max_evaluations: int = 12,
    progress: Any = None,
    **options: Any,
) -> Found:
    """argmin over p > 0 of criterion(u(p)), or its root; u(p) solves the model with parameter `name` = p.

    The derivative in log p is exact, and carried back through the solve: a criterion pulls on the whole image,
    smoothly, which takes fewer steps than carrying forward how every edge changes with p, and depends less on regions
    that are not settled. Each solve starts at the solution for the nearest p so far. The best value seen is handed out
    whatever happens. Where the x-update is by transforms, the solves on the way stop by the estimate of their gap, with
    derivatives to a tenth, and the one that is handed out goes on to what `options` ask.

    Args:
        model: The model; `name` is a scalar `Param` of it.
        name: The parameter to find, such as "lam".
        criterion: From a `Trial` to a number: `MSE(U)`, `SUGAR(sigma)`, `Discrepancy(sigma)`, `Whiteness()`, or a
            function of yours. One with an attribute `root` that is true is brought to zero, all others to their
            minimum near the start.
        data: The other parameters of the model, and whatever else the criterion reads, by name.
        start: Where to begin; by default where a method `start(example)` of the criterion says, else at 10 sigma^2,
            sigma being data["sigma"] or the noise level of the data of the model's squared term.
        bounds: Least and largest value; by default 1e4 times smaller and larger than the start.
        tol: Relative accuracy of p; 0.03 for a minimum, 0.01 for a root.
        max_evaluations: Evaluations of the criterion allowed.
        progress: "table", "bar", a function of each `SearchStep`, or None.
        **options: Of each solve.

    Returns:
        The best value with its solution and the history.

    Raises:
        DataError: the criterion needs something that the data do not have.
        LearningError: the criterion is finite nowhere, or `start`, `bounds`, `tol` or `max_evaluations` cannot be.
    """
    example = checked_example(data)
    bind = default_bind(model)
    model.getParam(name)
    first = float(start) if start is not None else _default_start(model, criterion, bind({name: 1.0}, example), example)
    low, high = bounds if bounds is not None else (first / RANGE, first * RANGE)
    if not 0 < low < high < math.inf or not 0 < first < math.inf:
        raise LearningError(f"the search needs 0 < lower < upper bound and a start > 0, got {low}, {high} and {first}")
    if start is not None and not low <= first <= high:
        raise LearningError(f"start has to lie within bounds, from {low} to {high}, got {first}")
    if max_evaluations < 1 or max_evaluations != int(max_evaluations):
        raise LearningError(f"max_evaluations has to be a whole number of one at least, got {max_evaluations}")
    if tol is not None and not tol > 0:
        raise LearningError(f"tol has to be larger than zero, got {tol}")
    display = _display(progress, name, max_evaluations)
    solutions: list[Solution] = []
    starts: list[tuple[float, Solution]] = []
    history: list[SearchStep] = []
    bound = bind({name: jnp.asarray(first)}, example)
    empty = blank(model, bound, options)
    rough = {**_on_the_way(model, bound, options), **options}

    def function(t: float, options: Mapping[str, Any] = rough) -> tuple[float, float]:
        at = jnp.asarray(t, empty.objective.dtype)
        init = min(starts, key=lambda pair: abs(pair[0] - t))[1] if starts else empty

        def measured(log_value: Array) -> tuple[Array, Solution]:
            return evaluate_criterion(model, criterion, bind, {name: jnp.exp(log_value)}, example, init, options)

        value, pull, solution = jax.vjp(measured, at, has_aux=True)
        if value.ndim:
            raise LearningError(f"the criterion must be a scalar, got shape {value.shape}")
        (slope,) = pull(jnp.ones_like(value))
        solutions.append(solution)
        starts.append((t, usable(solution, init)))
        history.append(SearchStep(float(np.exp(t)), float(value), float(slope), int(solution.iterations)))
        display(history[-1])
        return float(value), float(slope)

    find = scalar.find_root if getattr(criterion, "root", False) else scalar.minimise
    accuracy = {} if tol is None else {"tol": tol}
    ends = {"low": math.log(low), "high": math.log(high)}
    try:
        outcome = find(function, math.log(first), **ends, limit=max_evaluations, **accuracy)
        if rough != options and math.isfinite(outcome.best.value):  # what is handed out is solved as the caller asked
            function(outcome.best.t, {"derivative_tol": SLOPE, **options})
    finally:
        if isinstance(display, Bar):
            display.close()
    index = outcome.evaluations.index(outcome.best)
    if not math.isfinite(outcome.best.value):
        raise LearningError(
            f"{outcome.message}: {name} = {first:.3g} gives {outcome.best.value} with derivative "
            f"{outcome.best.slope}. The solve may not have converged: raise max_iterations, or start elsewhere"
        )
    if len(history) > len(outcome.evaluations) and math.isfinite(history[-1].criterion):
        index = len(history) - 1
    return Found(
        name,
        history[index].value,
        history[index].criterion,
        solutions[index],
        outcome.converged,
        outcome.message,
        solves_in(criterion) * len(history),
        tuple(history),
    )


def _display(progress: Any, name: str, limit: int) -> Display[SearchStep]:
    """What `progress` stands for, of a search of at most `limit` evaluations."""
    return display_of(
        progress,
        lambda: Table(_titles(name), (12, 12, 10, 10), _cells),
        lambda: Bar[SearchStep](limit, f"searching {name}", lambda step: f"{name} = {step.value:.4g}"),
        "SearchStep",
    )


def _on_the_way(model: Model, bound: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the solves that only tell where to go next."""
    settled = merged({name: model.getOption(name) for name in OPTIONS}, options)
    plan = prepare(model.problem(bound), settled)[1]
    return {"stop": "estimate", "derivative_tol": SLOPE} if plan.decoupled else {}


def _default_start(model: Model, criterion: Criterion, bound: Mapping[str, Any], example: Mapping[str, Any]) -> float:
    """Where the criterion says, else 10 sigma^2."""
    own = getattr(criterion, "start", None)
    if own is not None:
        return float(own(example))
    if "sigma" in example:
        return starting_lam(float(example["sigma"]))
    images = [q.data for q in model.problem(bound).quadratics if np.ndim(q.data) == 2 and min(np.shape(q.data)) >= 3]
    if len(images) != 1:
        raise LearningError("no start: the noise level is not told by the model's data; pass `start` or data['sigma']")
    return starting_lam(float(noise_level(images[0])))
