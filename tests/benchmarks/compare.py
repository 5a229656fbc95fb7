"""The library against its peers, from problem files to tables and a figure: `python tests/benchmarks/compare.py`.

For every problem, how long each takes to come within a relative gap of the optimum. All images are judged by one
objective in float64, against the optimum that this library certifies; nobody may come below it. Every peer runs warm,
in an environment and a process of its own, with the best of a few settings for each problem; the runs of all alternate,
and times are medians. Those that do not stop by themselves are watched as they go: their settings and numbers of
iterations are chosen with the optimum in view, which no user has. The others are given a series of tolerances. Run it
on a quiet machine; all of it takes more than an hour.

    python tests/benchmarks/compare.py --problems page photo128 --limit 60 --out comparison
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from peers import contest, problems, report


def main() -> None:
    """Compare, print, write `gaps.csv`, `report.md` and `gaps.png`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = list(problems.CASES)
    parser.add_argument("--problems", nargs="+", choices=names, default=names)
    parser.add_argument("--peers", nargs="+", default=[], help="only lines whose names contain one of these")
    parser.add_argument("--osqp", action="store_true", help="OSQP too, which takes minutes")
    parser.add_argument("--rounds", type=int, default=3, help="of what is fast")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one run")
    parser.add_argument("--envs", type=Path, default=Path("~/.cache/admm_jax-benchmarks"), help="of the peers")
    parser.add_argument("--out", type=Path, help="folder for the results; a temporary one by default")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="comparison-"))
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        line
        for line in problems.LINES
        if ("OSQP" not in line.name or args.osqp)
        and (not args.peers or any(peer.lower() in line.name.lower() for peer in args.peers))
    ]
    results, parts = [], []
    for name in args.problems:
        case = problems.CASES[name]()
        results.append(contest.hold(name, case, lines, args.envs, out / name, args.rounds, args.limit))
        parts.append(report.problem(results[-1]))
        print(parts[-1], end="\n\n", flush=True)
        report.write_csv(results, out / "gaps.csv")
        report.draw(results, out / "gaps.png")
    last = f"### Ratios\n\n{report.ratios(results)}\n\n{report.versions(results)}"
    print(last)
    (out / "report.md").write_text("\n\n".join([*parts, last]) + "\n")
    print(f"\n{out / 'report.md'}, gaps.csv, gaps.png")


if __name__ == "__main__":
    main()
