"""What random models are made of: affine expressions and convex terms, each written with the builder and in cvxpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np
import scipy.signal
import scipy.sparse as sp

import admm_jax as admm

SHAPES: dict[str, tuple[int, ...]] = {"x": (6,), "U": (4, 5), "t": ()}
LARGE: dict[str, tuple[int, ...]] = {"x": (450,), "U": (20, 23), "t": ()}  # beyond what is solved with dense matrices


class Pair(NamedTuple):
    """One expression in both languages."""

    ours: Any
    theirs: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.theirs.shape)


def vec(e: Any) -> Any:
    return cp.vec(e, order="C")


class Draw:
    """What both languages are drawn with. `log` names the building blocks that were used."""

    def __init__(self, structure: int, seed: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> None:
        self.shapes = shapes
        self.choose = np.random.default_rng([1, structure])
        self.numbers = np.random.default_rng([2, structure, seed])
        self.scale = float(self.choose.choice([1.0, 1.0, 1.0, 1.0, 1e-3, 1e4]))
        self.params: dict[str, np.ndarray] = {}
        self.log: list[str] = []
        self.variables: dict[str, Pair] = {}
        self.constraints: list[tuple[Any, Any]] = []

    def maybe(self, probability: float) -> bool:
        return bool(self.choose.random() < probability)

    def pick(self, options: dict[str, Any], *args: Any) -> Any:
        """Use one of the named blocks."""
        name = list(options)[self.choose.integers(len(options))]
        self.log.append(name)
        return options[name](self, *args)

    def data(self, *shape: int) -> np.ndarray:
        """Normal numbers in the units of the variables."""
        return self.scale * self.numbers.normal(size=shape)

    def matrix(self, *shape: int) -> np.ndarray:
        """Normal numbers without units."""
        return self.numbers.normal(size=shape)

    def weight(self, *shape: int) -> np.ndarray:
        return self.numbers.uniform(0.1, 2.0, size=shape)

    def constant(self, value: Any) -> Any:
        """The value itself, or a Param that it is bound to."""
        if self.maybe(0.7):
            return value
        name = f"p{len(self.params)}"
        self.params[name] = np.asarray(value)
        return admm.Param(name, *np.shape(value))


# affine expressions: a pair in, a pair out


def plus_data(d: Draw, a: Pair) -> Pair:
    data = d.data(*a.shape)
    return Pair(a.ours - d.constant(data), a.theirs - data)


def scaled(d: Draw, a: Pair) -> Pair:
    factor = d.matrix(*a.shape)
    return Pair(d.constant(factor) * a.ours, cp.multiply(factor, a.theirs))


def negated(d: Draw, a: Pair) -> Pair:
    return Pair(-a.ours / 2, -a.theirs / 2)


def left(d: Draw, a: Pair) -> Pair:
    A = d.matrix(5, a.shape[0])
    return Pair(d.constant(A) @ a.ours, A @ a.theirs)


def sparse(d: Draw, a: Pair) -> Pair:
    A = sp.csr_array(np.where(np.arange(4 * a.shape[0]).reshape(4, -1) % 3, 0, d.matrix(4, a.shape[0])))
    return Pair(A @ a.ours, A @ a.theirs)


def transposed(d: Draw, a: Pair) -> Pair:
    return Pair(a.ours.T, a.theirs.T)


def reversed_(d: Draw, a: Pair) -> Pair:
    return Pair(a.ours[::-1] - a.ours, a.theirs[::-1] - a.theirs)


def sliced(d: Draw, a: Pair) -> Pair:
    return Pair(a.ours[1:], a.theirs[1:])


def fancy(d: Draw, a: Pair) -> Pair:
    return Pair(a.ours[[0, 2, 2, -1]], a.theirs[[0, 2, 2, a.shape[0] - 1]])


def right(d: Draw, a: Pair) -> Pair:
    A = d.matrix(a.shape[1], 3)
    return Pair(a.ours @ A, a.theirs @ A)


def reshaped(d: Draw, a: Pair) -> Pair:
    shape = (a.shape[1], a.shape[0])
    return Pair(a.ours.reshape(*shape), cp.reshape(a.theirs, shape, order="C"))


def strided(d: Draw, a: Pair) -> Pair:
    return Pair(a.ours[:, ::2], a.theirs[:, ::2])


def mixed(d: Draw, a: Pair) -> Pair:
    """Every column minus the sum of the columns."""
    total = Pair(admm.sum(a.ours, axis=1), cp.sum(a.theirs, axis=1))
    column = cp.reshape(total.theirs, (a.shape[0], 1), order="C")
    return Pair(a.ours - total.ours[:, None], a.theirs - column @ np.ones((1, a.shape[1])))


def convolved(d: Draw, a: Pair) -> Pair:
    mode = ["full", "same", "valid"][d.choose.integers(3)]
    flip = d.maybe(0.5)
    shape = [(2, 3), (3, 2), (2, 2), (1, 3)][d.choose.integers(4)]
    shape = tuple(min(p, n) for p, n in zip(shape, a.shape, strict=True))
    d.log.append(f"{'conv2d' if flip else 'corr2d'} {mode}")
    kernel = d.matrix(*shape)
    reference = scipy.signal.convolve2d if flip else scipy.signal.correlate2d
    units = np.eye(a.theirs.size).reshape(-1, *a.shape)
    images = [reference(unit, kernel, mode) for unit in units]
    matrix = np.stack([image.ravel() for image in images], axis=1)
    theirs = cp.reshape(matrix @ vec(a.theirs), images[0].shape, order="C")
    return Pair((admm.conv2d if flip else admm.corr2d)(a.ours, d.constant(kernel), mode), theirs)


VECTOR_OPS = {f.__name__: f for f in (plus_data, scaled, negated, left, sparse, reversed_, sliced, fancy)}
MATRIX_OPS = VECTOR_OPS | {f.__name__: f for f in (transposed, right, reshaped, strided, mixed)}
MATRIX_OPS |= {"convolved": convolved, "convolved twice as likely": convolved}


def vector_of(d: Draw, a: Pair) -> Pair:
    """A vector from any pair."""
    if len(a.shape) == 0:
        return Pair(a.ours.reshape(1), cp.reshape(a.theirs, (1,), order="C"))
    if len(a.shape) == 1:
        return a
    if d.maybe(0.5):
        return Pair(a.ours.reshape(-1), vec(a.theirs))
    return Pair(a.ours[:, 1], a.theirs[:, 1])


def affine(d: Draw, ndim: int | None = None, *, depth: int = 2) -> Pair:
    """A random affine expression in one or two of the variables."""
    names = [name for name in d.variables if ndim != 2 or len(d.shapes[name]) == 2]
    name = names[d.choose.integers(len(names))]
    out = d.variables[name]
    if ndim == 2 and "x" in d.variables and d.maybe(0.3):  # rows of x
        row, (m, n) = d.variables["x"], out.shape
        below = cp.reshape(row.theirs[1 : n + 1], (1, n), order="C")
        out = Pair(out.ours + row.ours[1 : n + 1], out.theirs + np.ones((m, 1)) @ below)
    if ndim == 1 or len(out.shape) == 0:
        out = vector_of(d, out)
        if "t" in d.variables and d.maybe(0.3):
            out = Pair(out.ours - d.variables["t"].ours, out.theirs - d.variables["t"].theirs)
    for _ in range(d.choose.integers(depth + 1)):
        if min(out.shape) >= 3:
            out = d.pick(MATRIX_OPS if len(out.shape) == 2 else VECTOR_OPS, out)
    return out


def image(d: Draw) -> Pair:
    """A matrix; a stack of rows of x where there is no other."""
    if "U" in d.variables:
        return affine(d, 2)
    a = vector_of(d, affine(d, 1, depth=0))
    return Pair(a.ours[:, None] + np.zeros(3), cp.reshape(a.theirs, (a.shape[0], 1), order="C") @ np.ones((1, 3)))


# convex terms


def least_squares(d: Draw) -> Pair:
    a = plus_data(d, affine(d))
    return Pair(0.5 * admm.sum(admm.square(a.ours)), 0.5 * cp.sum_squares(vec(a.theirs)))


def inner_product(d: Draw) -> Pair:
    a = plus_data(d, left(d, vector_of(d, affine(d, 1, depth=0))))
    return Pair(a.ours.T @ a.ours, cp.sum_squares(a.theirs))


def weighted_squares(d: Draw) -> Pair:
    a = plus_data(d, affine(d))
    w = d.weight(*a.shape)
    return Pair(admm.sum(d.constant(w) * a.ours**2), cp.sum(cp.multiply(w, cp.square(a.theirs))))


def quadratic_form(d: Draw) -> Pair:
    a = vector_of(d, affine(d, 1, depth=1))
    root = d.matrix(a.shape[0], max(1, a.shape[0] - 2))
    Q = root @ root.T
    return Pair(a.ours.T @ Q @ a.ours, cp.sum_squares(root.T @ a.theirs))


def absolute(d: Draw) -> Pair:
    a = affine(d)
    w = d.weight(*a.shape)
    return Pair(
        d.scale * admm.sum(d.constant(w) * admm.abs(a.ours)), d.scale * cp.sum(cp.multiply(w, cp.abs(a.theirs)))
    )


def huber(d: Draw) -> Pair:
    a = plus_data(d, affine(d))
    delta = d.scale * float(d.weight())
    # cvxpy's huber is twice ours
    return Pair(2 * admm.sum(admm.huber(a.ours, delta)), cp.sum(cp.huber(a.theirs, delta)))


def norm_1(d: Draw) -> Pair:
    a = vector_of(d, affine(d, 1))
    return Pair(d.scale * admm.norm(a.ours, 1), d.scale * cp.norm1(a.theirs))


def norm_2(d: Draw) -> Pair:
    a = vector_of(d, affine(d, 1))
    return Pair(d.scale * admm.norm(a.ours), d.scale * cp.norm2(a.theirs))


def norm_inf(d: Draw) -> Pair:
    a = vector_of(d, affine(d, 1))
    return Pair(d.scale * admm.norm(a.ours, np.inf), d.scale * cp.norm_inf(a.theirs))


def norm_fro(d: Draw) -> Pair:
    a, w = image(d), d.scale * d.weight()
    return Pair(d.constant(w) * admm.norm(a.ours, "fro"), w * cp.norm(a.theirs, "fro"))


def norm_squared(d: Draw) -> Pair:
    a = vector_of(d, plus_data(d, affine(d, 1)))
    return Pair(admm.norm(a.ours) ** 2, cp.sum_squares(a.theirs))


def hinge(d: Draw) -> Pair:
    a = affine(d)
    b = d.data(*a.shape)
    return Pair(d.scale * admm.sum(admm.maximum(a.ours, d.constant(b))), d.scale * cp.sum(cp.maximum(a.theirs, b)))


def tv1d(d: Draw, p: int, weighted: bool) -> Pair:
    a = vector_of(d, affine(d, 1, depth=1))
    n = a.shape[0]
    if n < 2:
        return norm_1(d)
    w = d.weight(n - 1) if weighted else np.ones(n - 1)
    steps = cp.multiply(w, cp.diff(a.theirs))
    lam = d.scale * d.weight()
    ours = admm.tv1d(a.ours, d.constant(w) if weighted else None, p)
    return Pair(d.constant(lam) * ours, lam * (cp.norm1(steps) if p == 1 else cp.norm2(steps)))


def tv2d(d: Draw, p: int, weight: str) -> Pair:
    a = image(d)
    m, n = a.shape
    w = {"plain": np.ones(()), "pixel map": d.weight(m, n), "edge map": d.weight(2, m, n)}[weight]
    down = cp.vstack([cp.diff(a.theirs, axis=0), np.zeros((1, n))]) if m > 1 else np.zeros((m, n))
    across = cp.hstack([cp.diff(a.theirs, axis=1), np.zeros((m, 1))]) if n > 1 else np.zeros((m, n))
    lam = d.scale * d.weight()
    if p == 1:
        pair = np.broadcast_to(w, (2, m, n))
        theirs = cp.sum(cp.multiply(pair[0], cp.abs(down))) + cp.sum(cp.multiply(pair[1], cp.abs(across)))
    else:
        lengths = cp.norm(cp.vstack([vec(down), vec(across)]), 2, axis=0)
        theirs = np.broadcast_to(w, (m, n)).ravel() @ lengths
    ours = admm.tv2d(a.ours, p, None if weight == "plain" else d.constant(w))
    return Pair(d.constant(lam) * ours, lam * theirs)


TERMS: dict[str, Any] = {
    f.__name__: f
    for f in (least_squares, inner_product, weighted_squares, quadratic_form, absolute, huber, norm_1, norm_2,
              norm_inf, norm_fro, norm_squared, hinge)
}  # fmt: skip
TERMS |= {f"tv1d p={p}{' weighted' * w}": (lambda d, p=p, w=w: tv1d(d, p, w)) for p in (1, 2) for w in (False, True)}
TERMS |= {f"tv2d p={p} {w}": (lambda d, p=p, w=w: tv2d(d, p, w)) for p in (1, 2) for w in ("plain", "pixel map")}
TERMS["tv2d p=1 edge map"] = lambda d: tv2d(d, 1, "edge map")
