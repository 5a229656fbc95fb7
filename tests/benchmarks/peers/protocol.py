"""What the comparison and each peer's own process say to each other; NumPy is all it needs.

A peer's script is started with the problem's file, a folder for images and the name of its line, a dtype or a
solver. It says what it is and what there is to choose. Then every request is a line of JSON: the first for a setting
has it prepare; for each later one it solves once from nothing, and answers with the times and numbers of iterations at
which it had the images that it saves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SQUARED_NORM = 9.0  # of blur and differences, one above the other: 1 and 8 at the most


@dataclass(frozen=True)
class Problem:
    """Minimise over U  lam TV(U) + 1/2 ||K U - B||^2, with K a convolution to the same size, black outside.

    TV sums abs(down) + abs(right) over the pixels where p is 1, hypot(down, right) where p is 2; beyond the last row
    and column nothing changes.
    """

    observed: np.ndarray
    kernel: np.ndarray
    lam: float
    p: int

    def save(self, path: Path) -> None:
        """To a file."""
        np.savez(path, **asdict(self))

    @classmethod
    def load(cls, path: str) -> Problem:
        """From a file."""
        with np.load(path) as file:
            return cls(file["observed"], file["kernel"], float(file["lam"]), int(file["p"]))


class Snapshot(NamedTuple):
    """An image and how long it took; `certified` is the gap that the peer itself vouches for, if it does."""

    seconds: float
    iterations: int
    image: np.ndarray
    certified: float | None = None


@dataclass(frozen=True)
class Peer:
    """What a script has to offer.

    Attributes:
        packages: whose versions to report.
        prepare: (problem, line, setting) to a function of an effort, which solves once and gives its snapshots.
        settings: (line) to those to choose the fastest from.
        efforts: (problem, line) to a list of tolerances or iteration counts, from the least to the most; None where
            one run shows its own course, and an effort is what `Course` takes.
        warm_up: Compiles, by what `prepare` gave, whatever there is to compile; None if nothing is.
    """

    packages: tuple[str, ...]
    prepare: Callable[[Problem, str, Any], Callable[[Any], list[Snapshot]]]
    settings: Callable[[str], list] = lambda line: [None]
    efforts: Callable[[Problem, str], list] | None = None
    warm_up: Callable[[Callable], object] | None = None


class Enough(Exception):  # noqa: N818 it is no error
    """Ends a run from within its callback."""


@dataclass
class Course:
    """Keeps the images of one run at iterations in geometric progression, and ends it when it has run enough.

    Copying them is not counted.
    """

    seconds: float = float("inf")
    iterations: float = float("inf")
    snapshots: list[Snapshot] = field(default_factory=list)
    done: int = 0
    following: int = 1
    start: float = field(default_factory=time.perf_counter)

    def __call__(self, iterate: Any) -> None:
        """After each iteration."""
        self.done += 1
        if self.done < min(self.following, self.iterations):
            return
        image = np.asarray(iterate)  # waits until it is computed
        now = time.perf_counter()
        self.following = max(self.done + 1, int(1.15 * self.done))
        self.snapshots.append(Snapshot(now - self.start, self.done, image.copy()))
        if self.snapshots[-1].seconds >= self.seconds or self.done >= self.iterations:
            raise Enough
        self.start += time.perf_counter() - now


def peak() -> float:
    """MB that this process has held at most; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))


def serve(peer: Peer) -> None:
    """Answer until there are no more requests. Whatever the peer prints goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    path, folder, line = sys.argv[1:]
    problem, prepared = Problem.load(path), {}

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    answer(
        versions={name: version(name) for name in peer.packages},
        settings=peer.settings(line),
        efforts=peer.efforts(problem, line) if peer.efforts else None,
    )
    for number, request in enumerate(sys.stdin):
        asked = json.loads(request)
        if (key := json.dumps(asked["setting"])) not in prepared:
            clock = time.perf_counter()
            prepared[key] = peer.prepare(problem, line, asked["setting"])
            if peer.warm_up and not asked["cold"]:
                peer.warm_up(prepared[key])
            answer(setup=time.perf_counter() - clock)
            continue
        snapshots = prepared[key](asked["effort"])
        images = Path(folder) / f"{number}.npy"
        np.save(images, np.stack([snapshot.image for snapshot in snapshots]))
        answer(
            points=[(s.seconds, s.iterations, s.certified) for s in snapshots],
            images=str(images),
            peak=peak(),
        )
