"""What can go wrong before a solve, and the exceptions that say so.

Every message names the argument or the smallest guilty subexpression, what was expected, and what came.
"""

from __future__ import annotations


class ADMMError(Exception):
    """Base of every error that this package raises on purpose."""


class ExpressionError(ADMMError, TypeError):
    """An operation that expressions do not have, such as `<`, `!=` or `bool(...)`."""


class ShapeError(ADMMError, ValueError):
    """Shapes that do not fit together, or an index out of range."""


class DataError(ADMMError, ValueError):
    """Numbers that cannot be used: NaN, infinite, complex, object or string data, an unknown mode."""


class ParameterError(DataError):
    """A value given for a `Param` that is missing, unknown, bound twice, ill-shaped or out of range."""


class ModelError(ADMMError, ValueError):
    """A model that is incomplete or that cannot be brought to the form which the solver reads."""


class NonconvexError(ModelError):
    """A model that is not convex, or whose convexity no rule can establish."""


class SolveWarning(UserWarning):
    """An image is handed out though its solve did not come to its tolerance."""


class DerivativeWarning(UserWarning):
    """A derivative is in doubt: the solve did not converge, or did not settle which parts of the solution are held."""


class DerivativeError(ADMMError):
    """A derivative was asked for that is not available."""


class LearningError(ADMMError):
    """A parameter could not be learned; `result` holds the best so far, where there is one."""

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result
