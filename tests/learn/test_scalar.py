import math

import numpy as np
import pytest

from admm_jax.learn import scalar

BOUNDS = {"low": -10.0, "high": 10.0}


def counted(function):
    def call(t):
        call.count += 1
        return function(t)

    call.count = 0
    return call


@pytest.mark.parametrize("at", [-6.3, -0.4, 0.0, 2.7, 7.9])
@pytest.mark.parametrize(
    "function",
    [
        lambda d: (d**2, 2 * d),
        lambda d: (math.cosh(d / 2), math.sinh(d / 2) / 2),
        lambda d: (math.log(1 + d**2), 2 * d / (1 + d**2)),  # not convex
        lambda d: (-30 + d**2 / 8, d / 4),  # a criterion may have any offset
    ],
)
def test_minimum_of_a_smooth_function_in_at_most_twelve_calls(at, function):
    outcome = scalar.minimise(lambda t: function(t - at), 0.5, **BOUNDS)
    assert outcome.converged
    assert abs(outcome.best.t - at) < 0.06
    assert len(outcome.evaluations) <= 12


def test_minimum_of_a_function_full_of_kinks():
    grid = np.linspace(-4, 4, 41)

    def kinked(t):  # the chords of t^2, as the path of an image makes them
        piece = int(np.clip(np.searchsorted(grid, t) - 1, 0, 39))
        slope = grid[piece] + grid[piece + 1]
        return grid[piece] ** 2 + slope * (t - grid[piece]), slope

    outcome = scalar.minimise(kinked, 2.9, **BOUNDS)
    assert abs(outcome.best.t) <= 0.2
    assert len(outcome.evaluations) <= 12


def test_minimum_never_leaves_the_bounds_and_says_where_it_ended():
    outcome = scalar.minimise(lambda t: (t, 1.0), 0.0, low=-2.0, high=1.0)
    assert outcome.converged
    assert outcome.best.t == -2
    assert "lower bound" in outcome.message
    assert all(-2 <= point.t <= 1 for point in outcome.evaluations)


def test_minimum_hands_out_the_best_of_all_calls_when_they_run_out():
    outcome = scalar.minimise(lambda t: ((t - 9) ** 2, 2 * (t - 9)), -9.0, tol=1e-12, limit=3, **BOUNDS)
    assert not outcome.converged
    assert "3 evaluations" in outcome.message
    assert outcome.best == min(outcome.evaluations, key=lambda point: point.value)


@pytest.mark.parametrize("find", [scalar.minimise, scalar.find_root])
def test_a_call_that_fails_is_taken_back_towards_the_last_that_did_not(find):
    def broken(t):  # without a value beyond 1, and with the answer at 0.9
        if t > 1:
            return math.nan, math.nan
        d = t - 0.9
        return (
            (math.atan(9 * d), 9 / (1 + 81 * d**2))
            if find is scalar.find_root
            else (math.sqrt(1 + d**2), d / math.sqrt(1 + d**2))
        )

    start, first = (-2.0, {"step": 4.0}) if find is scalar.minimise else (-0.4, {})
    outcome = find(broken, start, limit=30, **first, **BOUNDS)
    assert any(math.isnan(point.value) for point in outcome.evaluations)
    assert abs(outcome.best.t - 0.9) < 0.2


@pytest.mark.parametrize("find", [scalar.minimise, scalar.find_root])
def test_a_function_that_is_finite_nowhere(find):
    outcome = find(lambda t: (math.nan, 1.0), 0.0, **BOUNDS)
    assert not outcome.converged
    assert "not finite at the start" in outcome.message


@pytest.mark.parametrize("at", [-7.0, -1.0, 0.0, 0.3, 8.0])
@pytest.mark.parametrize(
    "function",
    [
        lambda d: (math.expm1(d / 3), math.exp(d / 3) / 3),
        lambda d: (math.tanh(d), 1 / math.cosh(d) ** 2),  # flat far away: Newton alone would leave
        lambda d: (2 * d if d > 0 else d / 9, 2.0 if d > 0 else 1 / 9),
        lambda d: (d**3, 3 * d**2),
    ],
)
def test_root_of_an_increasing_function(at, function):
    call = counted(lambda t: function(t - at))
    outcome = scalar.find_root(call, 0.1, limit=40, **BOUNDS)
    assert outcome.converged
    assert abs(outcome.best.t - at) < 0.05
    assert call.count == len(outcome.evaluations) <= 20


@pytest.mark.parametrize(("level", "side"), [(3.0, "lower"), (-3.0, "upper")])
def test_root_that_does_not_exist(level, side):
    outcome = scalar.find_root(lambda t: (level + math.tanh(t), 1 / math.cosh(t) ** 2), 0.0, **BOUNDS)
    assert not outcome.converged
    assert f"no root: the criterion keeps its sign up to the {side} bound" in outcome.message
