"""Models that are refused, with a message that names what is guilty.

Expressions that cannot even be written are in `expressions/test_bad_expressions.py`.
"""

from __future__ import annotations

import pytest

import admm_jax as admm
from tests.bad_input.leaves import Leaves, refused

CASES = {
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
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_message(name):
    refused(*CASES[name])


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
