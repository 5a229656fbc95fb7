"""Tables, files and the figure of a comparison."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from peers.contest import ROUNDING, Contest, Result

GAPS = (1e-3, 1e-4, 1e-6, 1e-8)
NONE = "-"
BELOW = 1e-11  # how far below f* an objective may come by rounding


def duration(seconds: float) -> str:
    """For reading."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown, aligned to be read as text too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def middle(values: list[float]) -> float:
    """Median; infinite of nothing."""
    return sorted(values)[len(values) // 2] if values else math.inf


def row(contest: Contest) -> list[str]:
    """Times to the gaps, and what it takes to get started."""
    seconds, best = contest.best()
    settings = [" ".join(f"{key}={value}" for key, value in (setting or {}).items()) for setting in contest.settings]
    below = [f"BELOW f* by {-best:.1e}"] if best < -BELOW else []
    return [
        contest.line.name,
        *(duration(contest.time_to(gap)) for gap in GAPS),
        f"{max(best, ROUNDING):.0e} at {duration(seconds)}" if math.isfinite(best) else NONE,
        duration(contest.started),
        duration(middle([first for first, _ in contest.from_scratch])),
        duration(middle([whole for _, whole in contest.from_scratch])),
        f"{contest.peak:.0f}",
        "; ".join(filter(None, [*settings, *contest.notes, *below])),
    ]


def problem(result: Result) -> str:
    """The tables of one problem."""
    case = result.contests[0].case
    height, width = case.problem.observed.shape
    gaps = [f"to {gap:g}" for gap in GAPS]
    head = ["peer", *gaps, "best gap", "import", "first call", "whole process", "peak MB", "settings, remarks"]
    certified = [
        (contest.line.name, tol, duration(seconds), point.certified, contest.gap(point), point.iterations)
        for contest in result.contests
        for tol, (seconds, point) in contest.certified().items()
    ]
    return "\n\n".join(
        [
            f"### {result.name}: {height} × {width}, kernel {' × '.join(map(str, case.problem.kernel.shape))}, "
            f"lam {case.problem.lam:g}, p = {case.problem.p}",
            f"f* = {result.optimum:.13g}, certified to {result.certified:.1e}; load when it began: {result.load:.1f}. "
            f"First call and whole process: to a gap of {case.whole:g}.",
            table(head, [row(contest) for contest in result.contests]),
            table(
                ["stops by itself", "tol", "time", "certified gap", "true gap", "iterations"],
                [[name, f"{tol:g}", time, f"{a:.1e}", f"{b:.1e}", str(n)] for name, tol, time, a, b, n in certified],
            ),
        ]
    )


def ratios(results: list[Result]) -> str:
    """What the project wants to know of the comparison."""
    known = {(r.name, contest.line.name): contest for r in results for contest in r.contests}

    def seconds(name: str, line: str, of: Callable[[Contest], float]) -> float:
        return of(known[name, line]) if (name, line) in known else math.inf

    def to(gap: float) -> Callable[[Contest], float]:
        return lambda contest: contest.time_to(gap)

    def at(tol: float) -> Callable[[Contest], float]:
        return lambda contest: contest.certified().get(tol, (math.inf,))[0]

    def whole(contest: Contest) -> float:
        return middle([whole for _, whole in contest.from_scratch])

    single, double = "admm_jax float32", "admm_jax float64"
    rows = []
    for name, (line, label, of), (own, own_label, own_of) in (
        ("page", ("admm", "to 1e-8", to(1e-8)), (double, "to 1e-8", to(1e-8))),
        ("page", ("admm", "whole process", whole), (double, "whole process", whole)),
        ("photo128", ("PyProximal float32", "to 1e-4", to(1e-4)), (single, "certified 1e-4", at(1e-4))),
        ("photo128", ("PyProximal float64", "to 1e-4", to(1e-4)), (single, "certified 1e-4", at(1e-4))),
        ("photo128", ("SCICO float32", "to 1e-3", to(1e-3)), (single, "to 1e-3", to(1e-3))),
        ("photo128", ("SCICO float32", "to 1e-4", to(1e-4)), (single, "certified 1e-4", at(1e-4))),
        ("photo128", ("SCICO float64", "to 1e-3", to(1e-3)), (single, "to 1e-3", to(1e-3))),
        ("photo128", ("SCICO float64", "to 1e-4", to(1e-4)), (single, "certified 1e-4", at(1e-4))),
        ("photo128", ("CVXPY, SCS", "to 1e-6", to(1e-6)), (double, "certified 1e-9", at(1e-9))),
        ("photo128", ("CVXPY, SCS", "to 1e-6", to(1e-6)), (double, "to 1e-6", to(1e-6))),
    ):
        theirs, ours = seconds(name, line, of), seconds(name, own, own_of)
        ratio = f"{theirs / ours:.1f}" if math.isfinite(theirs) and math.isfinite(ours) else NONE
        rows.append([name, f"{line} {label}", duration(theirs), f"{own} {own_label}", duration(ours), ratio])
    return table(["problem", "peer", "takes", "admm_jax", "takes", "ratio"], rows)


def versions(results: list[Result]) -> str:
    """Of every package."""
    found = {
        f"{contest.line.peer}: {name} {number}"
        for r in results
        for contest in r.contests
        for name, number in contest.versions.items()
    }
    return "Versions by environment: " + ", ".join(sorted(found)) + "."


def write_csv(results: list[Result], path: Path) -> None:
    """Every measured point."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("problem line setting effort round seconds iterations objective gap certified".split())
        for name, contest in [(result.name, contest) for result in results for contest in result.contests]:
            for key, rounds in contest.runs.items():
                for number, point in [(i, point) for i, points in enumerate(rounds) for point in points]:
                    judged = repr(point.objective), contest.gap(point), point.certified
                    told = *json.loads(key), number, point.seconds, point.iterations
                    writer.writerow([name, contest.line.name, *told, *judged])


def draw(results: list[Result], path: Path) -> None:
    """The relative gap against time, a panel for each problem."""
    across = min(3, len(results))
    down = math.ceil(len(results) / across)
    figure, axes = plt.subplots(down, across, figsize=(5.2 * across, 4.2 * down), squeeze=False, layout="constrained")
    colours, drawn = {}, {}
    for panel, result in zip(axes.flat, results, strict=False):
        for line, efforts, curve in [
            (c.line, c.efforts, c.curve(each)) for c in result.contests for each in c.settings
        ]:
            own, family = line.peer == "admm_jax", line.name.partition(" float")[0]
            (drawn[line.name],) = panel.loglog(
                [seconds for seconds, _ in curve],
                [max(gap, ROUNDING) for _, gap in curve],
                marker="o" if efforts else "",
                color="black" if own else colours.setdefault(family, f"C{len(colours)}"),
                linestyle="--" if "float64" in line.name else "-",
                linewidth=2 if own else 1.2,
                markersize=5 if own else 3,
            )
        panel.set(title=result.name, xlabel="seconds", ylabel="relative gap to f*", ylim=(ROUNDING / 2, 3))
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(results) :]:
        panel.set_axis_off()
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=2 * across, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
