"""Solves on eight devices and on one, compared; `test_sharding` runs it in a process of its own.

8 virtual devices have to be there before JAX starts.
"""

from __future__ import annotations

import json

import jax

jax.config.update("jax_num_cpu_devices", 8)

import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from tests.models import IMAGE, deblurring, image_jit  # noqa: E402


def main() -> None:
    """Print how far each way to spread the work is from one device, in U and in iterations, and where U is."""
    model = deblurring()
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, P("devices"))
    rng = np.random.default_rng(0)
    images = np.stack([IMAGE + 0.1 * rng.normal(size=IMAGE.shape) for _ in range(16)]).astype(np.float32)
    lams = np.geomspace(0.02, 0.4, 16).astype(np.float32)

    def solve(B, lam, **options):
        return model.solve({"B": B, "lam": lam}, **options)

    def together(B, lam):
        return solve(B, lam, batching="parallel")

    single = [solve(B, lam) for B, lam in zip(images, lams, strict=True)]
    u = np.stack([np.asarray(solution["U"]) for solution in single])
    iterations = [int(solution.iterations) for solution in single]

    def compare(solution, expected, counts):
        return {
            "difference": float(np.max(np.abs(np.asarray(solution["U"]) - expected))),
            "iterations": bool(np.all(np.asarray(solution.iterations) == counts)),
            "devices": len(solution["U"].sharding.device_set),
            "spread": solution["U"].sharding.spec == P("devices"),
        }

    each = jax.shard_map(
        jax.vmap(solve), mesh=mesh, in_specs=(P("devices"), P("devices")), out_specs=P("devices"), check_vma=False
    )
    one_image = jax.device_put(images[0], spread)
    print(
        json.dumps(
            {
                "a share of the batch for each": compare(image_jit(each)(images, lams), u, iterations),
                "the batch together": compare(
                    image_jit(jax.vmap(together))(jax.device_put(images, spread), jax.device_put(lams, spread)),
                    u,
                    iterations,
                ),
                "one image, by rows": compare(image_jit(solve)(one_image, lams[0]), u[0], iterations[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
