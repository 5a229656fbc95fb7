"""Random small models, each written twice: with the model builder and, independently, in cvxpy.

A model is drawn from two seeds. `structure` chooses the variables, terms, constraints and shapes; `seed` the numbers.
So models that differ in `seed` alone share one compiled program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np

import admm_jax as admm
from tests.solver.random_terms import SHAPES, TERMS, Draw, Pair, affine, image, plus_data, vec, vector_of

Shapes = dict[str, tuple[int, ...]]

# constraints: all hold at the point that the variables' `value` in cvxpy holds


def inequality(d: Draw, sign: int) -> tuple[Any, Any]:
    a = affine(d)
    tight = d.choose.random(a.theirs.shape) < 0.3
    bound = a.theirs.value + sign * np.where(tight, 0, d.scale * d.weight(*a.shape))
    ours = d.constant(bound)
    return (a.ours <= ours, a.theirs <= bound) if sign > 0 else (a.ours >= ours, a.theirs >= bound)


def equality(d: Draw) -> tuple[Any, Any]:
    a = vector_of(d, affine(d, 1, depth=1))
    A = d.matrix(min(2, a.shape[0]), a.shape[0])
    value = A @ a.theirs.value
    return d.constant(A) @ a.ours == value, A @ a.theirs == value


def redundant_equality(d: Draw) -> tuple[Any, Any]:
    a = vector_of(d, affine(d, 1, depth=0))
    A = np.outer([1.0, -2.0, 0.5], d.matrix(a.shape[0]))
    value = A @ a.theirs.value
    return A @ a.ours == value, A @ a.theirs == value


def fixed_entry(d: Draw) -> tuple[Any, Any]:
    a = vector_of(d, affine(d, 1, depth=0))
    value = float(np.asarray(a.theirs.value)[0])
    return a.ours[0] == value, a.theirs[0] == value


def ball(d: Draw, ord: Any, loose: float) -> tuple[Any, Any]:
    a = vector_of(d, plus_data(d, affine(d, 1, depth=1)))
    radius = loose * float(np.linalg.norm(a.theirs.value, ord))
    theirs = {1: cp.norm1, 2: cp.norm2, np.inf: cp.norm_inf}[ord](a.theirs)
    return admm.norm(a.ours, ord) <= d.constant(radius), theirs <= radius


def small_absolute(d: Draw) -> tuple[Any, Any]:
    a = affine(d)
    bound = np.abs(a.theirs.value) + d.scale * d.weight(*a.shape) / 4
    return admm.abs(a.ours) <= bound, cp.abs(a.theirs) <= bound


def sum_of_squares(d: Draw) -> tuple[Any, Any]:
    a = plus_data(d, affine(d))
    bound = 1.1 * float(np.sum(np.square(a.theirs.value)))
    return admm.sum(admm.square(a.ours)) <= bound, cp.norm2(vec(a.theirs)) <= np.sqrt(bound)


def small_variation(d: Draw) -> tuple[Any, Any]:
    a = image(d)
    theirs = cp.sum(cp.abs(cp.diff(a.theirs, axis=0))) if a.shape[0] > 1 else 0
    theirs = theirs + (cp.sum(cp.abs(cp.diff(a.theirs, axis=1))) if a.shape[1] > 1 else 0)
    bound = 0.9 * float(np.asarray(theirs.value)) + d.scale
    return admm.tv2d(a.ours) <= bound, theirs <= bound


def half_infinite_box(d: Draw) -> tuple[Any, Any]:
    name = list(d.variables)[d.choose.integers(len(d.variables))]
    a = d.variables[name]
    free = d.choose.random(a.shape) < 0.5
    upper = np.asarray(a.theirs.value) + d.scale * d.weight(*a.shape)
    theirs = cp.multiply(~free, a.theirs) <= np.where(free, 0, upper)
    return a.ours <= np.where(free, np.inf, upper), theirs


CONSTRAINTS: dict[str, Any] = {
    f.__name__: f
    for f in (equality, redundant_equality, fixed_entry, small_absolute, sum_of_squares, small_variation,
              half_infinite_box)
}  # fmt: skip
CONSTRAINTS |= {
    "<=": lambda d: inequality(d, 1),
    ">=": lambda d: inequality(d, -1),
    "norm 1 ball": lambda d: ball(d, 1, 1.1),
    "norm 2 ball": lambda d: ball(d, 2, 0.999999 + 0.1),
    "norm inf ball": lambda d: ball(d, np.inf, 1.1),
}


# what keeps a model bounded below, on every variable, so that a linear term may be added


def ridge(d: Draw, a: Pair) -> Pair:
    b = d.data(*a.shape)
    theirs = cp.sum_squares(vec(a.theirs - b)) if a.shape else cp.square(a.theirs - b)
    return Pair(0.05 * admm.sum(admm.square(a.ours - b)), 0.05 * theirs)


def box_term(d: Draw, a: Pair) -> Pair:
    size = 2 * d.scale
    value = np.asarray(a.theirs.value)
    d.constraints += [(None, a.theirs <= value + size), (None, a.theirs >= value - size)]
    return Pair(admm.sum(admm.inrange(a.ours, value - size, d.constant(value + size))), 0)


def big_ball(d: Draw, a: Pair) -> Pair:
    if not a.shape:
        return box_term(d, a)
    radius = 2 * float(np.linalg.norm(a.theirs.value)) + d.scale
    d.constraints.append((admm.norm(a.ours) <= radius, cp.norm(vec(a.theirs)) <= radius))
    return Pair(0, 0)


COERCIVE = {"ridge": ridge, "inrange": box_term, "norm ball on all": big_ball}


class Case(NamedTuple):
    """A model in both languages, its parameters, the names of its blocks, and the units of its variables."""

    model: admm.Model
    params: dict[str, np.ndarray]
    theirs: Any
    log: tuple[str, ...]
    maximised: bool
    scale: float
    variables: dict[str, Any]  # cvxpy's, by name


def _variable(d: Draw, name: str) -> Pair:
    sign = ["", "", "nonneg", "nonpos"][d.choose.integers(4)]
    start = np.asarray(d.data(*d.shapes[name]))
    start = {"": start, "nonneg": np.maximum(start, 0), "nonpos": np.minimum(start, 0)}[sign]
    attributes = {sign: True} if sign else {}
    theirs = cp.Variable(d.shapes[name], **attributes)
    theirs.value = start
    if sign:
        d.log.append(sign)
    return Pair(admm.Var(name, d.shapes[name], **attributes), theirs)


def _weighted(term: Pair, weight: float) -> Pair:
    return term if isinstance(term.theirs, int) else Pair(weight * term.ours, weight * term.theirs)


def random_case(
    structure: int, seed: int = 0, *, shapes: Shapes = SHAPES, weigh: Callable[[], float] | None = None
) -> Case:
    """Model number `structure`, with the numbers of `seed`; `weigh` draws a factor for each term."""
    d = Draw(structure, seed, shapes)
    names = [("x",), ("U",), ("x", "U"), ("x", "t"), ("x", "U", "t")][d.choose.integers(5)]
    d.variables = {name: _variable(d, name) for name in names}
    terms = [d.pick(TERMS) for _ in range(d.choose.integers(1, 4))]
    if d.maybe(0.6):
        kind = {k: v for k, v in [list(COERCIVE.items())[d.choose.integers(3)]]}
        terms += [d.pick(kind, a) for a in d.variables.values()]
        if d.maybe(0.6):
            d.log.append("linear")
            for a in d.variables.values():
                c = d.data(*a.shape)
                terms.append(Pair(admm.sum(c * a.ours), cp.sum(cp.multiply(c, a.theirs))))
    if weigh is not None:
        terms = [_weighted(term, weigh()) for term in terms]
    ours = terms[0].ours
    for term in terms[1:]:
        ours = ours + term.ours
    theirs = sum(term.theirs for term in terms)
    d.constraints += [d.pick(CONSTRAINTS) for _ in range(d.choose.integers(3))]
    maximised = d.maybe(0.2)
    model = admm.Model()
    model.setObjective(-ours if maximised else ours, admm.MAXIMIZE if maximised else admm.MINIMIZE)
    for own, _ in d.constraints:
        if own is not None:
            model.addConstr(own)
    d.log.append(f"scale {d.scale:g}")
    problem = cp.Problem(cp.Minimize(theirs), [c for _, c in d.constraints])
    return Case(
        model, d.params, problem, tuple(d.log), maximised, d.scale, {name: a.theirs for name, a in d.variables.items()}
    )


class Reference(NamedTuple):
    """Clarabel's answer: the optimum, and how far it may itself be from it."""

    optimum: float
    error: float


def reference(problem: cp.Problem) -> Reference:
    """The optimum by an interior-point method at tight tolerances; its error by its own duality gap and residuals."""
    tight = {name: 1e-12 for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas", "tol_ktratio")}
    data, chain, inverse = problem.get_problem_data(cp.CLARABEL, solver_opts={})
    raw = chain.solve_via_data(problem, data, solver_opts={"max_iter": 400, **tight})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tolerances out of reach: the error below says what was reached
        problem.unpack_results(raw, chain, inverse)
    gap, size = abs(raw.obj_val - raw.obj_val_dual), abs(float(problem.value)) + abs(raw.obj_val)
    # the gap is taken between points that are feasible to the residuals only: ten times it covers what that hides
    return Reference(float(problem.value), float(10 * gap + 10 * (raw.r_prim + raw.r_dual + 1e-14) * size))
