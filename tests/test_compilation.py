"""What compiles and what does not: numbers never do, structure and shapes do; and what `explain` says beforehand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from IPython.lib.pretty import pretty

import admm_jax as admm
from admm_jax.solver.solve import prepare
from tests.models import DEBLURRING, IMAGE, KERNEL, LASSO, MATRIX, OBSERVED, compilations, deblurring, lasso


def test_other_numbers_compile_nothing():
    model = lasso()
    model.solve(LASSO)
    other = {"b": OBSERVED[::-1], "lam": 1.3}
    owned = jnp.asarray(OBSERVED)
    with compilations() as compiled:
        first = model.solve(other)
        model.solve({"b": list(OBSERVED), "lam": 2})
        model.solve({"b": owned, "lam": np.float32(0.1)})
        model.solve(LASSO, tol=1e-3, feasibility_tol=1e-2, max_iterations=77, polish=False, rho=2.0, adapt_rho=False)
        model.solve(LASSO, init={"x": np.ones(10)})
        model.variables[0].start = np.ones(10)
        model.solve(LASSO)
    assert compiled == []
    assert bool(first.converged)


def test_a_second_model_of_the_same_structure_compiles_nothing():
    first = lasso().solve(LASSO)
    second = lasso(MATRIX[::-1] + 1.0)
    maximised = lasso(maximised=True)
    maximised.solve(LASSO)
    with compilations() as compiled:
        other = second.solve(LASSO)
        maximised.solve({**LASSO, "lam": 0.3})
    assert compiled == []
    assert not np.allclose(other["x"], first["x"])


def test_names_and_labels_are_no_structure():
    """Variables' names are part of the pytrees that go in and out; what a term is called is not."""
    lasso().solve(LASSO)
    x, weight = admm.Var("x", 10), admm.Param("another_name")
    model = admm.Model()
    fit = admm.sum(admm.square(MATRIX @ x - OBSERVED))
    model.setObjective(weight * admm.sum(admm.abs(x)) + fit / 2)
    with compilations() as compiled:
        solution = model.solve({"another_name": 0.5})
    assert compiled == []
    np.testing.assert_allclose(solution["x"], lasso().solve(LASSO)["x"], rtol=1e-6)


def test_optimize_compiles_once_for_a_structure():
    model = lasso()
    model.optimize(LASSO)
    owned = jnp.asarray(OBSERVED)
    with compilations() as compiled:
        model.optimize({"b": OBSERVED[::-1], "lam": 1.3})
        model.variables[0].start = np.ones(10)
        for name, value in (("tol", 1e-3), ("max_iterations", 500), ("rho", 2.0), ("time_limit", 60.0)):
            model.setOption(name, value)
        model.optimize({"b": owned, "lam": 1})
        lasso(MATRIX + 1.0).optimize(LASSO)
    assert compiled == []


def test_the_values_of_a_kernel_choose_the_program():
    """A kernel of rank one is done in two passes, another program than for one of full rank; other values are not."""

    def structure(kernel):
        model = deblurring(kernel)
        return jax.tree.structure(prepare(model.problem(DEBLURRING), model._options)[0])

    full = np.eye(3) / 3
    assert structure(KERNEL) == structure(np.outer([1, 3, 1], [2, 3, 4]))
    assert structure(full) == structure(full + 0.1 * np.eye(3)[::-1])
    assert structure(KERNEL) != structure(full)


def test_images_compile_once():
    model = deblurring()
    model.optimize(DEBLURRING)
    with compilations() as compiled:
        model.optimize({"B": IMAGE.T, "lam": 0.3})
        deblurring(np.outer([1, 3, 1], [1, 3, 1]) / 25).optimize(DEBLURRING)  # again of rank one
        model.explain(DEBLURRING)
    assert compiled == []


# what is compiled


def equations(jaxpr):
    """Those of a traced program, and of all programs in it."""
    for equation in jaxpr.eqns:
        yield equation
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns"))
        for other in inner:
            other = getattr(other, "jaxpr", other)
            if hasattr(other, "eqns"):
                yield from equations(other)


def test_polishing_that_is_left_out_is_not_compiled():
    def program(**options):
        return jax.make_jaxpr(lambda lam: deblurring().solve({"B": IMAGE, "lam": lam}, **options).objective)(0.1).jaxpr

    without, with_it = (len(list(equations(program(polish=polish)))) for polish in (False, True))
    assert without < 0.75 * with_it
    traced = jax.make_jaxpr(lambda lam, polish: deblurring().solve({"B": IMAGE, "lam": lam}, polish=polish).objective)
    assert len(list(equations(traced(0.1, True).jaxpr))) >= with_it


@pytest.mark.parametrize("transform", [lambda f: f, jax.grad, lambda f: jax.grad(jax.jit(f)), jax.hessian])
def test_no_product_is_rounded_below_the_precision_of_its_numbers(transform):
    """Accelerators would do so by default, where a CPU could not show it."""
    model = lasso()

    def loss(lam, b):
        return jnp.sum(model.solve({"lam": lam, "b": b})["x"] ** 2)

    program = jax.make_jaxpr(transform(loss))(jnp.float32(0.5), jnp.asarray(OBSERVED, jnp.float32)).jaxpr
    products = [e for e in equations(program) if e.primitive.name in ("dot_general", "conv_general_dilated")]
    assert products
    assert {e.params["precision"] for e in products} == {(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)}


# explain


def page():
    """The model of the reference page."""
    U, model = admm.Var("U", 40, 50), admm.Model()
    residual = admm.conv2d(U, KERNEL, "same") - np.ones((40, 50))
    model.setObjective(0.1 * admm.tv2d(U, p=1) + 0.5 * admm.sum(admm.square(residual)))
    return model


@pytest.fixture
def nothing_compiles():
    with compilations() as compiled:
        yield
    assert compiled == []


@pytest.mark.usefixtures("nothing_compiles")
def test_explain_the_page():
    text = page().explain()
    assert isinstance(text, str)
    assert repr(text) == str(text) == pretty(text)  # in a notebook too
    first, *_ = text.splitlines()
    assert first == 'minimise    0.1 * tv2d(U) + 0.5 * sum(square(conv2d(U, array(3×3), "same") - array(40×50)))'
    for line in (
        "solved by ADMM in float64 by optimize, in float32 by solve; unknowns: 2000",
        "  form: matrix-free, as there are more than 400 unknowns",
        '  quadratic: square(conv2d(U, array(3×3), "same") - array(40×50)); residuals: 2000',
        "    conv2d 3×3 same, separable: rank 1: 6 taps in 1-D passes instead of 9",
        "  split: z = U, for tv2d(U)",
        "  polishing: least squares on the flat regions by conjugate gradients, with merges",
        "  stopping: when the duality gap to a feasible dual point, relative to the objective, is at most tol",
    ):
        assert line in text.splitlines()
    assert "steps of Chambolle's dual projection (FGP), warm-started from the last dual field" in text
    assert "  x-update: " in text
    assert "  memory: about " in text


@pytest.mark.usefixtures("nothing_compiles")
def test_explain_a_lasso():
    lines = lasso().explain(LASSO).splitlines()
    for line in (
        "  form: dense matrices, as there are at most 400 unknowns",
        "  quadratic: square(array(20×10) @ x - b); residuals: 20",
        "  split: z = x, for norm(x, 1)",
        "    prox: soft threshold, closed form",
        "  x-update: Cholesky factorisation, renewed when rho changes",
        "  memory: about 7 kB in float64, beside the data",
    ):
        assert line in lines


@pytest.mark.usefixtures("nothing_compiles")
def test_explain_constraints_and_every_kind_of_term():
    x, y, V = admm.Var("x", 10, nonneg=True), admm.Var("y", 3), admm.Var("V", 4, 4)
    model = admm.Model()
    terms = [admm.sum(admm.huber(x, 0.5)), admm.sum(admm.maximum(y, 1)), admm.norm(y), admm.norm(x, np.inf)]
    smooth = [admm.tv2d(V), admm.tv2d(V, p=2), admm.sum(admm.square(admm.corr2d(V, np.ones((2, 2)), "valid")))]
    model.setObjective(sum(terms[1:] + smooth, terms[0]))
    for constraint in (
        admm.sum(x) == 1,
        x[:3] - y <= 2,
        admm.norm(x) <= 3,
        admm.norm(y, 1) <= 3,
        np.eye(3) @ y >= -1,
        V.reshape(16) <= 5,
        V.T[0] >= -5,
    ):
        model.addConstr(constraint)
    text = model.explain()
    for part in (
        "shrinkage inside delta, shift outside; closed form",
        "one-sided soft threshold, closed form",
        "shrinkage of each group's Euclidean norm, closed form",
        "v minus its projection onto an l1 ball, by sorting",
        "projection onto a Euclidean ball, closed form",
        "projection onto an l1 ball, by sorting",
        "split again on the differences D z: soft threshold, closed form",
        "split again on the differences D z: shrinkage of each group's Euclidean norm, closed form",
        "split: z = sum(x), for sum(x) == c\n    prox: the fixed values themselves",
        "split: z = x[...] + c * y, for x[:3] - y <= c\n    prox: clip to the bounds",
        "split: z = A @ y, for array(3×3) @ y >= c",
        "split: z = x, for x >= 0\n    prox: clip to the bounds",
        "split: z = reshape(V)",
        "split: z = V.T[...]",
        "corr2d 2×2 valid",
    ):
        assert part in text


@pytest.mark.usefixtures("nothing_compiles")
def test_explain_with_data_of_one_dtype():
    with jax.enable_x64(True):
        assert "solved by ADMM in float64; unknowns: 10" in lasso().explain(LASSO)
    with pytest.raises(admm.ParameterError, match="missing value for Param"):
        lasso().explain()


def test_explain_inside_a_traced_function():
    seen = []

    def traced(kernel, lower):
        U, K, low = admm.Var("U", 30, 30), admm.Param("K", 3, 3), admm.Param("low")
        model = admm.Model()
        model.setObjective(admm.tv2d(U) + admm.sum(admm.square(admm.conv2d(U, K, "same") - 1)))
        model.addConstr(U >= low)
        seen.append(model.explain({"K": kernel, "low": lower}))
        return kernel

    jax.eval_shape(traced, KERNEL, 0.0)
    assert "shift-and-add: 9 taps in one fused pass" in seen[0]  # the rank of a traced kernel is not known
    assert "prox: clip to the bounds" in seen[0]


@pytest.mark.parametrize(("side", "form"), [(4, "dense matrices"), (6, "image of more than 20 pixels")])
def test_small_images_are_images(side, form):
    """However small: Newton's method on matrices takes ten times as long for 36 pixels as polishing on flat regions."""
    U, model = admm.Var("U", side, side), admm.Model()
    model.setObjective(0.1 * admm.tv2d(U) + admm.sum_squares(U - np.eye(side)) / 2)
    assert form in model.explain()
