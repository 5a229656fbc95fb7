"""The model: what the user writes, and what it is asked to do."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from admm_jax.builder import MAXIMIZE, MINIMIZE, ModelBuilder
from admm_jax.derivative.diagnose import Diagnosis, diagnose
from admm_jax.derivative.rule import differentiable_solve
from admm_jax.derivative.tell import Origin, called_from
from admm_jax.errors import DataError, ModelError, ShapeError
from admm_jax.expressions.data import checked_array
from admm_jax.expressions.leaves import Param, Var
from admm_jax.options import OPTIONS, OptimizeOptions, SolveOptions, checked, merged, names_options, own_name
from admm_jax.precision import full_precision
from admm_jax.problem import Penalty, Point, Problem
from admm_jax.progress import Progress, display_for
from admm_jax.solution import Solution, by_term, oriented
from admm_jax.solver.drive import drive
from admm_jax.solver.explain import Explanation, explain
from admm_jax.solver.plan import Plan
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import fits, prepare
from admm_jax.solver.state import State
from admm_jax.status import Status

__all__ = ["MAXIMIZE", "MINIMIZE", "Model"]

_numbers = itertools.count(1)
_Outcome = Solution | None  # by another name, for within `Model` the first is a property


class Model(ModelBuilder):
    """minimise f(x) subject to constraints: written with `setObjective` and `addConstr`, solved by ADMM.

    `solve` is a pure function of the parameters; `optimize` solves in NumPy and keeps the outcome: `ObjVal`,
    `StatusString`, `X` of each variable.
    """

    def __init__(self) -> None:
        super().__init__()
        self._options: dict[str, Any] = {name: option.default for name, option in OPTIONS.items()}
        self._solution: _Outcome = None
        self._seconds = math.nan
        self._number = next(_numbers)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._number = next(_numbers)  # a copy is another model, with warnings of its own

    # options

    def setOption(self, name: str, value: Any) -> None:
        """Set an option for all later solves: our names or the ADMM library's, see `admm_jax.options.OPTIONS`.

        A function that `jax.jit` has compiled is no later solve: it keeps the options that it was traced with, as all
        that is no argument of it. Give what is to change as an argument, `jax.jit(lambda tol: model.solve(params,
        tol=tol))`, or make the function anew.

        Args:
            name: Of the option.
            value: Its value; None lets the solver choose, where it can.

        Raises:
            DataError: the name is unknown, or the value is of the wrong kind or out of range.
        """
        own = own_name(name)
        self._options[own] = checked(name, value)

    def getOption(self, name: str) -> Any:
        """The value of an option; None where the solver chooses.

        Raises:
            DataError: the name is unknown.
        """
        return self._options[own_name(name)]

    # solving

    @names_options("solve")
    @full_precision
    def solve(
        self,
        params: Mapping[Any, Any] | None = None,
        *,
        init: Any = None,
        adjoint: Any = None,
        **options: Unpack[SolveOptions],
    ) -> Solution:
        """argmin f(x; params), as a pure function: it may be jitted, vmapped and called from several threads.

        It is differentiable in `params`, forward, reverse and repeatedly: by the optimality conditions, whatever the
        iterations were. `diagnose` tells how far such a derivative can be trusted, and a `DerivativeWarning` where
        not. Where it is differentiated, the solve goes on beyond `tol` until the active set is settled.

        The option `x_update` is a function f(weights, b) -> x of your own for the linear system that an iteration
        solves, where its structure is known better to you than to the solver:

            (sum_i Q_i^T W_i Q_i + sum_j w_j A_j^T A_j) x = b          Q_i, W_i of all squares; A_j of all other terms

        `b` and x are dicts {variable name: array}, `weights` a tuple of one scalar w_j > 0 for each of
        `problem(params).penalties`, in their order; all in the units of the model. f has to be linear in b, symmetric
        and positive definite. It need not be exact, for it preconditions conjugate gradients: an exact one ends them
        after one step, an inexact or a wrong one makes the solve slow and no certificate false. A model with it is
        solved without matrices, whatever its size. Functions are told apart by identity, so that a new lambda in every
        call compiles anew in every call; arrays that f closes over are constants of the compiled program, with
        derivative zero, as f has no part in the solution.

        Args:
            params: A value for each parameter, by name or by `Param`. Data in float32 is solved in float32.
            init: Where to start: an earlier `Solution`, of this model or of one with the same variables, or a mapping
                from variables to arrays. It changes the time a solve takes and not its outcome; its derivative is zero.
            adjoint: Where the linear system of reverse mode starts, a mapping from variables to arrays: the gradient
                of an earlier, similar loss with respect to this very argument (zeros at first).
            **options: `tol`, `feasibility_tol`, `max_iterations`, `polish`, `rho`, `adapt_rho`, `relaxation`,
                `derivative`, `derivative_nan`, `derivative_tol`, `derivative_warning`, `batching`, `x_update`, `range`,
                `stop`; for this call only.

        Returns:
            The solution with its certificate. What is wrong with traced numbers is told by its status.

        Raises:
            ModelError, ParameterError: as `problem`.
            DataError, ShapeError: an option is unknown or out of range, `init` does not fit, or `x_update` is no linear
                function with the shapes of the variables.
        """
        settled = merged(self._options, options)
        if not isinstance(params, Mapping | None):
            raise DataError(f'params must be a mapping such as {{"lam": 0.1}}, got {params!r:.60}')
        written = self.problem(params)
        problem, plan, dtype = prepare(written, settled)

        def penalties(given: Mapping[Any, Any]) -> tuple[Penalty, ...]:
            return prepare(self.problem(given), settled, dtype)[0].penalties

        x, state = self._beginning(init, problem, plan, dtype)
        guess = None if adjoint is None else self._starts(adjoint, "adjoint", dtype, zero=True)
        solution = differentiable_solve(
            problem,
            settings_for(settled, dtype, plan),
            x,
            state,
            guess,
            plan=plan,
            dtype=dtype,
            made_of=None if self._has_traced_constants() else (_by_name(params), penalties),
            origin=Origin(self._number, self._in_short(), *called_from()),
        )
        return oriented(by_term(solution, written), self.ModelSense)

    @names_options("solve")
    @full_precision
    def diagnose(
        self,
        params: Mapping[Any, Any] | None = None,
        *,
        along: Iterable[Any] = (),
        init: Any = None,
        **options: Unpack[SolveOptions],
    ) -> Diagnosis:
        """What the derivative of `solve` at `params` rests on, and how far it can be trusted; pure, like `solve`.

        Args:
            params: A value for each parameter, by name or by `Param`.
            along: Scalar parameters, by name or by `Param`, for which the distance to the nearest kink is wanted: it
                takes about twenty solves for each.
            init: As for `solve`.
            **options: As for `solve`.

        Returns:
            A `Diagnosis`; it prints itself.

        Raises:
            ModelError, ParameterError, DataError, ShapeError: as `solve`; `along` names a parameter that is not scalar.
        """
        settled = merged(self._options, options)
        scalars = {p.name: p for p in self.parameters if p.shape == ()}
        names = [p.name if isinstance(p, Param) else p for p in along]
        for name in names:
            if self.getParam(name).name not in scalars:
                raise DataError(f"along takes scalar parameters, {name!r} has shape {self.getParam(name).shape}")
        given = _by_name(params)
        _, plan, dtype = prepare(self.problem(params), settled)

        def prepared(moved: dict[str, Any]) -> Problem:
            return prepare(self.problem({**given, **moved}), settled, dtype)[0]

        scalar = {name: jnp.asarray(given[name], dtype) for name in names}
        problem, push = jax.linearize(prepared, scalar)
        zero = dict.fromkeys(names, jnp.zeros((), dtype))
        directions = {
            name: (push({**zero, name: jnp.ones((), dtype)}), jnp.where(value == 0, 1, jnp.abs(value)))
            for name, value in scalar.items()
        }
        x, state = self._beginning(init, problem, plan, dtype)
        return diagnose(problem, directions, settings_for(settled, dtype, plan), x, state, plan=plan, dtype=dtype)

    @names_options("optimize")
    def optimize(
        self,
        params: Mapping[Any, Any] | None = None,
        *,
        progress: Progress | str | bool | None = None,
        **options: Unpack[OptimizeOptions],
    ) -> None:
        """Solve in float64 and keep the outcome: NumPy in, NumPy out, JAX's configuration untouched.

        Fills `ObjVal`, `Status`, `StatusString`, `SolverTime`, `Solution` and `X` of each variable. It starts from
        the variables' `start`. Ctrl-C stops it within a second: the best iterate so far is kept, then
        `KeyboardInterrupt` goes on.

        Args:
            params: A value for each parameter, by name or by `Param`.
            progress: A display, "bar", "table" or "none", in the place of what the option `verbosity` asks for.
            **options: `tol`, `feasibility_tol`, `max_iterations`, `polish`, `rho`, `adapt_rho`, `relaxation`,
                `x_update`, `range`, `stop`, `time_limit`, `verbosity`; for this call only.

        Raises:
            ModelError, ParameterError: as `problem`; the model keeps what it held.
            DataError: an option is unknown, out of range, or one of `solve` only.
        """
        began = time.perf_counter()
        settled = merged(self._options, options, "optimize")
        host = {key: _on_host(value) for key, value in params.items()} if isinstance(params, Mapping) else params
        given = jax.tree.map(_on_host, self.problem(host))
        with jax.enable_x64(True):  # of this thread, until the end of the block
            problem, plan, dtype = prepare(given, {**settled, "derivative": "implicit"}, np.float64)
            x, _ = self._beginning(None, problem, plan, dtype)
        outcome = drive(
            problem,
            plan,
            settings_for(settled, dtype, plan),
            x,
            None,
            began=began,
            time_limit=settled["time_limit"],
            progress=display_for(("none", "bar", "table")[settled["verbosity"]] if progress is None else progress),
            dtype=dtype,
            sense=self.ModelSense,
        )
        self._solution = outcome.solution
        self._seconds = outcome.seconds
        for variable in self.variables:
            variable._value = np.asarray(self._solution.values[variable.label])
        if outcome.interrupted:
            raise KeyboardInterrupt

    def explain(self, params: Mapping[Any, Any] | None = None) -> Explanation:
        """How the model will be solved, and why: splits, x-update, convolutions, proxes, memory. Nothing is solved.

        Args:
            params: As for `solve`: kernels and sizes decide.

        Returns:
            A text, which prints itself where it is the last of a cell.
        """
        return explain(self.problem(params), str(self), self._options["x_update"])

    def _beginning(self, init: Any, problem: Problem, plan: Plan, dtype: np.dtype) -> tuple[Point, State | None]:
        """The start: a point, and the state of an earlier solution where it fits."""
        shapes = dict(problem.variables)
        if isinstance(init, Solution):
            found = {name: np.shape(value) for name, value in init.values.items()}
            if found != shapes:
                raise ShapeError(f"init is a solution with other variables: it has {found}, expected {shapes}")
            state = _cast(init.state, dtype) if fits(init.state, problem, plan) else None
            return _cast(init.values, dtype), state
        if init is not None and not isinstance(init, Mapping):
            raise DataError(f"init must be a Solution or a mapping from variables to arrays, got {init!r:.60}")
        return self._starts(init or {}, "init", dtype), None

    def _starts(self, values: Mapping[Any, Any], what: str, dtype: np.dtype, *, zero: bool = False) -> Point:
        """An array for each variable: as given, else (unless `zero`) at its own `start`, else zeros."""
        own = {variable.label: variable for variable in self.variables}
        given: dict[str, Any] = {}
        for key, value in values.items():
            name = key.label if isinstance(key, Var) else key
            if not isinstance(name, str) or name not in own or (isinstance(key, Var) and own[name] is not key):
                raise DataError(f"{what} names {name!r}, which is no variable of this model: {', '.join(own)}")
            if name in given:
                raise DataError(f"{what} gives variable {name!r} twice, by its name and by the Var itself")
            given[name] = value
        return {
            name: _start(variable, given.get(name, np.zeros(variable.shape) if zero else None), dtype)
            for name, variable in own.items()
        }

    def _change(self, *args: Any, **kwargs: Any) -> None:
        super()._change(*args, **kwargs)
        self._solution, self._seconds = None, math.nan  # they were those of another model

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


def _by_name(params: Mapping[Any, Any] | None) -> dict[Any, Any]:
    return {key.name if isinstance(key, Param) else key: value for key, value in (params or {}).items()}


def _on_host(value: Any) -> Any:
    if isinstance(value, Tracer):
        raise ModelError("optimize takes numbers and not traced arrays: inside jit, vmap and grad call solve")
    return np.asarray(value) if isinstance(value, jax.Array) else value


def _start(variable: Var, given: Any, dtype: np.dtype) -> Any:
    """Where a variable starts: as given, else at its own `start`, else at zero."""
    value = variable.start if given is None else given
    if value is None:
        return np.zeros(variable.shape, dtype)
    array = checked_array(value, f"the start of variable {variable.label!r}")
    if array.shape != variable.shape:
        raise ShapeError(
            f"the start of variable {variable.label!r} must have shape {variable.shape}, got {array.shape}"
        )
    return array.astype(dtype)


def _cast(tree: Any, dtype: np.dtype) -> Any:
    """The tree with its floating leaves in `dtype`."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)
