"""One epoch of learning lam, exact derivative against an unrolled one: `python tests/benchmarks/training_speed.py`.

Value and gradient of the mean squared error over a batch of photographs, in float32: seconds of a warm epoch, and the
memory that the compiled program asks for beside its arguments.
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from skimage import data, transform

import admm_jax as admm

SIGMA = 7 / 255


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100, help="unrolled")
    args = parser.parse_args()
    profile = np.array([1, 4, 6, 4, 1], np.float32) / 16
    kernel, rng = np.outer(profile, profile), np.random.default_rng(0)
    camera = transform.resize(data.camera() / 255, (2 * args.side, 2 * args.side), anti_aliasing=True)
    places = [tuple(rng.integers(0, args.side, 2)) for _ in range(args.images)]
    truth = np.stack([camera[i : i + args.side, j : j + args.side] for i, j in places]).astype(np.float32)
    blurred = np.stack([np.asarray(admm.conv2d(t, kernel, "same")) for t in truth])
    observed = (blurred + SIGMA * rng.standard_normal(truth.shape)).astype(np.float32)
    U, B, lam = admm.Var("U", args.side, args.side), admm.Param("B", args.side, args.side), admm.Param("lam")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))

    def program(*, one_by_one: bool = False, **options: object) -> jax.stages.Compiled:
        def loss(log_lam: jax.Array, image: jax.Array, sharp: jax.Array) -> jax.Array:
            return jnp.mean((model.solve({"lam": jnp.exp(log_lam), "B": image}, **options)[U] - sharp) ** 2)

        def epoch(log_lam: jax.Array, images: jax.Array, sharps: jax.Array) -> tuple[jax.Array, jax.Array]:
            def mean(t: jax.Array) -> jax.Array:
                if one_by_one:
                    return jnp.mean(jax.lax.map(lambda pair: loss(t, *pair), (images, sharps)))
                return jnp.mean(jax.vmap(loss, in_axes=(None, 0, 0))(t, images, sharps))

            return jax.value_and_grad(mean)(log_lam)

        return jax.jit(epoch).lower(start, observed, truth).compile()

    start = jnp.asarray(np.log(7 * SIGMA**2), jnp.float32)
    for name, options in (
        ("implicit, in one batch", {"derivative_warning": False}),
        ("implicit, one by one", {"derivative_warning": False, "one_by_one": True}),
        (f"unrolled, {args.steps} steps", {"derivative": "unroll", "max_iterations": args.steps}),
    ):
        clock = time.perf_counter()
        compiled = program(**options)
        compiling = time.perf_counter() - clock
        compiled(start, observed, truth)[0].block_until_ready()
        times = []
        for _ in range(2):
            clock = time.perf_counter()
            value, slope = jax.block_until_ready(compiled(start, observed, truth))
            times.append(time.perf_counter() - clock)
        memory = compiled.memory_analysis()
        size = getattr(memory, "temp_size_in_bytes", float("nan")) / 1e6
        print(
            f"{name:<24} loss {value:.6g} slope {slope:.4g}  {min(times):.2f} s an epoch, {size:.1f} MB, "
            f"compiled in {compiling:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
