"""A constraint of one's own, with a bound that moves: as the one that the language has."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from admm_jax.testing import check_function
from tests.models import quick_jit

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(20, 8)), 3 * RNG.normal(size=20)


@partial(jax.tree_util.register_dataclass, data_fields=["most"], meta_fields=[])
class AtMost:
    """The indicator of v <= c; g*(p) = <c, p> for p >= 0."""

    is_constraint = True

    def __init__(self, most):
        self.most = most

    def __call__(self, v):
        return jnp.zeros(())

    def violation(self, v):
        return jnp.maximum(v - self.most, 0)

    def prox(self, v, step):
        return jnp.minimum(v, self.most)

    def project_dual(self, p):
        return jnp.maximum(p, 0)

    def into_domain(self, p):
        return jnp.where(jnp.all(p >= 0), 1, 0)

    def fenchel_gap(self, v, p):
        return jnp.sum(p * (self.most - v))

    def active(self, z, p):
        return z >= self.most

    def bounds(self):
        return -jnp.inf, self.most


def test_it_keeps_the_contract():
    check_function(AtMost(np.array([0.0, 1.0, -0.5])), (3,))


@pytest.mark.slow
def test_it_is_the_bound_of_the_language():
    """Values, objective, gap and their derivatives in the bound."""
    with jax.enable_x64(True):
        outcomes = []
        for own in (True, False):
            x, most = admm.Var("x", 8), admm.Param("c", 8)
            model = admm.Model()
            model.setObjective(admm.sum(admm.square(A @ x - B)) + (admm.penalty(AtMost(most), x) if own else 0))
            if not own:
                model.addConstr(x <= most)

            def solved(c, model=model):
                solution = model.solve({"c": c}, tol=1e-9)
                return solution["x"], solution.objective, solution.gap

            at = jnp.linspace(-0.5, 0.5, 8)
            values, slopes = solved(at), quick_jit(jax.jacrev(lambda c, f=solved: f(c)[:2]))(at)
            outcomes.append((*values[:2], *slopes))
            assert float(values[2]) < 1e-9
        assert bool(jnp.any(jnp.abs(outcomes[1][3]) > 1e-3))  # some bounds are active
        for found, expected in zip(*outcomes, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("bound", [0.5, -0.5])
def test_it_is_violated_where_nothing_can_hold(bound):
    """x <= c with x = 2 c for c > 0 cannot be: no success is said."""
    x = admm.Var("x", 2)
    model = admm.Model()
    model.setObjective(admm.penalty(AtMost(np.full(2, bound)), x) + admm.sum(admm.square(x)))
    model.addConstr(x == 2 * bound)
    model.optimize()
    assert (model.StatusString == "SOLVE_OPT_SUCCESS") == (bound < 0)
