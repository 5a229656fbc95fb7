"""Data terms that are no least squares: decoupled, they come to cvxpy's optimum, and no gap is below the truth."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import admm_jax as admm
from admm_jax.solver.plan import make_plan
from tests.models import quick_jit
from tests.solver.claims import check_gap, optimum_of, solve

SHAPE = (24, 22)  # more than the 400 unknowns that are solved by matrices
RNG = np.random.default_rng(3)
KERNEL = RNG.random((7, 7)) * (RNG.random((7, 7)) < 0.8)
KERNEL /= KERNEL.sum()
SCENE = np.zeros(SHAPE)
SCENE[4:16, 3:13] = 1
SCENE[9:, 12:] += 0.5
CLEAN = scipy.signal.convolve2d(SCENE, KERNEL, "valid")
NOISY = CLEAN + 0.03 * RNG.normal(size=CLEAN.shape)
SALT = np.where(RNG.random(CLEAN.shape) < 0.2, RNG.random(CLEAN.shape), NOISY)
COUNTS = RNG.poisson(10 * CLEAN + 1).astype(float)
MASK = (RNG.random(CLEAN.shape) < 0.8).astype(float)
WHITE = np.minimum(NOISY, 0.8)
LIT = WHITE >= 0.8
RADIUS = 0.03 * NOISY.size**0.5
EVERY = np.arange(CLEAN.size).reshape(CLEAN.shape)[::2, ::2].ravel()


def white(v, B):
    return 0.5 * admm.sum(~LIT * admm.square(v - B)), [v[LIT] >= B[LIT]]


# (lam, data, ours: (blurred, data) -> (term, constraints), the same for cvxpy with the blurred image as a vector)
TERMS = {
    "counts": (
        0.2,
        COUNTS,
        lambda v, B: (admm.kullback_leibler(10 * v + 1, B), []),
        lambda v: (cp.sum(cp.kl_div(COUNTS.ravel(), 10 * v + 1)), []),
    ),
    "masked counts": (
        0.2,
        COUNTS,
        lambda v, B: (admm.kullback_leibler(10 * v + 1, B, MASK), []),
        lambda v: (MASK.ravel() @ cp.kl_div(COUNTS.ravel(), 10 * v + 1), []),
    ),
    "counts of every second pixel": (
        0.2,
        COUNTS[::2, ::2],
        lambda v, B: (admm.kullback_leibler(10 * v[::2, ::2] + 1, B), []),
        lambda v: (cp.sum(cp.kl_div(COUNTS[::2, ::2].ravel(), 10 * v[EVERY] + 1)), []),
    ),
    "every second pixel": (
        0.01,
        NOISY[::2, ::2],
        lambda v, B: (0.5 * admm.sum(admm.square(v[::2, ::2] - B)), []),
        lambda v: (0.5 * cp.sum_squares(v[EVERY] - NOISY[::2, ::2].ravel()), []),
    ),
    "absolute values": (
        0.2,
        SALT,
        lambda v, B: (admm.sum(abs(v - B)), []),
        lambda v: (cp.norm1(v - SALT.ravel()), []),
    ),
    "huber": (
        0.01,
        SALT,
        lambda v, B: (admm.sum(admm.huber(v - B, 0.05)), []),
        lambda v: (cp.sum(cp.huber(v - SALT.ravel(), 0.05)) / 2, []),
    ),
    "a ball": (
        1.0,
        NOISY,
        lambda v, B: (None, [admm.norm(v - B) <= RADIUS]),
        lambda v: (0, [cp.norm(v - NOISY.ravel()) <= RADIUS]),
    ),
    "saturated pixels": (
        0.02,
        WHITE,
        white,
        lambda v: (
            0.5 * cp.sum_squares(cp.multiply(~LIT.ravel(), v - WHITE.ravel())),
            [v[np.flatnonzero(LIT)] >= 0.8],
        ),
    ),
}


def model_of(name, p=1, bounded=False, kernel=KERNEL):
    """(model, its data, its objective and constraints for cvxpy)."""
    lam, data, ours, theirs = TERMS[name]
    U, weight, B = admm.Var("U", SHAPE), admm.Param("lam"), admm.Param("B", data.shape)
    term, constraints = ours(admm.conv2d(U, kernel, "valid"), B)
    model = admm.Model()
    model.setObjective(weight * admm.tv2d(U, p) + (0 if term is None else term))
    for constraint in constraints:
        model.addConstr(constraint)
    X = cp.Variable(SHAPE)
    units = np.eye(SCENE.size).reshape(-1, *SHAPE)
    matrix = np.stack([scipy.signal.convolve2d(unit, KERNEL, "valid").ravel() for unit in units], axis=1)
    fit, sets = theirs(matrix @ cp.vec(X, order="C"))
    down = cp.vstack([cp.diff(X, axis=0), np.zeros((1, SHAPE[1]))])
    across = cp.hstack([cp.diff(X, axis=1), np.zeros((SHAPE[0], 1))])
    parts = cp.vstack([cp.vec(down, order="C"), cp.vec(across, order="C")])
    cost = lam * cp.sum(cp.norm(parts, p, axis=0)) + fit
    if bounded:
        model.addConstr(U >= 0)
        model.addConstr(U <= 1.2)
        sets = [*sets, X >= 0, X <= 1.2]
    return model, {"lam": lam, "B": data}, (cost, sets)


@pytest.mark.parametrize("name", TERMS)
def test_it_is_decoupled(name):
    model, data, _ = model_of(name)
    assert make_plan(model.problem(data)).decoupled


def test_what_is_not_an_elementwise_function_of_a_convolution_is_not():
    U, other = admm.Var("U", SHAPE), admm.Model()
    other.setObjective(admm.tv2d(U) + admm.sum(admm.huber(np.ones((3, 18)) @ admm.conv2d(U, KERNEL, "valid"), 1)))
    assert not make_plan(other.problem({})).decoupled


@pytest.mark.slow
@pytest.mark.parametrize(("p", "bounded"), [(1, False), (2, True)])
@pytest.mark.parametrize("name", TERMS)
def test_optimum_against_cvxpy(name, p, bounded):
    model, data, theirs = model_of(name, p, bounded)
    best = optimum_of(*theirs)
    for dtype, tol in (("float64", 1e-5), ("float32", 1e-3)):
        solution = solve(model, data, dtype, tol=tol)
        true, _ = check_gap(solution, best.optimum, error=best.error)
        assert true <= 2 * tol * best.optimum + best.error
        assert float(solution.violation) <= 1e-4


@pytest.mark.slow
def test_no_gap_is_below_the_truth_at_any_iteration():
    model, data, theirs = model_of("counts", 2, True)
    best = optimum_of(*theirs)
    for iterations in (3, 10, 25, 40, 80):
        solution = solve(model, data, tol=0, max_iterations=iterations)
        check_gap(solution, best.optimum, error=best.error)


@pytest.mark.slow
def test_derivative_against_differences():
    """Of counts, in lam, the data and the kernel."""
    K = admm.Param("K", KERNEL.shape)
    model, data, _ = model_of("counts", kernel=K)
    rng = np.random.default_rng(8)
    weight = rng.normal(size=SHAPE)
    with jax.enable_x64(True):
        given = {name: jnp.asarray(value) for name, value in {**data, "K": KERNEL}.items()}
        push = {"lam": 0.2, "B": rng.normal(size=COUNTS.shape) * (COUNTS > 0), "K": rng.normal(size=KERNEL.shape) / 50}

        @quick_jit
        @jax.value_and_grad
        def loss(t, share):
            moved = {name: value + t * share[name] * push[name] for name, value in given.items()}
            return jnp.sum(weight * model.solve(moved, tol=1e-9)["U"])

        for name in push:
            share, h = {other: float(other == name) for other in push}, 1e-4
            difference = float(loss(h, share)[0] - loss(-h, share)[0]) / (2 * h)
            assert float(loss(0.0, share)[1]) == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize("tiny", [1e-9, 1e-18])
def test_a_count_of_almost_nothing_proves_nothing_by_rounding(tiny):
    """Beside the pole of the logarithm the value may rise without bound: that is no reason to take it for zero."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(5.0, (24, 22)) + 1.0
    counts[0, 0] = tiny
    x, c = admm.Var("x", 24, 22), admm.Param("c", 24, 22)
    model = admm.Model()
    model.setObjective(admm.kullback_leibler(x, c) + 0.3 * admm.sum(x))
    best = float(np.sum(counts * np.log(1.3)))  # at x = c / 1.3
    for iterations in (1, 3):
        found = model.solve({"c": jnp.asarray(counts, jnp.float32)}, max_iterations=iterations)
        true = (float(found.objective) - best) / float(found.objective)
        assert not float(found.gap) < true * (1 - 1e-3) - 1e-6
