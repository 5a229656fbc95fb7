"""The examples of learning, at small sizes."""

import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]


def run(name, *arguments):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(list(map(str, arguments)))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.slow
def test_learn_lambda_is_as_good_as_the_grid_in_a_few_solves(capsys, tmp_path):
    run("learn_lambda", "--size", 32, "--grid", 20, "--output", tmp_path / "figure.png")
    out = capsys.readouterr().out
    grid = float(re.search(r"^grid, +20 solves +(\S+) dB", out, re.MULTILINE)[1])
    solves, score = re.search(r"^derivative, +(\d+) solves +(\S+) dB", out, re.MULTILINE).groups()
    assert float(score) > grid - 0.02
    assert int(solves) <= 12
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.slow
def test_lambda_without_truth_prints_what_each_criterion_loses(capsys):
    run("lambda_without_truth", "--size", 32, "--no-figure")
    out = capsys.readouterr().out
    rows = dict(re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +(-?[\d.]+) +\d+$", out, re.MULTILINE))
    assert set(rows) == {"SUGAR", "discrepancy", "whiteness", "oracle"}
    assert all(float(lost) < 2 for lost in rows.values())
    assert "noise level: estimated 0.0" in out
