"""Inpainting with exact pixels: isotropic total variation, 65 % of the pixels known, written in several ways."""

from __future__ import annotations

import functools

import cvxpy as cp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.status import Status
from tests.solver.claims import FEASIBILITY, check_honest, check_success, optimum_of, solve, status_of

pytestmark = pytest.mark.slow


def picture(n):
    rng = np.random.default_rng(n)
    rows, columns = np.mgrid[:n, :n] / n
    image = (rows + columns > 0.9) + 0.5 * ((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.06) + 0.2 * columns
    return image + 0.02 * rng.normal(size=(n, n)), rng.random((n, n)) < 0.65


@functools.cache
def inpainting_optimum(n):
    image, mask = picture(n)
    U = cp.Variable((n, n))
    down = cp.vstack([cp.diff(U, axis=0), np.zeros((1, n))])
    across = cp.hstack([cp.diff(U, axis=1), np.zeros((n, 1))])
    lengths = cp.norm(cp.vstack([cp.vec(down, order="C"), cp.vec(across, order="C")]), 2, axis=0)
    return optimum_of(cp.sum(lengths), [U[mask] == image[mask]])


def by_index(model, U, image, mask):
    y = admm.Param("y", int(mask.sum()))
    model.addConstr(U[mask] == y)
    return 0, {"y": image[mask]}


def by_range(model, U, image, mask):
    lower, upper = admm.Param("lower", *mask.shape), admm.Param("upper", *mask.shape)
    within = admm.sum(admm.inrange(U, lower, upper))
    return within, {"lower": np.where(mask, image, -np.inf), "upper": np.where(mask, image, np.inf)}


def by_bounds(model, U, image, mask):
    lower, upper = admm.Param("lower", *mask.shape), admm.Param("upper", *mask.shape)
    model.addConstr(U <= upper)
    model.addConstr(U >= lower)
    return 0, {"lower": np.where(mask, image, -np.inf), "upper": np.where(mask, image, np.inf)}


@functools.cache
def inpainting(n, known):
    model, U = admm.Model(), admm.Var("U", n, n)
    extra, params = known(model, U, *picture(n))
    model.setObjective(admm.tv2d(U, 2) + extra)
    return model, params


@pytest.mark.parametrize(
    ("n", "known"), [(16, by_index), (16, by_range), (16, by_bounds), (32, by_index), (32, by_range)]
)
def test_isotropic_inpainting(n, known):
    model, params = inpainting(n, known)
    solution, best = solve(model, params), inpainting_optimum(n)
    image, mask = picture(n)
    off = np.abs(np.asarray(solution["U"]) - image)[mask]
    check_success(solution, best.optimum, error=best.error + off.sum() * 2)
    assert np.max(off) <= FEASIBILITY["float64"]


@pytest.mark.parametrize("known", [by_index, by_range])
def test_isotropic_inpainting_in_single_precision(known):
    """The dtype may end it: multipliers of exact pixels are sums over many pixels."""
    model, params = inpainting(16, known)
    solution, best = solve(model, params, "float32"), inpainting_optimum(16)
    image, mask = picture(16)
    off = np.abs(np.asarray(solution["U"], float) - image)[mask]
    check_honest(solution, best.optimum, error=2 * off.sum())
    if status_of(solution) is Status.SOLVE_OPT_SUCCESS:
        assert np.max(off) <= FEASIBILITY["float32"] * np.max(np.abs(image))
