"""What a model is made of, and how it is written: the half of `Model` that knows nothing of solvers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from admm_jax.builder.names import distinct, label
from admm_jax.builder.values import bound_only, checked, unknown
from admm_jax.canonicalize import canonicalize
from admm_jax.canonicalize.values import constants_of
from admm_jax.errors import ModelError, ParameterError
from admm_jax.expressions.data import is_traced
from admm_jax.expressions.leaves import Param, Var
from admm_jax.expressions.node import Constr, Expr, as_expr
from admm_jax.expressions.printing import latex, latex_shape
from admm_jax.problem import Problem

MINIMIZE = 1
MAXIMIZE = -1
SHORT = 72  # letters of an objective in a warning
_FOUND = ("_unbounded", "_problem", "_kept", "_short")  # what a copy finds anew


class ModelBuilder:
    """minimise (or maximise) an objective subject to constraints."""

    def __init__(self) -> None:
        self._objective: Expr | None = None
        self._constraints: tuple[Constr, ...] = ()
        self._sense = MINIMIZE
        self._variables: tuple[Var, ...] = ()
        self._parameters: tuple[Param, ...] = ()
        self._unbounded: frozenset[int] = frozenset()  # ids of the parameters that may be infinite
        self._problem: Problem | None = None  # of a model without parameters
        self._kept: dict = {}
        self._short: str | None = None  # the objective in a few words, once it has been asked for

    # the model as it is written

    def setObjective(self, expr: Any, modelsense: int = 0) -> None:
        """Set the function to be minimised or maximised.

        Args:
            expr: A convex expression to minimise, or a concave one to maximise, with one entry; None clears it.
            modelsense: `MINIMIZE`, `MAXIMIZE`, or 0 to keep the sense, which is at first to minimise.

        Raises:
            ModelError: the objective is no scalar, or two variables or Params have one name.
            NonconvexError: the objective is not convex; the message names the smallest guilty subexpression.
        """
        if modelsense not in (0, MINIMIZE, MAXIMIZE):
            raise ModelError(f"modelsense must be MINIMIZE (1), MAXIMIZE (-1) or 0, got {modelsense!r}")
        objective = None if expr is None else as_expr(expr, "the objective")
        if objective is not None and objective.size != 1:
            raise ModelError(
                f"the objective must be a scalar, got shape {objective.shape} from `{objective}`: write sum(...) of it"
            )
        self._change(objective, self._constraints, modelsense or self._sense, check_objective=True)

    def addConstr(self, lexpr: Any, sense: str | None = None, rexpr: Any = None) -> Constr:
        """Add a constraint, `addConstr(x >= 0)` or `addConstr(x, ">", 0)`.

        Args:
            lexpr: A constraint, or its left side.
            sense: "<", ">" or "=" (also "<=", ">=", "=="), with a left side.
            rexpr: The right side.

        Returns:
            The constraint, as `removeConstr` takes it.

        Raises:
            ModelError: this is no constraint, it has no variable, or two variables or Params have one name.
            NonconvexError: it is not convex.
        """
        if isinstance(lexpr, Constr):
            constraint = lexpr
        elif sense is not None and rexpr is not None:
            constraint = Constr(lexpr, sense, rexpr)
        else:
            shown = f"`{lexpr}`" if isinstance(lexpr, Expr) else repr(lexpr)
            raise ModelError(f"addConstr takes a comparison of expressions by ==, <= or >=, got {shown}")
        self._change(self._objective, (*self._constraints, constraint), self._sense, check_constraint=constraint)
        return constraint

    def removeConstr(self, constrs: Constr | Iterable[Constr]) -> None:
        """Remove constraints that `addConstr` returned."""
        gone = [constrs] if isinstance(constrs, Constr) else list(constrs)
        for constraint in gone:
            if not any(constraint is own for own in self._constraints):
                raise ModelError(f"the constraint `{constraint}` is not in this model")
        kept = tuple(own for own in self._constraints if not any(own is constraint for constraint in gone))
        self._change(self._objective, kept, self._sense)

    @property
    def variables(self) -> tuple[Var, ...]:
        """The variables, in order of appearance."""
        return self._variables

    @property
    def parameters(self) -> tuple[Param, ...]:
        """The parameters, in order of appearance."""
        return self._parameters

    @property
    def constraints(self) -> tuple[Constr, ...]:
        """The constraints, in the order in which they were added."""
        return self._constraints

    @property
    def objective(self) -> Expr | None:
        """The objective, None before `setObjective`."""
        return self._objective

    @property
    def ModelSense(self) -> int:
        """`MINIMIZE` (1) or `MAXIMIZE` (-1)."""
        return self._sense

    @property
    def NumVars(self) -> int:
        """Number of variables."""
        return len(self._variables)

    @property
    def NumConstrs(self) -> int:
        """Number of constraints, without the bounds that belong to variables."""
        return len(self._constraints)

    def getObjective(self) -> Expr:
        """The objective.

        Raises:
            ModelError: there is none.
        """
        if self._objective is None:
            raise ModelError("the model has no objective: call setObjective first")
        return self._objective

    def getVarByName(self, name: str) -> Var | None:
        """The variable of that name, None if there is none."""
        return next((v for v in self._variables if v.label == name), None)

    def getParam(self, name: str) -> Param:
        """The parameter of that name.

        Raises:
            ParameterError: there is none.
        """
        found = next((p for p in self._parameters if p.name == name), None)
        if found is None:
            raise unknown(name, self._parameters)
        return found

    # the model in numbers

    def problem(self, params: Mapping[Any, Any] | None = None) -> Problem:
        """The canonical problem with the parameters bound; pure, traceable, and cheap to repeat.

        Args:
            params: A value for each parameter, by name or by `Param`; NumPy, JAX (traced too), lists or numbers.

        Returns:
            The problem, always to be minimised: that of minus the objective where this model maximises. Its dtype is
            that of the JAX arrays, or float64 if there are none; its leaves are NumPy's unless something is traced.

        Raises:
            ModelError: no objective, or no variable.
            ParameterError: a parameter is missing, unknown, bound twice, ill-shaped, not finite, not real, or makes
                the model non-convex.
        """
        objective = self.getObjective()
        if not self._variables:
            raise ModelError(f"the model has no variable: its objective is the constant `{objective}`")
        values = self.bind(params)
        if self._problem is not None:
            return self._problem
        problem = self._canonicalize(objective, self._constraints, self._sense, values)
        if not self._parameters and not any(is_traced(leaf) for leaf in jax.tree.leaves(problem)):
            self._problem = problem
        return problem

    def bind(self, params: Mapping[Any, Any] | None) -> dict[Param, Any]:
        """The checked value of each parameter of the model."""
        if params is None:
            params = {}
        if not isinstance(params, Mapping):
            raise ParameterError(f'parameters must be given as a mapping such as {{"lam": 0.1}}, got {params!r:.60}')
        own = {p.name: p for p in self._parameters}
        bound: dict[Param, Any] = {}
        for key, value in params.items():
            name = key.name if isinstance(key, Param) else key
            param = own.get(name) if isinstance(name, str) else None
            if param is None or (isinstance(key, Param) and key is not param):
                raise unknown(name, self._parameters)
            if param in bound:
                raise ParameterError(f"Param {name!r} is bound twice, by its name and by the Param itself")
            bound[param] = checked(param, value, infinite=id(param) in self._unbounded)
        missing = [p.name for p in self._parameters if p not in bound]
        if missing:
            raise ParameterError(
                f"missing value for Param {', '.join(map(repr, missing))}: pass {{{missing[0]!r}: ...}}"
            )
        return bound

    def _canonicalize(
        self, objective: Expr | None, constraints: tuple[Constr, ...], sense: int, values: Any
    ) -> Problem:
        names = {v: v.label for v in self._variables}
        return canonicalize(objective, constraints, names, values, maximised=sense == MAXIMIZE, kept=self._kept)

    def _has_traced_constants(self) -> bool:
        """Whether numbers of the model itself, not of parameters, are traced."""
        return any(is_traced(constant.value) for constant in constants_of(_roots(self._objective, self._constraints)))

    # changes: all checks first, so that a refused change leaves the model as it was

    def _change(
        self,
        objective: Expr | None,
        constraints: tuple[Constr, ...],
        sense: int,
        *,
        check_objective: bool = False,
        check_constraint: Constr | None = None,
    ) -> None:
        before = dict(self.__dict__)
        roots = _roots(objective, constraints)
        variables = distinct([v for root in roots for v in root.variables], "variables")
        parameters = distinct([p for root in roots for p in root.parameters], "Params")
        clash = {v.name for v in variables} & {p.name for p in parameters}
        if clash:
            raise ModelError(f"a variable and a Param share the name {clash.pop()!r}")
        label(variables, self)
        self._objective, self._constraints, self._sense = objective, constraints, sense
        self._variables, self._parameters = variables, parameters
        self._problem, self._kept, self._short = None, {}, None
        self._unbounded = bound_only(roots, constraints)
        try:
            if check_objective and objective is not None:
                self._canonicalize(objective, (), sense, None)
            if check_constraint is not None:
                self._canonicalize(None, (check_constraint,), sense, None)
        except Exception:
            self.__dict__.update(before)
            label(self._variables, self)
            raise
        for v in before["_variables"]:
            v._models.discard(self)
        self._own()

    def _own(self) -> None:
        for v in self._variables:
            v._models.add(self)

    # pickles and copies: what the user wrote, without what is found anew

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _FOUND}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _problem=None, _kept={}, _short=None)
        self._unbounded = bound_only(_roots(self._objective, self._constraints), self._constraints)
        self._own()

    # the model as mathematics

    def __str__(self) -> str:
        verb = "minimise" if self._sense == MINIMIZE else "maximise"
        lines = [f"{verb:<12}{self._objective if self._objective is not None else '(no objective yet)'}"]
        conditions = [str(c) for c in self._constraints]
        conditions += [f"{v.label} {'>=' if v.sign > 0 else '<='} 0" for v in self._variables if v.sign]
        lines += [f"{'subject to' if i == 0 else '':<12}{line}" for i, line in enumerate(conditions)]
        variables = [f"{v.label} ({_size(v)}{v.remark})" for v in self._variables]
        parameters = [f"{p.label} ({_size(p)})" for p in self._parameters]
        for title, leaves in (("variables", variables), ("parameters", parameters)):
            if leaves:
                lines.append(f"{title:<12}" + ", ".join(leaves))
        return "\n".join(lines)

    def _in_short(self) -> str:
        """The objective in a few words, for warnings."""
        if self._short is None:
            verb, text = "minimise" if self._sense == MINIMIZE else "maximise", str(self._objective)
            self._short = f"{verb} {text if len(text) <= SHORT else text[: SHORT - 3] + '...'}"
        return self._short

    def __repr__(self) -> str:
        counts = {"variable": self.NumVars, "constraint": self.NumConstrs, "parameter": len(self._parameters)}
        return f"<Model: {', '.join(f'{n} {what}' + 's' * (n != 1) for what, n in counts.items())}>"

    def _repr_latex_(self) -> str:
        verb = "minimise" if self._sense == MINIMIZE else "maximise"
        domain = r",\; ".join(
            rf"{latex(v)} \in \mathbb{{R}}{latex_shape(v.shape, v.sign)}" for v in self._variables
        )  # the sign of a variable is part of its domain
        head = rf"\underset{{{domain}}}{{\text{{{verb}}}}} & \quad "
        lines = [head + (latex(self._objective) if self._objective is not None else r"\text{(no objective yet)}")]
        symbols = {"<=": r"\le", ">=": r"\ge", "==": "="}
        for i, c in enumerate(self._constraints):
            start = r"\text{subject to}" if i == 0 else ""
            lines.append(rf"{start} & \quad {latex(c.lhs)} {symbols[c.sense]} {latex(c.rhs)}")
        return "$$\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}$$"


def _roots(objective: Expr | None, constraints: tuple[Constr, ...]) -> list[Expr]:
    """The objective and the sides of the constraints."""
    sides = [side for c in constraints for side in (c.lhs, c.rhs)]
    return sides if objective is None else [objective, *sides]


def _size(leaf: Expr) -> str:
    return "×".join(map(str, leaf.shape)) or "scalar"
