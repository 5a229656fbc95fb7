"""Models that are refused because they are not convex, with a message that names the smallest guilty term."""

from __future__ import annotations

import numpy as np
import pytest

import admm_jax as admm
from tests.bad_input.leaves import Leaves, refused

IMAGE = np.ones((4, 5))
INDEFINITE = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # eigenvalues -1, 1, 3

CASES = {
    # of the objective
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
    # of the constraints
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
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_message(name):
    refused(*CASES[name])


def test_a_weight_of_zero_is_no_error():
    o = Leaves()
    o.minimise(-0.0 * admm.norm(o.x) + 0 * admm.norm(o.x, 1) - 0 * admm.tv2d(o.U))
    o.minimise(o.lam * admm.norm(o.x), {"lam": 0})
