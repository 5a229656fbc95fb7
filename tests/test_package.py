"""The package as it is installed and imported."""

from __future__ import annotations

import doctest
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import admm_jax as admm


def test_the_version_is_that_of_the_distribution():
    assert admm.__version__ == importlib.metadata.version("admm-jax")


def test_its_licence_comes_with_it():
    assert importlib.metadata.metadata("admm-jax")["License-Expression"] == "Apache-2.0"
    assert any(path.name == "LICENSE" for path in importlib.metadata.files("admm-jax") or ())


def test_the_example_at_its_head_runs():
    head = admm.__doc__ or ""
    assert ">>>" in head.splitlines()[2]  # help(admm_jax) begins with it
    example = doctest.DocTestParser().get_doctest(head, {}, "admm_jax", None, None)
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_part_that_its_head_names_is_there():
    for name in re.findall(r"^ {4}(admm_jax\.\w+)", admm.__doc__ or "", re.MULTILINE):
        importlib.import_module(name)


@pytest.mark.slow
def test_the_pages_of_the_reference(tmp_path):
    """Without a warning; each name that is exported has its place on a page."""
    pytest.importorskip("pdoc")
    script = Path(__file__).parents[1] / ".ci" / "pages.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    pages = {file.relative_to(tmp_path).as_posix(): file.read_text("utf-8") for file in tmp_path.rglob("*.html")}
    for name in set(admm.__all__) - {"inf"}:
        assert f'id="{name}"' in pages["admm_jax.html"], name
    for part in ("learn", "options", "plot", "progress", "restore", "testing"):
        assert f"admm_jax/{part}.html" in pages


def test_parts_are_there_without_importing_them():
    """In a fresh process, in which no other test has imported them."""
    parts = "admm.learn.search, admm.plot.convergence, admm.restore.deblur, admm.progress, admm.testing"
    code = f"import admm_jax as admm; {parts}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="has no attribute 'optimise'"):
        _ = admm.optimise
