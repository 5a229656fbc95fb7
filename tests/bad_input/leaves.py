"""What the models that are refused are made of, and how a case is tried.

A case is what is done with `Leaves`, the kind of error, and what the message has to say.
"""

from __future__ import annotations

import re

import pytest

import admm_jax as admm


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


def refused(act, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        act(Leaves())
