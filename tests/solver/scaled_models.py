"""The same model in other units: every variable, row and term in its own, the objective too; solved and judged."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cvxpy as cp
import jax
import numpy as np

import admm_jax as admm
from admm_jax.expressions.facts import is_affine
from admm_jax.expressions.node import Apply, Constant, Expr
from admm_jax.solver import plan
from admm_jax.status import Status
from tests.solver.random_models import Case, random_case, reference
from tests.solver.random_terms import LARGE, SHAPES

FEASIBILITY = 1e-8  # the default in float64
Units = Callable[[str, tuple[int, ...]], Any]
"""(what, shape) -> positive numbers: the units of a "variable", a "row", a "term" or the "cost"."""

DEGREE = {"norm": 1, "abs": 1, "tv1d": 1, "tv2d": 1, "maximum": 1, "minimum": 1, "square": 2, "huber": 2, "inrange": 0}
WITH_UNITS = {"maximum": (1,), "minimum": (1,), "huber": (1,), "inrange": (1, 2)}  # arguments in units of the first


def random_units(structure: int, seed: int, span: float = 6.0) -> Units:
    """Powers of ten up to 10^span and down to 10^-span, each one drawn; for half of the arrays, one for each entry."""
    rng = np.random.default_rng([3, structure, seed])

    def draw(what: str, shape: tuple[int, ...]) -> Any:
        entrywise = what in ("variable", "row") and len(shape) == 1 and structure % 2
        return 10.0 ** rng.uniform(-span, span, size=shape if entrywise else ())

    return draw


def one_unit(quantity: str, factor: float) -> Units:
    """`factor` for one quantity and 1 for the others; "data" is what changes all of them alike."""
    of_data = {"variable": factor, "row": factor, "term": factor, "cost": factor**2}

    def give(what: str, shape: tuple[int, ...]) -> Any:
        return np.asarray(of_data[what] if quantity == "data" else factor if what == quantity else 1.0)

    return give


def _times(k: Any, e: Expr) -> Expr:
    """k e, as numbers where e is one."""
    if isinstance(e, Constant) and isinstance(e.value, np.ndarray):
        return Constant(k * e.value, infinite=True)
    return k * e


class _Rewriter:
    """Writes expressions of the base model in the variables of another: x = unit x^."""

    def __init__(self, variables: dict[int, Expr], units: Units) -> None:
        self.units, self.known = units, variables

    def same(self, e: Expr) -> Expr:
        """The expression in the new variables, with the old value."""
        if id(e) not in self.known:
            args = tuple(self.same(arg) for arg in e.args)
            self.known[id(e)] = e if e.is_constant else Apply(e.op, args, e.shape, **e.attrs)
        return self.known[id(e)]

    def atom(self, e: Expr, k: Any) -> Expr:
        """k^degree times the atom, by its argument times k."""
        held = WITH_UNITS.get(e.op, ())
        args = [_times(k, a) if i in (0, *held) else a for i, a in enumerate(self.same(a) for a in e.args)]
        return Apply(e.op, tuple(args), e.shape, **e.attrs)

    def term(self, e: Expr) -> Expr:
        """A term of the objective, its atom evaluated in other units: equal in value."""
        if e.op == "negative":
            return -self.term(e.args[0])
        if e.op == "sum":
            return Apply("sum", (self.term(e.args[0]),), e.shape, **e.attrs)
        if e.op == "multiply" and sum(arg.is_constant for arg in e.args) == 1:
            constant, rest = e.args if e.args[0].is_constant else e.args[::-1]
            return constant * self.term(rest)
        if e.op in DEGREE:
            k = float(self.units("term", ()))
            return k ** -DEGREE[e.op] * self.atom(e, k)
        return self.same(e)

    def objective(self, e: Expr, cost: float) -> Expr:
        if e.op == "negative":
            return -self.objective(e.args[0], cost)
        if e.op == "add":
            first, *rest = (self.objective(arg, cost) for arg in e.args)
            for term in rest:
                first = first + term
            return first
        return cost * self.term(e)

    def sides(self, lhs: Expr, rhs: Expr) -> tuple[Expr, Expr]:
        """Both sides of a constraint, in other units."""
        if is_affine(lhs) and is_affine(rhs):
            k = self.units("row", np.broadcast_shapes(lhs.shape, rhs.shape))
            return _times(k, self.same(lhs)), _times(k, self.same(rhs))
        k, inner = float(self.units("row", ())), lhs.args[0] if lhs.op == "sum" else lhs
        if not rhs.is_constant or inner.op not in DEGREE:
            return self.same(lhs), self.same(rhs)
        left = self.atom(inner, k)
        left = Apply("sum", (left,), lhs.shape, **lhs.attrs) if lhs.op == "sum" else left
        return left, _times(k ** DEGREE[inner.op], rhs)


class Scaled(NamedTuple):
    """The model in other units; `case` is the base one, x^ = units[x] x, f^ = cost f."""

    model: admm.Model
    case: Case
    units: dict[str, Any]
    cost: float
    size: float  # what the terms of f^ are of: an optimum is called zero beside it


def scaled(case: Case, units: Units, weight: float = 1.0) -> Scaled:
    """The model of `case` in the units that are drawn; its terms weigh up to `weight`."""
    model, found, variables = admm.Model(), {}, {}
    for v in case.model.variables:
        attributes = {1: {"nonneg": True}, -1: {"nonpos": True}, 0: {}}[v.sign]
        found[v.label] = units("variable", v.shape)
        variables[id(v)] = (1 / found[v.label]) * admm.Var(v.label, v.shape, **attributes)
    rewriter, cost = _Rewriter(variables, units), float(units("cost", ()))
    model.setObjective(rewriter.objective(case.model.getObjective(), cost), case.model.ModelSense)
    for c in case.model.constraints:
        lhs, rhs = rewriter.sides(c.lhs, c.rhs)
        model.addConstr(lhs, c.sense, rhs)
    entries = sum(v.size for v in case.model.variables)
    return Scaled(model, case, found, cost, case.scale**2 * max(1.0, weight) * max(1.0, entries / 30))


class Outcome(NamedTuple):
    """A solve against the truth, in base units; `known` is False where the reference itself failed."""

    structure: int
    seed: int
    form: str
    tol: float
    max_iterations: int
    status: str
    iterations: int
    optimum: float
    objective: float
    gap: float  # as it was reported, relative
    error: float  # of the reference, absolute
    outside: float  # of the constraints, relative to the size of the variables
    known: bool
    false_gap: bool  # the reported gap is below the true one
    wrong_status: bool  # infeasible, unbounded or not a number, or an end before its time
    false_point: bool  # success outside the constraints, or an objective that is not that of the point
    asked: bool  # for 1e-6 or less, with enough iterations
    reached: bool  # a gap of 1e-6 or less, proved
    log: tuple[str, ...]

    @property
    def false(self) -> bool:
        return self.false_gap or self.wrong_status or self.false_point


ENOUGH = 2000  # iterations
FORMS = ("dense", "large", "matrix-free")


@contextlib.contextmanager
def in_form(form: str) -> Iterator[None]:
    """Without matrices, at any size, where the form says so."""
    before = plan.DENSE_VARIABLES
    plan.DENSE_VARIABLES = 0 if form == "matrix-free" else before
    try:
        yield
    finally:
        plan.DENSE_VARIABLES = before


def scaled_case(structure: int, seed: int, form: str = "dense", span: float = 6.0) -> Scaled:
    """The random model, half of them with terms of different weight too, in random units."""
    rng = np.random.default_rng([4, structure, seed])
    weights = []

    def weigh() -> float:
        weights.append(float(10 ** rng.uniform(-2, 2)))
        return weights[-1]

    shapes = SHAPES if form == "dense" else LARGE
    case = random_case(structure, seed, shapes=shapes, weigh=weigh if seed % 4 >= 2 else None)
    return scaled(case, random_units(structure, seed, span), max(weights, default=1.0))


def run_case(
    structure: int,
    seed: int,
    form: str = "dense",
    *,
    span: float = 6.0,
    tol: float | None = None,
    max_iterations: int | None = None,
) -> Outcome:
    """Solve one random model in random units, to a random tolerance unless given, and judge what is said of it."""
    rng = np.random.default_rng([5, structure, seed])
    drawn_tol, drawn_most = float(10 ** -rng.uniform(1, 9)), int(10 ** rng.uniform(1, np.log10(5000)))
    if rng.random() < 0.3:  # asked for much, with time for it
        drawn_tol, drawn_most = float(10 ** -rng.uniform(6, 9)), 5000
    tol, most = tol or drawn_tol, max_iterations or drawn_most
    problem = scaled_case(structure, seed, form, span)
    with in_form(form), jax.enable_x64(True):
        solution = problem.model.solve(problem.case.params, tol=tol, max_iterations=most)
        solution = jax.tree.map(np.asarray, solution)
    return judge(problem, solution, structure, seed, form, tol, most)


def truth(case: Case) -> tuple[float, float]:
    """The optimum in base units and how far it may be off; NaN where the reference fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            best = reference(case.theirs)
        except (cp.error.SolverError, TypeError, ValueError):  # it failed, and hands out no value
            return np.nan, np.nan
    return float(best.optimum), float(best.error)


def judge(
    problem: Scaled, solution: admm.Solution, structure: int, seed: int, form: str, tol: float, most: int
) -> Outcome:
    """What is said of the solution against the reference."""
    case = problem.case
    optimum, error = truth(case)
    known = bool(np.isfinite(optimum) and np.isfinite(error))
    objective = (-1.0 if case.maximised else 1.0) * float(solution.objective) / problem.cost
    value, outside = at_point(problem, solution)
    unit = problem.size  # an optimum of zero is told to 2e-12 of what the objective is a sum of
    error += (1e-9 if abs(optimum) <= 1e-9 * unit else 1e-12) * max(unit, abs(optimum))
    known = known and error <= 1e-3 * max(abs(optimum), unit)
    status, gap = Status(int(solution.status)), float(solution.gap)
    success, true = status is Status.SOLVE_OPT_SUCCESS, abs(objective - optimum)
    patient = ("SOLVE_OPT_SUCCESS", "SOLVE_OVER_MAX_ITER", "SOLVE_STALLED")
    early = status is Status.SOLVE_OVER_MAX_ITER and int(solution.iterations) < most
    finite = np.isfinite(objective)
    return Outcome(
        structure, seed, form, tol, most, status.name, int(solution.iterations), optimum, objective, gap, error,
        outside, known,
        false_gap=known and finite and gap * abs(objective) < true * (1 - 1e-9) - error,
        wrong_status=status.name not in patient or early or (success and known and true > tol * abs(objective) + error),
        false_point=success and (outside > 100 * FEASIBILITY or abs(value - objective) > 1e-8 * max(abs(value), unit)),
        asked=tol <= 1e-6 and most >= ENOUGH,
        reached=success and gap <= max(tol, 1e-6),
        log=case.log,
    )  # fmt: skip


def at_point(problem: Scaled, solution: admm.Solution) -> tuple[float, float]:
    """The objective at the point by cvxpy, and the largest violation relative to the size of the variables."""
    case, size = problem.case, problem.case.scale
    for name, theirs in case.variables.items():
        if name in solution.values:
            point = np.asarray(solution.values[name], float) / problem.units[name]
            theirs.save_value(point)
            size = max(size, case.scale + float(np.max(np.abs(point))))
    worst = 0.0
    for constraint in case.theirs.constraints:
        worst = max(worst, float(np.max(constraint.violation(), initial=0.0)))
    for variable in case.theirs.variables():
        worst = max(worst, float(np.max(-variable.value)) if variable.is_nonneg() else 0.0)
        worst = max(worst, float(np.max(variable.value)) if variable.is_nonpos() else 0.0)
    return float(case.theirs.objective.value), worst / size
