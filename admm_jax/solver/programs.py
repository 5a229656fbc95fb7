"""Compiling: the same functions, with XLA told how much effort they are worth.

A small dense model runs for a millisecond, whatever the compiler does, so it is compiled with as little effort as
possible: six times faster (0.9 s against 6 s for a lasso), at the same speed. A small image needs loops that are
compiled, but none that are unrolled and vectorised to the last, nor the newer fusion emitters: two fifths less to
compile for a tenth of the speed at 64² pixels, a quarter (float64) to two fifths (float32) of it at 128². Those are
worth it for a large image, and where a sparse kernel slices the image at places that are data, which the older emitters
do seven times slower. (Measured with JAX 0.10 on two cores.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from admm_jax.operators.convolution import SparseConv2D
from admm_jax.problem import Problem
from admm_jax.solver.plan import Plan

LITTLE = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
SOME = {
    "xla_backend_optimization_level": 1,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}
SMALL_IMAGE = 64 * 64  # unknowns


def _has_sparse_kernels(problem: Problem) -> bool:
    maps = [part.map for part in (*problem.quadratics, *problem.penalties)]
    return any(isinstance(op, SparseConv2D) for m in maps for chain in m.chains for op in chain.ops)


class Program:
    """A jitted function of (problem, ..., plan=plan) for the top level: compiled as the problem's size asks.

    `runs_once`: its work is a few operations, not a loop. `small`: up to how many unknowns an image is small. Where
    XLA has no such options (another backend or version), the ordinary program is used.
    """

    def __init__(
        self, function: Callable[..., Any], *static: str, runs_once: bool = False, small: int = SMALL_IMAGE
    ) -> None:
        def jitted(options: dict[str, Any] | None) -> Callable[..., Any]:
            return jax.jit(function, static_argnames=static, compiler_options=options)

        self.ordinary = jitted(None)
        self.little, self.some = jitted(LITTLE), jitted(SOME)
        self.runs_once, self.small = runs_once, small
        self.tuned = True

    def _chosen(self, problem: Problem, plan: Plan) -> Callable[..., Any]:
        if plan.dense:
            return self.little
        if problem.size > self.small or _has_sparse_kernels(problem):
            return self.ordinary
        return self.little if self.runs_once else self.some

    def __call__(self, problem: Problem, *args: Any, plan: Plan, **kwargs: Any) -> Any:
        """Run it."""
        if self.tuned and jax.default_backend() == "cpu":
            try:
                return self._chosen(problem, plan)(problem, *args, plan=plan, **kwargs)
            except jax.errors.JaxRuntimeError as error:
                if "No such compile option" not in str(error):
                    raise
                self.tuned = False
        return self.ordinary(problem, *args, plan=plan, **kwargs)
