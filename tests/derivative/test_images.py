"""Derivatives of deblurred images, matrix-free: against differences of tight solves, and under transformations."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import admm_jax as admm
from tests.models import DEBLURRING, IMAGE, KERNEL, deblurring, image_jit, quick_jit

RNG = np.random.default_rng(4)
TRUTH = np.zeros_like(IMAGE)
TRUTH[6:18, 8:20] = 1.0


def general() -> admm.Model:
    """The deblurring model with everything in it a parameter."""
    U, B, K = admm.Var("U", 24, 24), admm.Param("B", 24, 24), admm.Param("K", 3, 3)
    lam, low = admm.Param("lam", 24, 24), admm.Param("low")
    model = admm.Model()
    residual = admm.conv2d(U, K, "same") - B
    model.setObjective(admm.tv2d(U, weight=lam) + 0.5 * admm.sum(admm.square(residual)))
    model.addConstr(U >= low)
    return model


def loss(model, params, **options):
    U = model.solve(params, **options)["U"]
    return 0.5 * jnp.sum((U - TRUTH.astype(U.dtype)) ** 2)


@pytest.fixture(scope="module")
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def tuned(double):
    """(model, lam -> (loss, dloss)) of the common model, compiled once."""
    model = deblurring()
    return model, quick_jit(jax.value_and_grad(lambda lam, B: loss(model, {"lam": lam, "B": B}), (0, 1)))


@pytest.mark.slow
def test_every_parameter_against_differences(double):
    model = general()
    at = {
        "B": jnp.asarray(IMAGE),
        "K": jnp.asarray(KERNEL),
        "lam": jnp.asarray(0.03 + 0.01 * RNG.uniform(size=IMAGE.shape)),
        "low": jnp.asarray(-0.02),
    }

    def of(params, tol):
        U = model.solve(params, tol=tol)["U"]
        return 0.5 * jnp.sum((U - TRUTH) ** 2), U

    program = quick_jit(jax.value_and_grad(of, has_aux=True))
    (_, x), gradient = program(at, 1e-6)
    assert 10 < np.sum(np.asarray(x) <= -0.02 + 1e-12) < 500  # the bound is active on a part of the image
    for name, size in (("B", 0.1), ("K", 0.01), ("lam", 0.01), ("low", 1.0)):
        step = jnp.asarray(size * RNG.normal(size=at[name].shape))
        h = 1e-5
        ahead, behind = (program({**at, name: at[name] + sign * h * step}, 1e-11)[0][0] for sign in (1, -1))
        difference = (ahead - behind) / (2 * h)
        assert float(jnp.sum(gradient[name] * step)) == pytest.approx(float(difference), rel=1e-5), name


@pytest.mark.slow
def test_the_value_function(double):
    """d objective / d lam = TV(U), and its derivative in the data is minus the residual."""
    model = deblurring()

    def value(params):
        solution = model.solve(params)
        return solution.objective, solution["U"]

    at = {name: jnp.asarray(value) for name, value in DEBLURRING.items()}
    gradient, U = quick_jit(jax.grad(value, has_aux=True))(at)
    U = np.asarray(U)
    variation = np.abs(np.diff(U, axis=0)).sum() + np.abs(np.diff(U, axis=1)).sum()
    assert float(gradient["lam"]) == pytest.approx(variation, rel=1e-8)
    np.testing.assert_allclose(gradient["B"], IMAGE - admm.conv2d(U, KERNEL, "same"), atol=1e-8)


@pytest.mark.slow
def test_forward_reverse_and_second_order_agree(tuned):
    model, value_and_grad = tuned

    def both(lam):
        solution = model.solve({"lam": lam, "B": IMAGE})
        return jnp.stack([0.5 * jnp.sum((solution["U"] - TRUTH) ** 2), solution.objective]), solution["U"]

    def slope(lam):
        return float(value_and_grad(lam, jnp.asarray(IMAGE))[1][0])

    (_, U), (forward, tangent) = quick_jit(lambda lam: jax.jvp(both, (lam,), (1.0,)))(0.1)
    assert float(forward[0]) == pytest.approx(slope(0.1), rel=1e-9)
    second, curvature = quick_jit(jax.hessian(lambda lam: both(lam)[0]))(0.1)
    h = 1e-6
    assert float(second) == pytest.approx((slope(0.1 + h) - slope(0.1 - h)) / (2 * h), rel=1e-5)
    # between kinks x is linear in lam: the second derivative in it is |dx/dlam|^2
    assert float(second) == pytest.approx(float(jnp.sum(tangent**2)), rel=1e-8)
    # and the objective's slope is TV(U), whose own is that of a sum of jumps
    jumps = [(np.diff(U, axis=axis), np.diff(tangent, axis=axis)) for axis in (0, 1)]
    expected = sum(np.sum(np.where(abs(jump) > 1e-9, np.sign(jump), 0) * change) for jump, change in jumps)
    assert float(curvature) == pytest.approx(expected, rel=1e-7)


@pytest.mark.slow
def test_a_batch_equals_the_loop(tuned):
    """Easy and hard elements, and one that cannot converge: values, gradients and flags."""
    model = tuned[0]
    lams = jnp.asarray([0.003, 0.1, 2.0])

    def flagged(lam, most):
        def of(lam):
            solution = model.solve({"lam": lam, "B": IMAGE}, max_iterations=most, derivative_warning=False)
            return jnp.sum(solution["U"] ** 2), solution

        (value, solution), slope = jax.value_and_grad(of, has_aux=True)(lam)
        return value, slope, solution.converged

    most = jnp.asarray([3, 4000, 4000])
    batch = quick_jit(jax.vmap(flagged))(lams, most)
    single = quick_jit(flagged)
    for i in range(3):
        one = single(lams[i], most[i])
        assert bool(batch[2][i]) == bool(one[2]) == (i > 0)
        assert float(batch[0][i]) == pytest.approx(float(one[0]), rel=1e-9)
        assert float(batch[1][i]) == pytest.approx(float(one[1]), rel=1e-7, nan_ok=True)
    assert np.isnan(batch[1][0])


@pytest.mark.slow
def test_starts_and_settings_have_no_derivative(tuned):
    model = tuned[0]

    def of(start, rho):
        return jnp.sum(model.solve({"lam": 0.1, "B": IMAGE}, init={"U": start}, rho=rho)["U"] ** 2)

    slopes = quick_jit(jax.grad(of, (0, 1)))(jnp.ones_like(jnp.asarray(IMAGE)), 3.0)
    assert not np.any(slopes[0])
    assert float(slopes[1]) == 0.0


@pytest.mark.slow
def test_the_adjoint_warm_starts_itself(tuned):
    model = tuned[0]

    def of(lam, adjoint):
        solution = model.solve({"lam": lam, "B": IMAGE}, adjoint={"U": adjoint})
        return 0.5 * jnp.sum((solution["U"] - TRUTH) ** 2)

    program = quick_jit(jax.grad(of, (0, 1)))
    slope, adjoint = program(0.1, jnp.zeros_like(jnp.asarray(IMAGE)))
    again, same = program(0.1, adjoint)
    assert float(again) == pytest.approx(float(slope), rel=1e-9)
    np.testing.assert_allclose(same, adjoint, atol=1e-9)
    # what is handed back solves the adjoint system: with it, dL/dB = K q
    gradient = tuned[1](0.1, jnp.asarray(IMAGE))[1][1]
    np.testing.assert_allclose(admm.conv2d(np.asarray(adjoint), KERNEL, "same"), gradient, atol=1e-9)


@pytest.mark.slow
def test_inside_other_peoples_loops(tuned):
    """An optax loop under `lax.scan` over an Equinox module, warm-started, comes to the best lam."""
    model = tuned[0]

    class Weight(eqx.Module):
        log: jax.Array

        def __call__(self):
            return jnp.exp(self.log)

    optimiser = optax.adam(0.2)

    def descend(carry, _):
        weight, state, start = carry

        @partial(eqx.filter_value_and_grad, has_aux=True)
        def of(weight):
            solution = model.solve({"lam": weight(), "B": IMAGE}, init={"U": start})
            return jnp.mean((solution["U"] - TRUTH) ** 2), solution["U"]

        (value, U), slope = of(weight)
        updates, state = optimiser.update(slope, state)
        return (eqx.apply_updates(weight, updates), state, U), value

    first = Weight(jnp.asarray(np.log(0.05)))
    carry = first, optimiser.init(eqx.filter(first, eqx.is_array)), jnp.zeros_like(jnp.asarray(IMAGE))
    (last, _, _), values = image_jit(lambda carry: jax.lax.scan(descend, carry, None, length=40))(carry)
    grid = [float(tuned[1](lam, jnp.asarray(IMAGE))[0]) * 2 / IMAGE.size for lam in np.geomspace(0.02, 0.5, 12)]
    assert float(values[-1]) <= 1.1 * min(grid)
    assert 0.02 < float(last()) < 0.5


@pytest.mark.slow
def test_single_precision_agrees_or_is_flagged(tuned):
    expected = float(tuned[1](0.1, jnp.asarray(IMAGE))[1][0])
    with jax.enable_x64(False):
        model = deblurring()
        lam, B = jnp.float32(0.1), jnp.asarray(IMAGE, jnp.float32)
        slope = quick_jit(jax.grad(lambda lam: loss(model, {"lam": lam, "B": B})))(lam)
        assert slope.dtype == jnp.float32
    assert float(slope) == pytest.approx(expected, rel=1e-2)


@pytest.mark.slow
def test_unrolling_comes_to_the_same(tuned):
    model = tuned[0]

    def of(lam):
        return loss(model, {"lam": lam, "B": IMAGE}, derivative="unroll", max_iterations=300)

    slope = quick_jit(jax.grad(of))(0.1)
    forward = quick_jit(lambda lam: jax.jvp(of, (lam,), (1.0,))[1])(0.1)
    assert float(slope) == pytest.approx(float(forward), rel=1e-6)
    exact = float(tuned[1](0.1, jnp.asarray(IMAGE))[1][0])
    assert float(slope) == pytest.approx(exact, rel=0.05)


@pytest.mark.slow
def test_isotropic_images(double):
    U, B, lam = admm.Var("U", 24, 24), admm.Param("B", 24, 24), admm.Param("lam")
    model = admm.Model()
    residual = admm.conv2d(U, KERNEL, "same") - B
    model.setObjective(lam * admm.tv2d(U, p=2) + 0.5 * admm.sum(admm.square(residual)))
    program = quick_jit(jax.value_and_grad(lambda lam, tol: loss(model, {"lam": lam, "B": IMAGE}, tol=tol)))
    h = 1e-5
    difference = (program(0.1 + h, 1e-10)[0] - program(0.1 - h, 1e-10)[0]) / (2 * h)
    assert float(program(0.1, 1e-6)[1]) == pytest.approx(float(difference), rel=1e-4)
