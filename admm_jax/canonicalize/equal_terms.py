"""Equal terms stacked into one, so that a model which is written in a loop compiles as fast as one of a few terms.

    sum_k g_k(A_k x + b_k) = g(A x + b),     A x = (A_1 x, ..., A_n x),     g(v) = sum_k g_k(v[k])

Terms are equal where their functions are alike, and their maps operator by operator: they differ in numbers and in the
places that they take from a variable. What cannot be stacked stays as it is: functions with an inner iteration, such as
total variation, and maps with convolutions or functions of one's own.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax

from admm_jax.operators.base import Broadcast
from admm_jax.operators.stacked import alike, stack
from admm_jax.problem import Chain, LinearMap, Penalty, Problem, Quadratic
from admm_jax.pytree import replace

LEAST = 4  # fewer terms compile in no time, and iterate as they are


def stack_equal_terms(problem: Problem, constants: frozenset[int]) -> Problem:
    """The same problem with each group of equal terms, of `LEAST` or more, as one.

    Which terms are stacked, and how, depends on nothing but the structure of the model: it is the same for numbers
    that are traced.

    Args:
        problem: As it was assembled.
        constants: The ids of the values of constants and parameters, each one object however often it is used: by them
            maps that begin with the same matrix are known to.
    """
    if len(problem.penalties) < LEAST and len(problem.quadratics) < LEAST:
        return problem
    penalties: list[Penalty] = []
    for places in _groups([_penalty_key(p) for p in problem.penalties], problem.penalties):
        members = [problem.penalties[i] for i in places]
        penalties.append(members[0] if len(members) == 1 else _penalty(members, places, constants))
    quadratics: list[Quadratic] = []
    for places in _groups([_map_key(q.map) for q in problem.quadratics], problem.quadratics):
        members = [problem.quadratics[i] for i in places]
        quadratics.append(members[0] if len(members) == 1 else _quadratic(members, constants))
    return replace(problem, quadratics=tuple(quadratics), penalties=tuple(penalties))


def _groups(keys: list[Hashable | None], terms: Sequence[Penalty | Quadratic]) -> list[tuple[int, ...]]:
    """The places of the terms that become one, each group where its first is.

    The first of several on a variable itself stays alone: what is read off it, such as a level set, holds for no stack.

    Args:
        keys: Equal for terms that can be stacked, None for one that cannot.
        terms: The terms.
    """
    found: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(("alone", i) if key is None else key, []).append(i)
    out: list[tuple[int, ...]] = []
    for places in found.values():
        alone = len(places) if len(places) < LEAST else int(terms[places[0]].map.identity_on is not None)
        out += [(i,) for i in places[:alone]]
        out += [tuple(places[alone:])] if alone < len(places) else []
    return sorted(out)


def _penalty_key(penalty: Penalty) -> Hashable | None:
    function, linear = penalty.function.likeness(), _map_key(penalty.map)
    return None if function is None or linear is None else (function, linear)


def _map_key(linear: LinearMap) -> Hashable | None:
    chains = []
    for chain in linear.chains:
        ops = tuple(op.likeness() for op in chain.ops)
        if any(likeness is None for likeness in ops):
            return None
        chains.append((chain.variable, ops))
    return (tuple(chains), linear.out_shape) if chains else None


def _penalty(members: list[Penalty], places: tuple[int, ...], constants: frozenset[int]) -> Penalty:
    first, shape = members[0], members[0].map.out_shape
    function = first.function.stacked([p.function for p in members], shape)
    offset = stack([p.offset for p in members], len(shape))
    return Penalty(function, _map([p.map for p in members], constants), offset, first.label, places)


def _quadratic(members: list[Quadratic], constants: frozenset[int]) -> Quadratic:
    first, shape = members[0], members[0].map.out_shape
    data, weight = (stack(values, len(shape)) for values in zip(*((q.data, q.weight) for q in members), strict=True))
    return Quadratic(_map([q.map for q in members], constants), data, weight, first.label, len(members))


def _map(maps: list[LinearMap], constants: frozenset[int]) -> LinearMap:
    """x -> (A_1 x, ..., A_n x), shape (n, *shape)."""
    chains = []
    for members in zip(*(linear.chains for linear in maps), strict=True):
        ops: list[Any] = []
        shared = True  # as long as all have done the same
        for step in zip(*(chain.ops for chain in members), strict=True):
            if shared and _is_one(step, constants):
                ops.append(step[0])
            else:
                ops += step[0].stacked(step, shared=shared)
                shared = False
        if shared:
            shape = maps[0].out_shape
            ops.append(Broadcast(shape, (len(maps), *shape)))
        chains.append(Chain(tuple(ops), members[0].variable))
    return LinearMap(tuple(chains), (len(maps), *maps[0].out_shape))


def _is_one(ops: Sequence[Any], constants: frozenset[int]) -> bool:
    """Whether all are the same operator: without numbers, or with those of one constant or parameter."""
    first, structure = jax.tree.leaves(ops[0]), alike(ops[0])
    if any(id(leaf) not in constants for leaf in first):
        return False
    return all(
        alike(op) == structure and all(a is b for a, b in zip(jax.tree.leaves(op), first, strict=True)) for op in ops
    )
