"""The set that a constraint becomes is the set that it describes: membership agrees at random points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.expressions.evaluate import value_of
from tests.canonicalize.numbers import value

RNG = np.random.default_rng(0)
A, B, W = RNG.normal(size=(4, 3)), 0.3 * RNG.normal(size=4), np.array([1.0, 2.0, 0.5])
Q = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.3]])
PARAMS = {"r": 1.3, "bound": np.array([0.5, 1.0, 0.2])}

CONSTRAINTS = {
    "upper bound": lambda x, U, r, bound: x <= bound,
    "lower bound": lambda x, U, r, bound: x >= -0.5,
    "reflected bound": lambda x, U, r, bound: -0.5 <= x,
    "negated variable": lambda x, U, r, bound: 1 - x >= 0,
    "negated sum": lambda x, U, r, bound: -x - x[::-1] + 1 >= bound,
    "infinite bound": lambda x, U, r, bound: x <= np.array([0.2, np.inf, 0.4]),
    "between variables": lambda x, U, r, bound: x <= x[::-1] + 0.5,
    "affine": lambda x, U, r, bound: A @ x - B <= r,
    "broadcast": lambda x, U, r, bound: x[0] - 0.2 <= bound,
    "broadcast matrix": lambda x, U, r, bound: U >= x - 2,
    "scaled": lambda x, U, r, bound: -2 * x <= bound,
    "norm": lambda x, U, r, bound: admm.norm(x) <= r,
    "norm of affine": lambda x, U, r, bound: 2 >= admm.norm(A @ x - B),
    "scaled norm": lambda x, U, r, bound: r * admm.norm(x - 0.1) / 2 - 1 <= 0,
    "negated norm": lambda x, U, r, bound: -admm.norm(x) >= -1,
    "negative factor": lambda x, U, r, bound: -2 * admm.norm(x) >= -2,
    "norm 1": lambda x, U, r, bound: admm.norm(x - 0.2, 1) <= r,
    "norm inf": lambda x, U, r, bound: admm.norm(x, np.inf) <= 1,
    "norm inf of affine": lambda x, U, r, bound: admm.norm(A @ x - B, np.inf) <= 2,
    "frobenius": lambda x, U, r, bound: admm.norm(U, "fro") <= 3,
    "absolute values": lambda x, U, r, bound: abs(x - 0.1) <= bound,
    "indexed absolute values": lambda x, U, r, bound: abs(x)[1:] <= 0.7,
    "scaled absolute values": lambda x, U, r, bound: W * abs(x) <= 1,
    "broadcast absolute values": lambda x, U, r, bound: abs(x[0]) <= bound,
    "absolute value of a norm": lambda x, U, r, bound: abs(admm.norm(x)) <= 1,
    "sum of absolute values": lambda x, U, r, bound: admm.sum(abs(x)) <= r,
    "weighted sum of absolute values": lambda x, U, r, bound: admm.sum(W * abs(x - 0.1)) <= r,
    "squares": lambda x, U, r, bound: x**2 <= bound,
    "product": lambda x, U, r, bound: x * x <= 0.5,
    "square of a norm": lambda x, U, r, bound: admm.norm(x) ** 2 <= r,
    "sum of squares": lambda x, U, r, bound: admm.sum(admm.square(A @ x - B)) <= 4,
    "mean": lambda x, U, r, bound: admm.mean(U, axis=0) <= bound,
    "mean of squares": lambda x, U, r, bound: admm.mean(admm.square(x)) <= r,
    "differences": lambda x, U, r, bound: abs(admm.diff(x)) <= 1,
    "concatenated": lambda x, U, r, bound: admm.hstack([x, U[0] - 0.1, bound]) <= 1,
    "norm of stacked": lambda x, U, r, bound: admm.norm(admm.vstack([x, U]), "fro") <= 2,
    "rolled": lambda x, U, r, bound: x - admm.roll(x, 1) <= 1,
    "padded": lambda x, U, r, bound: admm.norm(admm.diff(admm.pad(x, 1)), np.inf) <= 1,
    "transposed absolute values": lambda x, U, r, bound: admm.transpose(abs(U[None]), (0, 2, 1)) <= 1,
    "raveled": lambda x, U, r, bound: admm.norm(admm.ravel(U), 1) <= 2,
    "sum_squares": lambda x, U, r, bound: 2 * admm.sum_squares(A @ x - B) <= 8,
    "weighted sum of squares": lambda x, U, r, bound: admm.sum(W * (x - 0.1) ** 2 * 2) <= r,
    "quadratic form": lambda x, U, r, bound: (x - 0.1).T @ Q @ (x - 0.1) <= r,
    "inner product": lambda x, U, r, bound: 2 * x @ x <= r,
    "negated inner product": lambda x, U, r, bound: -x @ x >= -r,
    "constants inside": lambda x, U, r, bound: (admm.norm(x) + r) / 2 <= 1,
    "maximum": lambda x, U, r, bound: admm.maximum(x, -1) <= bound,
    "minimum": lambda x, U, r, bound: admm.minimum(x, 3) >= -bound,
    "total variation": lambda x, U, r, bound: admm.tv2d(U) <= 9,
    "weighted total variation": lambda x, U, r, bound: admm.tv2d(U - 1, weight=np.arange(6.0).reshape(2, 3)) <= 9,
    "variation of a signal": lambda x, U, r, bound: admm.tv1d(x, [1, 2]) <= 2,
    "length of differences": lambda x, U, r, bound: admm.tv1d(x - bound, p=2) <= 1,
    "inrange": lambda x, U, r, bound: admm.inrange(x, -0.5, bound) <= 0,
    "sum of inrange": lambda x, U, r, bound: admm.sum(admm.inrange(x, -0.5, bound)) <= 0,
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_membership(name):
    x, U, r, bound = admm.Var("x", 3), admm.Var("U", 2, 3), admm.Param("r"), admm.Param("bound", 3)
    model = admm.Model()
    model.setObjective(admm.sum(x) + admm.sum(U))
    constraint = model.addConstr(CONSTRAINTS[name](x, U, r, bound))
    params = {p.name: PARAMS[p.name] for p in model.parameters}
    problem = model.problem(params)
    rng = np.random.default_rng(1)
    inside = 0
    for scale in np.geomspace(0.1, 3, 16):
        point = {v: scale * rng.normal(size=v.shape) for v in model.variables}
        known = {**point, **{p: params[p.name] for p in model.parameters}}
        with np.errstate(invalid="ignore"):
            gap = value_of(constraint.lhs, known) - value_of(constraint.rhs, known)
        holds = np.all(gap <= 0) if constraint.sense == "<=" else np.all(gap >= 0)
        _, violation = value(problem, {v.label: array for v, array in point.items()})
        assert holds == (violation <= 1e-12), (scale, gap, violation)
        inside += holds
    assert 0 < inside < 16


def test_equality():
    x, model = admm.Var("x", 3), admm.Model()
    model.setObjective(admm.sum(x))
    model.addConstr(A[:2] @ x == B[:2])
    (box,) = model.problem().penalties
    np.testing.assert_array_equal(box.function.lower, B[:2])
    np.testing.assert_array_equal(box.function.upper, B[:2])


def test_three_arguments_of_the_reference():
    x, model = admm.Var("x", 3), admm.Model()
    model.setObjective(admm.sum(x))
    model.addConstr(x, "<", 1)
    model.addConstr(x, ">", -1)
    kept = model.addConstr(x, "=", 0.5)
    assert kept.sense == "=="
    (box,) = model.problem().penalties
    np.testing.assert_array_equal(box.function.lower, 0.5 * np.ones(3))
    model.removeConstr(kept)
    (box,) = model.problem().penalties
    np.testing.assert_array_equal(box.function.lower, -np.ones(3))
    assert model.NumConstrs == 2


def test_infinite_radius_is_no_constraint():
    x, model = admm.Var("x", 3), admm.Model()
    model.setObjective(admm.sum(x))
    model.addConstr(admm.norm(x) <= np.inf)
    assert model.problem().penalties == ()


def test_infinite_parameters_are_bounds_only():
    x, lower, p = admm.Var("x", 3), admm.Param("lower"), admm.Param("p")
    model = admm.Model()
    model.setObjective(p * admm.sum(x))
    model.addConstr(x >= lower)
    (box,) = model.problem({"lower": -np.inf, "p": 1}).penalties
    assert np.all(np.isneginf(box.function.lower))
    with pytest.raises(admm.ParameterError, match="value of Param 'p' must be finite"):
        model.problem({"lower": 0, "p": np.inf})


def test_traced_constraints():
    with jax.enable_x64(True):
        x, r, model = admm.Var("x", 3), admm.Param("r"), admm.Model()
        model.setObjective(admm.sum(x))
        model.addConstr(admm.maximum(x, 0) <= r)
        model.addConstr(admm.sum(x**2) <= r)
        model.addConstr(admm.norm(x, np.inf) <= r)
        traced, reference = jax.jit(model.problem)({"r": jnp.asarray(4.0)}), model.problem({"r": 4.0})
    assert jax.tree.structure(traced) == jax.tree.structure(reference)
    for leaf, expected in zip(jax.tree.leaves(traced), jax.tree.leaves(reference), strict=True):
        np.testing.assert_allclose(leaf, expected)
