"""How much effort XLA spends on the programs of the tests: little, as each runs for milliseconds after it is compiled.

Called before JAX starts. What the programs compute is the same. Programs with options of their own, those of
`solver/programs.py`, keep them; the README's runs without the flags.
"""

from __future__ import annotations

import os
import subprocess
import sys

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
