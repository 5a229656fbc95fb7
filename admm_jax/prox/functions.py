"""The functions of the model builder, in one place."""

from admm_jax.prox.constraints import Box, L1Ball, L2Ball
from admm_jax.prox.counts import KullbackLeibler
from admm_jax.prox.defaults import ClosedForm
from admm_jax.prox.penalties import L1, GroupL2, Hinge, Huber, LInf

__all__ = ["L1", "Box", "ClosedForm", "GroupL2", "Hinge", "Huber", "KullbackLeibler", "L1Ball", "L2Ball", "LInf"]
