"""How many random models in random units are solved, and what is said falsely; or iterations against units.

python -m tests.solver.survey --count 150 --form dense
python -m tests.solver.survey --structure 17 --seed 3 --form large
python -m tests.solver.survey --table
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import jax

from tests.solver.random_models import random_case
from tests.solver.scaled_models import FORMS, Outcome, in_form, one_unit, run_case, scaled

STRUCTURES = 75
FACTORS = (1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9)
TABLED = (2, 8, 10, 17, 26, 37, 47, 58)


def survey(count: int, form: str, *, first: int = 0, span: float = 6.0, loud: bool = True) -> list[Outcome]:
    """`count` cases from the `first` on, seed after seed; each false one is printed when it is found.

    Models of one structure share their programs, so they are solved one after another.
    """
    outcomes: list[Outcome] = []
    for i in sorted(range(first, first + count), key=lambda i: (i % STRUCTURES, i)):
        seed, structure = divmod(i, STRUCTURES)
        if outcomes and outcomes[-1].structure != structure:
            jax.clear_caches()
        outcome = run_case(structure, seed, form, span=span)
        outcomes.append(outcome)
        if loud and outcome.false:
            print(line(outcome), flush=True)
    return outcomes


def line(o: Outcome) -> str:
    """A case in one line, enough to run it again."""
    marks = [name for name in ("false_gap", "wrong_status", "false_point") if getattr(o, name)]
    true = abs(o.objective - o.optimum) / max(abs(o.objective), 1e-300)
    return (
        f"{' '.join(marks) or 'fine'}: --structure {o.structure} --seed {o.seed} --form {o.form}; {o.status} after "
        f"{o.iterations} of {o.max_iterations}, tol {o.tol:.1e}, gap {o.gap:.2e}, true {true:.2e}, "
        f"f {o.objective:.9g}, f* {o.optimum:.9g} +- {o.error:.1e}, outside {o.outside:.1e}; {', '.join(o.log)}"
    )


def summary(outcomes: list[Outcome]) -> str:
    """The counts as a table."""
    asked = [o for o in outcomes if o.asked]
    rows = {
        "cases": len(outcomes),
        "reference failed": sum(not o.known for o in outcomes),
        "gap below the true one": sum(o.false_gap for o in outcomes),
        "  of these at a point outside": sum(o.false_gap and o.outside > 1e-6 for o in outcomes),
        "wrong status": sum(o.wrong_status for o in outcomes),
        "success at a false point": sum(o.false_point for o in outcomes),
        "asked for 1e-6 or less": len(asked),
        "  reached": sum(o.reached for o in asked),
    }
    rows |= {f"status {name}": n for name, n in sorted(Counter(o.status for o in outcomes).items())}
    return "\n".join(f"{name:<32}{n:>6}" for name, n in rows.items())


def table(structures: tuple[int, ...] = TABLED, form: str = "dense", factors: tuple[float, ...] = FACTORS) -> str:
    """Iterations to the default tolerance, at most 3,000: model x quantity (rows) and factor (columns)."""
    lines = [f"{'model':<6}{'quantity':<10}" + "".join(f"{f:>9.0e}" for f in factors)]
    print(lines[0], flush=True)
    for structure in structures:
        for quantity in ("data", "variable", "row", "term", "cost"):
            cells = []
            for factor in factors:
                problem = scaled(random_case(structure), one_unit(quantity, factor))
                with in_form(form), jax.enable_x64(True):
                    solution = problem.model.solve(problem.case.params, max_iterations=3000)
                status, iterations = int(solution.status), int(solution.iterations)
                short = {1: "", 2: "infeas", 3: "unbound", 4: ">", 6: "nan"}.get(status, f"status{status} ")
                cells.append(f"{short}{iterations if status in (1, 4) else ''}")
            lines.append(f"{structure:<6}{quantity:<10}" + "".join(f"{cell:>9}" for cell in cells))
            print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=75)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--form", choices=FORMS, default="dense")
    parser.add_argument("--span", type=float, default=6.0, help="units from 10^-span to 10^span; 0 for none")
    parser.add_argument("--structure", type=int, help="with --seed: this one case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tol", type=float, help="of the one case, in place of the drawn one")
    parser.add_argument("--max-iterations", type=int, help="of the one case, in place of those drawn")
    parser.add_argument("--table", action="store_true", help="iterations by quantity and factor")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.table:
        table(form=given.form)
    elif given.structure is not None:
        options = {"span": given.span, "tol": given.tol, "max_iterations": given.max_iterations}
        print(line(run_case(given.structure, given.seed, given.form, **options)))
    else:
        print(summary(survey(given.count, given.form, first=given.first, span=given.span)))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
