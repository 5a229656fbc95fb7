"""One iteration against the memory that it must move: `python tests/benchmarks/roofline.py`.

For every station of a step: how many arrays of the image's size it must read and write if each is touched once, what
that takes at the bandwidth of this machine, and what the station takes. The bandwidth is that of a compiled
a <- s a + b in the same run: of memory, over arrays that fit in no cache, and over a working set as large as the step's
own, which for a small image is that of the caches. The state is that of the photograph of `figures.py` after 20
iterations. Times are the least of several runs, as the floor is the best that the machine can do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import figures
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from peers.report import duration, table

from admm_jax.options import OPTIONS
from admm_jax.pytree import replace
from admm_jax.solver.linear import conjugate_gradients, normal
from admm_jax.solver.settings import settings_for
from admm_jax.solver.solve import prepare, resume, start
from admm_jax.solver.step import step
from admm_jax.solver.vectors import add

ITERATIONS = 20
MEMORY = 2**26  # numbers, a quarter of a gigabyte
WORKING_SET = 14  # arrays: x, z, y, the field twice, the data, the right-hand side, and what CG and the prox need
# arrays read and written once, for a separable blur
BLUR = 2  # an image in, an image out
CG_STEP = 2 + 1 + 2 + 6 + 3  # H d = K^T K d + rho d, in two blurs; d . H d; x and r; r . r and the next d
DUAL_STEP = 7  # v, the field and that before it in, the next field out
REST = 9  # the right-hand side; v from x, z, y; z = v - t D^T p; y


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The least of several runs."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - clock)
    return min(times)


def again(body: Callable[[Any], Any], value: Any, repeats: int, times: int) -> float:
    """Seconds of one `body`, done `times` in a row within a program."""
    looped = jax.jit(lambda v: lax.fori_loop(0, times, lambda _, u: body(u), v))
    return seconds(lambda: looped(value), repeats) / times


def bandwidth(numbers: int, repeats: int, times: int) -> float:
    """Bytes a second of a <- s a + b, in place, over so many float32 numbers in all."""
    b = jnp.full(numbers // 2, 1e-3, jnp.float32)
    once = lax.optimization_barrier  # or two turns of the loop might become one

    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.fori_loop(0, times, lambda _, value: once(0.999 * value + b), a)

    run, a = jax.jit(run, donate_argnums=0), [jnp.ones_like(b)]

    def in_place() -> jax.Array:
        a[0] = run(a[0], b)
        return a[0]

    return 3 * times * b.nbytes / seconds(in_place, repeats)


def measured(size: int, repeats: int, memory: float) -> list[list[str]]:
    """A row for each station, given the bandwidth of memory."""
    times = max(2, 4_000_000 // size**2)
    model, observed = figures.photograph(size, np.float32)
    options = {name: option.default for name, option in OPTIONS.items()}
    problem, plan, dtype = prepare(model.problem({"B": observed}), options)
    settings = settings_for(options, dtype)
    inner, run = start(problem, settings, {"U": np.zeros((size, size), dtype)}, None, plan=plan, dtype=dtype)
    state = resume(inner, run, np.int32(ITERATIONS), settings, plan=plan).state
    x_update: Any = plan.x_update  # by conjugate gradients
    workspace, (penalty,), (quadratic,) = run.workspace, inner.penalties, inner.quadratics
    u = state.x["U"]
    rho = state.rho
    operator = partial(normal, inner, (rho,))
    rhs = add(workspace.rhs, penalty.map.adjoint(rho * state.z[0] - state.y[0]))

    def solved(steps: int) -> np.ndarray:
        found = conjugate_gradients(operator, rhs, state.x, steps=steps, tol=x_update.tol)
        return np.asarray(found["U"])

    full = solved(x_update.steps)
    cg_steps = next(n for n in range(x_update.steps + 1) if np.array_equal(solved(n), full)) + 1  # and the residual's
    dual_steps = int(plan.effort(np.int32(ITERATIONS)))
    speed = bandwidth(WORKING_SET * size**2, repeats, times)

    def dual(field: jax.Array) -> jax.Array:
        return penalty.function.prox_from(u, 1 / rho, field, jnp.asarray(dual_steps))[1]

    def update(x: Any) -> Any:  # warm-started from the same x, or nothing would be left to do
        moved = replace(state, x={"U": state.x["U"] + 0 * x["U"]})
        return x_update(inner, workspace, moved, exact=False)[0]

    def whole(s: Any) -> Any:
        return step(inner, plan, workspace, replace(s, x={"U": state.x["U"] + 0 * s.x["U"]}, iteration=state.iteration))

    stations = [
        ("blur", BLUR, lambda: again(quadratic.map.chains[0].ops[0], u, repeats, times)),
        (
            f"x-update, {cg_steps} CG steps",
            cg_steps * CG_STEP,
            lambda: again(update, state.x, repeats, max(times // cg_steps, 2)),
        ),
        (
            f"prox, {dual_steps} dual steps",
            dual_steps * DUAL_STEP,
            lambda: again(dual, state.fields[0], repeats, max(times // dual_steps, 2)),
        ),
        (
            "step",
            cg_steps * CG_STEP + dual_steps * DUAL_STEP + REST,
            lambda: again(whole, state, repeats, max(times // dual_steps, 2)),
        ),
    ]
    rows = []
    for name, arrays, clocked in stations:
        took, moved = clocked(), arrays * 4 * size**2
        floors = [f"{took * rate / moved:.2f} of {duration(moved / rate)}" for rate in (memory, speed)]
        rows.append([f"{size}²", name, str(arrays), duration(took), *floors, f"{speed / 1e9:.1f}"])
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    memory = bandwidth(MEMORY, args.repeats, 2)
    print(f"memory: {memory / 1e9:.1f} GB/s\n")
    rows = [row for size in args.sizes for row in measured(size, args.repeats, memory)]
    print(
        table(["size", "station", "arrays", "time", "times the floor in memory", "in its caches", "GB/s there"], rows)
    )


if __name__ == "__main__":
    main()
