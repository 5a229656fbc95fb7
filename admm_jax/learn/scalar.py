"""The minimum, or the root, of a function f of one number t that hands out its derivative: in about ten calls.

Both keep a bracket, two points that the answer lies between, once they have one, step by interpolation inside it, and
bisect where interpolation shrinks it too slowly. Functions of a regularisation weight have many small kinks; the
derivative jumps there, and only the bracket can be trusted. Where a call does not return finite numbers, the next is
half-way to the last point that did.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import NamedTuple

ValueAndSlope = Callable[[float], tuple[float, float]]  # t -> (f(t), f'(t))

EDGE = 0.1  # a step stays this share of the bracket away from its ends
LONGEST = 3.0  # step in t while there is no bracket
CLOSE = 0.5  # a bracket wider than this in t may hold kinks that the slopes at its ends do not tell of
RETREATS = 3  # calls in a row that may fail
AROUND = (0.4, 0.2)  # distances in t at which a minimum is compared with its neighbours


class Evaluation(NamedTuple):
    """t, f(t) and f'(t)."""

    t: float
    value: float
    slope: float


class ScalarResult(NamedTuple):
    """Where a search ended.

    Attributes:
        best: The least value seen, or the value nearest to zero.
        evaluations: All calls, in order; those that failed have values that are not finite.
        converged: Whether the last step was within the tolerance.
        message: Why it stopped.
    """

    best: Evaluation
    evaluations: tuple[Evaluation, ...]
    converged: bool
    message: str


class _Stop(Exception):  # noqa: N818 - no error: the search has said all it can
    """Ends a search from wherever it is."""


class _Calls:
    """The calls of one search: inside [low, high], at most `limit`, recorded, and retried nearer by where they fail."""

    def __init__(self, function: ValueAndSlope, low: float, high: float, limit: int) -> None:
        self.function, self.low, self.high, self.limit = function, low, high, limit
        self.evaluations: list[Evaluation] = []

    def __call__(self, t: float, safe: Evaluation | None) -> Evaluation:
        """The function at t, or nearer to the point `safe` where it has no finite value at t."""
        for _ in range(RETREATS + 1):
            if len(self.evaluations) >= self.limit:
                raise _Stop(f"stopped after {self.limit} evaluations")
            point = Evaluation(t, *map(float, self.function(t)))
            self.evaluations.append(point)
            if math.isfinite(point.value) and math.isfinite(point.slope):
                return point
            if safe is None:
                raise _Stop("the criterion or its derivative is not finite at the start")
            t = (t + safe.t) / 2
        raise _Stop("the criterion or its derivative is not finite near the best point")

    def good(self) -> list[Evaluation]:
        """Those with a value."""
        return [p for p in self.evaluations if math.isfinite(p.value)] or [self.evaluations[0]]

    def best(self) -> Evaluation:
        """The first with the least value."""
        return min(self.good(), key=lambda p: p.value)

    def outcome(self, quality: Callable[[Evaluation], float], converged: bool, message: str) -> ScalarResult:
        return ScalarResult(min(self.good(), key=quality), tuple(self.evaluations), converged, message)

    def clip(self, t: float) -> float:
        return min(max(t, self.low), self.high)


def minimise(
    function: ValueAndSlope,
    start: float,
    *,
    low: float,
    high: float,
    tol: float = 0.03,
    limit: int = 12,
    step: float = 1.0,
) -> ScalarResult:
    """A local minimum of f on [low, high], downhill from the start.

    It walks downhill, by secant steps on f', until f' changes sign or f rises; then it takes the minimum of the cubic
    with the values and slopes at both ends of the bracket. Among kinks slopes say little of what is a little further
    away: so at the end the value is compared with those at the distances `AROUND`.

    Args:
        function: t -> (f(t), f'(t)).
        start: The first t.
        low: Least t.
        high: Largest t.
        tol: The distance to the minimum to stop at, as the slopes tell it.
        limit: Calls allowed.
        step: The first step.

    Source: the cubic step and its safeguards as in line searches (Moré & Thuente 1994).
    """
    calls = _Calls(function, low, high, limit)
    try:
        converged, message = _descend(calls, start, tol, step)
    except _Stop as stop:
        converged, message = False, str(stop)
    if converged:
        with contextlib.suppress(_Stop):  # a minimum it is in any case
            _look_around(calls)
    return calls.outcome(lambda p: p.value, converged, message)


def _descend(calls: _Calls, start: float, tol: float, step: float) -> tuple[bool, str]:
    near = calls(calls.clip(start), None)
    if near.slope == 0:
        return True, "the slope is zero"
    way = -math.copysign(1.0, near.slope)
    while True:
        t = calls.clip(near.t + way * step)
        if t == near.t:
            return True, f"the minimum lies at the {'upper' if way > 0 else 'lower'} bound of the search"
        far = calls(t, near)
        if far.slope * way >= 0 or far.value > near.value:
            break
        bend = far.slope - near.slope
        reach = -far.slope * (far.t - near.t) / bend if bend * way > 0 else math.inf
        step = min(max(1.5 * abs(reach), step), LONGEST)
        near = far
    while True:
        inner, width = _inside(near, far), abs(far.t - near.t)
        if width <= tol:
            return True, "the bracket is within the tolerance"
        middle = calls(inner, near)
        side = near if abs(middle.t - near.t) < abs(middle.t - far.t) else far
        bend = (middle.slope - side.slope) / (middle.t - side.t)
        still = bend > 0 and abs(middle.slope) <= tol * bend and middle.value <= min(near.value, far.value)
        if middle.slope * way >= 0 or middle.value > near.value:
            far = middle
        else:
            near = middle
        if still and abs(far.t - near.t) <= CLOSE:
            return True, "the slope is within the tolerance of zero"
        if abs(far.t - near.t) > 0.6 * width and width > tol:  # interpolation hardly helped: halve it
            half = calls((near.t + far.t) / 2, near)
            if half.slope * way >= 0 or half.value > near.value:
                far = half
            else:
                near = half


def _look_around(calls: _Calls) -> None:
    """Compare the best point with its neighbours at the distances `AROUND`, as long as one of them is better."""
    for distance in AROUND:
        better = True
        while better:
            best = calls.best()
            better = any(_neighbour(calls, best, way * distance).value < best.value for way in (-1, 1))


def _neighbour(calls: _Calls, best: Evaluation, distance: float) -> Evaluation:
    """A point about `distance` (signed) from the best one, known or new; the best where the bounds leave no room."""
    there = [p for p in calls.good() if 0.6 <= (p.t - best.t) / distance <= 1.5]
    if there:
        return min(there, key=lambda p: p.value)
    t = calls.clip(best.t + distance)
    return best if t == best.t else calls(t, best)


def _inside(a: Evaluation, b: Evaluation) -> float:
    """The t of the minimum of the cubic through both points with their slopes, `EDGE` inside; else the middle."""
    width = b.t - a.t
    first = a.slope + b.slope - 3 * (b.value - a.value) / width
    under = first**2 - a.slope * b.slope
    share = 0.5
    if under > 0:
        second = math.copysign(math.sqrt(under), width)
        below = b.slope - a.slope + 2 * second
        if below != 0:
            share = 1 - (b.slope + second - first) / below
    if not EDGE <= share <= 1 - EDGE:
        share = min(max(share, EDGE), 1 - EDGE) if math.isfinite(share) else 0.5
    return a.t + share * width


def find_root(
    function: ValueAndSlope, start: float, *, low: float, high: float, tol: float = 0.01, limit: int = 12
) -> ScalarResult:
    """The zero on [low, high] of a function that never decreases: Newton's method, inside a bracket once it has one.

    Args:
        function: t -> (f(t), f'(t)).
        start: The first t.
        low: Least t.
        high: Largest t.
        tol: The step to stop at.
        limit: Calls allowed.
    """
    calls = _Calls(function, low, high, limit)
    try:
        converged, message = _newton(calls, start, tol)
    except _Stop as stop:
        converged, message = False, str(stop)
    return calls.outcome(lambda p: abs(p.value), converged, message)


def _newton(calls: _Calls, start: float, tol: float) -> tuple[bool, str]:
    below, above = -math.inf, math.inf  # the bracket: f < 0, f > 0
    point = calls(calls.clip(start), None)
    while point.value != 0:
        if point.value < 0:
            below = point.t
        else:
            above = point.t
        step = -point.value / point.slope if point.slope > 0 else -math.copysign(LONGEST, point.value)
        if abs(step) <= tol:
            return True, "the step is within the tolerance"
        t = calls.clip(point.t + min(max(step, -LONGEST), LONGEST))
        if not below < t < above:
            bounded = math.isfinite(below) and math.isfinite(above)
            if not bounded:
                side = "upper" if point.value < 0 else "lower"
                return False, f"there is no root: the criterion keeps its sign up to the {side} bound of the search"
            t = (below + above) / 2
        if above - below <= tol:
            return True, "the bracket is within the tolerance"
        point = calls(t, point)
    return True, "the criterion is zero"
