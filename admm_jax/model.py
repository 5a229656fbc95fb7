"""The model: what the user writes, and what it is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from admm_jax.builder import MAXIMIZE, MINIMIZE, ModelBuilder
from admm_jax.errors import DataError, ModelError
from admm_jax.expressions.data import checked_array
from admm_jax.options import OPTIONS, checked, resolve
from admm_jax.problem import Point, Problem
from admm_jax.progress import BarProgress, NoProgress, Progress, TableProgress
from admm_jax.pytree import replace
from admm_jax.solution import Solution
from admm_jax.solver.drive import drive
from admm_jax.solver.explain import explain
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare
from admm_jax.solver.solve import solve as solve_problem
from admm_jax.status import Status

__all__ = ["MAXIMIZE", "MINIMIZE", "Model"]


class Model(ModelBuilder):
    """minimise f(x) subject to constraints: written with `setObjective` and `addConstr`, solved by ADMM.

    `solve` is a pure function of the parameters; `optimize` solves in NumPy and keeps the outcome: `ObjVal`,
    `StatusString`, `X` of each variable.
    """

    def __init__(self) -> None:
        super().__init__()
        self._options: dict[str, Any] = {name: option.default for name, option in OPTIONS.items()}
        self._solution: Solution | None = None
        self._seconds = math.nan

    # options

    def setOption(self, name: str, value: Any) -> None:
        """Set an option for all later solves: our names or the ADMM library's, see `admm_jax.options.OPTIONS`.

        Raises:
            DataError: the name is unknown, or the value is of the wrong kind or out of range.
        """
        own = resolve(name)
        self._options[own] = checked(own, value)

    def getOption(self, name: str) -> Any:
        """The value of an option; None where the solver chooses.

        Raises:
            DataError: the name is unknown.
        """
        return self._options[resolve(name)]

    def _settled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The model's options with those of this call in their place; traced values pass unchecked."""
        out = dict(self._options)
        for name, value in options.items():
            own = resolve(name)
            out[own] = value if isinstance(value, jax.core.Tracer) else checked(own, value)
        return out

    # solving

    def solve(self, params: Mapping[Any, Any] | None = None, *, init: Any = None, **options: Any) -> Solution:
        """argmin f(x; params), as a pure function: it may be jitted, vmapped and called from several threads.

        Args:
            params: A value for each parameter, by name or by `Param`. Data in float32 is solved in float32.
            init: Where to start: an earlier `Solution` of this model, or a mapping from variables to arrays. It
                changes the time a solve takes and not its outcome.
            **options: `tol`, `feasibility_tol`, `max_iterations`, `polish`, `rho`, `adapt_rho`, `relaxation`; for
                this call only.

        Returns:
            The solution with its certificate. What is wrong with traced numbers is told by its status.

        Raises:
            ModelError, ParameterError: as `problem`.
            DataError: an option is unknown or out of range, or `init` does not fit.
        """
        settled = self._settled(options)
        if not isinstance(params, Mapping | None):
            raise DataError(f'params must be a mapping such as {{"lam": 0.1}}, got {params!r:.60}')
        problem, plan, dtype = prepare(self.problem(params), settled["relaxation"])
        x, state = self._beginning(init, problem, dtype)
        solution = solve_problem(problem, settings_for(settled, dtype), x, state, plan=plan, dtype=dtype)
        return self._in_own_sense(solution)

    def optimize(self, params: Mapping[Any, Any] | None = None, *, progress: Progress | None = None) -> None:
        """Solve in float64 and keep the outcome: NumPy in, NumPy out, JAX's configuration untouched.

        Fills `ObjVal`, `Status`, `StatusString`, `SolverTime`, `Solution` and `X` of each variable. It starts from
        the variables' `start`. Ctrl-C stops it within a second: the best iterate so far is kept, then
        `KeyboardInterrupt` goes on.

        Args:
            params: A value for each parameter, by name or by `Param`.
            progress: A display, in the place of the one that the option `verbosity` asks for.

        Raises:
            ModelError, ParameterError: as `problem`; the model keeps what it held.
        """
        settled = self._options
        host = {key: _on_host(value) for key, value in params.items()} if isinstance(params, Mapping) else params
        given = jax.tree.map(_on_host, self.problem(host))
        with jax.enable_x64(True):  # of this thread, until the end of the block
            problem, plan, dtype = prepare(given, settled["relaxation"], np.float64)
            x, _ = self._beginning(None, problem, dtype)
        outcome = drive(
            problem,
            plan,
            settings_for(settled, dtype),
            x,
            None,
            time_limit=settled["time_limit"],
            progress=progress or _display(settled["verbosity"]),
            dtype=dtype,
        )
        self._solution = self._in_own_sense(outcome.solution)
        self._seconds = outcome.seconds
        for variable in self.variables:
            variable._value = self._solution.values[variable.label]
        if outcome.interrupted:
            raise KeyboardInterrupt

    def explain(self, params: Mapping[Any, Any] | None = None) -> str:
        """How the model will be solved, and why: splits, x-update, convolutions, proxes, memory. Nothing is solved.

        Args:
            params: As for `solve`: kernels and sizes decide.

        Returns:
            A text to print.
        """
        return explain(self.problem(params), str(self))

    def _beginning(self, init: Any, problem: Problem, dtype: np.dtype) -> tuple[Point, Any]:
        """The start: a point, and the state of an earlier solution if there is one."""
        shapes = dict(problem.variables)
        if isinstance(init, Solution):
            found = {name: np.shape(value) for name, value in init.values.items()}
            if found != shapes:
                raise DataError(f"init is a solution of another model: it has {found}, expected {shapes}")
            cast = {name: value.astype(dtype) for name, value in init.values.items()}
            return cast, _cast_state(init.state, dtype)
        if init is not None and not isinstance(init, Mapping):
            raise DataError(f"init must be a Solution or a mapping from variables to arrays, got {init!r:.60}")
        given = {key if isinstance(key, str) else getattr(key, "label", key): v for key, v in (init or {}).items()}
        unknown = [name for name in given if name not in shapes]
        if unknown:
            raise DataError(f"init names {unknown[0]!r}, which is no variable of this model: {', '.join(shapes)}")
        point = {}
        for variable in self.variables:
            name = variable.label
            value = given.get(name, variable.start)
            if value is None:
                point[name] = np.zeros(shapes[name], dtype)
                continue
            array = checked_array(value, f"the start of variable {name!r}")
            if array.shape != shapes[name]:
                raise DataError(f"the start of variable {name!r} must have shape {shapes[name]}, got {array.shape}")
            point[name] = array.astype(dtype)
        return point, None

    def _in_own_sense(self, solution: Solution) -> Solution:
        if self.ModelSense == MINIMIZE:
            return solution
        history = solution.history._replace(objective=-solution.history.objective)
        return replace(solution, objective=-solution.objective, history=history)

    # what `optimize` left

    @property
    def Solution(self) -> Solution:
        """The last `Solution`, in NumPy.

        Raises:
            ModelError: `optimize` has not run.
        """
        if self._solution is None:
            raise ModelError("the model has not been solved: call optimize first")
        return self._solution

    @property
    def ObjVal(self) -> float:
        """The objective at the solution."""
        return float(self.Solution.objective)

    @property
    def Status(self) -> int:
        """How the last `optimize` ended, a number of `Status`; 0 before it."""
        return Status.SOLVE_UNKNOWN.value if self._solution is None else int(self._solution.status)

    @property
    def StatusString(self) -> str:
        """`Status` by name, for instance SOLVE_OPT_SUCCESS."""
        return Status(self.Status).name

    @property
    def SolverTime(self) -> float:
        """Seconds that the last `optimize` took, compilation included."""
        return self._seconds

    @property
    def NumIters(self) -> int:
        """ADMM iterations of the last `optimize`."""
        return int(self.Solution.iterations)

    @property
    def PrimalGap(self) -> float:
        """Relative violation of the constraints."""
        return float(self.Solution.violation)

    @property
    def DualGap(self) -> float:
        """The certified relative gap."""
        return float(self.Solution.gap)


def _on_host(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, jax.Array) else value


def _cast_state(state: Any, dtype: np.dtype) -> Any:
    return jax.tree.map(lambda v: v.astype(dtype) if np.issubdtype(v.dtype, np.floating) else v, state)


def _display(verbosity: int) -> Progress:
    return (NoProgress, BarProgress, TableProgress)[verbosity]()

