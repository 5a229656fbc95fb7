from __future__ import annotations

import numpy as np
import pytest

import admm_jax as admm
from admm_jax.expressions.printing import latex, latex_name, text

K, B = np.ones((3, 3)), np.zeros((40, 50))
U, x, lam, A = admm.Var("U", 40, 50), admm.Var("x", 3), admm.Param("lam"), admm.Param("A", 2, 3)

TEXT = [
    (
        lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, K, "same") - B)),
        'lam * tv2d(U) + 0.5 * sum(square(conv2d(U, array(3×3), "same") - array(40×50)))',
    ),
    (3 - 2 * (x - 1), "3 - 2 * (x - 1)"),
    (x - (2 * x - 1), "x - (2 * x - 1)"),
    (-x * 2, "(-x) * 2"),
    (x * -2, "x * (-2)"),
    (-(x + 1), "-(x + 1)"),
    (x / (2 + lam), "x / (2 + lam)"),
    (A @ (x + 1), "A @ (x + 1)"),
    ((A @ x).T @ (A @ x), "A @ x @ (A @ x)"),
    (U.T[1:, ::2], "U.T[1:, ::2]"),
    ((U - 1).T, "(U - 1).T"),
    (U.reshape(-1)[None, ..., 3], "U.reshape(2000)[None, ..., 3]"),
    (x[[0, 1, 2, 0, 1]], "x[indices(5)]"),
    (admm.tv2d(U, 2, weight=2), "tv2d(U, 2, p=2)"),
    (admm.norm(x, 1) + admm.norm(x, np.inf) + admm.norm(U, "fro"), 'norm(x, 1) + norm(x, inf) + norm(U, "fro")'),
    (admm.sum(U, axis=0), "sum(U, axis=0)"),
    (admm.huber(x, lam) + 1e-9, "huber(x, lam) + 1e-09"),
]


WORDS = [
    (admm.sum_squares(x - 1), "sum_squares(x - 1)", r"\left\|x - 1\right\|_2^2"),
    (admm.mean(x), "mean(x)", r"\mathrm{mean}\left(x\right)"),
    (admm.mean(U, axis=1), "mean(U, axis=1)", r"\mathrm{mean}\left(U\right)"),
    (admm.pad(x, 1), "pad(x, 1)", r"\mathrm{pad}\left(x\right)"),
    (
        admm.pad(U, ((0, 1), (2, 3)), "edge"),
        'pad(U, ((0, 1), (2, 3)), "edge")',
        r"\mathrm{pad}_{\mathrm{edge}}\left(U\right)",
    ),
    (admm.roll(x, -1), "roll(x, -1)", r"\mathrm{roll}_{-1}\left(x\right)"),
    (admm.roll(U, 2, axis=0), "roll(U, 2, axis=0)", r"\mathrm{roll}_{2}\left(U\right)"),
    (admm.hstack([x, 2 * x]), "concatenate([x, 2 * x])", r"\begin{bmatrix} x \\ 2 \, x \end{bmatrix}"),
    (admm.hstack([U, U]), "concatenate([U, U], axis=1)", r"\begin{bmatrix} U & U \end{bmatrix}"),
    (admm.transpose(U), "U.T", r"U^{\mathsf T}"),
    (
        admm.transpose(U.reshape(1, 40, 50), (1, 0, 2)),
        "transpose(U.reshape(1, 40, 50), (1, 0, 2))",
        r"\mathrm{reshape}\left(U\right)^{\mathsf T_{213}}",
    ),
    (admm.ravel(U), "U.reshape(2000)", r"\mathrm{reshape}\left(U\right)"),
    (admm.norm(U, axis=0), "norm(U, axis=0)", r"\left\|U\right\|_{2, (1)}"),
    (admm.sum(admm.norm(U, axis=1)), "sum(norm(U, axis=1))", r"\sum \left\|U\right\|_{2, (2)}"),
    (admm.diff(x), "diff(x)", r"D\left(x\right)"),
    (admm.diff(U, 2, axis=0), "diff(U, 2, axis=0)", r"D_{1}^{2}\left(U\right)"),
    (admm.sum_squares(U), "sum_squares(U)", r"\left\|U\right\|_F^2"),
]


@pytest.mark.parametrize("case", range(len(WORDS)))
def test_words(case):
    expression, plain, typeset = WORDS[case]
    assert (text(expression), latex(expression)) == (plain, typeset)


@pytest.mark.parametrize("case", range(len(TEXT)))
def test_text(case):
    expression, expected = TEXT[case]
    assert str(expression) == expected
    assert repr(expression) == f"<{expected}, shape {expression.shape}>"


def test_text_without_numbers_does_not_depend_on_them():
    first, second = (text(0.1 * abs(3 * x - c), anonymous=True) for c in (1.0, 2.0))
    assert first == second == "c * abs(c * x + c)"


def test_latex():
    objective = lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, K, "same") - B))
    expected = r"\lambda \, \mathrm{TV}\left(U\right) + 0.5 \, \left\|C_{3 \times 3} * U - C_{40 \times 50}\right\|_F^2"
    assert latex(objective) == expected
    assert objective._repr_latex_() == f"${expected}$"


def test_every_operation_has_balanced_latex():
    everything = [
        -x / lam,
        A @ x,
        U.T,
        U.reshape(-1)[3:],
        admm.sum(abs(x)) + admm.sum(x**2) + admm.sum(x + 1),
        admm.norm(x, 1) + admm.norm(x) ** 2 + admm.norm(U) + admm.norm(x, np.inf),
        admm.corr2d(U, K) + admm.conv2d(U, K),
        admm.tv2d(U, 2, weight=lam) + admm.tv1d(x),
        admm.kullback_leibler(x, 2) + admm.kullback_leibler(x, lam, 3),
        admm.huber(x, 2) + admm.maximum(x, 0) + admm.minimum(x, 1) + admm.inrange(x, 0, np.inf),
        x * x,
    ]
    for expression in everything:
        out = latex(expression)
        assert out.count("{") == out.count("}")
        assert out.count(r"\left") == out.count(r"\right")


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("U", "U"), ("lam", r"\lambda"), ("mu", r"\mu"), ("x1", "x_{1}"), ("x_12", "x_{12}"), ("mask", r"\mathrm{mask}")],
)
def test_latex_names(name, symbol):
    assert latex_name(name) == symbol
