"""The value of a `Problem` at a point, in NumPy's words only where the problem's own functions are not trusted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.problem import Problem


def value(problem: Problem, point: dict[str, np.ndarray]) -> tuple[float, float]:
    """(objective, largest violation of a constraint) at the point, in float64."""
    with jax.enable_x64(True):
        x = {name: jnp.asarray(array, jnp.float64) for name, array in point.items()}
        total = jnp.asarray(problem.constant)
        for quadratic in problem.quadratics:
            residual = quadratic.map(x) - quadratic.data
            total = total + 0.5 * jnp.sum(quadratic.weight * residual * residual)
        violation = 0.0
        for penalty in problem.penalties:
            v = penalty.map(x) + penalty.offset
            assert v.shape == penalty.map.out_shape
            total = total + penalty.function(v)
            if penalty.function.is_constraint:
                violation = max(violation, float(jnp.max(jnp.abs(penalty.function.violation(v)))))
        for name, cost in problem.linear.items():
            assert cost.shape == x[name].shape
            total = total + jnp.vdot(cost, x[name])
        return float(total), violation
