"""What expressions are made of: variables, parameters, constants, and nodes whose operations are in `operations`."""

from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constant, Constr, Expr
from admm_jax.expressions.scene import Scene

__all__ = ["Constant", "Constr", "Expr", "Param", "Scene", "Var"]
