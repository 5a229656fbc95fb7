"""The named leaves of a model: variables and parameters."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from admm_jax.errors import ADMMError, DataError, ShapeError
from admm_jax.expressions.data import checked_array
from admm_jax.expressions.node import Expr, Shape

_SIGNS = ("nonneg", "nonpos")


def _parse_shape(dims: tuple, what: str) -> Shape:
    sizes = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    array: Any = next((n for n in sizes if getattr(n, "ndim", 0) > 0), None)
    if array is not None:
        call = "Param" if what.startswith("Param") else "Var"
        raise ShapeError(
            f"the dimensions of {what} must be positive integers, got an array of shape {array.shape}: write"
            f" {call}(name, image.shape) for one of the shape of an image"
        )
    for n in sizes:
        if not isinstance(n, int | np.integer) or isinstance(n, bool) or n <= 0:
            raise ShapeError(f"the dimensions of {what} must be positive integers, got {sizes!r}")
    return tuple(int(n) for n in sizes)


def _parse_sign(attributes: dict[str, Any], what: str) -> int:
    unknown = [key for key in attributes if key not in _SIGNS]
    if unknown:
        raise DataError(f"unknown attribute {unknown[0]!r} of {what}: expected nonneg=True or nonpos=True")
    if attributes.get("nonneg") and attributes.get("nonpos"):
        raise DataError(f"{what} cannot be nonneg and nonpos at once: use the number 0")
    return 1 if attributes.get("nonneg") else -1 if attributes.get("nonpos") else 0


class Var(Expr):
    """A variable to be found.

    `Var()`, `Var(3)`, `Var("U", m, n)` and `Var("U", (m, n))` are understood; without a name the model gives one.

    It may stand in several models, as to compare two penalties, or where a cell of a notebook is run again. Each model
    keeps its own solution, `model.Solution[U]`; `U.X` is that of the last `optimize` of any of them, and `U.start` is
    where `optimize` starts in all of them.

    Args:
        *args: An optional name, then the dimensions, one by one or as a tuple; none is a scalar.
        **attributes: `nonneg=True` or `nonpos=True`, elementwise.

    Raises:
        ShapeError: a dimension is no positive integer.
        DataError: an unknown attribute.
    """

    __slots__ = ("_label", "_models", "_start", "_value", "name", "sign")

    def __init__(self, *args: Any, **attributes: Any) -> None:
        name = attributes.pop("name", None)
        if args and (isinstance(args[0], str) or args[0] is None):
            name, args = args[0], args[1:]
        if name is not None and (not isinstance(name, str) or not name):
            raise DataError(f"the name of a variable must be a non-empty string, got {name!r}")
        what = f"variable {name!r}" if name else "a variable"
        super().__init__("variable", (), _parse_shape(args, what))
        self.name: str | None = name
        self.sign = _parse_sign(attributes, what)
        self._label = "x"  # an unnamed variable is labelled by its model
        self._start: np.ndarray | None = None
        self._value: np.ndarray | None = None
        self._models: weakref.WeakSet[Any] = weakref.WeakSet()  # those that it stands in, which name it if it has none
        self._variables = (self,)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """The slots. A model that is pickled or copied with its variables is told to them again, another is not."""
        state: Any = super().__getstate__()
        return None, {name: value for name, value in state[1].items() if name != "_models"}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self._models = weakref.WeakSet()

    @property
    def label(self) -> str:
        """The name, or the one that the model gave."""
        return self.name or self._label

    @property
    def remark(self) -> str:
        """What a model prints beside the size."""
        return ""

    @property
    def start(self) -> np.ndarray | None:
        """Where `optimize` starts; None lets the solver choose."""
        return self._start

    @start.setter
    def start(self, value: Any) -> None:
        if value is None:
            self._start = None
            return
        array = np.asarray(checked_array(value, f"the start of {self}"))
        if array.shape != self.shape:
            raise ShapeError(f"the start of {self} must have shape {self.shape}, got {array.shape}")
        self._start = array

    @property
    def X(self) -> np.ndarray:  # noqa: N802
        """The solution found by the last `optimize` of a model that it stands in."""
        if self._value is None:
            raise ADMMError(f"{self} has no value yet: call model.optimize() first")
        return self._value


class Param(Expr):
    """A constant whose numbers come at solve time: `optimize({"lam": 0.1})`.

    Args:
        name: Its name, by which values are bound.
        *shape: The dimensions, one by one or as a tuple; none is a scalar.
        **attributes: `nonneg=True` or `nonpos=True`, elementwise; checked when a value is bound.
    """

    __slots__ = ("name", "sign")

    def __init__(self, name: str, *shape: Any, **attributes: Any) -> None:
        if not isinstance(name, str) or not name:
            raise DataError(f'the name of a Param must be a non-empty string, as in Param("lam"), got {name!r}')
        super().__init__("parameter", (), _parse_shape(shape, f"Param {name!r}"))
        self.name = name
        self.sign = _parse_sign(attributes, f"Param {name!r}")
        self._params = (self,)

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def __lt__(self, other: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether the name comes first: JAX sorts the keys of a dict, as of `{lam: 0.1, mu: 2.0}`."""
        return self.name < other.name if isinstance(other, Param) else super().__lt__(other)
