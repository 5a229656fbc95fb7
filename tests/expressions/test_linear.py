"""`linear`: a JAX function, or a product with its adjoint, as an operation of the language."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.expressions.facts import is_affine, sign
from admm_jax.testing import check_operator
from tests.models import compilations

MATRIX = np.random.default_rng(0).normal(size=(6, 4))
DATA = np.random.default_rng(1).normal(size=6)


def product(x, matrix):
    return matrix @ x


def sums(x):
    return jnp.cumsum(x, axis=0)


class Mean:
    """Means of neighbours, with an adjoint of its own."""

    in_shape, out_shape = (4,), (3,)

    def __call__(self, x):
        return (x[1:] + x[:-1]) / 2

    def adjoint(self, y):
        zero = jnp.zeros(1, y.dtype)
        return (jnp.concatenate([y, zero]) + jnp.concatenate([zero, y])) / 2


MEAN = Mean()


def test_shapes_words_and_facts():
    x, lam = admm.Var("x", 4), admm.Param("lam", 6, 4, nonneg=True)
    e = admm.linear(product, x, lam)
    assert e.shape == (6,)
    assert str(e) == "product(x, lam)"
    assert e._repr_latex_() == r"$\mathrm{product}_{\lambda}\left(x\right)$"
    assert str(admm.linear(lambda v: 2 * v, x)) == "linear(x)"
    assert str(2 * admm.linear(MEAN, x) + 1) == "2 * Mean(x) + 1"
    assert is_affine(e)
    assert not is_affine(admm.linear(product, admm.abs(x), lam))
    assert sign(admm.linear(sums, admm.abs(x))) == 0
    assert admm.linear(sums, admm.Var("M", 2, 5)).shape == (2, 5)


def test_on_numbers_it_computes_at_once():
    value = admm.linear(product, np.arange(4.0), MATRIX)
    assert isinstance(value, np.ndarray)
    np.testing.assert_allclose(value, MATRIX @ np.arange(4.0), rtol=1e-14)  # in float64, whatever JAX's default
    assert isinstance(admm.linear(sums, jnp.ones(3)), jax.Array)


def least_squares(f, *params):
    x, b, model = admm.Var("x", 4), admm.Param("b", 6), admm.Model()
    model.setObjective(0.5 * admm.sum(admm.square(admm.linear(f, x, *params) - b)) + 0.3 * admm.norm(x, 1))
    return model


def test_it_is_the_product():
    """The same model with `@`: the same optimum, also with numbers inside and beside the function."""
    plain, model = admm.Model(), admm.Model()
    for one, apply in ((plain, lambda v: MATRIX @ v), (model, lambda v: admm.linear(product, v, MATRIX))):
        x = admm.Var("x", 4)
        one.setObjective(0.5 * admm.sum(admm.square(apply(2 * x - 1) - DATA)) + DATA @ apply(x) + 0.1 * admm.norm(x, 1))
        one.addConstr(apply(x) <= 0.5)
        one.addConstr(admm.norm(apply(x - 0.1)) <= 1.5)
        one.optimize()
        assert one.StatusString == "SOLVE_OPT_SUCCESS"
    assert model.ObjVal == pytest.approx(plain.ObjVal, rel=1e-6)
    np.testing.assert_allclose(model.variables[0].X, plain.variables[0].X, atol=1e-5)


def test_a_weight_goes_through_its_adjoint():
    """<w, A |x|> = <A^T w, |x|>, refused where A^T w has negative entries."""
    x, model = admm.Var("x", 4), admm.Model()
    model.setObjective(admm.sum(admm.linear(sums, admm.abs(x - 1.0))) + admm.sum(admm.square(x)))
    model.optimize()
    weights = np.array([4.0, 3.0, 2.0, 1.0])
    np.testing.assert_allclose(x.X, np.minimum(weights / 2, 1.0), atol=1e-5)
    with pytest.raises(admm.NonconvexError, match="negative weight"):
        model.setObjective(-np.ones(4) @ admm.linear(sums, admm.abs(x)))


def test_traced_numbers_and_batches():
    model = least_squares(product, admm.Param("A", 6, 4))
    single = model.solve({"A": MATRIX, "b": DATA})["x"]

    @jax.jit
    def batch(matrices):
        return jax.vmap(lambda A: model.solve({"A": A, "b": DATA})["x"])(matrices)

    both = batch(jnp.stack([MATRIX, 2 * MATRIX]))
    np.testing.assert_allclose(both[0], single, atol=1e-3)
    np.testing.assert_allclose(both[1], model.solve({"A": 2 * MATRIX, "b": DATA})["x"], atol=1e-3)


def test_the_same_function_compiles_once():
    least_squares(product, MATRIX).solve({"b": DATA})
    with compilations() as compiled:
        least_squares(product, MATRIX + 1.0).solve({"b": DATA})
        least_squares(product, MATRIX[::-1]).solve({"b": -DATA})
    assert compiled == []


def test_an_operator_of_ones_own():
    check_operator(MEAN)
    x, model = admm.Var("x", 4), admm.Model()
    model.setObjective(admm.sum(admm.square(admm.linear(MEAN, x) - DATA[:3])) + 0.1 * admm.sum(admm.square(x)))
    model.optimize()
    A = np.array([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(x.X, np.linalg.solve(A.T @ A + 0.1 * np.eye(4), A.T @ DATA[:3]), atol=1e-6)


class Skewed(Mean):
    """Its adjoint is of something else."""

    def adjoint(self, y):
        return 2 * super().adjoint(y)


class Unhashable(Mean):
    """Equal by value, and without a hash."""

    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (jnp.abs, "`abs` is not linear in its first argument: JAX cannot transpose it"),
        (lambda x: x + 1.0, "at zero it is not zero but up to 1"),
        (lambda x: 1.0 * x @ x * x, "is not linear in its first argument"),
        (lambda x: x[:, 0], r"cannot be called with an array of shape \(4,\)"),
        (lambda x: (x, x), "must return one array, got tuple"),
        (jnp.fft.fft, "must return real numbers, got complex"),
        (3.0, "must be a function of one array or an operator, got 3.0"),
        (Skewed(), "the adjoint of `Skewed` is not its transpose: <A x, z> = "),
        (Unhashable(), "f of linear must be hashable"),
    ],
)
def test_what_is_refused(f, message):
    with pytest.raises(admm.ExpressionError, match=message):
        admm.linear(f, admm.Var("x", 4))


def test_other_shapes_and_variables_as_parameters_are_refused():
    x = admm.Var("x", 4)
    with pytest.raises(admm.ExpressionError, match=r"`Mean` takes arrays of shape \(4,\), got one of shape \(5,\)"):
        admm.linear(MEAN, admm.Var("z", 5))
    with pytest.raises(admm.ExpressionError, match="parameter 1 of product must be a constant, got `y`"):
        admm.linear(product, x, admm.Var("y", 6, 4))
    with pytest.raises(admm.ExpressionError, match="`product` cannot be called with an array of shape"):
        admm.linear(product, x, np.ones((6, 5)))


def test_traced_numbers_from_around_are_refused():
    def outer(scale):
        x, model = admm.Var("x", 4), admm.Model()
        model.setObjective(admm.sum(admm.square(admm.linear(lambda v: scale * v, x) - 1.0)))
        return model.solve()["x"]

    with pytest.raises(admm.ExpressionError, match="reads traced numbers from around it: pass them as parameters"):
        jax.jit(outer)(2.0)
