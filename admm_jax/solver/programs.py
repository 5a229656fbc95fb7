"""Compiling: the same functions, with XLA told how much effort they are worth.

A small dense model runs for a millisecond, whatever the compiler does, so it is compiled with as little as possible:
six times faster (0.9 s against 6 s for a lasso, measured with JAX 0.10 on two cores), at the same speed. An image is
worth the optimiser, but not the newer fusion emitters, which cost a quarter more to compile and run no faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from admm_jax.solver.plan import Plan

SMALL = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
LARGE = {"xla_cpu_use_fusion_emitters": False}


class Program:
    """A jitted function of (..., plan=plan): called at the top level it is compiled by the plan's kind.

    Where XLA has no such options (another backend or version), the ordinary program is used.
    """

    def __init__(self, function: Callable[..., Any], *static: str) -> None:
        def jitted(options: dict[str, Any] | None) -> Callable[..., Any]:
            return jax.jit(function, static_argnames=static, compiler_options=options)

        self.ordinary = jitted(None)
        self.small, self.large = jitted(SMALL), jitted(LARGE)
        self.tuned = True

    def __call__(self, *args: Any, plan: Plan, **kwargs: Any) -> Any:
        """Run it."""
        if self.tuned and jax.default_backend() == "cpu":
            try:
                return (self.small if plan.dense else self.large)(*args, plan=plan, **kwargs)
            except jax.errors.JaxRuntimeError as error:
                if "No such compile option" not in str(error):
                    raise
                self.tuned = False
        return self.ordinary(*args, plan=plan, **kwargs)
