"""Functions of the package with numbers of all kinds: weights that are zero, infinite bounds, radii of zero."""

from __future__ import annotations

import numpy as np

from admm_jax.prox.functions import L1, Box, GroupL2, Hinge, Huber, KullbackLeibler, L1Ball, L2Ball, LInf

SHAPE = (3, 4)
RNG = np.random.default_rng(0)
WEIGHT = np.where(RNG.random(SHAPE) < 0.2, 0, RNG.uniform(0.2, 2, SHAPE))  # some are zero
LOWER = np.where(RNG.random(SHAPE) < 0.3, -np.inf, RNG.uniform(-1, 0, SHAPE))
UPPER = np.where(RNG.random(SHAPE) < 0.3, np.inf, RNG.uniform(0, 1, SHAPE))
UPPER[0, :2] = LOWER[0, :2] = [0.3, -0.2]  # two entries are fixed
COUNTS = np.where(RNG.random(SHAPE) < 0.3, 0, RNG.uniform(0.1, 3, SHAPE))  # some are zero
PIXELS = RNG.uniform(0, 2, SHAPE[1:])


def stacked(shape, members):
    """v -> sum_k g_k(v[k])."""
    assert len({member.likeness() for member in members}) == 1
    return members[0].stacked(members, shape)


FUNCTIONS = {
    "L1": lambda t: L1(t(0.7)),
    "L1 weighted": lambda t: L1(t(WEIGHT)),
    "L1 weightless": lambda t: L1(t(0.0)),
    "Huber": lambda t: Huber(t(1.3), t(0.5)),
    "Huber weighted": lambda t: Huber(t(WEIGHT), t(WEIGHT + 0.1)),
    "Hinge": lambda t: Hinge(t(0.8)),
    "Hinge weighted": lambda t: Hinge(t(WEIGHT)),
    "KullbackLeibler": lambda t: KullbackLeibler(t(0.8), t(COUNTS)),
    "KullbackLeibler weighted": lambda t: KullbackLeibler(t(WEIGHT), t(COUNTS)),
    "KullbackLeibler of nothing": lambda t: KullbackLeibler(t(0.8), t(0.0)),
    "GroupL2": lambda t: GroupL2(t(0.9), (0, 1)),
    "GroupL2 of columns": lambda t: GroupL2(t(PIXELS), (0,)),
    "LInf": lambda t: LInf(t(0.9)),
    "LInf weightless": lambda t: LInf(t(0.0)),
    "Box": lambda t: Box(t(LOWER), t(UPPER)),
    "Box of equalities": lambda t: Box(t(WEIGHT), t(WEIGHT)),
    "L2Ball": lambda t: L2Ball(t(1.1)),
    "L2Ball of radius zero": lambda t: L2Ball(t(0.0)),
    "L1Ball": lambda t: L1Ball(t(1.4)),
    "L1Ball of radius zero": lambda t: L1Ball(t(0.0)),
    "GroupL2, stacked": lambda t: stacked(SHAPE[1:], [GroupL2(t(w), (0,)) for w in (0.0, 0.4, 1.5)]),
    "LInf, stacked": lambda t: stacked(SHAPE[1:], [LInf(t(w)) for w in (0.0, 0.4, 1.5)]),
    "Hinge, stacked": lambda t: stacked(SHAPE[1:], [Hinge(t(w)) for w in (0.5, WEIGHT[0], WEIGHT[1])]),
    "Huber, stacked": lambda t: stacked(SHAPE[1:], [Huber(t(w), t(0.2 + w)) for w in (0.0, 0.4, 1.5)]),
    "KullbackLeibler, stacked": lambda t: stacked(
        SHAPE[1:], [KullbackLeibler(t(w), t(b)) for w, b in zip((0.3, 2.0, 1.0), COUNTS, strict=True)]
    ),
    "Box, stacked": lambda t: stacked(SHAPE[1:], [Box(t(a), t(b)) for a, b in zip(LOWER, UPPER, strict=True)]),
    "L2Ball, stacked": lambda t: stacked(SHAPE[1:], [L2Ball(t(r)) for r in (0.0, 0.4, 1.5)]),
    "L1Ball, stacked": lambda t: stacked(SHAPE[1:], [L1Ball(t(r)) for r in (0.0, 0.4, 1.5)]),
}
