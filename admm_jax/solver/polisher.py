"""What an iterate is polished by before it is certified: an object that the plan chooses once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jax import Array, lax

from admm_jax.problem import Point, Problem
from admm_jax.solver import isotropic, regions
from admm_jax.solver.sizes import Units

PrimalDual = tuple[Point, tuple[Array, ...]]  # a point, and the duals of the lifted problem


class Polisher(Protocol):
    """How a pair of a point and duals is made more accurate. Static and hashable, for it belongs to the program."""

    @property
    def description(self) -> str:
        """In words, for `explain`."""
        ...

    def polish(
        self, problem: Problem, rhs: Point, raw: PrimalDual, units: Units, target: Array, wanted: Array, due: Array
    ) -> PrimalDual:
        """The polished pair where it is `due`, else the raw one.

        Args:
            problem: The problem, not lifted.
            rhs: sum Q^T W d - c, of the shapes of x.
            raw: The pair to begin with; its point comes out of the prox, so that it is inside its bounds.
            units: The sizes of x.
            target: The relative gap that the solve is to reach.
            wanted: Whether this solve polishes at all; the same for all of a batch.
            due: Whether it does now.
        """
        ...


@dataclass(frozen=True)
class FlatRegions:
    """Anisotropic total variation: least squares on its flat regions."""

    description = "least squares on the flat regions by conjugate gradients, with merges"

    def polish(
        self, problem: Problem, rhs: Point, raw: PrimalDual, units: Units, target: Array, wanted: Array, due: Array
    ) -> PrimalDual:
        return lax.cond(due, lambda: regions.polish(problem, rhs, *raw, target), lambda: raw)


@dataclass(frozen=True)
class IsotropicGroups:
    """Isotropic total variation: multipliers and Newton, then Newton on the flat regions."""

    description = "method of multipliers with primal-dual Newton, then Newton on the flat regions"

    def polish(
        self, problem: Problem, rhs: Point, raw: PrimalDual, units: Units, target: Array, wanted: Array, due: Array
    ) -> PrimalDual:
        def where_due() -> PrimalDual:
            return lax.cond(due, lambda: isotropic.polish(problem, rhs, *raw, units, due), lambda: raw)

        # under `vmap` both sides of the condition `due` are computed, but not of one that is no element's own
        return lax.cond(wanted, where_due, lambda: raw)


def polisher_of(problem: Problem) -> Polisher | None:
    """What polishes without matrices, None where nothing does."""
    if not regions.applies(problem):
        return None
    variation = regions.tv_of(problem)[1]
    if not variation.isotropic:
        return FlatRegions()
    return IsotropicGroups() if variation.by_pixel else None
