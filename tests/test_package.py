"""The package as it is installed and imported."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import admm_jax as admm


def test_the_version_is_that_of_the_distribution():
    assert admm.__version__ == importlib.metadata.version("admm-jax")


def test_its_licence_comes_with_it():
    assert importlib.metadata.metadata("admm-jax")["License-Expression"] == "Apache-2.0"
    assert any(path.name == "LICENSE" for path in importlib.metadata.files("admm-jax") or ())


def test_parts_are_there_without_importing_them():
    """In a fresh process, in which no other test has imported them."""
    parts = "admm.learn.search, admm.plot.convergence, admm.restore.deblur, admm.progress, admm.testing"
    code = f"import admm_jax as admm; {parts}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="has no attribute 'optimise'"):
        _ = admm.optimise
