"""Every function of the prox package: its prox is optimal, its conjugate's domain and gap are right, nothing is NaN."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from admm_jax.prox import dual_ascent
from admm_jax.prox.functions import L1, Box, GroupL2, Hinge, Huber, L1Ball, L2Ball, LInf
from admm_jax.prox.projections import project_l1_ball, project_l2_ball, safe_norm
from admm_jax.prox.stacked import Each
from admm_jax.prox.total_variation import TotalVariation
from tests.models import image_jit, quick_jit
from tests.prox.functions import FUNCTIONS, RNG, SHAPE

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
    return np.stack([np.zeros(SHAPE), tied, *(s * rng.normal(size=SHAPE) for s in sizes)]).astype(dtype)


def pairs(first, second):
    """Each of the first with each of the second."""
    return np.repeat(first, len(second), axis=0), np.tile(second, (len(first), *(1,) * (second.ndim - 1)))


@quick_jit
def _methods(g, v, p, step, level):
    """Every method of g, as it is for one point, at point after point."""
    recession = g.recession()

    def at(point):
        v, p, step, level = point
        return {
            "value": g(v),
            "prox": g.prox(v, step),
            "violation": g.violation(v),
            "project_dual": g.project_dual(v),
            "into_domain": g.into_domain(v),
            "fenchel_gap": g.fenchel_gap(v, p),
            "support": g.support(v, level),
            "recession": recession(v),
            "leaving": recession.violation(v),
        }

    return jax.lax.map(at, (v, p, step, level)), g.bounds(), g.invalid()


COUNT = 64  # points in one run, so that one program serves all tests


class Methods:
    """The methods of a function at stacked points, as NumPy's arrays; scalars become one number for each point."""

    def __init__(self, g):
        self.g, self.is_constraint, self.is_balanced = g, g.is_constraint, g.is_balanced

    def run(self, v, p=0.0, step=1.0, level=0.0):
        out = []
        for i in range(0, len(v), COUNT):
            part = v[i : i + COUNT]

            def padded(value, like, i=i, part=part):
                value = np.broadcast_to(np.asarray(value, v.dtype), like.shape)[i : i + COUNT]
                return np.concatenate([value, np.zeros((COUNT - len(part), *value.shape[1:]), v.dtype)])

            each = np.ones(len(v))
            values, *_ = _methods(self.g, padded(v, v), padded(p, v), padded(step, each), padded(level, each))
            out.append({name: np.asarray(value)[: len(part)] for name, value in values.items()})
        return {name: np.concatenate([part[name] for part in out]) for name in out[0]}

    def whole(self, v):
        """The bounds of the function, and whether it is invalid: they depend on no point."""
        zeros = np.zeros((COUNT, *v.shape[1:]), v.dtype), np.zeros(COUNT, v.dtype)
        _, bounds, invalid = _methods(self.g, zeros[0], zeros[0], zeros[1] + 1, zeros[1])
        return bounds, invalid

    def __call__(self, v):
        return self.run(v)["value"]

    def prox(self, v, step):
        return self.run(v, step=step)["prox"]

    def violation(self, v):
        return self.run(v)["violation"]

    def project_dual(self, p):
        return self.run(p)["project_dual"]

    def into_domain(self, p):
        return self.run(p)["into_domain"]

    def fenchel_gap(self, v, p):
        return self.run(v, p=p)["fenchel_gap"]

    def support(self, force, level):
        return self.run(force, level=level)["support"]


@pytest.fixture(params=FUNCTIONS)
def function(request, dtype):
    return Methods(FUNCTIONS[request.param](lambda value: jnp.asarray(value, dtype)))


def size_of(*arrays):
    """One more than the largest entry, for each point, in the shape that all its entries broadcast with."""
    axes = tuple(range(1, arrays[0].ndim))
    return 1 + np.max([np.max(np.abs(a), axis=axes, keepdims=True) for a in arrays], axis=0)


def sizes_of(*arrays):
    return size_of(*arrays).ravel()


def total(values):
    """The sum over the entries of each point."""
    return np.sum(values, axis=tuple(range(1, values.ndim)))


def assert_near(found, expected, tolerance):
    """found = expected, up to a tolerance of each entry's or point's own."""
    found, expected = np.broadcast_arrays(found, expected)
    shape = found.shape
    room = np.broadcast_to(tolerance, shape)
    assert np.all(np.isfinite(found)), "NaN or infinity"
    off = np.abs(found - expected)
    assert np.all(off <= room), f"off by {np.max(off - room)} more than is allowed"


def test_moreau(function, dtype):
    """z = prox(v) and p = (v - z)/t: p is in dg(z), so z is in dom g, p in dom g* and their Fenchel gap is zero."""
    for step in (0.3, 4.0):
        v = points(dtype)
        z = function.prox(v, step)
        p = (v - z) / step
        assert z.dtype == p.dtype == dtype
        tolerance = 20 * DTYPES[dtype] * size_of(v, p) ** 2
        assert_near(function.violation(z), 0, tolerance)
        assert_near(function.project_dual(p), p, tolerance)
        assert_near(function.fenchel_gap(z, p), 0, tolerance.ravel())


def test_prox_by_brute_force(function, dtype):
    """No nearby or random point of the domain has a smaller g(z) + ||z - v||^2 / (2 t)."""
    rng = np.random.default_rng(2)
    v, step = points(dtype), 0.7

    def cost(z):
        return function(z) + total((z - v) ** 2) / (2 * step)

    z = function.prox(v, step)
    best = cost(z)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        other = z + scale * rng.normal(size=v.shape).astype(dtype)
        other = other - function.violation(other)
        assert np.all(cost(other) >= best - DTYPES[dtype] * (1 + np.abs(best)))


def test_firmly_nonexpansive(function, dtype):
    """||prox u - prox v||^2 <= <prox u - prox v, u - v>."""
    all_points = points(dtype)
    images = function.prox(all_points, 0.7)
    u, v = all_points[:-1], all_points[1:]
    difference = images[:-1] - images[1:]
    slack = total(difference * (u - v)) - total(difference**2)
    assert np.all(slack >= -DTYPES[dtype] * sizes_of(u, v) ** 2)


def test_projections(function, dtype):
    """Projections are idempotent, and the prox of an indicator does not depend on its step."""
    v = points(dtype)
    tolerance = 10 * DTYPES[dtype] * size_of(v)
    p = function.project_dual(v)
    assert_near(function.project_dual(p), p, tolerance)
    inside = v - function.violation(v)
    assert_near(function.violation(inside), 0, tolerance)
    if function.is_constraint:
        assert np.all(function(inside) == 0)
        for step in (0.1, 7.0):
            assert_near(function.prox(v, step), inside, tolerance)
    else:
        np.testing.assert_array_equal(inside, v)


def test_dual_projection_is_nearest(function, dtype):
    """<p - proj p, q - proj p> <= 0 for every q of dom g*."""
    all_points = points(dtype)
    p, _ = pairs(all_points, all_points)
    nearest, q = pairs(*(function.project_dual(all_points),) * 2)
    tolerance = 10 * DTYPES[dtype] * sizes_of(p, q) ** 2
    assert np.all(total((p - nearest) * (q - nearest)) <= tolerance)


CONJUGATES = {
    L1: lambda g, p: 0.0,
    Hinge: lambda g, p: 0.0,
    GroupL2: lambda g, p: 0.0,
    LInf: lambda g, p: 0.0,
    Huber: lambda g, p: np.sum(np.where(g.weight > 0, p**2 / np.where(g.weight > 0, 2 * g.weight, 1), 0)),
    L2Ball: lambda g, p: g.radius * np.linalg.norm(p),
    L1Ball: lambda g, p: g.radius * np.max(np.abs(p)),
    Box: lambda g, p: np.sum(np.where(p > 0, p * np.where(p > 0, g.upper, 0), p * np.where(p < 0, g.lower, 0))),
}  # fmt: skip


def conjugate_of(g, p):
    """g*(p), written out; of stacked functions the sum."""
    if isinstance(g, Each):
        return sum(conjugate_of(jax.tree.map(lambda leaf, k=k: leaf[k], g.member), part) for k, part in enumerate(p))
    return CONJUGATES[type(g)](g, p)


def test_fenchel_gap(function, dtype):
    """The gap is g(v) + g*(p) - <v, p>, and never negative."""
    v = points(dtype)
    inside, p = pairs(v - function.violation(v), function.project_dual(v))
    own = jax.tree.map(np.asarray, function.g)
    with np.errstate(invalid="ignore"):
        conjugate = np.array([conjugate_of(own, one) for one in np.asarray(p, float)])
    expected = function(inside) + conjugate - total(np.asarray(inside, float) * p)
    tolerance = 20 * DTYPES[dtype] * sizes_of(inside, p) ** 2
    gap = function.fenchel_gap(inside, p)
    assert np.all(gap >= -tolerance)
    assert_near(gap, expected, tolerance)


def test_conjugate_is_a_supremum(function, dtype):
    """g*(p) >= <p, v> - g(v) at random v, and no finite bound holds outside dom g*."""
    q = points(dtype)
    outside = q - function.project_dual(q)
    far = outside * 1e4
    far = far - function.violation(far)
    rise = total(q * far) - function(far)
    assert np.all((rise > 0) | (sizes_of(outside) - 1 <= 1e-3))


def test_into_domain(function, dtype):
    """The largest s in [0, 1] with s p in dom g*, of every function: s p is inside, and a little more is not."""
    q = points(dtype)
    q = np.concatenate([q, function.project_dual(q)])
    s = function.into_domain(q)
    assert s.dtype == dtype
    assert np.all((s >= 0) & (s <= 1))
    by_entry = s.reshape(-1, 1, 1)
    scaled = by_entry * q
    assert_near(function.project_dual(scaled), scaled, 10 * DTYPES[dtype] * size_of(q))
    more = (by_entry + np.asarray(1e-2, dtype)) * q
    beyond = np.max(np.abs(function.project_dual(more) - more), axis=(1, 2))
    assert np.all((beyond > 0) | (s >= 1 - 1e-5))


def test_balanced(function, dtype):
    if function.is_balanced:
        p = function.project_dual(points(dtype))
        assert_near(function.project_dual(-p), -p, 10 * DTYPES[dtype] * size_of(p))


_scaled = quick_jit(lambda g, scale, cost: g.scaled(scale, cost))


def test_scaled(function, dtype):
    """u -> cost g(u / scale): value, prox and domain, with a scale for each entry where `ties` leaves them free."""
    rng = np.random.default_rng(3)
    cost = np.asarray(2.5, dtype)
    ties = function.g.ties(len(SHAPE))
    own = [1 if axis in ties else n for axis, n in enumerate(SHAPE)]
    v = points(dtype)
    inside, violation, p = v - function.violation(v), function.violation(v), function.project_dual(v)
    for scale in (np.asarray(3.0, dtype), np.broadcast_to(rng.uniform(0.5, 2, own).astype(dtype), SHAPE)):
        new = Methods(_scaled(function.g, scale, cost))
        tolerance = 100 * DTYPES[dtype] * sizes_of(inside) ** 2
        assert_near(new(scale * inside), cost * function(inside), tolerance)
        room = 100 * DTYPES[dtype] * size_of(v)
        if np.ndim(scale) == 0:  # another metric has another projection
            assert_near(new.violation(scale * v), scale * violation, room)
            prox = scale * function.prox(v, cost * 0.7 / scale**2)
            assert_near(new.prox(scale * v, 0.7), prox, room)
        dual = cost * p / scale
        assert_near(new.project_dual(dual), dual, 100 * DTYPES[dtype] * size_of(p))


def test_support_bounds_the_level_set(function, dtype):
    """|<force, v>| <= support(force, g(v)) for all v in dom g; and v lies between the bounds."""
    v = points(dtype)
    inside = v - function.violation(v)
    each, force = pairs(inside, v)
    level, _ = pairs(function(inside), v)
    product = np.abs(total(force * each))
    assert np.all(product <= function.support(force, level) * (1 + 1e-5) + 1e-5 * sizes_of(each, force) ** 2)
    ends, _ = function.whole(v)
    if ends is not None:
        slack = 4 * DTYPES[dtype] * size_of(v)
        assert np.all((inside >= ends[0] - slack) & (inside <= ends[1] + slack))


def test_recession(function, dtype):
    """lim g(v0 + t v) / t; for an indicator, the directions that stay inside."""
    v, far = points(dtype), 1e3
    origin = function.prox(0 * v, 1.0)
    recession = function.run(v)
    if function.is_constraint:
        direction = v - recession["leaving"]
        along = origin + far * direction
        assert_near(function.violation(along), 0, 100 * DTYPES[dtype] * size_of(along))
        left = np.max(np.abs(function.violation(origin + far * v)), axis=(1, 2))
        assert np.all((left > 0) | (sizes_of(recession["leaving"]) - 1 <= 1e-2))
    else:
        expected = function(far * v) / far
        assert_near(recession["recession"], expected, np.maximum(1e-2 * np.abs(expected), 1e-2 * sizes_of(v)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_finite(name):
    """At the origin, at ties and at zero groups nothing divides by zero."""

    def everything(g, v):
        prox, dual = g.prox(v, jnp.float32(0.7)), g.project_dual(v)
        return jnp.sum(prox * (1 + v)) + g(v) + jnp.sum(dual**2) + jnp.sum(g.violation(v))

    with jax.enable_x64(False):
        function = FUNCTIONS[name](lambda value: jnp.asarray(value, "float32"))
        gradients = jax.vmap(jax.grad(everything, argnums=(0, 1)), (None, 0))
        found = quick_jit(gradients)(function, points("float32")[:3])
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


def test_valid(function, dtype):
    _, invalid = function.whole(points(dtype))
    assert not bool(invalid)


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
