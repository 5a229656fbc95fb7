"""The table of the objective: how each operation enters it."""

from __future__ import annotations

from collections.abc import Mapping

from admm_jax.canonicalize import atom_rules, linear_rules, quadratic_rules
from admm_jax.canonicalize.terms import Rule

RULES: Mapping[str, Rule] = {
    "add": linear_rules.pull_add,
    "negative": linear_rules.pull_negative,
    "multiply": linear_rules.pull_multiply,
    "divide": linear_rules.pull_divide,
    "matmul": linear_rules.pull_matmul,
    "transpose": linear_rules.pull_transpose,
    "reshape": linear_rules.pull_reshape,
    "index": linear_rules.pull_index,
    "sum": linear_rules.pull_sum,
    "conv2d": linear_rules.pull_convolution,
    "corr2d": linear_rules.pull_convolution,
    "square": quadratic_rules.pull_square,
    "abs": atom_rules.pull_abs,
    "huber": atom_rules.pull_huber,
    "maximum": atom_rules.pull_maximum,
    "minimum": atom_rules.pull_minimum,
    "norm": atom_rules.pull_norm,
    "inrange": atom_rules.pull_inrange,
    "penalty": atom_rules.pull_own,
    "tv2d": atom_rules.pull_total_variation,
    "tv1d": atom_rules.pull_total_variation,
}
