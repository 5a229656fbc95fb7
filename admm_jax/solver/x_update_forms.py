"""The x-updates: by a Cholesky factor, by conjugate gradients, pixel by pixel, and by transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array, lax

from admm_jax.operators.fourier import Transform
from admm_jax.problem import Penalty, Point, Problem
from admm_jax.solver import decouple
from admm_jax.solver.linear import conjugate_gradients, normal
from admm_jax.solver.rewrite import VECTOR, densify, flatten, lift, matrix_of, unflatten
from admm_jax.solver.scaling import Scaling
from admm_jax.solver.state import State, rhos_of, right_hand_side
from admm_jax.solver.vectors import add, dtype_of
from admm_jax.solver.x_update import AsItIs, Workspace

UNROLLED_STEPS = 500  # conjugate gradient steps, at most, of an x-update that is differentiated


def pulled(problem: Problem, workspace: Workspace, state: State) -> Point:
    """sum Q^T W d - c + sum A_j^T (rho (z_j - b_j) - y_j), with the same rho for all splits."""
    rhs = workspace.rhs
    for penalty, z, y in zip(problem.penalties, state.z, state.y, strict=True):
        rhs = add(rhs, penalty.map.adjoint(state.rho * (z - penalty.offset) - y))
    return rhs


def images_of(problem: Problem, x: Point) -> tuple[Array, ...]:
    """A_j x + b_j."""
    return tuple(penalty.map(x) + penalty.offset for penalty in problem.penalties)


@dataclass(frozen=True)
class Cholesky(AsItIs):
    """By a factor of the matrix, for a problem of one vector and matrices."""

    dense = True
    description = "Cholesky factorisation, renewed when rho changes"

    def rewritten(self, problem: Problem, dtype: jnp.dtype) -> Problem:
        return densify(lift(problem), dtype)

    def enter(self, problem: Problem, x: Point) -> Point:
        return {VECTOR: flatten(problem, x)}

    def leave(self, problem: Problem, x: Point) -> Point:
        return unflatten(problem, x[VECTOR])

    def workspace(self, problem: Problem, dtype: jnp.dtype, scaling: Scaling | None = None) -> Workspace:
        rhs = right_hand_side(problem, dtype)
        n = rhs[VECTOR].size
        gram = jnp.zeros((n, n), dtype)
        for quadratic in problem.quadratics:
            q = matrix_of(quadratic.map)
            weight = jnp.broadcast_to(quadratic.weight, quadratic.map.out_shape).astype(dtype)
            gram = gram + q.T @ (weight.ravel()[:, None] * q)
        penalty_gram = jnp.zeros((n, n), dtype)
        for penalty in problem.penalties:
            a = matrix_of(penalty.map)
            penalty_gram = penalty_gram + a.T @ a
        return Workspace(rhs, gram, penalty_gram)

    def factor(self, workspace: Workspace, rho: Array) -> Array:
        """The lower Cholesky factor, of a matrix with a shift that makes a singular model solvable."""
        matrix = workspace.gram + rho * workspace.penalty_gram
        trace = jnp.trace(matrix)
        shift = jnp.where(trace > 0, jnp.finfo(matrix.dtype).eps * 16 * trace, 1)
        return jsl.cholesky(matrix + shift * jnp.eye(matrix.shape[0], dtype=matrix.dtype), lower=True)

    def __call__(
        self, problem: Problem, workspace: Workspace, state: State, *, exact: bool
    ) -> tuple[Point, tuple[Array, ...]]:
        x = {VECTOR: jsl.cho_solve((state.factor, True), pulled(problem, workspace, state)[VECTOR])}
        return x, images_of(problem, x)


@dataclass(frozen=True)
class ConjugateGradients(AsItIs):
    """By at most `steps` conjugate gradient steps from the last x, fewer where they reduce the residual by `tol`."""

    steps: int = 16
    tol: float = 0.15

    @property
    def description(self) -> str:
        return f"up to {self.steps} conjugate gradient steps, warm-started"

    def __call__(
        self, problem: Problem, workspace: Workspace, state: State, *, exact: bool
    ) -> tuple[Point, tuple[Array, ...]]:
        rhs = pulled(problem, workspace, state)
        operator = partial(normal, problem, (state.rho,) * len(problem.penalties))
        fitting = self.preconditioner(problem, workspace, state.rho)
        if exact:
            x = _to_rounding(operator, rhs, fitting)
        else:
            x = conjugate_gradients(operator, rhs, state.x, steps=self.steps, tol=self.tol, precondition=fitting)
        return x, images_of(problem, x)

    def preconditioner(self, problem: Problem, workspace: Workspace, rho: Array) -> Callable[[Point], Point]:
        """r -> about the solution for the right-hand side r, symmetric and positive; the identity unless overridden.

        Args:
            problem: The iterated problem.
            workspace: Of `workspace`.
            rho: A scalar.
        """
        return lambda r: r


@dataclass(frozen=True)
class Pixelwise(AsItIs):
    """x = (w d - c + rho (z - b) - y) / (w + rho), of w/2 ||x - d||^2 + <c, x> + g(x + b), with rho = w.

    Then the prox of g is always taken at d - c/w + b, whatever x: g's own dual field is all that is iterated on.
    """

    description = "a closed form: only the prox is iterated"

    def begin(self, problem: Problem, x: Point) -> Point:
        """The data: from there the prox is taken at them from the first step on."""
        (quadratic,) = problem.quadratics
        ((name, value),) = right_hand_side(problem, dtype_of(x)).items()
        return {name: value / jnp.where(quadratic.weight > 0, quadratic.weight, 1)}

    def ratios(self, iterated: Problem, rho: Array) -> tuple[Array, ...]:
        weight = jnp.asarray(iterated.quadratics[0].weight, rho.dtype).reshape(())
        ratio = jnp.where(weight > 0, weight / rho, 1)
        return (jnp.stack([ratio, ratio]),)

    def __call__(
        self, problem: Problem, workspace: Workspace, state: State, *, exact: bool
    ) -> tuple[Point, tuple[Array, ...]]:
        (rho,), (penalty,), (quadratic,) = rhos_of(problem, state), problem.penalties, problem.quadratics
        ((name, rhs),) = workspace.rhs.items()
        x = {name: (rhs + rho * (state.z[0] - penalty.offset) - state.y[0]) / (quadratic.weight + rho)}
        return x, images_of(problem, x)


def _to_rounding(operator: partial[Point], rhs: Point, precondition: Callable[[Point], Point]) -> Point:
    """The solution of operator(x) = rhs, differentiated as that of a linear system and not step by step."""
    tol = 4 * float(jnp.finfo(dtype_of(rhs)).eps)
    zero = {name: jnp.zeros_like(value) for name, value in rhs.items()}

    def solved(_: object, b: Point) -> Point:
        return conjugate_gradients(operator, b, zero, steps=UNROLLED_STEPS, tol=tol, precondition=precondition)

    return lax.custom_linear_solve(operator, rhs, solved, symmetric=True)


@dataclass(frozen=True)
class FourierDiagonal(AsItIs):
    """In Fourier, for a decoupled problem: every A_j is the identity or has a symbol, on a frame of these periods.

    The transforms go along `axes`, None being all.
    """

    periods: decouple.Periods
    axes: decouple.Axes = None

    decoupled = True

    @property
    def description(self) -> str:
        return f"exact, in transforms of {'×'.join(map(str, self._transform.sizes))} (mask decoupling)"

    @property
    def _transform(self) -> Transform:
        return Transform(self.periods, self.axes)

    def iterated(self, problem: Problem) -> Problem:
        return decouple.decouple(problem, self.periods)

    def modelled(self, problem: Problem) -> Problem:
        return decouple.surrogate(problem)

    def begin(self, problem: Problem, x: Point) -> Point:
        return decouple.enter(decouple.observed_start(problem, x), self.periods)

    def shown(self, problem: Problem, x: Point) -> Point:
        return decouple.leave(problem, x)

    def ratios(self, iterated: Problem, rho: Array) -> tuple[Array, ...]:
        return decouple.ratios(iterated, rho)

    def __call__(
        self, problem: Problem, workspace: Workspace, state: State, *, exact: bool
    ) -> tuple[Point, tuple[Array, ...]]:
        """x^ = (sum conj(A_j^) (rho_j (z_j - b_j) - y_j)^ - c^) / sum rho_j |A_j^|^2; there are no quadratics."""
        ((name, _),) = problem.variables
        dtype, transform = state.x[name].dtype, self._transform
        plain = jnp.zeros(self.periods, dtype) - problem.linear.get(name, jnp.zeros((), dtype))
        transformed, power = jnp.zeros((), jnp.result_type(dtype, jnp.complex64)), jnp.zeros((), dtype)
        rhos = rhos_of(problem, state)
        for penalty, z, y, rho in zip(problem.penalties, state.z, state.y, rhos, strict=True):
            pull = rho * (z - penalty.offset) - y
            symbol = _symbol(penalty)
            if symbol is None:
                plain, power = plain + pull, power + rho
            else:
                transformed = transformed + jnp.conj(symbol) * transform(pull)
                power = power + rho * (symbol.real**2 + symbol.imag**2)
        spectrum = (transform(plain) + transformed) / power
        x = transform.inverse(spectrum).astype(dtype)
        images = []
        for penalty in problem.penalties:
            symbol = _symbol(penalty)
            value = x if symbol is None else transform.inverse(symbol * spectrum).astype(dtype)
            images.append(value + penalty.offset)
        return {name: x}, tuple(images)


def _symbol(penalty: Penalty) -> Array | None:
    """A_j^ of a split of a decoupled problem, None for the identity."""
    if penalty.map.identity_on is not None:
        return None
    return penalty.map.chains[0].ops[0].circular_symbol
