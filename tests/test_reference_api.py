"""The names and forms of the reference library, and its page on deblurring up to the canonical problem."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

import admm_jax as admm
from admm_jax.expressions.evaluate import value_of
from tests.canonicalize.numbers import value


def page():
    """The page's data."""
    rng = np.random.RandomState(1)
    image = np.zeros((40, 50))
    image[:20, :25] = 0.8
    image[20:, 25:] = 0.6
    image[10:30, 10:40] = 1.0
    image += 0.02 * rng.randn(40, 50)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    return image, kernel, admm.conv2d(image, kernel, "same")


def test_the_page_is_one_quadratic_and_one_total_variation():
    image, kernel, blurred = page()
    assert round(float(np.linalg.norm(blurred - image)), 2) == 3.59
    model = admm.Model()
    U = admm.Var("U", image.shape)
    tv = admm.tv2d(U, p=1)
    residual = admm.conv2d(U, kernel, "same") - blurred
    model.setObjective(0.1 * tv + 0.5 * admm.sum(admm.square(residual)))
    problem = model.problem()
    (quadratic,), (penalty,) = problem.quadratics, problem.penalties
    assert (quadratic.weight, penalty.function.weight, penalty.function.p) == (1.0, 0.1, 1)
    assert penalty.map.chains[0].ops == ()
    assert [type(op).__name__ for op in quadratic.map.chains[0].ops] == ["Convolution"]
    np.testing.assert_array_equal(quadratic.data, blurred)
    expected = value_of(model.getObjective(), {U: image})
    np.testing.assert_allclose(value(problem, {"U": image})[0], expected, rtol=1e-12)


def test_a_model_is_written_as_mathematics():
    x, free, lam = admm.Var("x", 3, nonneg=True), admm.Var(2, 3), admm.Param("lam")
    model = admm.Model()
    assert str(model) == "minimise    (no objective yet)"
    model.setObjective(lam * admm.norm(x, 1) + admm.sum(admm.square(free)))
    model.addConstr(admm.norm(x) <= 2)
    model.addConstr(free[0] == x)
    assert str(model).splitlines() == [
        "minimise    lam * norm(x, 1) + sum(square(x1))",
        "subject to  norm(x) <= 2",
        "            x1[0] == x",
        "            x >= 0",
        "variables   x (3), x1 (2×3)",
        "parameters  lam (scalar)",
    ]
    assert repr(model) == "<Model: 2 variables, 2 constraints, 1 parameter>"
    formula = model._repr_latex_()
    assert r"\underset{x \in \mathbb{R}^{3}_{\ge 0},\; x_{1} \in \mathbb{R}^{2 \times 3}}{\text{minimise}}" in formula
    assert r"\lambda \, \left\|x\right\|_1 + \left\|x_{1}\right\|_F^2" in formula
    assert r"\text{subject to} & \quad \left\|x\right\|_2 \le 2" in formula


def test_unnamed_variables_are_numbered_around_the_named():
    a, b, named = admm.Var(2), admm.Var(2), admm.Var("x1", 2)
    model = admm.Model()
    model.setObjective(admm.sum(a + named + b))
    assert [v.label for v in model.variables] == ["x2", "x1", "x3"]
    assert [name for name, _ in model.problem().variables] == ["x2", "x1", "x3"]
    assert model.getVarByName("x3") is b
    assert model.getVarByName("x9") is None


def test_senses():
    x, model = admm.Var("x", 3), admm.Model()
    assert (admm.MINIMIZE, admm.MAXIMIZE, model.ModelSense) == (1, -1, 1)
    model.setObjective(-admm.norm(x), admm.MAXIMIZE)
    assert model.ModelSense == admm.MAXIMIZE
    assert str(model).startswith("maximise    -norm(x)")
    model.setObjective(admm.sum(x) - admm.norm(x))  # the sense is kept
    assert model.ModelSense == admm.MAXIMIZE
    np.testing.assert_array_equal(model.problem().linear["x"], -np.ones(3))
    model.setObjective(admm.norm(x), modelsense=admm.MINIMIZE)
    assert (model.NumVars, model.NumConstrs) == (1, 0)


def test_parameters_are_bound_by_name_or_by_object():
    x, lam, data = admm.Var("x", 3), admm.Param("lam"), admm.Param("data", 3)
    model = admm.Model()
    model.setObjective(lam * admm.norm(x, 1) + admm.sum((x - data) ** 2))
    first, second = model.problem({"lam": 2, "data": [1, 2, 3]}), model.problem({lam: 2.0, data: np.arange(1, 4)})
    for problem in (first, second):
        assert problem.penalties[0].function.weight == 2
        np.testing.assert_array_equal(problem.quadratics[0].data, [1, 2, 3])
    assert model.parameters == (lam, data)
    assert model.getParam("lam") is lam


def test_signs_of_variables_are_bounds():
    x, y, model = admm.Var("x", 3, nonneg=True), admm.Var("y", nonpos=True), admm.Model()
    model.setObjective(admm.sum(x) - y)
    first, second = model.problem().penalties
    assert (first.label, second.label) == ("x >= 0", "y <= 0")
    np.testing.assert_array_equal(first.function.lower, np.zeros(3))
    np.testing.assert_array_equal(first.function.upper, np.full(3, np.inf))
    np.testing.assert_array_equal(second.function.upper, 0)


def test_import_is_light():
    code = "import sys, admm_jax; print([m for m in ('scipy', 'matplotlib', 'skimage', 'cvxpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "matplotlib" not in done.stdout
    assert "skimage" not in done.stdout
