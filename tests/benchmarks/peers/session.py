"""A peer's own process, and the referee that judges the images it hands back."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import figures
import numpy as np
from peers.environments import python_of
from peers.problems import Line
from peers.protocol import Problem

ROOT = Path(__file__).parents[3]
PREPARING = 600.0  # seconds to import, build and compile


class Point(NamedTuple):
    """One image: how long it took, and its objective in float64."""

    seconds: float
    iterations: int
    objective: float
    certified: float | None


class Answer(NamedTuple):
    """What came of one run, and the MB that the process has held at most."""

    points: list[Point]
    peak: float


@dataclass
class Failed(Exception):  # noqa: N818 a peer's failure is a result
    """A peer that was too slow or fell over."""

    reason: str


class Session:
    """The process of one line on one problem; `started` is how long it took until the peer was imported."""

    def __init__(self, line: Line, problem: Problem, envs: Path, folder: Path) -> None:
        self.problem, self.folder = problem, folder / line.name.replace(" ", "_").replace(",", "")
        self.folder.mkdir(parents=True, exist_ok=True)
        file, script = self.folder / "problem.npz", Path(__file__).parent / f"with_{line.peer}.py"
        problem.save(file)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "JAX_"))}
        if line.peer == "admm_jax":
            clean["PYTHONPATH"] = str(ROOT)
        command = [python_of(line.peer, envs), str(script), str(file), str(self.folder), line.argument]
        self.begun = time.perf_counter()
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=clean
            )
        self.hello = self._read(PREPARING)
        self.setup: dict[str, float] = {}  # seconds, for each setting that was prepared
        self.started = time.perf_counter() - self.begun

    def _read(self, timeout: float) -> dict[str, Any]:
        """The next answer."""
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.process.kill()
            self.process.wait()
            raise Failed(f"not within {timeout:.0f} s")
        answer = self.process.stdout.readline()
        if not answer:
            raise Failed(f"failed with exit code {self.process.wait()}")
        return json.loads(answer)

    def _request(self, setting: Any, effort: Any, cold: bool, timeout: float) -> dict[str, Any]:
        print(json.dumps({"setting": setting, "effort": effort, "cold": cold}), file=self.process.stdin, flush=True)
        return self._read(timeout)

    def ask(self, setting: Any, effort: Any, timeout: float, cold: bool = False) -> Answer:
        """One solve from nothing; cold, the first of a setting compiles what it needs by itself."""
        if json.dumps(setting) not in self.setup:
            self.setup[json.dumps(setting)] = self._request(setting, None, cold, PREPARING)["setup"]
        answer = self._request(setting, effort, cold, timeout)
        self.answered = time.perf_counter()
        points = [
            Point(seconds, iterations, self.objective(image), certified)
            for (seconds, iterations, certified), image in zip(answer["points"], np.load(answer["images"]), strict=True)
        ]
        Path(answer["images"]).unlink()
        return Answer(points, answer["peak"])

    def objective(self, image: np.ndarray) -> float:
        """The same for all."""
        return figures.objective(image, **vars(self.problem))

    def close(self) -> float:
        """End the process; seconds that it has lived, but for the time it waited for the referee."""
        waited = time.perf_counter() - getattr(self, "answered", time.perf_counter())
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()
        self.process.stdout.close()
        return time.perf_counter() - self.begun - waited
