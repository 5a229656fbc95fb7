"""Values of parameters that are refused, with a message that names the parameter."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm
from tests.bad_input.leaves import Leaves, refused

GOOD = {"lam": 1.0, "p": np.ones(3)}

CASES = {
    "missing": (lambda o: o.given({"lam": 1}), admm.ParameterError, "missing value for Param 'p': pass {'p': ...}"),
    "missing all": (lambda o: o.given(None), admm.ParameterError, "missing value for Param 'lam', 'p'"),
    "unknown": (lambda o: o.given({**GOOD, "lma": 1}), admm.ParameterError, "unknown Param 'lma': did you mean 'lam'?"),
    "unknown of a model without": (
        lambda o: o.minimise(admm.norm(o.x), {"lam": 1}),
        admm.ParameterError,
        "unknown Param 'lam'; the model has none",
    ),
    "unknown object": (lambda o: o.given({**GOOD, admm.Param("lam"): 1}), admm.ParameterError, "unknown Param 'lam'"),
    "bound twice": (lambda o: o.given({**GOOD, o.lam: 1}), admm.ParameterError, "Param 'lam' is bound twice"),
    "wrong shape": (
        lambda o: o.given({**GOOD, "p": np.ones(4)}),
        admm.ParameterError,
        "the value of Param 'p' must have shape (3,), got (4,)",
    ),
    "scalar for a vector": (lambda o: o.given({**GOOD, "p": 1.0}), admm.ParameterError, "must have shape (3,), got ()"),
    "no mapping": (lambda o: o.given(0.1), admm.ParameterError, 'a mapping such as {"lam": 0.1}, got 0.1'),
    "Param NaN": (
        lambda o: o.given({**GOOD, "lam": np.nan}),
        admm.ParameterError,
        "the value of Param 'lam' must be finite, got 1 NaN",
    ),
    "Param NaN of JAX": (
        lambda o: o.given({**GOOD, "lam": jnp.nan * jnp.ones(())}),
        admm.ParameterError,
        "the value of Param 'lam' must be finite",
    ),
    "Param Inf": (
        lambda o: o.given({**GOOD, "p": [1, np.inf, 2]}),
        admm.ParameterError,
        "the value of Param 'p' must be finite, got an infinite entry at (1,)",
    ),
    "Param complex": (
        lambda o: o.given({**GOOD, "lam": 1j}),
        admm.ParameterError,
        "the value of Param 'lam' must be real",
    ),
    "Param string": (
        lambda o: o.given({**GOOD, "lam": "0.1"}),
        admm.ParameterError,
        "the value of Param 'lam' must hold numbers, got string data",
    ),
    "Param object": (
        lambda o: o.given({**GOOD, "lam": object()}),
        admm.ParameterError,
        "the value of Param 'lam' must hold numbers, got object data",
    ),
    "Param None": (
        lambda o: o.given({**GOOD, "lam": None}),
        admm.ParameterError,
        "the value of Param 'lam' must be a number or an array, got None",
    ),
    "Param negative": (
        lambda o: o.given({**GOOD, "lam": -0.5}),
        admm.ParameterError,
        "negative weight -0.5 on the convex term `norm(x - p)`, which is minimised: the model is not convex;"
        " given lam = -0.5",
    ),
    "Param negative of JAX": (
        lambda o: o.given({"lam": jnp.float32(-0.5), "p": np.ones(3)}),
        admm.ParameterError,
        "negative weight -0.5 on the convex term",
    ),
    "Param maximised": (
        lambda o: o.minimise(o.lam * admm.norm(o.x), {"lam": 1}, admm.MAXIMIZE),
        admm.ParameterError,
        "maximised convex term `norm(x)`",
    ),
    "Param negative map": (
        lambda o: o.minimise(admm.tv1d(o.x, weight=o.p), {"p": [1, -1, 1]}),
        admm.ParameterError,
        "negative weight -1 inside `tv1d(x, p)`",
    ),
    "Param declared nonneg": (
        lambda o: o.minimise(admm.sum(admm.Param("q", nonneg=True) * o.x), {"q": -1}),
        admm.ParameterError,
        "the value of Param 'q' must be nonneg",
    ),
    "Param delta": (
        lambda o: o.minimise(admm.sum(admm.huber(o.x, o.lam)), {"lam": 0}),
        admm.ParameterError,
        "delta of huber must be positive in `huber(x, lam)`; given lam = 0",
    ),
    "Param counts": (
        lambda o: o.minimise(admm.kullback_leibler(o.x, o.lam), {"lam": -1}),
        admm.ParameterError,
        "counts of kullback_leibler must not be negative in `kullback_leibler(x, lam)`; given lam = -1",
    ),
    "Param batch": (
        lambda o: o.minimise(admm.norm(o.U - o.B), {"B": np.ones((7, 4, 5))}),
        admm.ParameterError,
        "must have shape (4, 5), got (7, 4, 5): for a batch of 7, put the call under jax.vmap",
    ),
    "Param colours": (
        lambda o: o.minimise(admm.norm(o.U - o.B), {"B": np.ones((4, 5, 3))}),
        admm.ParameterError,
        "got (4, 5, 3): for 3 colours, put the call under jax.vmap with in_axes=-1; admm_jax.restore does so by"
        " channel_axis=-1",
    ),
    "Param batch of numbers": (
        lambda o: o.given({**GOOD, "lam": [1.0, 2.0]}),
        admm.ParameterError,
        "must have shape (), got (2,): for a batch of 2, put the call under jax.vmap",
    ),
    "getParam": (lambda o: o.model.getParam("q"), admm.ParameterError, "unknown Param 'q'"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_message(name):
    refused(*CASES[name])


def test_signs_of_traced_parameters_are_left_to_the_solver():
    o = Leaves()
    o.model.setObjective(o.lam * admm.norm(o.x))
    problem = jax.jit(o.model.problem)({"lam": jnp.float32(-1.0)})
    assert problem.penalties[0].function.weight == -1


def test_shapes_of_traced_parameters_are_checked():
    o = Leaves()
    o.model.setObjective(o.lam * admm.norm(o.x))
    with pytest.raises(admm.ParameterError, match="must have shape"):
        jax.jit(o.model.problem)({"lam": jnp.ones(2)})
