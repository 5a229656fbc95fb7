"""Expressions as mathematics, in text and in LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from admm_jax.expressions import indexing

Node = Any  # an `Expr`; the class itself imports this module in order to print itself

# how tightly an operation binds: a looser one inside a tighter one is put in parentheses
_ADD, _MUL, _NEG, _POW, _ATOM = 1, 2, 3, 4, 5
_BINDING = {"add": _ADD, "negative": _NEG, "multiply": _MUL, "divide": _MUL, "matmul": _MUL, "transpose": _ATOM}


def _number(value: float) -> str:
    return "inf" if value == np.inf else "-inf" if value == -np.inf else f"{value:.6g}"


def _terms(e: Node, show: Callable[[Node], str]) -> str:
    """a + b - c, with the sign of a negated term or negative number taken out."""
    out = ""
    for i, term in enumerate(e.args):
        minus = term.op == "negative"
        body = show(term.args[0]) if minus else show(term)
        if minus and _BINDING.get(term.args[0].op) == _ADD:
            body = f"({body})"
        if not minus and body.startswith("-") and i:
            minus, body = True, body[1:]
        out += (" - " if minus else " + ") + body if i else ("-" if minus else "") + body
    return out


def text(e: Node, *, anonymous: bool = False) -> str:
    """The expression in one line.

    Args:
        e: What to print.
        anonymous: Print each number as `c`, so that models which differ only in numbers print alike.
    """

    def show(node: Node) -> str:
        if node.op == "constant":
            if node.ndim or not isinstance(node.value, np.ndarray):
                kind = "sparse" if hasattr(node.value, "rows") else "array"
                return f"{kind}({'×'.join(map(str, node.shape))})"
            return "c" if anonymous else _number(float(node.value))
        if node.op in ("variable", "parameter"):
            return node.label
        if node.op == "add":
            return _terms(node, show)
        if node.op == "negative":
            return "-" + wrap(node.args[0], _NEG)
        if node.op in ("multiply", "divide", "matmul"):
            symbol = {"multiply": "*", "divide": "/", "matmul": "@"}[node.op]
            return f"{wrap(node.args[0], _MUL)} {symbol} {wrap(node.args[1], _NEG)}"
        if node.op == "transpose":
            return wrap(node.args[0], _ATOM) + ".T"
        if node.op == "reshape":
            return f"{wrap(node.args[0], _ATOM)}.reshape({', '.join(map(str, node.shape))})"
        if node.op == "index":
            return f"{wrap(node.args[0], _ATOM)}[{indexing.text(node.attrs['index'])}]"
        if node.op == "penalty":
            return f"{node.attrs['function'].name}({', '.join(map(show, _named(node)))})"
        return f"{node.op}({', '.join(map(show, node.args))}{_options(node)})"

    def wrap(node: Node, binding: int) -> str:
        body = show(node)
        loose = _BINDING.get(node.op, _ATOM) < binding or (body.startswith("-") and binding > _ADD)
        return f"({body})" if loose else body

    return show(e)


def _named(e: Node) -> list[Node]:
    """Of a function of the user's own its argument, and those of its numbers that are no constants."""
    return [e.args[0], *(arg for arg in e.args[1:] if arg.op != "constant")]


def _options(e: Node) -> str:
    if e.op == "sum":
        axes = e.attrs["axes"]
        return "" if len(axes) == e.args[0].ndim else f", axis={axes[0] if len(axes) == 1 else axes}"
    if e.op in ("conv2d", "corr2d"):
        return f', "{e.attrs["mode"]}"'
    if e.op == "norm" and e.attrs["ord"] is not None:
        return f", {e.attrs['ord']!r}".replace("'", '"')
    return ", p=2" if e.attrs.get("p") == 2 else ""


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


def latex(e: Node) -> str:
    """The expression in LaTeX, without dollar signs."""

    def wrap(node: Node, binding: int) -> str:
        body = latex(node)
        loose = _BINDING.get(node.op, _ATOM) < binding or (body.startswith("-") and binding > _ADD)
        return rf"\left({body}\right)" if loose else body

    def scaled(node: Node, symbol: str) -> str:
        return rf"{wrap(node.args[0], _MUL)}{symbol}{wrap(node.args[1], _NEG)}"

    if e.op == "constant":
        if e.ndim or not isinstance(e.value, np.ndarray):
            return "C_{" + r" \times ".join(map(str, e.shape)) + "}"
        return _number(float(e.value)).replace("inf", r"\infty")
    if e.op in ("variable", "parameter"):
        return latex_name(e.label)
    a = e.args[0]
    forms: dict[str, Callable[[], str]] = {
        "add": lambda: _terms(e, latex),
        "negative": lambda: "-" + wrap(a, _NEG),
        "multiply": lambda: scaled(e, r" \, " if not (a.ndim and e.args[1].ndim) else r" \odot "),
        "divide": lambda: rf"\frac{{{latex(a)}}}{{{latex(e.args[1])}}}",
        "matmul": lambda: _latex_product(e, wrap),
        "transpose": lambda: wrap(a, _ATOM) + r"^{\mathsf T}",
        "reshape": lambda: rf"\mathrm{{reshape}}\left({latex(a)}\right)",
        "index": lambda: wrap(a, _ATOM) + rf"_{{[{indexing.text(e.attrs['index'])}]}}".replace("...", r"\dots"),
        "sum": lambda: _latex_sum(e),
        "square": lambda: rf"\left({latex(a)}\right)^2" if a.op not in ("variable", "norm") else latex(a) + "^2",
        "abs": lambda: rf"\left|{latex(a)}\right|",
        "norm": lambda: rf"\left\|{latex(a)}\right\|_{_latex_order(e)}",
        "conv2d": lambda: rf"{wrap(e.args[1], _NEG)} * {wrap(a, _NEG)}",
        "corr2d": lambda: rf"{wrap(e.args[1], _NEG)} \star {wrap(a, _NEG)}",
        "tv2d": lambda: _latex_tv(e),
        "tv1d": lambda: _latex_tv(e),
        "huber": lambda: rf"\mathrm{{huber}}_{{{latex(e.args[1])}}}\left({latex(a)}\right)",
        "maximum": lambda: rf"\max\left({latex(a)}, {latex(e.args[1])}\right)",
        "minimum": lambda: rf"\min\left({latex(a)}, {latex(e.args[1])}\right)",
        "penalty": lambda: _latex_own(e),
        "inrange": lambda: rf"\iota_{{[{latex(e.args[1])}, {latex(e.args[2])}]}}\left({latex(a)}\right)",
    }
    return forms[e.op]()


def _latex_own(e: Node) -> str:
    name = e.attrs["function"].name.replace("_", r"\_")
    return rf"\mathrm{{{name}}}\left({', '.join(map(latex, _named(e)))}\right)"


def _latex_product(e: Node, wrap: Callable[[Node, int], str]) -> str:
    """A x, and x^T y where a vector stands on the left; x^T A is a row already."""
    left, right = e.args
    is_row = left.op == "matmul" and left.args[0].ndim == 1
    first = wrap(left, _MUL) if left.ndim == 2 or is_row else wrap(left, _ATOM) + r"^{\mathsf T}"
    return rf"{first} \, {wrap(right, _NEG)}"


def _latex_sum(e: Node) -> str:
    a = e.args[0]
    if e.shape == () and a.op == "square":
        return rf"\left\|{latex(a.args[0])}\right\|_{'F' if a.ndim == 2 else '2'}^2"
    if e.shape == () and a.op == "abs":
        return rf"\left\|{latex(a.args[0])}\right\|_1"
    return rf"\sum {latex(a)}" if _BINDING.get(a.op, _ATOM) > _ADD else rf"\sum \left({latex(a)}\right)"


def _latex_order(e: Node) -> str:
    order: Any = e.attrs["ord"]
    if order == "fro" or (order is None and e.args[0].ndim == 2):
        return "F"
    return {1: "1", 2: "2", None: "2"}.get(order, r"\infty")


def _latex_tv(e: Node) -> str:
    name = r"\mathrm{TV}" + ("_2" if e.attrs["p"] == 2 else "")
    weight = rf"^{{{latex(e.args[1])}}}" if len(e.args) == 2 else ""
    return rf"{name}{weight}\left({latex(e.args[0])}\right)"
