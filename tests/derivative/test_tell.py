"""What a compiled program says while it runs."""

import jax
import jax.numpy as jnp
import numpy as np

from admm_jax.derivative.tell import NOWHERE, Teller, announced, program_number


def test_a_complaint_reads_arrays_of_numpy():
    """JAX's would call it from within a program of its own, and wait for a thread that this one holds."""
    kinds = set()

    def complaint(error, flags):
        kinds.update(type(value) for value in jax.tree.leaves((error, flags)))

    def through(v):
        return announced(v, Teller(complaint), program_number(NOWHERE), jnp.sum(v), {"one": v > 0, "two": v < 0})

    jax.block_until_ready(jax.jit(jax.grad(lambda v: jnp.sum(through(v))))(jnp.ones(3)))
    jax.effects_barrier()
    assert kinds == {np.ndarray}
