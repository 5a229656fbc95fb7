"""Compiling: the same functions, with XLA told how much effort they are worth.

A small dense model runs for a millisecond, whatever the compiler does, so it is compiled with as little effort as
possible: six times faster (0.9 s against 6 s for a lasso), at the same speed. A small image needs loops that are
compiled, but none that are unrolled and vectorised to the last, nor the newer fusion emitters: two fifths less to
compile for a tenth of the speed at 64² pixels, a quarter (float64) to two fifths (float32) of it at 128². Those are
worth it for a large image, and where a sparse kernel slices the image at places that are data, which the older emitters
do seven times slower. (Measured with JAX 0.10 on two cores. JAX 0.11 has the newer emitters only.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

from admm_jax.problem import Problem
from admm_jax.solver.plan import DENSE_VARIABLES, Plan

LITTLE = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
SOME = {
    "xla_backend_optimization_level": 1,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}
SMALL_IMAGE = 64 * 64  # unknowns


def _slices_at_data(problem: Problem) -> bool:
    maps = [part.map for part in (*problem.quadratics, *problem.penalties)]
    return any(op.slices_at_data for m in maps for chain in m.chains for op in chain.ops)


@cache
def compiler_options(platform: str, effort: str) -> dict[str, Any] | None:
    """The compiler options for "little" or "some" effort, without those that this XLA does not have.

    Another version of XLA has other options, and those above are for CPUs.
    """
    if platform != "cpu":
        return None
    options = {"little": LITTLE, "some": SOME}[effort]
    if _compiles(options):
        return options
    return {name: value for name, value in options.items() if _compiles({name: value})}


def _compiles(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 1.0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True


class Program:
    """A jitted function of (problem, ..., plan=plan) for the top level: compiled as the problem's size asks.

    `runs_once`: its work is a few operations, not a loop. `small`: up to how many unknowns an image is small.
    """

    def __init__(
        self, function: Callable[..., Any], *static: str, runs_once: bool = False, small: int = SMALL_IMAGE
    ) -> None:
        self.function, self.static = function, static
        self.runs_once, self.small = runs_once, small
        self.jitted = cache(self._jitted)

    def _jitted(self, effort: str | None, platform: str) -> Callable[..., Any]:
        options = None if effort is None else compiler_options(platform, effort)
        return jax.jit(self.function, static_argnames=self.static, compiler_options=options)

    def _effort(self, problem: Problem, plan: Plan) -> str | None:
        if plan.dense and problem.size <= DENSE_VARIABLES:
            return "little"
        if problem.size > self.small or _slices_at_data(problem):
            return None
        return "little" if self.runs_once else "some"

    def __call__(self, problem: Problem, *args: Any, plan: Plan, **kwargs: Any) -> Any:
        """Run it."""
        program = self.jitted(self._effort(problem, plan), jax.default_backend())
        return program(problem, *args, plan=plan, **kwargs)
