"""Proofs by numbers that an implementation of one's own keeps the contract which the solver relies on."""

from admm_jax.testing.functions import check_function
from admm_jax.testing.operators import check_operator

__all__ = ["check_function", "check_operator"]
