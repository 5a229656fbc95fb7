"""How a problem will be solved, in words, before anything is computed."""

from __future__ import annotations

import numpy as np

from admm_jax.problem import Penalty, Problem
from admm_jax.prox import functions as fn
from admm_jax.prox.total_variation import TotalVariation
from admm_jax.solver.plan import DENSE_VARIABLES, make_plan, size_of
from admm_jax.solver.solve import choose_convolutions, common_dtype

PROXES: dict[type, str] = {
    fn.L1: "soft threshold, closed form",
    fn.Huber: "shrinkage inside delta, shift outside; closed form",
    fn.Hinge: "one-sided soft threshold, closed form",
    fn.GroupL2: "shrinkage of each group's Euclidean norm, closed form",
    fn.LInf: "v minus its projection onto an l1 ball, by sorting",
    fn.Box: "clip to the bounds",
    fn.L2Ball: "projection onto a Euclidean ball, closed form",
    fn.L1Ball: "projection onto an l1 ball, by sorting",
}


def _map_in_words(penalty: Penalty) -> str:
    parts = []
    for chain in penalty.map.chains:
        names = [getattr(op, "description", type(op).__name__) for op in chain.ops]
        parts.append(" of ".join([*reversed(names), chain.variable]))
    return " + ".join(parts)


def explain(problem: Problem, model: str) -> str:
    """The plan of a solve: splits, x-update, each convolution's implementation, each prox, memory."""
    plan, dtype = make_plan(problem), common_dtype(problem)
    size = sum(size_of(shape) for _, shape in problem.variables)
    rows = sum(size_of(p.map.out_shape) for p in problem.penalties)
    lines = [model, "", f"solved by ADMM in {dtype}, {size} unknowns"]
    if plan.dense:
        lines.append(f"  form: dense matrices, since there are at most {DENSE_VARIABLES} unknowns")
    else:
        lines.append("  form: matrix-free")
    lines.append(f"  x-update: {plan.x_update}")
    for quadratic in problem.quadratics:
        lines.append(f"  quadratic, {size_of(quadratic.map.out_shape)} residuals: {quadratic.label or 'a square'}")
    for penalty in problem.penalties:
        lines.append(f"  split z = {_map_in_words(penalty)}: {penalty.label or type(penalty.function).__name__}")
        if isinstance(penalty.function, TotalVariation):
            how = "split on the differences D U" if plan.dense else f"{plan.prox_steps} steps of Chambolle's dual"
            more = "; prox: soft threshold" if plan.dense else " projection (FGP), warm-started from the last field"
            lines.append(f"    prox: {how}{more}")
        else:
            lines.append(f"    prox: {PROXES[type(penalty.function)]}")
    for reason in choose_convolutions(problem, dtype)[1]:
        lines.append(f"  {reason}")
    if plan.dense:
        polish = "semismooth Newton on the augmented Lagrangian"
    elif plan.regions:
        polish = "conjugate gradients on the flat regions, with merges"
    else:
        polish = "none for this kind of model: the iterates themselves are certified"
    lines.append(f"  polishing: {polish}")
    lines.append("  stops when a duality gap from a feasible dual point is below tol")
    fields = sum(size_of(p.map.out_shape) * len(p.map.out_shape) for p in problem.penalties if _is_tv(p))
    numbers = 8 * size + 5 * rows + 6 * fields
    if plan.dense:
        all_rows = rows + fields + sum(size_of(q.map.out_shape) for q in problem.quadratics)
        numbers += size * all_rows + 4 * size * size
    lines.append(f"  memory: about {numbers * np.dtype(dtype).itemsize / 1e6:.1f} MB beside the data")
    return "\n".join(lines)


def _is_tv(penalty: Penalty) -> bool:
    return isinstance(penalty.function, TotalVariation)
