"""How a problem will be solved, in words, before anything is computed."""

from __future__ import annotations

import math

import jax
import numpy as np

from admm_jax.problem import LinearMap, Penalty, Problem, Quadratic
from admm_jax.solver.certificate import certifies
from admm_jax.solver.own_x_update import Solve
from admm_jax.solver.plan import DENSE_ENTRIES, DENSE_VARIABLES, SMALLEST_IMAGE, Plan, is_image, make_plan
from admm_jax.solver.solve import common_dtype


class Explanation(str):
    """A text that is shown as it reads, and not quoted, where Python or a notebook shows it unasked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def explain(problem: Problem, model: str, own: Solve | None = None) -> Explanation:
    """The plan of a solve: splits, x-update, each convolution's implementation, each prox, memory.

    Args:
        problem: With its labels, as the model makes it.
        model: The model as a text, to stand at the top.
        own: The option `x_update`: an x-update of the user's own.

    Returns:
        Several lines. Nothing is compiled or solved for them.
    """
    plan, dtype = make_plan(problem, own), common_dtype(problem)
    size = problem.size
    rows = sum(math.prod(p.map.out_shape) for p in problem.penalties)
    where = "in float64" if dtype == np.float64 else f"in float64 by optimize, in {dtype} by solve"
    lines = [model, "", f"solved by ADMM {where}; unknowns: {size}", f"  form: {_form(problem, plan, own)}"]
    for quadratic in problem.quadratics:
        residuals = math.prod(quadratic.map.out_shape)
        lines.append(f"  quadratic: {quadratic.label or 'a square'}{_terms(quadratic)}; residuals: {residuals}")
        lines += _choices(quadratic.map, dtype)
    for penalty in problem.penalties:
        name = penalty.label or type(penalty.function).__name__
        lines.append(f"  split: z = {_in_words(penalty.map)}, for {name}{_terms(penalty)}")
        lines += _choices(penalty.map, dtype)
        lines.append(f"    prox: {_prox(penalty, plan)}")
    lines += [
        f"  x-update: {plan.x_update.description}",
        f"  polishing: {_polishing(plan)}",
        f"  stopping: {_stopping(problem, plan)}",
        f"  memory: about {_bytes(_numbers(problem, plan, size, rows))} in float64, beside the data",
    ]
    return Explanation("\n".join(lines))


def _terms(part: Quadratic | Penalty) -> str:
    return f"; {part.terms} equal terms, stacked" if part.terms > 1 else ""


def _stopping(problem: Problem, plan: Plan) -> str:
    if not certifies(problem):
        return "when the residuals are at most tol; no certificate, for the conjugate of a function is not known"
    if not plan.decoupled:
        return "when the duality gap to a feasible dual point, relative to the objective, is at most tol"
    return (
        "when no image with values in a range (three times that of the data, or the model's bounds) is better by more "
        "than tol, relative to the objective"
    )


def _form(problem: Problem, plan: Plan, own: Solve | None) -> str:
    if own is not None:
        return "matrix-free, as the x-update is one of your own"
    if plan.dense:
        return f"dense matrices, as there are at most {DENSE_VARIABLES} unknowns"
    if problem.size > DENSE_VARIABLES:
        return f"matrix-free, as there are more than {DENSE_VARIABLES} unknowns"
    if is_image(problem):
        return f"matrix-free, as it is an image of more than {SMALLEST_IMAGE} pixels"
    return f"matrix-free, as the matrices would have more than {DENSE_ENTRIES} entries"


def _choices(linear_map: LinearMap, dtype: np.dtype) -> list[str]:
    """How each operator in a map is done, where there was a choice, and why."""
    lines = []
    for chain in linear_map.chains:
        for op in chain.ops:
            chosen, reason = op.faster(dtype, jax.default_backend())
            if reason:
                lines.append(f"    {chosen.description}: {reason}")
    return lines


def _in_words(linear_map: LinearMap) -> str:
    parts = []
    for chain in linear_map.chains:
        text = chain.variable
        for op in chain.ops:
            text = op.describe(text)
        parts.append(text)
    return " + ".join(parts)


def _prox(penalty: Penalty, plan: Plan) -> str:
    op, inner = penalty.function.inner(penalty.map.out_shape)
    if plan.dense and op is not None:
        where = "the differences " if penalty.function.variation() is not None else ""
        return f"split again on {where}{op.describe('z')}: {inner.describe(plan.prox_steps)}"
    return penalty.function.describe(plan.prox_steps)


def _polishing(plan: Plan) -> str:
    if plan.dense:
        return "semismooth Newton on the augmented Lagrangian"
    if plan.polisher is not None:
        return plan.polisher.description
    if plan.later is not None:
        return f"from iteration {plan.later_from} on it is solved with matrices, and semismooth Newton"
    return "none for this kind of model: the iterates themselves are certified"


def _numbers(problem: Problem, plan: Plan, size: int, rows: int) -> int:
    """Roughly, the numbers that an iteration keeps."""
    inner = [penalty.function.inner(penalty.map.out_shape)[0] for penalty in problem.penalties]
    fields = sum(math.prod(op.out_shape) for op in inner if op is not None)
    numbers = 8 * size + 5 * rows + 6 * fields
    if plan.dense:
        residuals = sum(math.prod(q.map.out_shape) for q in problem.quadratics)
        numbers += size * (rows + fields + residuals) + 4 * size * size
    return numbers


def _bytes(numbers: int) -> str:
    size = 8 * numbers
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
