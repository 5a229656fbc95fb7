"""The range of values among which a certificate seeks the minimisers: "no image with values in it is better by more".

A model may have its own, in a box. Else the user may state one, and a decoupled problem, whose dual point misses
stationarity by a little in every pixel, takes one from its data: [lo - span, hi + span], with data from lo to hi and
span = hi - lo, brought to the scale of x by the gain max Q 1 of the least squares that they belong to. Where that gain
says little of x, as that of a kernel of both signs, x comes near an end, or beyond: then the range is widened to one of
the same form about x, and what had been proved is proved anew.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from admm_jax.problem import Point, Problem
from admm_jax.pytree import replace
from admm_jax.solver.plan import Plan
from admm_jax.solver.reach import own_bounds
from admm_jax.solver.rewrite import lift
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.settings import Settings
from admm_jax.solver.sizes import Units

MARGIN = 1 / 12  # of the range, a quarter of the span of the data: x that comes nearer to an end widens it


def data_range(problem: Problem, name: str, shape: tuple[int, ...], dtype: jnp.dtype) -> tuple[Array, Array]:
    """(lower, upper) of a variable, as the data of the quadratics suggest it; infinite where they say nothing.

    Args:
        problem: The rewritten problem.
        name: The variable.
        shape: Its shape.
        dtype: Of the solve.
    """
    lows, highs = [], []
    for quadratic in problem.quadratics:
        gain = jnp.max(jnp.abs(quadratic.map({name: jnp.ones(shape, dtype)})))
        data = quadratic.data / jnp.where(gain > 0, gain, 1)
        low, high = jnp.min(data), jnp.max(data)
        span = high - low
        known = (gain > 0) & (span > 0)
        lows.append(jnp.where(known, low - span, -jnp.inf))
        highs.append(jnp.where(known, high + span, jnp.inf))
    return jnp.min(jnp.stack(lows)), jnp.max(jnp.stack(highs))


def assumed_range(problem: Problem, plan: Plan, settings: Settings, scaling: Scaling) -> dict[str, Any]:
    """The fields `lower` and `upper` of `Units`, in the units of the problem.

    Args:
        problem: The rewritten problem.
        plan: How it is solved: a decoupled one has an automatic range.
        settings: With the range that is asked for, in the user's units.
        scaling: The units of the problem.
    """
    lower: Point = {}
    upper: Point = {}
    for name, shape in problem.variables:
        low, high = settings.lower / scaling.columns[name], settings.upper / scaling.columns[name]
        automatic = -jnp.inf, jnp.inf
        if plan.decoupled:
            automatic = data_range(problem, name, shape, low.dtype)
        lower[name] = jnp.where(jnp.isnan(low), automatic[0], low)
        upper[name] = jnp.where(jnp.isnan(high), automatic[1], high)
    return {"lower": lower, "upper": upper}


def widened(units: Units, x: Point, settings: Settings) -> tuple[Units, Array]:
    """(units, whether they changed): an automatic range that x has come near the end of, or left, is widened about x.

    Args:
        units: With a range.
        x: The iterate, of the shapes of the rewritten problem.
        settings: With the range that is asked for: NaN is the automatic one.
    """
    lower, upper, changed = {}, {}, jnp.zeros((), bool)
    for name, value in x.items():
        low, high, least, most = units.lower[name], units.upper[name], jnp.min(value), jnp.max(value)
        margin, span = MARGIN * (high - low), most - least
        bounded = jnp.isfinite(margin)
        below = bounded & jnp.isnan(settings.lower) & (least < low + margin)
        above = bounded & jnp.isnan(settings.upper) & (most > high - margin)
        lower[name] = jnp.where(below, jnp.minimum(low, least - span), low)
        upper[name] = jnp.where(above, jnp.maximum(high, most + span), high)
        changed = changed | below | above
    return replace(units, lower=lower, upper=upper), changed


def needed(problem: Problem, x: Point, lower: Point, upper: Point, scaling: Scaling) -> tuple[Array, Array]:
    """(lower, upper) in the user's units, of what had to be assumed: nothing where the problem has bounds itself.

    Args:
        problem: The rewritten problem.
        x: A point, for its shapes.
        lower: Of `assumed_range`.
        upper: Of `assumed_range`.
        scaling: The units of the problem.
    """
    own = own_bounds(lift(problem), x)
    least = [
        jnp.min(jnp.where(jnp.isfinite(own[0][name]), jnp.inf, low * scaling.columns[name]))
        for name, low in lower.items()
    ]
    most = [
        jnp.max(jnp.where(jnp.isfinite(own[1][name]), -jnp.inf, high * scaling.columns[name]))
        for name, high in upper.items()
    ]
    low, high = jnp.min(jnp.stack(least)), jnp.max(jnp.stack(most))
    return jnp.where(jnp.isposinf(low), -jnp.inf, low), jnp.where(jnp.isneginf(high), jnp.inf, high)
