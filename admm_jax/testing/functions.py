"""Whether a function does what the contract of `admm_jax.prox.base` says, shown by identities at random points.

With z = prox(v, t) and p = (v - z) / t, p is in dg(z) (Moreau). Fenchel and Young say for all v in dom g, p in dom g*

    gap(v, p) = g(v) + g*(p) - <v, p> >= 0,     gap(z, p) = 0 at the pairs of the prox,

and g* cancels from gap(v, p) - gap(w, p) = g(v) - g(w) - <v - w, p>. Together these show that prox, gap and g belong
together, whatever g is.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from admm_jax.prox.own import ITERATES, Own, Template, offers

STEPS = (0.3, 4.0)
EFFORT = 2000  # inner steps of a prox that is no closed form
DIGITS = {8: 1e-9, 4: 2e-5}
BISECTIONS = {8: 30, 4: 10}
JUMP = 0.05  # of the derivative of the prox, relative, that is a kink and no curvature
FAR = 1e4
NEAR = tuple(sign * size for size in (1e-4, 1e-3, 1e-2) for sign in (1, -1))  # of a prox: a better point is none
EDGE = 0.99  # times a point of the closure of dom g*, which holds zero, is one of dom g*


def check_function(
    function: Any, shape: tuple[int, ...], *, dtype: str = "float64", seed: int = 0, tolerance: float | None = None
) -> None:
    """Show by its mathematics that a function is implemented rightly, or say which identity fails.

    What is checked is what the function has: its prox against the values of g, and where they are there its conjugate,
    what it holds and everything else that the solver asks.

    Args:
        function: A function for `admm_jax.penalty`, or one of the package.
        shape: Of the v to check it on; a few entries in each direction are enough.
        dtype: "float64" or "float32". Arrays in the function must fit it.
        seed: Of the random points.
        tolerance: Relative, of identities; None takes what the dtype can tell.

    Raises:
        AssertionError: with the identity that fails, the point at which it does, and by how much.
    """
    for method in ITERATES:
        if not offers(function, (method,)):
            raise AssertionError(f"{function!r:.80} has no method `{method}`")
    with jax.enable_x64(dtype == "float64"):
        template, leaves = Template.of(function)
        numbers = tuple(jnp.asarray(leaf, dtype) for leaf in leaves)
        function, one = template.build(numbers), jnp.ones((), dtype)
        whole = function if hasattr(function, "certifies") else Own(numbers, one, one, template)
        check = _Check(function, whole, shape, np.dtype(dtype), seed, tolerance)
        check.iterates()
        if whole.certifies:
            check.certifies()
        if whole.differentiates:
            check.differentiates()


def _size(*arrays: Any) -> float:
    return 1 + max(float(jnp.max(jnp.abs(a), initial=0)) for a in arrays)


class _Check:
    """The function as it is, g, and as the solver sees it, `whole`, at points of all sizes."""

    def __init__(self, g: Any, whole: Any, shape: tuple[int, ...], dtype: Any, seed: int, tolerance: float | None):
        self.g, self.whole, self.shape, self.dtype = g, whole, shape, dtype
        self.tolerance = DIGITS[dtype.itemsize] if tolerance is None else tolerance
        self.name = whole.template.name if isinstance(whole, Own) else type(g).__name__
        rng = np.random.default_rng(seed)
        points = [np.zeros(shape), np.sign(rng.normal(size=shape))]
        points += [size * rng.normal(size=shape) for size in np.geomspace(0.05, 5, 4)]
        self.points = [jnp.asarray(p, dtype) for p in points]
        self.others = [jnp.asarray(s * rng.normal(size=shape), dtype) for s in (1e-3, 1e-2, 0.1, 1.0)]
        self.op, self.h = whole.inner(shape)
        self.prox = jax.jit(self._prox)
        self.project, self.gap = jax.jit(self.h.project_dual), jax.jit(self.h.fenchel_gap)
        self.value = jax.jit(g if self.op is None else self.h)
        self.violation = jax.jit(whole.violation)
        self.costs = jax.jit(jax.vmap(self._cost, (0, None, None)))
        # at the edge of its domain a function may be infinite, as -log is: no prox is there
        self.inside = []
        for v in self.points:
            inside = v - whole.violation(v)
            self.inside.append(inside if np.isfinite(g(inside)) else self.prox(v, self.step(STEPS[0]))[0])

    def _prox(self, v: Array, step: Array) -> tuple[Array, Array]:
        """(z, the dual p of h)."""
        memory = self.whole.memory(self.shape, self.dtype)
        z, memory = self.whole.prox_from(v, step, memory, EFFORT)
        return z, self.whole.dual((v - z) / step, memory)

    def fail(self, what: str, where: str, error: Any) -> None:
        raise AssertionError(f"{self.name}: {what} fails at {where}, by {error}")

    def near(self, what: str, where: str, found: Any, expected: Any, size: float) -> None:
        """Demand found = expected, to the tolerance times `size`."""
        error = np.max(np.abs(np.asarray(found, float) - np.asarray(expected, float)), initial=0)
        if not error <= self.tolerance * size:
            self.fail(what, where, f"{error:.3g}, more than {self.tolerance * size:.3g}")

    def least(self, what: str, where: str, value: Any, size: float, bound: float = 0.0) -> None:
        """Demand value >= bound, but for the tolerance times `size`."""
        if not float(value) >= bound - self.tolerance * size:
            self.fail(what, where, f"{float(value):.3g}, which is less than {bound:.3g}")

    def step(self, value: float) -> Array:
        return jnp.asarray(value, self.dtype)

    def inner(self, v: Array) -> Array:
        return v if self.op is None else self.op(v)

    def pairs(self) -> list[tuple[str, Array, Array, Array, Array]]:
        """(where, v, step, z, p) for all points and steps."""
        out = []
        for (i, v), t in itertools.product(enumerate(self.points), STEPS):
            out.append((f"point {i}, step {t}", v, self.step(t), *self.prox(v, self.step(t))))
        return out

    # 1. iterate

    def iterates(self) -> None:
        g, whole = self.g, self.whole
        for i, (v, inside) in enumerate(zip(self.points, self.inside, strict=True)):
            where = f"point {i}"
            value = g(inside)
            if jnp.shape(value) != ():
                self.fail("g(v) is a scalar", where, f"its shape {jnp.shape(value)}")
            if not np.isfinite(value):
                self.fail("g is finite at v - violation(v), or at prox(v)", where, float(value))
            self.near("v - violation(v) is in dom g: violation(v - violation(v)) = 0", where,
                      whole.violation(inside), 0, _size(v))  # fmt: skip
            if whole.is_constraint:
                self.near("g = 0 on the domain of an indicator", where, value, 0, 1)
        pairs = self.pairs()
        for where, v, t, z, _ in pairs:
            if z.shape != v.shape or z.dtype != v.dtype:
                self.fail("prox(v) has the shape and dtype of v", where, f"{z.shape} {z.dtype}")
            if not bool(jnp.all(jnp.isfinite(z))):
                self.fail("prox(v) is finite", where, "NaN or infinity")
            self.near("prox(v) is in dom g: violation(prox(v)) = 0", where, whole.violation(z), 0, _size(v))
            candidates = [z, *(z + other for other in self.others), *(w for _, _, _, w, _ in pairs), *self.inside]
            candidates += [point for e in NEAR for point in (z + e * z, z + e * (v - z))]
            best, *others = np.asarray(self.costs(jnp.stack(candidates), v, t), float)
            size = 1 + abs(best) + _size(v) ** 2 / float(t)
            self.least("prox(v, t) minimises g(z) + ||z - v||^2 / (2 t): another point less its value", where,
                       min(others) - best, size)  # fmt: skip
        for (where, u, t, a, _), (_, v, s, b, _) in itertools.combinations(pairs, 2):
            if float(t) == float(s):
                slack = jnp.sum((a - b) * (u - v)) - jnp.sum((a - b) ** 2)
                self.least("the prox is firmly nonexpansive: <a - b, u - v> - ||a - b||^2 for a = prox u, b = prox v",
                           where, slack, _size(u, v) ** 2 * u.size)  # fmt: skip
        far = [FAR * v - whole.violation(FAR * v) for v in self.inside]
        for i, (v, w) in enumerate([*itertools.combinations(self.inside, 2), *zip(self.inside, far, strict=True)]):
            both = g(v) + g(w)
            self.least("g is convex: (g(v) + g(w)) / 2 - g((v + w) / 2)", f"pair {i}",
                       both / 2 - g((v + w) / 2), 1 + abs(float(both)))  # fmt: skip
        self.units()

    def _cost(self, z: Array, v: Array, t: Array) -> Array:
        z = z - self.whole.violation(z)
        return self.g(z) + jnp.sum((z - v) ** 2) / (2 * t)

    def units(self) -> None:
        """`scaled` and `bounds`, and that nothing is wrong with it."""
        whole, cost = self.whole, self.step(2.5)
        if bool(whole.invalid()) or bool(whole.empty()):
            self.fail("the numbers of the function are valid", "construction", "`invalid` or `empty`")
        new = whole.scaled(self.step(3.0), cost)

        @jax.jit
        def prox(function: Any, v: Array, t: Array) -> Array:
            return function.prox_from(v, t, function.memory(self.shape, self.dtype), EFFORT)[0]

        for i, (v, inside) in enumerate(zip(self.points, self.inside, strict=True)):
            where, size = f"point {i}", 10 * _size(v) ** 2 * v.size
            self.near("scaled: u -> cost g(u / scale)", where, new(3 * inside), cost * whole(inside), size)
            self.near("violation of scaled", where, new.violation(3 * v), 3 * whole.violation(v), size)
            t = self.step(0.7)
            expected, found = 3 * prox(whole, v, cost * t / 9), prox(new, 3 * v, t)
            self.near("prox of scaled", where, found, expected, 10 * size)
            ends = whole.bounds()
            if ends is not None:
                self.least("v <= upper on dom g", where, jnp.min(ends[1] - inside), _size(v))
                self.least("lower <= v on dom g", where, jnp.min(inside - ends[0]), _size(v))

    # 2. certify

    def duals(self) -> list[Array]:
        """Points of all sizes in the space of the duals."""
        return [self.inner(v) for v in self.points]

    def certifies(self) -> None:
        h, pairs = self.h, self.pairs()
        for where, v, t, z, p in pairs:
            y = (v - z) / t
            pulled = p if self.op is None else self.op.adjoint(p)
            size = _size(v, y) ** 2 * v.size
            self.near("D^T dual(y) = y for y = (v - prox v) / t", where, pulled, y, size)
            self.near("(v - prox v) / t is in dom g*: project_dual(p) = p", where, self.project(p), p, size)
            self.near("gap(z, p) = 0 for z = prox v, p = (v - z) / t", where, self.gap(self.inner(z), p), 0, size)
        projected = [self.project(q) for q in self.duals()]
        for (i, q), p in zip(enumerate(self.duals()), projected, strict=True):
            where, size = f"dual {i}", _size(q) ** 2 * q.size
            self.near("project_dual is idempotent", where, self.project(p), p, _size(q))
            for other in [*projected, *(p for *_, p in pairs)]:
                self.least("project_dual(q) is nearest: -<q - p, r - p> for r in dom g*", where,
                           -jnp.sum((q - p) * (other - p)), size)  # fmt: skip
            self.dual_domain(where, q, p)
            if h.is_balanced:
                self.near("dom g* = -dom g*, as is_balanced says", where, self.project(-p), -p, _size(q))
        self.fenchel_young([*projected, *(p for *_, p in pairs)])
        self.growth()

    def dual_domain(self, where: str, q: Array, p: Array) -> None:
        """`into_domain`."""
        h = self.h
        for point in (q, p):
            s = float(h.into_domain(point))
            if not 0 <= s <= 1:
                self.fail("into_domain is in [0, 1]", where, s)
            inside = s * point
            self.near("into_domain: project_dual(s p) = s p", where, self.project(inside), inside, _size(point))
            if s < 0.98:
                more = (s + 0.02) * point
                if float(jnp.max(jnp.abs(self.project(more) - more))) <= self.tolerance * 1e-2:
                    self.fail("into_domain is the largest s: a larger s p is not in dom g*", where, f"s = {s:.3g}")

    def fenchel_young(self, duals: list[Array]) -> None:
        h, images = self.h, [self.inner(v) for v in self.inside]
        for (i, p), (j, v) in itertools.product(enumerate(duals), enumerate(images)):
            where, w = f"dual {i}, point {j}", images[0]
            gap = self.gap(v, p)
            if not np.isfinite(gap):  # g* may be infinite at the edge of its domain
                p = EDGE * p
                gap = self.gap(v, p)
            if not np.isfinite(gap):
                self.fail("gap(v, p) is finite for v in dom g, p inside dom g*", where, float(gap))
            size = _size(v, p) ** 2 * v.size
            self.least("gap(v, p) >= 0", where, gap, size)
            difference = self.value(v) - self.value(w) - jnp.sum((v - w) * p)
            self.near("gap(v, p) - gap(w, p) = g(v) - g(w) - <v - w, p>", where,
                      gap - self.gap(w, p), difference, 10 * size)  # fmt: skip
        for i, p in enumerate(duals):  # a domain that is too large shows far out, where p pulls
            far = FAR * p - h.violation(FAR * p)
            size = FAR * _size(p) ** 2
            self.least("gap(v, p) >= 0 far out along p: p is in dom g*", f"dual {i}", self.gap(far, p), size)

    def growth(self) -> None:
        """`recession`, `support` and `rise`."""
        h, images = self.h, [self.inner(v) for v in self.inside]
        recession = h.recession()
        start = images[0]
        for i, v in enumerate(images):
            where, direction = f"point {i}", v - recession.violation(v)
            size = _size(v) ** 2 * v.size
            if float(jnp.max(jnp.abs(direction))) > 0:
                for t in (1.0, 30.0):
                    ahead = start + t * direction
                    self.near("start + t d is in dom g for d in dom of the recession", where, h.violation(ahead), 0,
                              _size(ahead))  # fmt: skip
                    slope = (self.value(ahead) - self.value(start)) / t
                    self.least("recession(d) - (g(v + t d) - g(v)) / t", where, recession(direction) - slope, size)
            level = h(v)
            for force in images:
                bound = h.support(force, level)
                product = jnp.sum(jnp.abs(force * v))
                self.least("support(f, g(v)) - sum |f v|", where, bound - product, 10 * size * _size(force))
            delta = 1e-3 * jnp.abs(v) + 1e-4
            for sign in (1, -1):
                other = v + sign * delta
                moved = other - h.violation(other)
                change = jnp.abs(self.value(moved) - self.value(v))
                self.least("rise(v, delta) - |g(v + delta) - g(v)|", where, 1.05 * h.rise(v, delta) - change, size)

    # 3. differentiate

    def differentiates(self) -> None:
        whole, t = self.whole, self.step(0.7)
        if self.op is not None:  # its set is that of h
            _Check(self.h, self.h, self.inner(self.points[0]).shape, self.dtype, 1, self.tolerance).differentiates()
            return

        @jax.jit
        def look(v: Array, u: Array) -> tuple[Array, Array, Array, Array]:
            z, moved = jax.jvp(lambda w: whole.prox(w, t), (v,), (u,))
            return moved, z, (v - z) / t, whole.held(z)

        rng = np.random.default_rng(5)
        for (i, a), (j, b) in itertools.combinations(enumerate(self.points), 2):
            where = f"the segment from point {i} to {j}"
            a, b = (v + jnp.asarray(1e-2 * rng.normal(size=self.shape), self.dtype) for v in (a, b))
            u = (b - a) / jnp.sqrt(jnp.sum((b - a) ** 2))
            moved, z, p, held = look(a, u)
            if not bool(jnp.all(jnp.isfinite(moved))):
                self.fail("the derivative of the prox is finite", where, "NaN or infinity")
            self.near("what is held does not move: d prox = 0 there", where, jnp.where(held, moved, 0), 0, 1)
            rest = whole(z) - jnp.sum(p * z)
            self.near(
                "minus_conjugate(z, p) = g(z) - <p, z>",
                where,
                whole.minus_conjugate(z, p),
                rest,
                10 * _size(z, p) ** 2 * z.size,
            )
            self.kink(look, where, a, b, u)

    def kink(self, look: Any, where: str, a: Array, b: Array, u: Array) -> None:
        """Where the derivative of the prox jumps between two points that are next to each other, so does `active`."""

        def jump(x: tuple, y: tuple) -> float:
            return float(jnp.sqrt(jnp.sum((x[0] - y[0]) ** 2)))

        left, right = look(a, u), look(b, u)
        for _ in range(BISECTIONS[self.dtype.itemsize]):
            middle = (a + b) / 2
            between = look(middle, u)
            if jump(left, between) >= jump(between, right):
                b, right = middle, between
            else:
                a, left = middle, between
        found = jump(left, right)
        if found > JUMP:
            both = [self.whole.active(z, p) for _, z, p, _ in (left, right)]
            if bool(jnp.all(both[0] == both[1])):
                self.fail("active changes where the derivative of the prox jumps", where, f"a jump of {found:.3g}")
