"""Every function of the prox package: its prox is optimal, its conjugate's domain and gap are right, nothing is NaN."""

from __future__ import annotations

import itertools

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from admm_jax.prox import dual_ascent
from admm_jax.prox.functions import L1, Box, GroupL2, Hinge, Huber, KullbackLeibler, L1Ball, L2Ball, LInf
from admm_jax.prox.projections import project_l1_ball, project_l2_ball, safe_norm
from admm_jax.prox.stacked import Each
from admm_jax.prox.total_variation import TotalVariation
from tests.models import image_jit, quick_jit
from tests.prox.functions import FUNCTIONS, RNG, SHAPE, WEIGHT

DTYPES = {"float64": 1e-12, "float32": 2e-5}


@pytest.fixture(params=DTYPES)
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def points(dtype, count=6):
    """Points of all sizes, the origin and one with ties among them."""
    rng = np.random.default_rng(1)
    sizes = np.geomspace(0.05, 5, count)
    tied = np.sign(rng.normal(size=SHAPE))
    return [jnp.asarray(p, dtype) for p in [np.zeros(SHAPE), tied, *(s * rng.normal(size=SHAPE) for s in sizes)]]


@pytest.fixture(params=FUNCTIONS)
def function(request, dtype):
    return FUNCTIONS[request.param](lambda value: jnp.asarray(value, dtype))


def size_of(*arrays):
    return 1 + max(float(jnp.max(jnp.abs(a))) for a in arrays)


def test_moreau(function, dtype):
    """z = prox(v) and p = (v - z)/t: p is in dg(z), so z is in dom g, p in dom g* and their Fenchel gap is zero."""
    for v in points(dtype):
        for step in (0.3, 4.0):
            z = function.prox(v, jnp.asarray(step, dtype))
            p = (v - z) / step
            assert z.dtype == dtype
            tolerance = 20 * DTYPES[dtype] * size_of(v, p) ** 2
            np.testing.assert_allclose(function.violation(z), 0, atol=tolerance)
            np.testing.assert_allclose(function.project_dual(p), p, atol=tolerance)
            np.testing.assert_allclose(function.fenchel_gap(z, p), 0, atol=tolerance)


def test_prox_by_brute_force(function, dtype):
    """No nearby or random point of the domain has a smaller g(z) + ||z - v||^2 / (2 t)."""
    rng = np.random.default_rng(2)
    for v in points(dtype):
        step = jnp.asarray(0.7, dtype)

        def cost(z, v=v, step=step):
            return float(function(z) + jnp.sum((z - v) ** 2) / (2 * step))

        z = function.prox(v, step)
        best = cost(z)
        for scale in (1e-3, 1e-2, 0.1, 1.0):
            other = z + scale * jnp.asarray(rng.normal(size=SHAPE), dtype)
            other = other - function.violation(other)
            assert cost(other) >= best - DTYPES[dtype] * (1 + abs(best))


def test_firmly_nonexpansive(function, dtype):
    """||prox u - prox v||^2 <= <prox u - prox v, u - v>."""
    step, all_points = jnp.asarray(0.7, dtype), points(dtype)
    for u, v in itertools.pairwise(all_points):
        difference = function.prox(u, step) - function.prox(v, step)
        slack = jnp.sum(difference * (u - v)) - jnp.sum(difference**2)
        assert float(slack) >= -DTYPES[dtype] * size_of(u, v) ** 2


def finite(function, v):
    """v moved to where g is finite: into its domain, or into the inside of one at whose edge it is infinite."""
    inside = function.has_domain and not function.is_constraint
    return function.prox(v, jnp.ones((), v.dtype)) if inside else v - function.violation(v)


def test_projections(function, dtype):
    """Projections are idempotent, and the prox of an indicator does not depend on its step."""
    for v in points(dtype):
        tolerance = 10 * DTYPES[dtype] * size_of(v)
        p = function.project_dual(v)
        np.testing.assert_allclose(function.project_dual(p), p, atol=tolerance)
        inside = v - function.violation(v)
        np.testing.assert_allclose(function.violation(inside), 0, atol=tolerance)
        if function.is_constraint:
            assert float(function(inside)) == 0
            for step in (0.1, 7.0):
                np.testing.assert_allclose(function.prox(v, jnp.asarray(step, dtype)), inside, atol=tolerance)
        elif not function.has_domain:
            np.testing.assert_array_equal(inside, v)


def test_dual_projection_is_nearest(function, dtype):
    """<p - proj p, q - proj p> <= 0 for every q of dom g*."""
    for p in points(dtype):
        nearest = function.project_dual(p)
        for other in points(dtype):
            q = function.project_dual(other)
            tolerance = 10 * DTYPES[dtype] * size_of(p, q) ** 2
            assert float(jnp.sum((p - nearest) * (q - nearest))) <= tolerance


CONJUGATES = {
    L1: lambda g, p: 0.0,
    Hinge: lambda g, p: 0.0,
    GroupL2: lambda g, p: 0.0,
    LInf: lambda g, p: 0.0,
    Huber: lambda g, p: np.sum(np.where(g.weight > 0, p**2 / np.where(g.weight > 0, 2 * g.weight, 1), 0)),
    L2Ball: lambda g, p: g.radius * np.linalg.norm(p),
    L1Ball: lambda g, p: g.radius * np.max(np.abs(p)),
    Box: lambda g, p: np.sum(np.where(p > 0, p * np.where(p > 0, g.upper, 0), p * np.where(p < 0, g.lower, 0))),
    KullbackLeibler: lambda g, p: -np.sum(np.where(
        (g.counts > 0) & (g.weight > 0), g.weight * g.counts * np.log1p(-p / np.where(g.weight > 0, g.weight, 1)), 0
    )),
}  # fmt: skip


def conjugate_of(g, p):
    """g*(p), written out; of stacked functions the sum."""
    if isinstance(g, Each):
        return sum(conjugate_of(jax.tree.map(lambda leaf, k=k: leaf[k], g.member), part) for k, part in enumerate(p))
    return CONJUGATES[type(g)](g, p)


def test_fenchel_gap(function, dtype):
    """The gap is g(v) + g*(p) - <v, p>, and never negative."""
    with np.errstate(invalid="ignore", divide="ignore"):
        for v in points(dtype):
            for q in points(dtype):
                inside, p = v - function.violation(v), function.project_dual(q)
                own = jax.tree.map(np.asarray, function)
                conjugate = conjugate_of(own, np.asarray(p, float))
                expected = (
                    float(function(inside)) + conjugate - float(np.sum(np.asarray(inside, float) * np.asarray(p)))
                )
                tolerance = 20 * DTYPES[dtype] * size_of(inside, p) ** 2
                gap = float(function.fenchel_gap(inside, p))
                assert gap >= -tolerance
                assert gap == pytest.approx(expected, abs=tolerance)


def test_conjugate_is_a_supremum(function, dtype):
    """g*(p) >= <p, v> - g(v) at random v, and no finite bound holds outside dom g*."""
    for q in points(dtype):
        p = function.project_dual(q)
        outside = q - p
        if float(jnp.max(jnp.abs(outside))) > 1e-3:
            far = finite(function, outside * 1e4)
            assert float(jnp.sum(q * far) - function(far)) > 0


def test_into_domain(function, dtype):
    """The largest s in [0, 1] with s p in dom g*, of every function: s p is inside, and a little more is not."""
    for q in [*points(dtype), *(function.project_dual(q) for q in points(dtype))]:
        s = float(function.into_domain(q))
        assert 0 <= s <= 1
        scaled = s * q
        np.testing.assert_allclose(function.project_dual(scaled), scaled, atol=10 * DTYPES[dtype] * size_of(q))
        if s < 1 - 1e-5:
            more = (s + 1e-2) * q
            assert float(jnp.max(jnp.abs(function.project_dual(more) - more))) > 0


def test_balanced(function, dtype):
    for q in points(dtype) if function.is_balanced else ():
        p = function.project_dual(q)
        np.testing.assert_allclose(function.project_dual(-p), -p, atol=10 * DTYPES[dtype] * size_of(p))


def test_scaled(function, dtype):
    """u -> cost g(u / scale): value, prox and domain, with a scale for each entry where `ties` leaves them free."""
    rng = np.random.default_rng(3)
    cost = jnp.asarray(2.5, dtype)
    ties = function.ties(len(SHAPE))
    own = [1 if axis in ties else n for axis, n in enumerate(SHAPE)]
    for scale in (jnp.asarray(3.0, dtype), jnp.broadcast_to(jnp.asarray(rng.uniform(0.5, 2, own), dtype), SHAPE)):
        new = function.scaled(scale, cost)
        for v in points(dtype):
            inside = v - function.violation(v)
            tolerance = 100 * DTYPES[dtype] * size_of(inside) ** 2
            assert float(new(scale * inside)) == pytest.approx(float(cost * function(inside)), abs=tolerance)
            outside = scale * function.violation(v)
            if jnp.ndim(scale) == 0:  # another metric has another projection
                np.testing.assert_allclose(new.violation(scale * v), outside, atol=100 * DTYPES[dtype] * size_of(v))
                prox = scale * function.prox(v, cost * 0.7 / scale**2)
                np.testing.assert_allclose(
                    new.prox(scale * v, jnp.asarray(0.7, dtype)), prox, atol=100 * DTYPES[dtype] * size_of(v)
                )
            p = function.project_dual(v)
            dual = cost * p / scale
            np.testing.assert_allclose(new.project_dual(dual), dual, atol=100 * DTYPES[dtype] * size_of(p))


def test_support_bounds_the_level_set(function, dtype):
    """sum |force_i v_i| <= support(force, g(v)) for all v in dom g; and v lies between the bounds."""
    for v in points(dtype):
        inside = finite(function, v)
        level = function(inside)
        for force in points(dtype):
            product = float(jnp.sum(jnp.abs(force * inside)))
            assert product <= float(function.support(force, level)) * (1 + 1e-5) + 1e-5 * size_of(inside, force) ** 2
        ends = function.bounds()
        if ends is not None:
            slack = 4 * DTYPES[dtype] * size_of(v)
            assert bool(jnp.all((inside >= ends[0] - slack) & (inside <= ends[1] + slack)))


def test_recession(function, dtype):
    """lim g(v0 + t v) / t; for an indicator, the directions that stay inside."""
    recession = function.recession()
    origin = function.prox(jnp.zeros(SHAPE, dtype), jnp.ones((), dtype))
    for v in points(dtype):
        far = 1e3 if function.is_constraint or not function.has_domain else 1e5  # of logarithms
        if function.is_constraint:
            direction = v - recession.violation(v)
            along = origin + far * direction
            np.testing.assert_allclose(function.violation(along), 0, atol=100 * DTYPES[dtype] * size_of(along))
            leaving = recession.violation(v)
            if float(jnp.max(jnp.abs(leaving))) > 1e-2:
                assert float(jnp.max(jnp.abs(function.violation(origin + far * v)))) > 0
        else:
            start = origin if function.has_domain else 0
            direction = v - recession.violation(v)
            expected = float(function(start + far * direction) / far)
            assert float(recession(direction)) == pytest.approx(expected, rel=1e-2, abs=1e-2 * size_of(v))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_finite(name):
    """At the origin, at ties and at zero groups nothing divides by zero; only in a weight that shuts v out is none."""

    def everything(g, v):
        prox, dual = g.prox(v, jnp.float32(0.7)), g.project_dual(v)
        return jnp.sum(prox * (1 + v)) + g(finite(g, v)) + jnp.sum(dual**2) + jnp.sum(g.violation(v))

    with jax.enable_x64(False):
        function = FUNCTIONS[name](lambda value: jnp.asarray(value, "float32"))
        gradients = jax.vmap(jax.grad(everything, argnums=(0, 1)), (None, 0))
        found = quick_jit(gradients)(function, jnp.stack(points("float32")[:3]))
    if name == "KullbackLeibler weighted":
        np.testing.assert_array_equal(np.isnan(found[0].weight), (WEIGHT == 0) & (np.stack(points("float32")[:3]) <= 0))
        found = jax.tree.map(lambda leaf: jnp.where(WEIGHT == 0, 0, leaf), found)
    assert all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    "bad",
    [L1(-1.0), L1(np.array([1.0, np.nan])), Huber(1.0, -1.0), Huber(-1.0, 1.0), Hinge(-0.1), GroupL2(-1.0, (0,)),
     LInf(np.nan), Box(np.nan, 1.0), L2Ball(-1.0), L1Ball(np.nan), TotalVariation(-1.0, 1)],
)  # fmt: skip
def test_invalid(bad):
    assert bool(bad.invalid())


def test_crossed_bounds_leave_nothing():
    assert bool(Box(np.array([0.0, 1.0]), np.array([1.0, 0.5])).empty())
    assert not bool(Box(1.0, 0.0).invalid())
    assert not bool(Box(0.0, 0.0).empty())


def test_valid(function):
    assert not bool(function.invalid())


def test_l1_projection_against_a_root(dtype):
    """||max(|v| - theta, 0)||_1 = radius, theta by a scalar root finder."""
    for v in points(dtype)[2:]:
        magnitude = np.abs(np.asarray(v, float))
        for radius in (0.2, 1.0, 0.5 * magnitude.sum()):
            expected = np.asarray(v, float)
            if magnitude.sum() > radius:
                theta = scipy.optimize.brentq(lambda t, m=magnitude, r=radius: np.maximum(m - t, 0).sum() - r, 0, 50)
                expected = np.sign(v) * np.maximum(magnitude - theta, 0)
            found = project_l1_ball(v, jnp.asarray(radius, dtype))
            np.testing.assert_allclose(found, expected, atol=max(1e-10, 10 * DTYPES[dtype]))


def test_l2_projection_and_norm_at_zero():
    zero, dtype = jnp.zeros(4, "float32"), "float32"
    assert float(safe_norm(zero)) == 0
    np.testing.assert_array_equal(jax.grad(safe_norm)(zero), 0)
    np.testing.assert_array_equal(jax.jacobian(lambda v: project_l2_ball(v, jnp.ones((), dtype)))(zero), np.eye(4))
    np.testing.assert_allclose(project_l2_ball(jnp.asarray([3.0, 4.0], dtype), jnp.asarray(1.0, dtype)), [0.6, 0.8])


# total variation

IMAGE = RNG.normal(size=(5, 6))
MAPS = {"scalar": np.array(0.4), "pixel map": RNG.uniform(0, 1, (5, 6)), "edge map": RNG.uniform(0, 1, (2, 5, 6))}


def tv_of(x, weight, p):
    """W TV(x) in cvxpy."""
    down = cp.vstack([cp.diff(x, axis=0), np.zeros((1, 6))])
    across = cp.hstack([cp.diff(x, axis=1), np.zeros((5, 1))])
    if p == 1:
        pair = np.broadcast_to(weight, (2, 5, 6))
        return cp.sum(cp.multiply(pair[0], cp.abs(down))) + cp.sum(cp.multiply(pair[1], cp.abs(across)))
    lengths = cp.norm(cp.vstack([cp.vec(down, order="C"), cp.vec(across, order="C")]), 2, axis=0)
    return np.broadcast_to(weight, (5, 6)).ravel() @ lengths


@pytest.mark.parametrize(
    ("p", "weight"), [(1, "scalar"), (1, "pixel map"), (1, "edge map"), (2, "scalar"), (2, "pixel map")]
)
def test_variation_and_its_prox(p, weight, dtype):
    """FGP reaches the minimiser of w TV(z) + ||z - v||^2 / (2 t) that an interior-point method finds."""
    step = 0.7
    function = TotalVariation(jnp.asarray(MAPS[weight], dtype), p)
    x = cp.Variable((5, 6))
    cp.Problem(cp.Minimize(tv_of(x, MAPS[weight], p) + cp.sum_squares(x - IMAGE) / (2 * step))).solve(
        solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11
    )
    v = jnp.asarray(IMAGE, dtype)
    run = image_jit(lambda v, field: function.prox_from(v, jnp.asarray(step, dtype), field, 2000))
    z, field = run(v, jnp.zeros((2, 5, 6), dtype))
    assert z.dtype == dtype
    tolerance = 1e-6 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(z, x.value, atol=tolerance)
    np.testing.assert_allclose(float(function(z)), tv_of(np.asarray(z, float), MAPS[weight], p).value, rtol=1e-5)
    np.testing.assert_allclose(function.lifted().project_dual(field), field, atol=1e-6)  # feasible at any moment
    again, _ = run(v, field)
    np.testing.assert_allclose(again, z, atol=tolerance)


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 4), (1, 1)])
def test_variation_of_thin_arrays(shape):
    dtype = "float32"
    function = TotalVariation(jnp.asarray(1.0, dtype), 1)
    v = jnp.asarray(np.arange(np.prod(shape), dtype=float).reshape(shape), dtype)
    assert float(function(v)) == v.size - 1
    z, _ = function.prox_from(v, jnp.asarray(100.0, dtype), jnp.zeros((v.ndim, *shape), dtype), 300)
    np.testing.assert_allclose(z, np.mean(v), atol=1e-3)


def test_steps_of_the_prox_only_improve_the_warm_start():
    """The distance to the prox falls from one short, warm-started run to the next."""
    with jax.enable_x64(True):
        function = TotalVariation(jnp.asarray(0.4), 1)
        v, step = jnp.asarray(IMAGE), jnp.asarray(0.7)
        exact, _ = function.prox_from(v, step, jnp.zeros((2, 5, 6)), 3000)
        field, errors = jnp.zeros((2, 5, 6)), []
        for _ in range(6):
            z, field = function.prox_from(v, step, field, 10)
            errors.append(float(jnp.max(jnp.abs(z - exact))))
        assert errors[-1] < 1e-2 * errors[0]


@pytest.mark.parametrize(("shape", "p"), [((300, 5), 1), ((300, 5), 2), ((700,), 1)])
def test_bands_of_a_large_image_change_nothing(shape, p, monkeypatch):
    """The dual ascent band by band, in as many sweeps as the steps take, is that of the whole image."""
    rng = np.random.default_rng(0)
    function = TotalVariation(jnp.asarray(rng.uniform(0, 2, shape), jnp.float32), p)
    v = jnp.asarray(rng.normal(size=shape), jnp.float32)
    start = function.lifted().project_dual(jnp.asarray(rng.normal(size=(v.ndim, *shape)), jnp.float32))
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")  # bands are for its caches, and right everywhere
    fields = []
    for least in (dual_ascent.LARGE_BYTES, 0):
        monkeypatch.setattr(dual_ascent, "LARGE_BYTES", least)
        monkeypatch.setattr(dual_ascent, "BAND_BYTES", 1)
        run = image_jit(lambda v, steps: function.prox_from(v, jnp.asarray(0.7, jnp.float32), start, steps)[1])
        programs = str(run.trace(v, 10).jaxpr)
        fields.append(([np.asarray(run(v, steps)) for steps in (2, 16, 41)], programs.count("while")))
    (whole, loops), (bands, more_loops) = fields
    assert more_loops > loops
    for a, b in zip(whole, bands, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
