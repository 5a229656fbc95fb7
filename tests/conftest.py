"""Fixtures that several modules share."""

from __future__ import annotations

import gc
import os
import signal

# two workers whose BLAS threads wait for each other take longer than with one thread each
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests.effort import spend_little

spend_little()

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests.models import DEBLURRING, deblurring  # noqa: E402

ENDLESS = 2**31 - 2  # the most iterations that may be asked for


def pytest_configure():
    """Ctrl-C reaches the tests that press it, also where a shell started them in the background, without it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(100_000, 50, 100)  # traced programs are many small objects: by default a tenth of the time is this


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
