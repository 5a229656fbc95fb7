"""Deblurring with each border: the optimum is that of cvxpy, and the derivative that of differences.

The small kernel is solved by conjugate gradients, and polished; a large one under a circular border is exact in
Fourier, see `test_decoupling`.
"""

from __future__ import annotations

import functools

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.operators.convolution import Convolution
from admm_jax.problem import Chain, LinearMap, Problem, Quadratic
from admm_jax.solver import decouple
from admm_jax.status import Status
from tests.models import quick_jit
from tests.solver.claims import check_gap, optimum_of, solve, status_of

BORDERS = ("circular", "reflect", "replicate")
NUMPYS = {"circular": "wrap", "reflect": "symmetric", "replicate": "edge"}
SHAPE = (24, 24)
RNG = np.random.default_rng(11)
KERNEL = RNG.random((4, 3))  # no symmetry, even and odd
KERNEL /= KERNEL.sum()
SCENE = np.zeros(SHAPE)
SCENE[:9, 4:15] = 1.0  # up to the border
SCENE[12:, 18:] += 0.6
LAM = 0.03


def blur(image, boundary):
    """By NumPy: sum_pq k_pq x_{i-p, j-q} of the image with its border, the middle of the kernel at (1, 1)."""
    around = np.pad(image, ((2, 1), (1, 1)), NUMPYS[boundary])
    return sum(KERNEL[p, q] * around[3 - p : 27 - p, 2 - q : 26 - q] for p in range(4) for q in range(3))


def data_of(boundary):
    return blur(SCENE, boundary) + 0.02 * np.random.default_rng(1).normal(size=SHAPE)


@functools.cache
def model_of(boundary):
    U, B, lam, K = admm.Var("U", SHAPE), admm.Param("B", SHAPE), admm.Param("lam"), admm.Param("K", KERNEL.shape)
    model, blurred = admm.Model(), admm.conv2d(U, K, "same", boundary)
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum_squares(blurred - B))
    return model


def optimum(boundary):
    units = np.eye(SCENE.size).reshape(-1, *SHAPE)
    matrix = np.stack([blur(unit, boundary).ravel() for unit in units], axis=1)
    X = cp.Variable(SHAPE)
    variation = cp.sum(cp.abs(cp.diff(X, axis=0))) + cp.sum(cp.abs(cp.diff(X, axis=1)))
    cost = 0.5 * cp.sum_squares(matrix @ cp.vec(X, order="C") - data_of(boundary).ravel()) + LAM * variation
    return optimum_of(cost)


def given_of(boundary):
    return {"B": data_of(boundary), "lam": LAM, "K": KERNEL}


@pytest.mark.parametrize(
    "boundary", [pytest.param(b, marks=[] if b == "reflect" else pytest.mark.slow) for b in BORDERS]
)
def test_optimum_against_cvxpy(boundary):
    solution, best = solve(model_of(boundary), given_of(boundary), tol=1e-7), optimum(boundary)
    assert status_of(solution) is Status.SOLVE_OPT_SUCCESS, solution
    assert float(solution.objective) == pytest.approx(best.optimum, rel=1e-6)
    check_gap(solution, best.optimum, error=best.error)
    U = np.asarray(solution["U"])
    variation = np.abs(np.diff(U, axis=0)).sum() + np.abs(np.diff(U, axis=1)).sum()
    residual = blur(U, boundary) - data_of(boundary)
    assert float(solution.objective) == pytest.approx(LAM * variation + 0.5 * np.sum(residual**2), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BORDERS)
def test_derivative_against_differences(boundary):
    """In lam, the data and the kernel, one by one."""
    model, rng = model_of(boundary), np.random.default_rng(8)
    weight = rng.normal(size=SHAPE)
    with jax.enable_x64(True):
        at = {name: jnp.asarray(value) for name, value in given_of(boundary).items()}

        def loss(given, tol):
            return jnp.sum(weight * model.solve(given, tol=tol)["U"])

        program, h = quick_jit(jax.value_and_grad(loss)), 1e-5
        _, gradient = program(at, 1e-6)
        for name, size in (("lam", LAM), ("B", 0.1), ("K", 0.02)):
            step = jnp.asarray(size * rng.normal(size=at[name].shape))
            ahead, behind = (program({**at, name: at[name] + sign * h * step}, 1e-11)[0] for sign in (1, -1))
            slope = float(jnp.sum(gradient[name] * step))
            assert slope == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-4), name


def test_the_border_decides_the_frame():
    """A circular convolution has the periods of the image; beside one that looks further it is not decoupled."""
    model = admm.Model()
    U, kernel = admm.Var("U", 23, 29), np.random.default_rng(0).random((9, 8))  # sizes that no transform likes

    def problem(*terms):
        fit = sum((admm.sum_squares(admm.conv2d(U, kernel, *term)) for term in terms), start=0)
        model.setObjective(admm.tv2d(U) + fit + admm.sum(U))
        return model.problem()

    assert decouple.periods_of(problem(("same", "circular"))) == (23, 29)
    assert decouple.periods_of(problem(("same", "circular"), ("valid",))) == (23, 29)
    assert decouple.periods_of(problem(("same",))) == (27, 36)
    for others in (("same",), ("same", "reflect"), ("full", "circular")):
        assert decouple.periods_of(problem(("same", "circular"), others)) is None
    assert "exact, in transforms of 23×29" in (problem(("same", "circular")) and model.explain())
    assert "conv2d 9×8 same circular, " in model.explain()


def test_a_start_goes_round():
    """Without a start, decoupled iterates begin at the data, moved to the middle of the kernel, around the border."""
    kernel = np.zeros((3, 9))
    kernel[1, 8] = 1
    data = jnp.asarray(RNG.normal(size=(5, 12)), jnp.float32)
    op = Convolution(jnp.asarray(kernel, jnp.float32), (5, 12), "same", True, circular=True)
    quadratic = Quadratic(LinearMap((Chain((op,), "U"),), (5, 12)), data, jnp.float32(1))
    problem = Problem((quadratic,), (), {}, jnp.float32(0), (("U", (5, 12)),))
    start = decouple.observed_start(problem, {"U": jnp.zeros((5, 12), jnp.float32)})["U"]
    np.testing.assert_array_equal(op(start), data)


@pytest.mark.parametrize("boundary", ["zero", "circular"])
def test_a_kernel_that_is_transformed_has_a_derivative(boundary):
    """Its spectrum is complex: traced, so that nothing compiles; `test_decoupling` compares it with differences."""
    U, B, K, model = admm.Var("U", SHAPE), admm.Param("B", SHAPE), admm.Param("K", 11, 11), admm.Model()
    model.setObjective(LAM * admm.tv2d(U) + 0.5 * admm.sum_squares(admm.conv2d(U, K, boundary=boundary) - B))
    given = {"B": jnp.zeros(SHAPE, jnp.float32), "K": jnp.zeros((11, 11), jnp.float32)}
    gradient = jax.eval_shape(jax.grad(lambda given: jnp.sum(model.solve(given)["U"])), given)
    assert gradient["K"].shape == (11, 11)
