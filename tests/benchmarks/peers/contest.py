"""How a line is measured: settings chosen, followed to the goal, repeated in turns, and from scratch."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers.problems import Case, Line
from peers.session import PREPARING, Answer, Failed, Point, Session

TUNING = 1e-4  # the gap that the settings of a peer's methods are chosen for
TRIALS = (1.0, 4.0)  # seconds to try them
SINGLE = 1e-6  # a gap beyond which nobody is followed in float32
ROUNDING = 1e-16  # gaps are shown as no less
FAST = 10.0  # seconds of a run that is repeated
REFEREE = Line("admm_jax at tol=1e-10", "admm_jax", "float64")


@dataclass
class Contest:
    """One line on one problem.

    Attributes:
        line: Who.
        case: What.
        optimum: The smallest objective, f*.
        opened: Starts a process.
        limit: Seconds of one run.
        settings: Those that are followed.
        runs: For every setting and effort, written as JSON, the points of each round.
        from_scratch: (seconds until the first answer after the import, seconds of the whole process), a pair a round.
    """

    line: Line
    case: Case
    optimum: float
    opened: Callable[[], Session]
    limit: float
    settings: list = field(default_factory=list)
    runs: dict[str, list[list[Point]]] = field(default_factory=lambda: defaultdict(list))
    from_scratch: list[tuple[float, float]] = field(default_factory=list)
    peak: float = math.nan
    notes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.session = self.opened()
        self.started = self.session.started
        self.goal = max(self.case.goal, SINGLE) if self.line.argument == "float32" else self.case.goal
        self.versions, self.efforts = self.session.hello["versions"], self.session.hello["efforts"]

    def gap(self, point: Point) -> float:
        """Relative to f*."""
        return (point.objective - self.optimum) / self.optimum

    def ask(self, setting: Any, effort: Any) -> Answer:
        """A warm run; one that ends itself may take a little longer."""
        return self.session.ask(setting, effort, self.limit if self.efforts else 2 * self.limit)

    def attempt(self, what: Callable[[Contest], None]) -> None:
        """Do one of the following; if the peer fails, that is the result."""
        try:
            what(self)
        except Failed as failure:
            self.notes.add(failure.reason)

    def tune(self) -> None:
        """Choose of every method the setting that is first to the gap TUNING, or the nearest in a short while.

        All of them for a little while, the two best of a method for longer.
        """
        left = self.session.hello["settings"]
        for seconds in TRIALS if len(left) > 1 else ():
            ranked = []
            for setting in left:
                points = self.ask(setting, {"seconds": min(seconds, self.limit)}).points
                curve = [(point.seconds, self.gap(point)) for point in points]
                ranked.append((crossing(curve, TUNING), curve[-1][1], json.dumps(setting)))
            methods = defaultdict(list)
            for *_, written in sorted(ranked):
                methods[json.loads(written)["method"]].append(json.loads(written))
            kept = 1 if seconds == TRIALS[-1] else 2
            left = [setting for settings in methods.values() for setting in settings[:kept]]
        self.settings = left

    def explore(self) -> None:
        """The first round: to the goal, the limit, or where more time no longer helps."""
        self.tune()
        for setting in self.settings:
            if self.efforts is None:
                self._follow(setting)
            for effort in self.efforts or []:
                answer = self.ask(setting, effort)
                self._keep(setting, effort, answer)
                point = answer.points[-1]
                if point.certified is None and self.gap(point) <= self.goal:
                    break

    def _follow(self, setting: Any) -> None:
        """Run again from nothing, four times as long as before."""
        before = math.inf
        for budget in (min(4.0**k, self.limit) for k in itertools.count(1)):
            answer = self.ask(setting, {"seconds": budget})
            reached = min(map(self.gap, answer.points))
            stalled = reached > 0.8 * before and budget < self.limit
            if reached <= self.goal or stalled or budget == self.limit:
                self._keep(setting, {"iterations": answer.points[-1].iterations}, answer)
                if reached > self.goal:
                    self.notes.add("stalls" if stalled else f"not followed beyond {self.limit:g} s")
                return
            before = reached

    def _keep(self, setting: Any, effort: Any, answer: Answer) -> None:
        self.runs[json.dumps([setting, effort])].append(answer.points)
        self.peak = answer.peak

    def repeat(self) -> None:
        """One more round of what is fast."""
        for key, rounds in list(self.runs.items()):
            if self.session.process.poll() is None and rounds[0][-1].seconds < FAST:
                self._keep(*json.loads(key), self.ask(*json.loads(key)))

    def scratch(self) -> None:
        """A process of its own, to the gap `whole`, if that is fast."""
        gap = self.case.whole
        if self.time_to(gap) > FAST:
            return
        setting = min(self.settings, key=lambda setting: crossing(self.curve(setting), gap))
        for key, rounds in self.runs.items():
            reached = [point.iterations for point in rounds[0] if self.gap(point) <= gap]
            if reached and json.loads(key)[0] == setting:
                effort = json.loads(key)[1] if self.efforts else {"iterations": reached[0]}
                session = self.opened()
                seconds = session.ask(setting, effort, PREPARING, cold=True).points[-1].seconds
                self.from_scratch.append((sum(session.setup.values()) + seconds, session.close()))
                return

    def curve(self, setting: Any) -> list[tuple[float, float]]:
        """(median seconds over the rounds, gap), in the order in which they were asked for."""
        return [
            (float(np.median([point.seconds for point in same])), self.gap(same[0]))
            for key, rounds in self.runs.items()
            if json.loads(key)[0] == setting
            for same in zip(*rounds, strict=True)
        ]

    def time_to(self, gap: float) -> float:
        """Seconds to a gap by the fastest setting; infinite if it was not reached.

        Between two points time is interpolated. Not for a line with certificates, whose times jump where it polishes:
        there it is that of the fastest run that reached the gap.
        """
        if self.certified():
            return min((seconds for seconds, here in self.curve(self.settings[0]) if here <= gap), default=math.inf)
        return min((crossing(self.curve(setting), gap) for setting in self.settings), default=math.inf)

    def best(self) -> tuple[float, float]:
        """(seconds, gap) of the smallest gap."""
        points = [point for setting in self.settings for point in self.curve(setting)]
        return min(points, key=lambda point: point[1], default=(math.inf, math.inf))

    def certified(self) -> dict[float, tuple[float, Point]]:
        """Median seconds and the point for every tolerance, of a line that stops by a certificate of its own."""
        return {
            json.loads(key)[1]: (float(np.median([points[-1].seconds for points in rounds])), rounds[0][-1])
            for key, rounds in self.runs.items()
            if rounds[0][-1].certified is not None
        }


def crossing(curve: list[tuple[float, float]], gap: float) -> float:
    """When a curve first comes to `gap`: between two points, along a straight line in logarithms."""
    reached = [place for place, (_, here) in enumerate(curve) if here <= gap]
    if not reached:
        return math.inf
    first, fastest = reached[0], min(curve[place][0] for place in reached)
    (before, above), (seconds, here) = curve[max(first - 1, 0)], curve[first]
    if first == 0 or before >= fastest:
        return fastest
    share = math.log(above / gap) / math.log(above / max(here, ROUNDING))
    return before * (seconds / before) ** share


@dataclass
class Result:
    """Everybody on one problem; `certified` is the gap that f* itself is certified to have."""

    name: str
    optimum: float
    certified: float
    load: float
    contests: list[Contest]


def hold(name: str, case: Case, lines: list[Line], envs: Path, folder: Path, rounds: int, limit: float) -> Result:
    """Measure, in turns."""
    load = os.getloadavg()[0]
    judge = Session(REFEREE, case.problem, envs, folder / "optimum")
    point = judge.ask(None, 1e-10, 3600.0, cold=True).points[-1]
    judge.close()
    contests = []
    for line in lines:
        if line.suits(case.problem):
            opened = lambda line=line: Session(line, case.problem, envs, folder)  # noqa: E731
            contests.append(Contest(line, case, point.objective, opened, limit))
            contests[-1].attempt(Contest.explore)
    for step in [Contest.repeat] * (rounds - 1) + [Contest.scratch] * rounds:
        for contest in contests:
            contest.attempt(step)
    for contest in contests:
        contest.session.close()
    return Result(name, point.objective, point.certified, load, contests)
