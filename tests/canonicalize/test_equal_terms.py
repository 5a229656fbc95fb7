"""Equal terms of a loop are one: what is stacked and what is not, and that nothing else changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.canonicalize import equal_terms
from admm_jax.expressions.evaluate import value_of
from tests.canonicalize.numbers import value

RNG = np.random.default_rng(0)
N, D = 5, 15
A, B = RNG.normal(size=(N, 3, D)), RNG.normal(size=(N, 3))
W = RNG.uniform(0.5, 2, size=N)
SPARSE_LIKE = np.where(RNG.random((N, D, D)) < 0.5, 0, RNG.normal(size=(N, D, D)))


def looped(term):
    """The sum of term(i, x) over i, and its model."""
    x, model = admm.Var("x", D), admm.Model()
    model.setObjective(sum(term(i, x) for i in range(N)))
    return x, model


TERMS = {
    "norms of blocks": lambda i, x: W[i] * admm.norm(x[3 * i : 3 * i + 3]),
    "norms of overlapping blocks": lambda i, x: W[i] * admm.norm(x[i : i + 3] - x[i + 1 : i + 4]),
    "norms of images": lambda i, x: W[i] * admm.norm(A[i] @ x - B[i]),
    "norms of matrices": lambda i, x: admm.norm((SPARSE_LIKE[i] @ x).reshape(5, 3)),
    "norms along an axis": lambda i, x: W[i] * admm.sum(admm.norm((SPARSE_LIKE[i] @ x).reshape(5, 3), axis=1)),
    "absolute values": lambda i, x: W[i] * admm.sum(abs(A[i] @ x - B[i])),
    "absolute values of entries": lambda i, x: W[i] * abs(x[2 * i] - B[i, 0]),
    "weighted absolute values": lambda i, x: W[:3] @ abs(A[i] @ x) if i else admm.sum(abs(A[i] @ x)),
    "largest values": lambda i, x: W[i] * admm.norm(A[i] @ x - B[i], np.inf),
    "huber": lambda i, x: W[i] * admm.sum(admm.huber(A[i] @ x - B[i], 0.1 + W[i])),
    "hinges": lambda i, x: W[i] * admm.maximum(0, 1 - A[i, 0] @ x),
    "scaled": lambda i, x: admm.norm(W[i] * x[3 * i : 3 * i + 3] + B[i]),
    "divided": lambda i, x: admm.norm(x[3 * i : 3 * i + 3] / A[0, :, i] - B[i]),
    "means": lambda i, x: abs(admm.mean(W[i] * x) - B[i, 0]),
    "differences": lambda i, x: W[i] * admm.sum(abs(admm.diff(A[i] @ x))),
    "joined": lambda i, x: admm.norm(admm.hstack([x[i], A[i] @ x])),
    "parts of one product": lambda i, x: W[i] * admm.norm((SPARSE_LIKE[0] @ x)[3 * i : 3 * i + 3]),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_loop_is_one_term(name):
    x, model = looped(TERMS[name])
    problem = model.problem()
    assert len(problem.penalties) == 1
    assert problem.penalties[0].members == tuple(range(N))
    assert all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves(problem))
    point = RNG.normal(size=D)
    out, _ = value(problem, {"x": point})
    np.testing.assert_allclose(out, float(value_of(model.objective, {x: point})), rtol=1e-12)


SQUARES = {
    "squares of images": lambda i, x: W[i] * admm.sum_squares(A[i] @ x - B[i]),
    "squares of entries": lambda i, x: W[i] * (x[2 * i] - B[i, 0]) ** 2,
    "squares of norms": lambda i, x: W[i] * admm.norm(A[i] @ x) ** 2,
    "weights by entry": lambda i, x: admm.sum(W[:3] * admm.square(A[i] @ x - B[i])),
}


@pytest.mark.parametrize("name", SQUARES)
def test_a_loop_of_squares_is_one(name):
    x, model = looped(SQUARES[name])
    problem = model.problem()
    assert len(problem.quadratics) == 1
    assert problem.quadratics[0].terms == N
    point = RNG.normal(size=D)
    out, _ = value(problem, {"x": point})
    np.testing.assert_allclose(out, float(value_of(model.objective, {x: point})), rtol=1e-12)


LIMITS = {
    "rows below": lambda i, x: A[i, 0] @ x <= W[i],
    "rows equal": lambda i, x: A[i, 0] @ x == W[i],
    "rows between": lambda i, x: abs(A[i] @ x - B[i]) <= W[i],
    "rows above and below": lambda i, x: A[i, 0] @ x <= W[i] if i % 2 else A[i, 0] @ x >= -W[i],
    "entries": lambda i, x: x[3 * i] <= W[i],
    "differences": lambda i, x: x[i] - x[i + 4] >= -W[i],
    "balls": lambda i, x: admm.norm(A[i] @ x - B[i]) <= W[i],
    "balls of blocks": lambda i, x: admm.sum_squares(x[3 * i : 3 * i + 3]) <= W[i],
    "l1 balls": lambda i, x: admm.norm(A[i] @ x, 1) <= W[i],
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_loop_of_constraints_is_one(name, monkeypatch):
    def built():
        x, model = admm.Var("x", D), admm.Model()
        model.setObjective(admm.sum(x))
        for i in range(N):
            model.addConstr(LIMITS[name](i, x))
        return model.problem()

    stacked = built()
    monkeypatch.setattr(equal_terms, "LEAST", 1000)
    apart = built()
    assert (len(stacked.penalties), len(apart.penalties)) == (1, N)
    assert stacked.penalties[0].function.is_constraint
    for size in (0.05, 0.5, 3.0):
        point = {"x": size * RNG.normal(size=D)}
        np.testing.assert_allclose(value(stacked, point), value(apart, point), rtol=1e-12, atol=1e-15)


def count(*terms):
    """How many penalties the sum of these terms has."""
    model = admm.Model()
    model.setObjective(sum(terms))
    return len(model.problem().penalties)


def test_what_stays_as_it_is():
    x, image = admm.Var("x", D), admm.Var("U", 6, 6)
    others = [admm.Var(f"y{i}", 3) for i in range(N)]
    blocks = [admm.norm(x[3 * i : 3 * i + 3]) for i in range(N)]
    assert count(*blocks[:3]) == 3  # too few
    assert count(*(admm.norm(x[:k]) for k in range(2, 8))) == 6  # of other sizes
    assert count(*(admm.norm(y) for y in others)) == N  # of other variables
    assert count(*(admm.tv2d(image[i : i + 2]) for i in range(5))) == 5  # with an inner iteration
    assert count(*blocks, *(admm.norm(x[3 * i : 3 * i + 3], 1) for i in range(N)), admm.norm(x)) == 3


def test_the_first_term_on_a_variable_itself_stays():
    """A term on x itself bounds x by its level; one on copies of x does not say so."""
    x = admm.Var("x", 3)
    model = admm.Model()
    model.setObjective(sum(W[i] * admm.norm(x - B[i]) for i in range(N)))
    first, rest = model.problem().penalties
    assert first.map.identity_on == "x"
    assert rest.members == (1, 2, 3, 4)


def test_terms_keep_their_order():
    x, model = admm.Var("x", D, nonneg=True), admm.Model()
    model.setObjective(
        admm.norm(x) + sum(abs(x[i]) if i % 2 else admm.norm(x[3 * i // 2 : 3 * i // 2 + 3]) for i in range(9))
    )
    problem = model.problem()
    assert [p.members for p in problem.penalties] == [(), (1, 3, 5, 7, 9), (2, 4, 6, 8), ()]
    arrays = tuple(np.arange(p.terms) + 10 * k for k, p in enumerate(problem.penalties))
    rows = (arrays[0], arrays[1], arrays[2], arrays[3])
    assert [int(np.ravel(a)[0]) for a in problem.term_by_term(rows)] == [0, 10, 20, 11, 21, 12, 22, 13, 23, 14, 30]


def test_one_structure_for_known_and_traced_numbers():
    """Of other numbers, equal or not, traced or not."""
    x, M, w = admm.Var("x", D), admm.Param("M", D, D), admm.Param("w", N)
    model = admm.Model()
    model.setObjective(sum(w[i] * admm.norm((M @ x)[3 * i : 3 * i + 3] * w[0] + W[i]) for i in range(N)))
    given = {"M": SPARSE_LIKE[0], "w": W}
    known = jax.tree.structure(model.problem(given))
    seen = []
    jax.eval_shape(lambda p: seen.append(jax.tree.structure(model.problem(p))), given)
    assert seen[0] == known == jax.tree.structure(model.problem({"M": np.ones((D, D)), "w": np.ones(N)}))
    (penalty,) = model.problem(given).penalties
    assert penalty.map.chains[0].ops[0].matrix.shape == (D, D)  # one product for all


def test_weights_of_each_term_are_differentiable():
    x, lam, model = admm.Var("x", D), [admm.Param(f"lam{i}", nonneg=True) for i in range(N)], admm.Model()
    model.setObjective(sum(lam[i] * admm.norm(A[i] @ x - B[i]) for i in range(N)))
    with jax.enable_x64(True):
        names = {p.name: jnp.asarray(w) for p, w in zip(lam, W, strict=True)}
        tangent = jax.jvp(lambda p: model.problem(p).penalties[0].function.weight, (names,), (names,))[1]
    np.testing.assert_array_equal(tangent, W)


def test_guilty_terms_are_named_before_anything_is_stacked():
    x, model = admm.Var("x", D), admm.Model()
    with pytest.raises(admm.NonconvexError, match=r"negative weight -1 on the convex term `norm\(x\[9:12\]\)`"):
        model.setObjective(sum((-1 if i == 3 else 1) * admm.norm(x[3 * i : 3 * i + 3]) for i in range(N)))


def test_explained():
    x, model = admm.Var("x", D), admm.Model()
    model.setObjective(
        sum(admm.norm(x[3 * i : 3 * i + 3]) for i in range(N))
        + sum(W[i] * admm.sum_squares(A[i] @ x - B[i]) for i in range(N))
    )
    said = model.explain()
    assert "norm(x[0:3]); 5 equal terms, stacked" in said
    assert "; 5 equal terms, stacked; residuals: 15" in said
