"""The model: what the user writes, and what it is asked to do."""

from __future__ import annotations

from admm_jax.builder import MAXIMIZE, MINIMIZE, ModelBuilder

__all__ = ["MAXIMIZE", "MINIMIZE", "Model"]


class Model(ModelBuilder):
    """minimise an objective subject to constraints: written with `setObjective` and `addConstr`."""
