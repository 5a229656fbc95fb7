"""Proofs of implementations of one's own, by their mathematics."""

from admm_jax.testing.functions import check_function

__all__ = ["check_function"]
