"""Batches and single images spread over devices give what one device gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ON_CPU = {**os.environ, "JAX_PLATFORMS": "cpu"}  # of which there can be eight


@pytest.mark.slow
def test_eight_devices_equal_one():
    command = [sys.executable, "-m", "tests.sharded"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False, env=ON_CPU)
    assert run.returncode == 0, run.stderr[-2000:]
    outcomes = json.loads(run.stdout.splitlines()[-1])
    assert len(outcomes) == 3
    for name, outcome in outcomes.items():
        assert outcome["difference"] < 1e-5, (name, outcome)
        assert outcome["iterations"], (name, outcome)
        assert outcome["devices"] == 8, (name, outcome)
        assert outcome["spread"], (name, outcome)
