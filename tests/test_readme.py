"""Every block of Python on the README's page runs as it is written, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks():
    """The text of each, at the lines where it stands in the README, so that an error names those."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    found = list(re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    return ["\n" * page[: block.start(1)].count("\n") + block.group(1) for block in found]


# each in a line of output of its own, which shows how far it came
RUNNER = """
import sys
names = {"__name__": "readme"}
for number, text in enumerate(sys.stdin.read().split("\\0")):
    exec(compile(text, "README.md", "exec"), names)
    print(f"block {number} has run", flush=True)
"""


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path):
    """In a process of its own, for the page sets JAX's configuration, and where nobody's folders are written to."""
    pages = blocks()
    assert len(pages) == (ROOT / "README.md").read_text(encoding="utf-8").count("```python")
    env = os.environ | {"HOME": str(tmp_path), "MPLBACKEND": "agg"}
    env.pop("XLA_FLAGS", None)  # its images are large: without effort they run ten times as long
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input="\0".join(pages),
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
        timeout=1800,  # it compiles some thirty programs, on a busy machine slowly
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"block {len(pages) - 1} has run" in done.stdout
    assert "SOLVE_OPT_SUCCESS" in done.stdout
