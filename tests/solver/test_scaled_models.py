"""Random models in random units, 10^-6 to 10^6 for every variable, row, term and objective: what is said holds."""

from __future__ import annotations

import pytest

from tests.solver.scaled_models import run_case
from tests.solver.survey import STRUCTURES, line

SAMPLE = [8, 17, 37, 58]
SEEDS = range(8)


def check(structure, seed, form, **options):
    outcome = run_case(structure, seed, form, **options)
    assert not outcome.false, line(outcome)
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE)
def test_sample(structure):
    for seed in range(4):
        check(structure, seed, "dense")


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE[::3])
def test_sample_without_matrices(structure):
    for seed in range(4):
        check(structure, seed, "matrix-free")


@pytest.mark.slow
@pytest.mark.parametrize("structure", SAMPLE)
def test_sample_is_solved(structure):
    """To 1e-6, in whatever units."""
    outcome = check(structure, 0, "dense", tol=1e-6, max_iterations=5000)
    assert outcome.reached, line(outcome)


@pytest.mark.exhaustive
@pytest.mark.parametrize("structure", range(STRUCTURES))
def test_all(structure):
    for seed in SEEDS:
        check(structure, seed, "dense")


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["large", "matrix-free"])
@pytest.mark.parametrize("structure", range(STRUCTURES))
def test_all_of_450_unknowns_and_more(structure, form):
    for seed in SEEDS[::2] if form == "large" else SEEDS[1::2]:
        check(structure, seed, form)


@pytest.mark.slow
@pytest.mark.parametrize(("structure", "seed", "form"), [(59, 3, "matrix-free"), (56, 2, "large")])
def test_far_outside_its_constraints_a_point_has_no_gap(structure, seed, form):
    """Multipliers that are not those of the optimum tell nothing of how far below it f may lie there."""
    outcome = check(structure, seed, form)
    assert outcome.outside > 0.1
    assert outcome.gap == float("inf")
