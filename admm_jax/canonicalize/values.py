"""The numbers of one canonicalisation: constants and bound parameters, in NumPy float64 or in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.errors import NonconvexError, ParameterError
from admm_jax.expressions import evaluate
from admm_jax.expressions.data import Sparse, is_traced
from admm_jax.expressions.leaves import Param
from admm_jax.expressions.node import Constant, Expr


class Values:
    """Values of the constant subexpressions, each computed once.

    Where every number is known, all arithmetic is NumPy's, in float64: it needs no compilation. Where some are traced,
    it is `jax.numpy`'s, in the common dtype of the JAX arrays; what does not depend on them stays NumPy's, for a
    kernel that is known can be factorised. With `params=None` parameters get placeholder values, for a check of the
    structure alone.

    Args:
        roots: The expressions whose constants and parameters these are.
        params: The value of each parameter; None puts 1, or -1 where it must be <= 0, in its place.
        kept: Facts kept between calls on the same expressions; only used where every number is known.

    Attributes:
        xp: numpy or jax.numpy.
        dtype: In which the arithmetic is done.
        result: The dtype of the problem: that of the JAX arrays, at least float32, or float64 if there are none.
    """

    def __init__(self, roots: list[Expr], params: Mapping[Param, Any] | None, kept: dict | None = None) -> None:
        self.placeholders = params is None
        used: list[Any] = [p for root in roots for p in root.parameters]
        given = {p: np.full(p.shape, -1.0 if p.sign < 0 else 1.0) for p in used} if params is None else params
        arrays = [given[p] for p in used] + [c.value for c in constants_of(roots)]
        owned = [a for a in arrays if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jnp.floating)]
        self.xp: Any = jnp if any(is_traced(a) for a in arrays) else np
        # of the arrays themselves, for a traced Python number adapts to the rest; half precision is only for storage
        result = jnp.result_type(*owned) if owned else np.dtype(np.float64)
        self.result = np.dtype(np.float32) if result.itemsize < 4 else result
        self.dtype = self.result if self.xp is jnp else np.dtype(np.float64)
        # with the node itself, whose id then stays its own
        self.memo: dict[int, tuple[Expr, Any]] = {id(p): (p, self.array(value)) for p, value in given.items()}
        # facts that hold for as long as the expressions do, such as the factor of a constant matrix
        self.kept: dict = kept if kept is not None and self.xp is np else {}

    def array(self, value: Any) -> Any:
        """`value` as an array of this canonicalisation's kind and dtype."""
        return value.astype(self.dtype) if is_traced(value) else np.asarray(value, self.dtype)

    def finish(self, tree: Any) -> Any:
        """The tree with its floating leaves in the dtype of the problem."""
        if self.result == self.dtype == np.float64:
            return tree
        return jax.tree.map(lambda leaf: leaf.astype(self.result) if leaf.dtype.kind == "f" else leaf, tree)

    def __call__(self, e: Expr) -> Any:
        """The value of a constant expression; a `Sparse` matrix stays one."""
        key = id(e)
        if key not in self.memo:
            if isinstance(e, Constant):
                value = e.value if isinstance(e.value, Sparse) else self.array(e.value)
            else:
                value = self.array(evaluate.compute(e, [self(arg) for arg in e.args], self.xp))
            self.memo[key] = (e, value)
        return self.memo[key][1]

    def dense(self, e: Expr) -> Any:
        """The value of a constant expression as a dense array."""
        value = self(e)
        return self.array(value.dense()) if isinstance(value, Sparse) else value

    def constants(self) -> frozenset[int]:
        """The ids of the values so far: that of a constant or a parameter is one object, however often it is used."""
        return frozenset(id(value) for _, value in self.memo.values())

    def is_known(self, value: Any, params: tuple[Expr, ...]) -> bool:
        """Whether `value`, computed from `params`, is a number that may be checked."""
        return not is_traced(value) and not (self.placeholders and params)

    def refuse(self, message: str, params: tuple[Expr, ...]) -> NonconvexError | ParameterError:
        """The error for numbers that make a model non-convex: the parameters' fault if there are any."""
        if not params:
            return NonconvexError(message)
        values = ", ".join(f"{p} = {_short(self(p))}" for p in dict.fromkeys(params))
        return ParameterError(f"{message}; given {values}")


def constants_of(roots: list[Expr]) -> list[Constant]:
    """The constants in these expressions."""
    out: list[Constant] = []
    for root in roots:
        if "constants" not in root._facts:
            found: dict[int, Constant] = {}
            stack = [root]
            while stack:
                node = stack.pop()
                if isinstance(node, Constant):
                    found[id(node)] = node
                stack.extend(node.args)
            root._facts["constants"] = tuple(found.values())
        out.extend(root._facts["constants"])
    return out


def _short(value: Any) -> str:
    array = np.asarray(value)
    return f"{float(array):.6g}" if array.ndim == 0 else f"an array with minimum {array.min():.6g}"
