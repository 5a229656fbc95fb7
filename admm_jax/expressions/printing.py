"""Expressions as mathematics, in text and in LaTeX."""

from __future__ import annotations

from typing import Any

import numpy as np

from admm_jax.expressions.operation import ATOM, SUM, operation_of

Node = Any  # an `Expr`; the class itself imports this module in order to print itself

_LEAVES = ("constant", "variable", "parameter")


def _binding(e: Node) -> int:
    return ATOM if e.op in _LEAVES else operation_of(e).binding


def _number(value: float) -> str:
    return "inf" if value == np.inf else "-inf" if value == -np.inf else f"{value:.6g}"


def signed_terms(e: Node, printer: Printer) -> str:
    """a + b - c, with the sign of a negated term or negative number taken out."""
    out = ""
    for i, term in enumerate(e.args):
        minus = term.op == "negative"
        body = printer.show(term.args[0]) if minus else printer.show(term)
        if minus and _binding(term.args[0]) == SUM:
            body = f"({body})"
        if not minus and body.startswith("-") and i:
            minus, body = True, body[1:]
        out += (" - " if minus else " + ") + body if i else ("-" if minus else "") + body
    return out


class Printer:
    """What an operation's own printing asks for its arguments.

    Args:
        anonymous: Print each number as `c`, so that expressions which differ only in numbers print alike.
    """

    parentheses = ("(", ")")

    def __init__(self, *, anonymous: bool = False) -> None:
        self.anonymous = anonymous

    def show(self, e: Node) -> str:
        """The expression as it stands alone."""
        if e.op == "constant":
            if e.ndim or not isinstance(e.value, np.ndarray):
                kind = "sparse" if hasattr(e.value, "rows") else "array"
                return f"{kind}({'×'.join(map(str, e.shape))})"
            return "c" if self.anonymous else _number(float(e.value))
        if e.op in _LEAVES:
            return e.label
        operation = operation_of(e)
        if operation.text is not None:
            return operation.text(e, self)
        options = operation.options(e) if operation.options is not None else ""
        arguments = ", ".join(map(self.show, e.args))
        return f"{e.op}([{arguments}]{options})" if operation.listed else f"{e.op}({arguments}{options})"

    def wrap(self, e: Node, binding: int) -> str:
        """The expression inside an operation that binds with `binding`: in parentheses where it binds less."""
        body = self.show(e)
        loose = _binding(e) < binding or (body.startswith("-") and binding > SUM)
        return self.parentheses[0] + body + self.parentheses[1] if loose else body


class LatexPrinter(Printer):
    """The same in LaTeX."""

    parentheses = (r"\left(", r"\right)")

    def show(self, e: Node) -> str:
        """The expression as it stands alone."""
        if e.op == "constant":
            if e.ndim or not isinstance(e.value, np.ndarray):
                return "C_{" + r" \times ".join(map(str, e.shape)) + "}"
            return _number(float(e.value)).replace("inf", r"\infty")
        if e.op in _LEAVES:
            return latex_name(e.label)
        operation = operation_of(e)
        if operation.latex is not None:
            return operation.latex(e, self)
        name = r"\mathrm{" + e.op.replace("_", r"\_") + "}"
        return rf"{name}\left({', '.join(map(self.show, e.args))}\right)"


def text(e: Node, *, anonymous: bool = False) -> str:
    """The expression in one line; `anonymous` prints each number as `c`."""
    return Printer(anonymous=anonymous).show(e)


def latex(e: Node) -> str:
    """The expression in LaTeX, without dollar signs."""
    return LatexPrinter().show(e)


_GREEK = frozenset(
    "alpha beta gamma delta epsilon eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split()
)


def latex_name(name: str) -> str:
    """A name as a LaTeX symbol: Greek letters by name, `lam` as lambda, `x1` and `x_1` with a subscript."""
    stem, _, index = name.partition("_")
    if not index and stem.rstrip("0123456789"):
        index = stem[len(stem.rstrip("0123456789")) :]
        stem = stem[: len(stem) - len(index)]
    stem = "lambda" if stem in ("lam", "lmbda", "lambd") else stem
    symbol = f"\\{stem}" if stem in _GREEK else stem if len(stem) <= 1 else rf"\mathrm{{{stem}}}"
    return symbol + (f"_{{{index}}}".replace("_", r"\_").replace(r"\_{", "_{", 1) if index else "")


def latex_shape(shape: tuple[int, ...], sign: int = 0) -> str:
    """The exponent and the index of a domain, such as ^{40 x 50}_{>= 0}."""
    out = "^{" + r" \times ".join(map(str, shape)) + "}" if shape else ""
    return out + ("" if sign == 0 else r"_{\ge 0}" if sign > 0 else r"_{\le 0}")
