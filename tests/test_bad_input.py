"""Models and parameters that are refused, with a message that names what is guilty.

Expressions that cannot even be written are in `expressions/test_bad_expressions.py`.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import admm_jax as admm

IMAGE = np.ones((4, 5))
MASKED = np.ma.array(IMAGE, mask=np.arange(20).reshape(4, 5) < 3)
INDEFINITE = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # eigenvalues -1, 1, 3


class Leaves:
    """Fresh leaves and a model for each case."""

    def __init__(self):
        self.model = admm.Model()
        self.x, self.y, self.u, self.U = admm.Var("x", 3), admm.Var("y", 3), admm.Var("u"), admm.Var("U", 4, 5)
        self.p, self.lam, self.P = admm.Param("p", 3), admm.Param("lam"), admm.Param("P", 3, 3)
        self.B = admm.Param("B", 4, 5)

    def minimise(self, expression, params=None, sense=admm.MINIMIZE):
        self.model.setObjective(expression, sense)
        return self.model.problem(params)

    def subject_to(self, constraint, params=None):
        self.model.setObjective(admm.sum(self.x))
        self.model.addConstr(constraint)
        return self.model.problem(params)

    def named_by_models(self):
        """Two variables without a name, each called x1 by a model of its own."""
        self.others, unnamed = (admm.Model(), admm.Model()), (admm.Var(3), admm.Var(3))
        for model, variable in zip(self.others, unnamed, strict=True):
            model.setObjective(admm.norm(variable))
        return unnamed

    def given(self, params):
        return self.minimise(self.lam * admm.norm(self.x - self.p), params)


GOOD = {"lam": 1.0, "p": np.ones(3)}


# name: what is done, the kind of error, what the message has to say
CASES = {
    # the model
    "objective not scalar": (
        lambda o: o.minimise(o.x),
        admm.ModelError,
        "objective must be a scalar, got shape (3,) from `x`: write sum(...)",
    ),
    "no objective": (lambda o: o.model.problem(), admm.ModelError, "no objective: call setObjective first"),
    "objective cleared": (lambda o: (o.minimise(admm.sum(o.x)), o.minimise(None)), admm.ModelError, "no objective"),
    "no variable": (
        lambda o: o.minimise(3 * o.lam),
        admm.ModelError,
        "the model has no variable: its objective is the constant `3 * lam`",
    ),
    "two variables that other models named alike": (
        lambda o: o.minimise(admm.norm(sum(o.named_by_models()))),
        admm.ModelError,
        "two variables have the name 'x1' in one model, of which other models gave one to a variable without a name:"
        " make it with a name of its own",
    ),
    "a name that another model gave": (
        lambda o: o.minimise(admm.norm(o.named_by_models()[0] + admm.Var("x1", 3))),
        admm.ModelError,
        "two variables have the name 'x1'",
    ),
    "two variables of one name": (
        lambda o: o.minimise(admm.norm(o.x - admm.Var("x", 3))),
        admm.ModelError,
        "two different variables have the name 'x'",
    ),
    "two Params of one name": (
        lambda o: o.minimise(o.lam * admm.norm(admm.Param("lam") * o.x)),
        admm.ModelError,
        "two different Params have the name 'lam'",
    ),
    "a variable and a Param of one name": (
        lambda o: o.minimise(admm.norm(admm.Param("x") * o.x)),
        admm.ModelError,
        "share the name 'x'",
    ),
    "sense": (
        lambda o: o.model.setObjective(admm.sum(o.x), 2),
        admm.ModelError,
        "modelsense must be MINIMIZE (1), MAXIMIZE (-1) or 0, got 2",
    ),
    "no constraint": (
        lambda o: o.model.addConstr(o.x),
        admm.ModelError,
        "addConstr takes a comparison of expressions by ==, <= or >=, got `x`",
    ),
    "constraint a bool": (lambda o: o.model.addConstr(True), admm.ModelError, "got True"),
    "constraint sense": (
        lambda o: o.model.addConstr(o.x, "~", 1),
        admm.ExpressionError,
        "one of '<=', '>=', '==', got '~'",
    ),
    "constraint without variables": (
        lambda o: o.subject_to(o.lam <= 1),
        admm.ModelError,
        "the constraint `lam <= 1` has no variable",
    ),
    "constraint not here": (lambda o: o.model.removeConstr(o.x <= 1), admm.ModelError, "`x <= 1` is not in this model"),
    # convexity of the objective
    "negative tv": (
        lambda o: o.minimise(-0.1 * admm.tv2d(o.U)),
        admm.NonconvexError,
        "negative weight -0.1 on the convex term `tv2d(U)`",
    ),
    "negative norm": (
        lambda o: o.minimise(2 - admm.norm(o.x)),
        admm.NonconvexError,
        "negative weight -1 on the convex term `norm(x)`",
    ),
    "negative entries": (
        lambda o: o.minimise(np.array([1.0, -2.0, 3.0]) @ abs(o.x)),
        admm.NonconvexError,
        "negative weight -2 on the convex term `abs(x)`",
    ),
    "negative square": (
        lambda o: o.minimise(admm.sum(o.x) - o.x[0] ** 2),
        admm.NonconvexError,
        "negative weight -1 on the convex term `square(x[0])`",
    ),
    "negative weight inside": (
        lambda o: o.minimise(admm.tv2d(o.U, weight=-IMAGE)),
        admm.NonconvexError,
        "negative weight -1 inside `tv2d(U, array(4×5))`",
    ),
    "negative indicator": (
        lambda o: o.minimise(-admm.sum(admm.inrange(o.x, 0, 1))),
        admm.NonconvexError,
        "convex term `inrange(x, 0, 1)`",
    ),
    "maximised tv": (
        lambda o: o.minimise(admm.tv2d(o.U), sense=admm.MAXIMIZE),
        admm.NonconvexError,
        "maximised convex term `tv2d(U)`",
    ),
    "maximised huber": (
        lambda o: o.minimise(admm.sum(o.x) + admm.sum(admm.huber(o.x)), sense=admm.MAXIMIZE),
        admm.NonconvexError,
        "maximised convex term `huber(x, 1)`: the model is not convex; a convex term can only be minimised",
    ),
    "minimised minimum": (
        lambda o: o.minimise(admm.sum(admm.minimum(o.x, 0))),
        admm.NonconvexError,
        "minimised concave term `minimum(x, 0)`",
    ),
    "negative maximised minimum": (
        lambda o: o.minimise(-admm.sum(admm.minimum(o.x, 0)), sense=admm.MAXIMIZE),
        admm.NonconvexError,
        "negative weight -1 on the concave term `minimum(x, 0)`, which is maximised",
    ),
    "product": (
        lambda o: o.minimise(admm.sum(admm.square(o.x[0] * o.y))),
        admm.NonconvexError,
        "product of variables: `x[0] * y` is not affine",
    ),
    "product in the sum": (
        lambda o: o.minimise(admm.sum(2 * o.x * o.y)),
        admm.NonconvexError,
        "product of variables: `2 * x * y` is neither affine nor a quadratic form",
    ),
    "inner product": (lambda o: o.minimise(o.x @ INDEFINITE @ o.y), admm.NonconvexError, "product of variables"),
    "norm of a norm": (lambda o: o.minimise(admm.norm(abs(o.x))), admm.NonconvexError, "`abs(x)` is not affine"),
    "tv of a square": (lambda o: o.minimise(admm.tv2d(1 - o.U**2)), admm.NonconvexError, "`square(U)` is not affine"),
    "square of a 1-norm": (
        lambda o: o.minimise(admm.norm(o.x, 1) ** 2),
        admm.NonconvexError,
        "no rule for the square of `norm(x, 1)`",
    ),
    "indefinite form": (
        lambda o: o.minimise(o.x.T @ INDEFINITE @ o.x),
        admm.NonconvexError,
        "quadratic form `x @ array(3×3) @ x` is not convex as it must be here: its matrix must be positive"
        " semidefinite, but has the eigenvalue -1",
    ),
    "negative form": (
        lambda o: o.minimise(-o.x.T @ np.eye(3) @ o.x),
        admm.NonconvexError,
        "must be negative semidefinite, but has the eigenvalue 1",
    ),
    "maximised form": (
        lambda o: o.minimise(o.x.T @ np.eye(3) @ o.x, sense=admm.MAXIMIZE),
        admm.NonconvexError,
        "is not concave as it must be here: its matrix must be negative semidefinite, but has the eigenvalue 1",
    ),
    "form of a Param": (
        lambda o: o.minimise(o.x.T @ o.P @ o.x, {"P": INDEFINITE}),
        admm.ParameterError,
        "has the eigenvalue -1; given P = an array",
    ),
    # convexity of the constraints
    "norm >=": (
        lambda o: o.subject_to(admm.norm(o.x) >= 1),
        admm.NonconvexError,
        "the constraint `norm(x) >= 1` bounds the convex `norm(x)` from below, which is not convex: write <=",
    ),
    "norm reflected": (
        lambda o: o.subject_to(1 <= admm.norm(o.x)),
        admm.NonconvexError,
        "bounds the convex `norm(x)` from below",
    ),
    "norm ==": (
        lambda o: o.subject_to(admm.norm(o.x) == 1),
        admm.NonconvexError,
        "is an equality on `norm(x)`, which is not affine",
    ),
    "minimum <=": (
        lambda o: o.subject_to(admm.minimum(o.x, 1) <= 0),
        admm.NonconvexError,
        "bounds the concave `minimum(x, 1)` from above",
    ),
    "norm <= variable": (
        lambda o: o.subject_to(admm.norm(o.x) <= o.u),
        admm.NonconvexError,
        "in `norm(x) <= u` the term `norm(x)` must stand alone against a constant bound",
    ),
    "isotropic tv <=": (
        lambda o: o.subject_to(admm.tv2d(o.U, 2) <= 1),
        admm.NonconvexError,
        "`tv2d(U, p=2)` can be bounded for p=1 only",
    ),
    "huber <=": (
        lambda o: o.subject_to(admm.huber(o.x) <= 1),
        admm.NonconvexError,
        "no set is known for `huber(x, 1)`",
    ),
    "norm <= vector": (
        lambda o: o.subject_to(admm.norm(o.x) <= [1, 2]),
        admm.NonconvexError,
        "bounds the scalar `norm(x)` by 2 numbers",
    ),
    "negative radius": (
        lambda o: o.subject_to(admm.norm(o.x) <= -1),
        admm.ModelError,
        "`norm(x) <= -1` has no solution: `norm(x)` is never negative, its bound is -1",
    ),
    "negative radius of a Param": (
        lambda o: o.subject_to(admm.norm(o.x) <= o.lam, {"lam": -1}),
        admm.ParameterError,
        "is never negative, its bound is -1; given lam = -1",
    ),
    "impossible maximum": (
        lambda o: o.subject_to(admm.maximum(o.x, 2) <= 1),
        admm.ModelError,
        "`maximum(x, 2) <= 1` has no solution: `2` already violates it",
    ),
    "factor that changes sign": (
        lambda o: o.subject_to(np.array([1, -1, 1]) * abs(o.x) <= 1),
        admm.NonconvexError,
        "the factor of `abs(x)`",
    ),
    # parameters
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
    "Param masked": (
        lambda o: o.minimise(admm.norm(o.U - o.B), {"B": MASKED}),
        admm.ParameterError,
        "the value of Param 'B' must be an array without masked entries, got 3 of 20 masked",
    ),
    "constant masked": (
        lambda o: o.minimise(admm.norm(o.U - MASKED)),
        admm.DataError,
        "the right of - must be an array without masked entries, got 3 of 20 masked",
    ),
    "constant masked, on the left": (
        lambda o: o.minimise(admm.norm(MASKED - o.U)),
        admm.DataError,
        "must be an array without masked entries",
    ),
    "bound masked": (lambda o: o.U <= MASKED, admm.DataError, "the right of <= must be an array without masked"),
    "image masked": (lambda o: admm.conv2d(MASKED, IMAGE), admm.DataError, "the image of conv2d must be an array with"),
    "start masked": (
        lambda o: setattr(o.U, "start", MASKED),
        admm.DataError,
        "the start of U must be an array without masked entries",
    ),
    "example masked": (
        lambda o: admm.learn.path(o.model, "lam", [1.0], {"B": MASKED}),
        admm.DataError,
        "data['B'] must be an array without masked entries",
    ),
    "one of several images masked": (
        lambda o: admm.learn.fit(o.model, admm.learn.MSE(o.U), {"lam": 1.0}, {"B": [IMAGE, MASKED]}),
        admm.DataError,
        "data['B'] must be an array without masked entries",
    ),
    "noise of a masked image": (lambda o: admm.learn.noise_level(MASKED), admm.DataError, "the image of noise_level"),
    "masked images of a kernel": (
        lambda o: admm.learn.refine(lambda k: k, IMAGE, MASKED, IMAGE),
        admm.DataError,
        "blurred must be an array without masked entries",
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
    act, kind, message = CASES[name]
    with pytest.raises(kind, match=re.escape(message)):
        act(Leaves())


def test_a_refused_change_leaves_the_model_as_it_was():
    o = Leaves()
    o.minimise(admm.norm(o.x))
    for act in (lambda: o.model.setObjective(-admm.norm(o.y)), lambda: o.model.addConstr(admm.norm(o.y) >= 1)):
        with pytest.raises(admm.NonconvexError):
            act()
    assert str(o.model.objective) == "norm(x)"
    assert [v.name for v in o.model.variables] == ["x"]
    assert o.model.constraints == ()


def test_a_refused_change_leaves_the_names_as_they_were():
    model, first, second = admm.Model(), admm.Var(3), admm.Var(3)
    model.setObjective(admm.norm(first))
    with pytest.raises(admm.NonconvexError):
        model.setObjective(admm.norm(second) - admm.norm(first))
    assert first.label == "x1"


def test_a_name_is_free_again_when_the_model_that_gave_it_lets_go():
    o = Leaves()
    first, second = o.named_by_models()
    o.others[0].setObjective(admm.norm(o.y))
    o.minimise(admm.norm(first + second))
    assert (first.label, second.label) == ("x2", "x1")


def test_an_unreachable_model_has_named_nothing():
    o = Leaves()
    first, second = o.named_by_models()
    o.others[0].loop = o.others[0]
    del o.others
    o.minimise(admm.norm(first + second))
    assert (first.label, second.label) == ("x1", "x2")


def test_a_masked_array_without_masked_entries_is_an_array():
    o = Leaves()
    problem = o.minimise(admm.sum(admm.square(o.U - np.ma.array(IMAGE))))
    np.testing.assert_array_equal(problem.quadratics[0].data, IMAGE)


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


def test_a_weight_of_zero_is_no_error():
    o = Leaves()
    o.minimise(-0.0 * admm.norm(o.x) + 0 * admm.norm(o.x, 1) - 0 * admm.tv2d(o.U))
    o.minimise(o.lam * admm.norm(o.x), {"lam": 0})
