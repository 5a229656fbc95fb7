"""Convex inverse problems, written as in the paper, solved by ADMM in JAX with a certified duality gap.

    >>> import numpy as np
    >>> import admm_jax as admm
    >>> kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    >>> B = admm.conv2d(np.eye(10), kernel, "same")  # the data, here without noise
    >>> U, lam = admm.Var("U", B.shape), admm.Param("lam")
    >>> model = admm.Model()
    >>> model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))
    >>> model.optimize({"lam": 0.01})
    >>> model.StatusString, U.X.shape
    ('SOLVE_OPT_SUCCESS', (10, 10))
    >>> solution = model.solve({"lam": 0.01})  # a pure function: for jax.jit, jax.vmap, jax.grad

`Var`, `Param` and `Scene` are what a model is written in, with the functions below; `Model` solves it, and `Solution`
says how good the answer is. Beside it there are

    admm_jax.restore    deblur, denoise and inpaint photographs in one call
    admm_jax.learn      choose and learn lam, maps of lam, kernels
    admm_jax.plot       draw images and convergence
    admm_jax.progress   displays of a running solve
    admm_jax.options    what `solve` and `optimize` can be told
    admm_jax.testing    whether functions and operators of one's own are right
"""

import importlib
from math import inf
from types import ModuleType

from admm_jax import operations
from admm_jax.errors import (
    ADMMError,
    DataError,
    DerivativeWarning,
    ExpressionError,
    ModelError,
    NonconvexError,
    ParameterError,
    ShapeError,
    SolveWarning,
)
from admm_jax.expressions import Constant, Constr, Expr, Param, Scene, Var
from admm_jax.model import MAXIMIZE, MINIMIZE, Model
from admm_jax.operations import *  # noqa: F403 (a function is exported once, by the folder that it is in)
from admm_jax.solution import Solution
from admm_jax.status import Status

__version__ = "0.1.0"

# in the order of the pages of the reference
__all__ = ["Model", "Param", "Scene", "Solution", "Var"]
__all__ += operations.__all__
__all__ += ["MAXIMIZE", "MINIMIZE", "Constant", "Constr", "Expr", "Status", "inf"]
__all__ += [
    "ADMMError",
    "DataError",
    "DerivativeWarning",
    "ExpressionError",
    "ModelError",
    "NonconvexError",
    "ParameterError",
    "ShapeError",
    "SolveWarning",
]

_ON_DEMAND = ("learn", "plot", "progress", "restore", "testing")  # imported when they are first used


def __getattr__(name: str) -> ModuleType:
    if name in _ON_DEMAND:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
