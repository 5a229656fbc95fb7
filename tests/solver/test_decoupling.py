"""Mask decoupling: the decoupled problem is the problem, its certificates hold, and so does its derivative."""

from __future__ import annotations

import functools

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import admm_jax as admm
from admm_jax.operators.convolution import Convolution, specialise
from admm_jax.operators.convolution_forms import CircularConvolution
from admm_jax.prox.framed import DiagonalQuadratic, Framed
from admm_jax.prox.total_variation import TotalVariation
from admm_jax.solver import decouple
from admm_jax.solver.plan import make_plan
from admm_jax.solver.run import begin
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare
from admm_jax.status import Status
from tests.models import image_jit, quick_jit
from tests.operators.dense import check_matrix
from tests.solver.claims import check_gap, optimum_of, solve, status_of

SHAPE = (20, 18)
RNG = np.random.default_rng(3)
KERNEL = RNG.random((9, 8)) * (RNG.random((9, 8)) < 0.8)  # no symmetry, of no low rank, not centred
KERNEL /= KERNEL.sum()
SCENE = np.zeros(SHAPE)
SCENE[4:14, 3:12] = 1.0
SCENE[8:, 10:] += 0.5
LAM = 0.02


def observed(mode, boundary="fill"):
    data = scipy.signal.convolve2d(SCENE, KERNEL, mode, boundary)
    return data + 0.02 * np.random.default_rng(1).normal(size=data.shape)


MASK = (np.random.default_rng(2).random(observed("same").shape) < 0.8).astype(float)
CASES = ["valid", "same", "full", "isotropic", "masked", "box", "two", "circular"]
MODES = {"valid": "valid", "same": "same", "full": "full", "masked": "same", "circular": "same"}  # else "valid"
OURS = {"fill": "zero", "wrap": "circular"}


@functools.cache
def model_of(case):
    """(model, its data, the same for cvxpy)."""
    mode, border = MODES.get(case, "valid"), "wrap" if case == "circular" else "fill"
    U, B, lam = admm.Var("U", SHAPE), admm.Param("B", observed(mode).shape), admm.Param("lam")
    p = 2 if case == "isotropic" else 1
    model, residual = admm.Model(), admm.conv2d(U, KERNEL, mode, OURS[border]) - B
    data = {"B": observed(mode, border), "lam": LAM}
    X = cp.Variable(SHAPE)
    theirs = matrix(mode, border=border) @ cp.vec(X, order="C")
    target, weight = data["B"].ravel(), np.ones(data["B"].size)
    if case == "masked":
        residual, weight = MASK * residual, MASK.ravel()
    fit = 0.5 * admm.sum(admm.square(residual))
    cost = 0.5 * cp.sum_squares(cp.multiply(weight, theirs - target)) + LAM * variation(X, p)
    constraints = []
    if case == "box":
        model.addConstr(U <= 0.9)
        model.addConstr(U >= 0.05)
        constraints = [X <= 0.9, X >= 0.05]
    if case == "two":
        other = admm.conv2d(U, KERNEL[::-1, :7], "same") - SCENE
        fit = fit + 0.1 * admm.sum(admm.square(other))
        cost = cost + 0.1 * cp.sum_squares(matrix("same", KERNEL[::-1, :7]) @ cp.vec(X, order="C") - SCENE.ravel())
    model.setObjective(lam * admm.tv2d(U, p) + fit)
    return model, data, optimum_of(cost, constraints)


def matrix(mode, kernel=KERNEL, border="fill"):
    units = np.eye(SCENE.size).reshape(-1, *SHAPE)
    return np.stack([scipy.signal.convolve2d(unit, kernel, mode, border).ravel() for unit in units], axis=1)


def variation(X, p):
    down = cp.vstack([cp.diff(X, axis=0), np.zeros((1, SHAPE[1]))])
    across = cp.hstack([cp.diff(X, axis=1), np.zeros((SHAPE[0], 1))])
    parts = cp.vstack([cp.vec(down, order="C"), cp.vec(across, order="C")])
    return cp.sum(cp.norm(parts, p, axis=0))


def test_they_are_decoupled():
    for case in CASES:
        model, data, _ = model_of(case)
        assert make_plan(model.problem(data)).decoupled, case
        assert "mask decoupling" in model.explain(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, "float64") for case in CASES), ("full", "float32"), ("isotropic", "float32"), ("circular", "float32")],
)
def test_optimum_against_cvxpy(case, dtype):
    model, data, best = model_of(case)
    tol = 1e-5 if dtype == "float64" else 1e-3
    solution = solve(model, data, dtype, tol=tol)
    assert status_of(solution) is Status.SOLVE_OPT_SUCCESS, solution
    assert float(solution.gap) <= tol
    true, _ = check_gap(solution, best.optimum, error=best.error)
    assert true <= tol * best.optimum + best.error
    with jax.enable_x64(dtype == "float64"):
        value = float(objective_at(case, np.asarray(solution["U"], float)))
    assert float(solution.objective) == pytest.approx(value, rel=1e-5 if dtype == "float32" else 1e-10)


def objective_at(case, image):
    """f by NumPy."""
    _, data, _ = model_of(case)
    mode, border = MODES.get(case, "valid"), "wrap" if case == "circular" else "fill"
    residual = scipy.signal.convolve2d(image, KERNEL, mode, border) - data["B"]
    down, across = np.zeros(SHAPE), np.zeros(SHAPE)
    down[:-1], across[:, :-1] = np.diff(image, axis=0), np.diff(image, axis=1)
    lengths = np.hypot(down, across) if case == "isotropic" else np.abs(down) + np.abs(across)
    fit = 0.5 * np.sum((residual * (MASK if case == "masked" else 1)) ** 2)
    if case == "two":
        fit += 0.1 * np.sum((scipy.signal.convolve2d(image, KERNEL[::-1, :7], "same") - SCENE) ** 2)
    return LAM * lengths.sum() + fit


@pytest.mark.parametrize(
    "case", ["valid", pytest.param("isotropic", marks=pytest.mark.slow), pytest.param("box", marks=pytest.mark.slow)]
)
def test_no_gap_is_below_the_truth_at_any_iteration_and_the_estimate_is_near_it(case):
    model, data, best = model_of(case)
    for iterations in (3, 10, 25, 40, 80, 160):
        solution = solve(model, data, tol=0, max_iterations=iterations)
        true, reported = check_gap(solution, best.optimum, error=best.error)
        assert np.isfinite(reported)
        if true > 1e-6 * best.optimum:
            assert float(solution.estimate) * float(solution.objective) >= true / 2, iterations
        assert float(solution.estimate) <= float(solution.gap)


def test_the_range_that_a_certificate_assumes():
    model, data, best = model_of("valid")
    span = np.ptp(data["B"])
    automatic = solve(model, data, tol=1e-3)
    np.testing.assert_allclose(automatic.range, [data["B"].min() - span, data["B"].max() + span], rtol=1e-6)
    assert "among values from" in repr(automatic)
    given = solve(model, data, tol=1e-3, range=(0.0, 1.5))
    np.testing.assert_allclose(given.range, [0, 1.5], rtol=1e-12)
    everything = solve(model, data, tol=0, max_iterations=40, range=None)
    assert np.all(np.isinf(everything.range))
    check_gap(everything, best.optimum, error=best.error)
    narrow = solve(model, data, tol=0, max_iterations=40, range=(0.0, 1.5))
    wide = solve(model, data, tol=0, max_iterations=40, range=(-50.0, 50.0))
    assert float(narrow.gap) < float(wide.gap)


def test_an_automatic_range_that_x_leaves_is_widened():
    """A kernel of zero sum has gain at the border only: its data say next to nothing of the size of x."""
    flat, narrow = np.full((15, 15), 1 / 225), np.pad(np.full((5, 5), 1 / 25), 5)
    line = np.exp(-((np.arange(48) - 23.5) ** 2) / 2 / 9**2)
    scene = np.outer(line, line)
    U, B, model = admm.Var("U", scene.shape), admm.Param("B", scene.shape), admm.Model()
    kernel = narrow - 0.99 * flat
    data = {"B": scipy.signal.convolve2d(scene, kernel, "same")}
    model.setObjective(0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)) + 1e-6 * admm.tv2d(U))
    assert make_plan(model.problem(data)).decoupled
    solution = solve(model, data, tol=1e-3)
    low, high = np.asarray(solution.range)
    values = np.asarray(solution["U"])
    assert low < values.min()
    assert values.max() < high
    given = solve(model, data, tol=1e-3, range=(-0.1, 0.2))  # what the user states stays
    np.testing.assert_allclose(given.range, [-0.1, 0.2], rtol=1e-12)
    assert np.asarray(given["U"]).max() > 0.5


def test_a_box_needs_no_range():
    model, data, _ = model_of("box")
    solution = solve(model, data, tol=1e-3)
    assert np.all(np.isinf(solution.range))
    assert "among" not in repr(solution)


@pytest.mark.parametrize("wrong", [(1.0, 0.0), (0.0,), "all", 3.0, (np.nan, 1.0)])
def test_a_range_that_is_none(wrong):
    model, data, _ = model_of("valid")
    with pytest.raises(admm.DataError, match="range"):
        model.solve(data, range=wrong)


def test_stopping_by_the_estimate():
    model, data, best = model_of("valid")
    solution = solve(model, data, tol=1e-3, stop="estimate")
    assert status_of(solution) is Status.SOLVE_ESTIMATE_REACHED
    assert not bool(solution.converged)
    assert float(solution.estimate) <= 1e-3
    assert float(solution.objective) - best.optimum <= 2e-3 * best.optimum
    certified = solve(model, data, tol=1e-3)
    assert int(solution.iterations) < int(certified.iterations)


@pytest.mark.slow
def test_equal_to_conjugate_gradients(monkeypatch):
    model, data, _ = model_of("valid")
    ours = solve(model, data, tol=1e-6)
    monkeypatch.setattr("admm_jax.solver.plan.TRANSFORMS_BEYOND_FROM", np.inf)
    theirs = solve(model, data, tol=1e-8)
    assert [z.shape for z in theirs.state.z] == [SHAPE]
    np.testing.assert_allclose(ours["U"], theirs["U"], atol=2e-3)


@pytest.mark.slow
def test_going_on_from_a_solution():
    model, data, _ = model_of("same")
    first = solve(model, data, tol=1e-3)
    again = solve(model, data, tol=1e-3, init=first)
    assert int(again.iterations) < int(first.iterations)
    np.testing.assert_allclose(again["U"], first["U"], atol=0.05)
    cold = solve(model, data, tol=1e-3, init=jax.tree.map(jnp.zeros_like, first))  # says nothing of where to start
    assert int(cold.iterations) == int(first.iterations)
    np.testing.assert_allclose(cold["U"], first["U"], atol=1e-6)


def test_units():
    """Data and lam in other units: the same iterations, the scaled solution."""
    model, data, _ = model_of("same")
    base = solve(model, data, tol=1e-3)
    for factor in (1e-6, 65535.0):
        scaled = solve(model, {"B": factor * data["B"], "lam": factor * LAM}, tol=1e-3)
        assert int(scaled.iterations) == int(base.iterations)
        np.testing.assert_allclose(np.asarray(scaled["U"]) / factor, base["U"], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(np.asarray(scaled.range) / factor, base.range, rtol=1e-6)


@pytest.mark.slow
def test_in_a_batch():
    model, data, _ = model_of("valid")
    lams = jnp.asarray([0.01, 0.03])
    batch = jax.vmap(lambda lam: model.solve({"B": data["B"].astype("float32"), "lam": lam}, tol=1e-2))(lams)
    for i, lam in enumerate(lams):
        alone = model.solve({"B": data["B"].astype("float32"), "lam": lam}, tol=1e-2)
        np.testing.assert_allclose(batch["U"][i], alone["U"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["valid", "isotropic", "circular"])
def test_derivative_against_differences(case):
    """In lam, the data and the kernel, in one direction each and together; a kernel of many taps is transformed."""
    _, data, _ = model_of(case)
    p, kernel = 2 if case == "isotropic" else 1, np.pad(KERNEL, ((1, 1), (2, 2))) if case == "circular" else KERNEL
    U, B, lam, K = (
        admm.Var("U", SHAPE),
        admm.Param("B", data["B"].shape),
        admm.Param("lam"),
        admm.Param("K", kernel.shape),
    )
    model, circular = admm.Model(), case == "circular"
    blurred = admm.conv2d(U, K, MODES.get(case, "valid"), "circular" if circular else "zero")
    model.setObjective(lam * admm.tv2d(U, p) + 0.5 * admm.sum(admm.square(blurred - B)))
    rng = np.random.default_rng(8)
    weight = rng.normal(size=SHAPE)
    with jax.enable_x64(True):
        given = {"B": jnp.asarray(data["B"]), "lam": jnp.asarray(LAM), "K": jnp.asarray(kernel)}
        push = {
            "B": jnp.asarray(rng.normal(size=data["B"].shape)),
            "lam": jnp.asarray(LAM),
            "K": jnp.asarray(rng.normal(size=kernel.shape)) / 50,
        }

        def loss(t):
            moved = jax.tree.map(lambda a, b: a + t * b, given, push)
            return jnp.sum(weight * model.solve(moved, tol=1e-9)["U"])

        program, h = quick_jit(jax.value_and_grad(loss)), 1e-4
        difference = float(program(h)[0] - program(-h)[0]) / (2 * h)
        gradient = float(program(0.0)[1])
    assert gradient == pytest.approx(difference, rel=1e-5)


@pytest.mark.slow
def test_unrolled_iterations_are_those_of_the_problem_itself():
    """They are not decoupled; after enough of them they come to the same."""
    model, data, best = model_of("valid")
    solution = solve(model, data, derivative="unroll", max_iterations=60)
    assert len(solution.state.z) == 1
    assert best.optimum - best.error <= float(solution.objective) <= best.optimum * (1 + 1e-3)


@pytest.mark.slow
def test_single_precision_derivative_is_good_to_a_percent_and_says_so(recwarn):
    model, data, _ = model_of("valid")

    def loss(lam, dtype):
        return jnp.sum(model.solve({"B": data["B"].astype(dtype), "lam": lam})["U"] ** 2)

    single = float(quick_jit(jax.grad(lambda lam: loss(lam, "float32")))(jnp.float32(LAM)))
    with jax.enable_x64(True):
        double = float(quick_jit(jax.grad(lambda lam: loss(lam, "float64")))(jnp.float64(LAM)))
    assert single == pytest.approx(double, rel=1e-2)
    assert not recwarn.list


@pytest.mark.slow
def test_a_derivative_is_as_accurate_as_asked_for():
    """The accuracy is a traced number, so one program serves all; the solve goes on from `tol` as far as it asks."""
    model, data, _ = model_of("valid")

    @image_jit
    @jax.value_and_grad
    def slope(lam, accuracy):
        options = {"stop": "estimate", "tol": 1e-1, "derivative_tol": accuracy}
        return jnp.sum(model.solve({"B": data["B"], "lam": lam}, **options)["U"] ** 2)

    with jax.enable_x64(True):
        rough, fine, finest = (float(slope(jnp.float64(LAM), a)[1]) for a in (0.1, 1e-2, 1e-4))
    assert abs(fine - finest) <= 1e-2 * abs(finest)
    assert abs(fine - finest) < abs(rough - finest) <= 0.1 * abs(finest)


# the parts


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
@pytest.mark.parametrize("implementation", ["lax", "shift", "fft", "sparse"])
def test_symbols_on_larger_frames(mode, implementation):
    """S makes the same convolution with any periods that are large enough."""
    op = specialise(Convolution(KERNEL.astype("float32"), SHAPE, mode, True), implementation)
    np.testing.assert_allclose(op.taps, KERNEL[::-1, ::-1], atol=1e-6)
    for periods in (op.least_periods, (40, 48)):
        wide = CircularConvolution(jnp.asarray(op.symbol(periods)), periods)
        value = wide(decouple.pad(jnp.asarray(SCENE, jnp.float32), periods))
        expected = scipy.signal.convolve2d(SCENE, KERNEL, mode)
        np.testing.assert_allclose(decouple.crop(value, expected.shape), expected, atol=1e-5)


def test_separable_taps():
    kernel = np.outer([1.0, 2, 3], [4.0, 1])
    op = specialise(Convolution(kernel, SHAPE, "same", False), "separable")
    np.testing.assert_allclose(op.taps, kernel, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_circular_convolution(dtype):
    kernel = RNG.normal(size=(6, 5))

    def by_hand(x):
        return np.fft.irfft2(np.fft.rfft2(kernel) * np.fft.rfft2(x), (6, 5))

    with jax.enable_x64(dtype == "float64"):
        spectrum = jnp.asarray(np.fft.rfft2(kernel), "complex64" if dtype == "float32" else "complex128")
        check_matrix(CircularConvolution(spectrum, (6, 5)), by_hand, dtype, terms=30)


def test_the_prox_of_a_loss():
    c, p, v, step = np.array([2.0, 0.0]), np.array([1.0, 0.0]), np.array([0.3, -0.4]), 0.7
    loss = DiagonalQuadratic(jnp.asarray(c), jnp.asarray(p))
    z = np.asarray(loss.prox(jnp.asarray(v), jnp.asarray(step)))
    np.testing.assert_allclose(c * z - p + (z - v) / step, 0, atol=1e-6)
    assert float(loss(jnp.asarray(z))) == pytest.approx(float(np.sum(c * z**2 / 2 - p * z)), rel=1e-5)


def test_the_prox_on_a_frame():
    function = TotalVariation(jnp.float32(0.1), 1)
    framed = Framed(function, (4, 3))
    v = jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)
    memory = framed.memory((6, 5), jnp.float32)
    z, field = framed.prox_from(v, jnp.float32(1), memory, 30)
    inner, _ = function.prox_from(v[:4, :3], jnp.float32(1), memory, 30)
    assert field.shape == (2, 4, 3)
    np.testing.assert_array_equal(z[:4, :3], inner)
    np.testing.assert_array_equal(z, decouple.pad(inner, (6, 5)))


def test_rho_does_not_hang_on_where_pixels_are_seen():
    """One entry tells the curvature of a small image: not one at the border, which the rim of the kernel sees."""
    across, down = np.mgrid[-7:8, -7:8]
    disc = (across**2 + down**2 <= 36) / 113
    rhos = []
    for n, hidden in ((42, False), (43, False), (43, True)):
        weights = np.ones((n - 14, n - 14))
        weights[3:-3, 3:-3] = not hidden  # such as a hole to be inpainted
        U, model = admm.Var("U", (n, n)), admm.Model()
        residual = weights * (admm.conv2d(U, disc, "valid") - np.ones((n - 14, n - 14)))
        model.setObjective(0.002 * admm.tv2d(U) + 0.5 * admm.sum(admm.square(residual)))
        problem, plan, dtype = prepare(model.problem(), model._options, np.float32)
        run = begin(problem, plan, dtype, settings_for(model._options, dtype, plan), problem.zeros(dtype))
        rhos.append(float(run.state.rho))
    assert rhos[0] == pytest.approx(rhos[1], rel=0.1)
    assert rhos[2] == pytest.approx(rhos[1], rel=30)
    assert rhos[2] > rhos[1] / 30
