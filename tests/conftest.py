"""Fixtures that several modules share."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

# two workers whose BLAS threads wait for each other take longer than with one thread each
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests.effort import spend_little

spend_little()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests.models import DEBLURRING, deblurring  # noqa: E402

ENDLESS = 2**31 - 2  # the most iterations that may be asked for
MANY_MAPPINGS = 32_000  # half of what Linux allows a process by default (vm.max_map_count)


def pytest_configure():
    """Ctrl-C reaches the tests that press it, also where a shell started them in the background, without it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(100_000, 50, 100)  # traced programs are many small objects: by default a tenth of the time is this


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forget the compiled programs before they are too many.

    XLA maps some twelve pieces of memory for each program. At the most that Linux allows, the compiler ends the process
    with a segmentation fault, and its worker's last tests are lost.
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MANY_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def large():
    model = deblurring()
    model.optimize(DEBLURRING)
    return model


@pytest.fixture
def endless(large):
    """The deblurring model with a tolerance that it never reaches."""
    large.setOption("tol", 0)
    large.setOption("max_iterations", 100)
    large.optimize(DEBLURRING)  # compiled before anything is timed
    large.setOption("max_iterations", ENDLESS)
    yield large
    for name, value in (("tol", None), ("max_iterations", 10_000), ("time_limit", np.inf)):
        large.setOption(name, value)
    large.variables[0].start = None
    large.optimize(DEBLURRING)
