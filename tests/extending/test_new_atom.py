"""A new atom, written outside the package: its record says all that is to be known of it."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.expressions.evaluate import value_of
from admm_jax.expressions.facts import sign
from admm_jax.expressions.printing import latex
from admm_jax.operations import Operation, apply, as_constant, as_expr, register
from admm_jax.operators.base import Index
from admm_jax.prox.functions import L1

# from here to `register` is all that its author writes


def elastic_net(x, ratio):
    """sum_i ratio |x_i| + (1 - ratio) x_i^2 / 2."""
    return apply("elastic_net", (as_expr(x, "x"), as_constant(ratio, "ratio")), ())


def _objective(e, coefficient, assembly):
    weight, ratio = assembly.weight(e, coefficient.scalar()), assembly.values.dense(e.args[1])
    argument = assembly.affine(e.args[0])
    assembly.penalise(L1(weight * ratio), argument, str(e))
    assembly.add_quadratic(e, argument, weight * (1 - ratio) / 2)


ELASTIC_NET = Operation(
    "elastic_net",
    value=lambda xp, x, ratio: xp.sum(ratio * xp.abs(x) + (1 - ratio) * x * x / 2),
    sign=lambda signs: 1,
    latex=lambda e, printer: rf"\mathrm{{EN}}_{{{printer.show(e.args[1])}}}\left({printer.show(e.args[0])}\right)",
    objective=_objective,
)
PINBALL = Operation(  # an abbreviation: everything that is not given comes from what it means
    "pinball",
    value=lambda xp, x, q: xp.sum(xp.maximum(q * x, (q - 1) * x)),
    meaning=lambda e: admm.sum(abs(e.args[0])) / 2 + (e.args[1] - 0.5) * admm.sum(e.args[0]),
)
MIRROR = Operation(  # linear, by an operator alone
    "mirror",
    value=lambda xp, x: x[::-1],
    sign=lambda signs: signs[0],
    linear=lambda e, i, values: (Index(e.shape, e.shape, (("slice", None, None, -1),)),),
)
register(ELASTIC_NET, PINBALL, MIRROR)

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(8, 5)), RNG.normal(size=8)


def solved(term, x):
    model = admm.Model()
    model.setObjective(admm.sum(admm.square(A @ x - B)) / 2 + term)
    model.setOption("tol", 1e-9)
    model.optimize()
    assert model.StatusString == "SOLVE_OPT_SUCCESS"
    return model.ObjVal, x.X


def test_value_sign_and_print():
    x, ratio = admm.Var("x", 5), admm.Param("ratio")
    point = RNG.normal(size=5)
    expected = 0.3 * np.sum(np.abs(point)) + 0.35 * np.sum(point**2)
    np.testing.assert_allclose(elastic_net(point, 0.3), expected)
    np.testing.assert_allclose(value_of(elastic_net(x, ratio), {x: point, ratio: 0.3}), expected)
    e = elastic_net(2 * x, ratio)
    assert (str(e), latex(e)) == (
        "elastic_net(2 * x, ratio)",
        r"\mathrm{EN}_{\mathrm{ratio}}\left(2 \, x\right)",
    )
    assert (sign(e), sign(-e)) == (1, -1)
    assert not e.is_constant


def test_solution_is_that_of_cvxpy():
    x, z = admm.Var("x", 5), cp.Variable(5)
    value, found = solved(2 * elastic_net(x, 0.3), x)
    reference = cp.Problem(cp.Minimize(cp.sum_squares(A @ z - B) / 2 + 0.6 * cp.norm1(z) + 0.7 * cp.sum_squares(z)))
    np.testing.assert_allclose(value, reference.solve(solver=cp.CLARABEL), rtol=1e-8)
    np.testing.assert_allclose(found, z.value, atol=1e-6)


def test_abbreviation_is_solved_as_what_it_means():
    x, z = admm.Var("x", 5), cp.Variable(5)
    term = apply("pinball", (x - 1, as_expr(0.8)), ())
    assert (str(term), latex(term)) == ("pinball(x - 1, 0.8)", r"\mathrm{pinball}\left(x - 1, 0.8\right)")
    value, found = solved(term, x)
    loss = cp.sum(cp.maximum(0.8 * (z - 1), -0.2 * (z - 1)))
    reference = cp.Problem(cp.Minimize(cp.sum_squares(A @ z - B) / 2 + loss))
    np.testing.assert_allclose(value, reference.solve(solver=cp.CLARABEL), rtol=1e-8)
    np.testing.assert_allclose(found, z.value, atol=1e-6)


def test_linear_operation_takes_its_adjoint_from_its_operator():
    x, scale, model = admm.Var("x", 5), admm.Param("scale"), admm.Model()
    weights = np.arange(1.0, 6.0)
    mirrored = apply("mirror", (abs(x),), (5,))
    model.setObjective(scale * (weights @ mirrored) + admm.sum_squares(apply("mirror", (x,), (5,)) - B[:5]))
    model.addConstr(apply("mirror", (x,), (5,)) <= 0.5)

    def weight(params):
        return model.problem(params).penalties[0].function.weight

    known = weight({"scale": 2.0})
    assert isinstance(known, np.ndarray)
    np.testing.assert_array_equal(known, 2 * weights[::-1])
    traced = jax.jit(lambda scale: weight({"scale": scale}))(jnp.float32(2))
    np.testing.assert_array_equal(traced, known)
    inside = jax.jit(lambda: jnp.asarray(weight({"scale": 2.0})))()
    np.testing.assert_array_equal(inside, known)
    model.optimize({"scale": 0.1})
    shrunk = B[:5] - np.clip(B[:5], -0.05 * weights, 0.05 * weights)
    np.testing.assert_allclose(x.X, np.minimum(shrunk, 0.5)[::-1], atol=1e-6)


def test_convexity_is_judged():
    x, model = admm.Var("x", 5), admm.Model()
    with pytest.raises(admm.NonconvexError, match="negative weight -1 on the convex term `elastic_net"):
        model.setObjective(-elastic_net(x, 0.3))
    model.setObjective(elastic_net(x, 0.3))
    with pytest.raises(admm.NonconvexError, match="has no rule: no set is known for `elastic_net"):
        model.addConstr(elastic_net(x, 0.3) <= 1)
    with pytest.raises(admm.NonconvexError, match=r"bounds the convex `elastic_net\(x, 0.3\)` from below"):
        model.addConstr(elastic_net(x, 0.3) >= 1)
    with pytest.raises(admm.NonconvexError, match=r"`elastic_net\(x, 0.3\)` is not affine"):
        model.addConstr(admm.norm(elastic_net(x, 0.3) + x) <= 1)


def test_records_are_checked():
    with pytest.raises(admm.ModelError, match="there is an operation 'huber' already"):
        register(Operation("huber", value=lambda xp, x: x, meaning=lambda e: e.args[0]))
    with pytest.raises(admm.ModelError, match="the operation 'nothing' needs one of meaning=, linear= or objective="):
        Operation("nothing", value=lambda xp, x: x)
    with pytest.raises(admm.ModelError, match="no operation 'unheard_of' is known: register its record"):
        str(apply("unheard_of", (admm.Var("x", 5),), ()))
