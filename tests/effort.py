"""How much effort XLA spends on the programs of the tests: little, as each runs for milliseconds after it is compiled.

Called before JAX starts. What the programs compute is the same. Users get the options of `solver/programs.py`, and so
do the processes that tests start; the README's runs without the flags too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

FLAGS = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


def known(flags: tuple[str, ...]) -> bool:
    """Whether this XLA has them: it ends a process that asks for others."""
    start = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
    return subprocess.run(start, env=os.environ | {"XLA_FLAGS": " ".join(flags)}, capture_output=True).returncode == 0


def spend_little() -> None:
    """Set the flags that this XLA knows, unless there are some already; workers and processes of tests inherit them."""
    if "XLA_FLAGS" not in os.environ:
        flags = FLAGS if known(FLAGS) else tuple(flag for flag in FLAGS if known((flag,)))
        os.environ["XLA_FLAGS"] = " ".join(flags)
    _small_images_as_small_models()


def _small_images_as_small_models() -> None:
    """A program that would get some effort gets little, unless it multiplies matrices: without effort that is slow."""
    from admm_jax.operators.base import MatMul  # which starts JAX
    from admm_jax.solver.programs import Program

    for_users = Program._effort

    def effort(program: Program, problem: Any, plan: Any) -> str | None:
        maps = [part.map for part in (*problem.quadratics, *problem.penalties)]
        multiplies = any(isinstance(op, MatMul) for m in maps for chain in m.chains for op in chain.ops)
        asked = for_users(program, problem, plan)
        return "little" if asked == "some" and not multiplies else asked

    Program._effort = effort
