"""The records of the operations agree with themselves: operators, adjoints on numbers, signs and values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import admm_jax as admm
from admm_jax.canonicalize.values import Values
from admm_jax.expressions.evaluate import value_of
from admm_jax.expressions.facts import is_affine, meaning, sign
from admm_jax.expressions.operation import operation_of
from admm_jax.operations import OPERATIONS

RNG = np.random.default_rng(0)
K, W = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 5))
EACH = RNG.normal(size=(2, 2, 4))  # a kernel along the middle axis for each line
X, U, V = admm.Var("x", 3), admm.Var("U", 4, 5), admm.Var("V", 2, 3, 4)


def flipped(x):
    return x[::-1] - x


def scaled_sum(x, w):
    return (x * w).sum(axis=0)


class Absolute:
    """g(v) = sum |v|, by its prox alone."""

    def __call__(self, v):
        return jnp.sum(jnp.abs(v))

    def prox(self, v, step):
        return v - jnp.clip(v, -step, step)


SAMPLES = {
    "add": [U + X[0] + W[:1], X[:, None] + W[0]],
    "negative": [-U],
    "multiply": [W * U, U * 2, X * W[:3, :1], W[0, 0] * U[:1]],
    "divide": [U / W, X / 2, X / W[:3, :1]],
    "matmul": [
        *(W.T @ U, U @ W.T, W[:, 0] @ U, U @ W[0], W[:3, 0] @ X, W[:, :3] @ X),
        *(sp.csr_array(W[:, :4]) @ U, U @ sp.csr_array(W.T)),
    ],
    "transpose": [U.T, admm.transpose(V), admm.transpose(V, (1, 2, 0)), admm.transpose(abs(V), (0, 2, 1))],
    "reshape": [U.reshape(2, 10)],
    "index": [U[1:, ::-2], U[[0, 1, 1], [2, 0, 0]], X[None, 1]],
    "sum": [admm.sum(U), admm.sum(U, axis=1), admm.sum(U, axis=(0,))],
    "conv2d": [
        *(admm.conv2d(U, K, mode) for mode in ("full", "same", "valid")),
        *(admm.conv2d(U, K, "same", boundary) for boundary in ("circular", "reflect", "replicate")),
        admm.conv2d(U, np.outer(W[0], W[:, 0])[::2], "full", "circular"),
    ],
    "corr2d": [
        *(admm.corr2d(U, K, mode) for mode in ("full", "same", "valid")),
        *(admm.corr2d(U, np.outer(W, K[0]), "same", boundary) for boundary in ("circular", "reflect", "replicate")),
    ],
    "conv": [
        *(admm.conv(V, K, mode, axes=(0, 2)) for mode in ("full", "same", "valid")),
        *(admm.conv(V, K[0], "same", boundary, axes=1) for boundary in ("circular", "reflect", "replicate")),
        *(admm.conv(V, np.stack([K, 2 * K, K[::-1]], axis=1), axes=(0, 2)), admm.conv(X, K[0], "full")),
        admm.conv(V, np.multiply.outer(K, W[0, :2]), "full"),
    ],
    "corr": [
        *(admm.corr(V, K[:, :2], axes=(1, 2)), admm.corr(V, EACH, "same", "reflect", axes=1)),
    ],
    "square": [admm.square(U)],
    "abs": [abs(U)],
    "huber": [admm.huber(U, 0.5)],
    "maximum": [admm.maximum(U, 0), admm.maximum(U, W), admm.maximum(-abs(U), -1)],
    "minimum": [admm.minimum(U, 0), admm.minimum(U, W), admm.minimum(abs(U), 1)],
    "norm": [admm.norm(U), admm.norm(X, 1), admm.norm(X, np.inf), admm.norm(U, axis=0), admm.norm(V, axis=(0, 2))],
    "inrange": [admm.inrange(U, -1, 1)],
    "tv": [
        *(admm.tv(V), admm.tv(V, 2, (2, 0), (0.5, 2.0), weight=2.0), admm.tv(X, 2), admm.tv(U, axes=1, spacing=2)),
        *(admm.tv(V, p, weight=np.ones((2, 4)), channel_axis=1) for p in (1, 2)),
    ],
    "kullback_leibler": [admm.kullback_leibler(U, abs(W)), admm.kullback_leibler(X, 2.0, abs(W[0, :3]))],
    "tv2d": [admm.tv2d(U), admm.tv2d(U, 2)],
    "tv1d": [admm.tv1d(X), admm.tv1d(X, p=2)],
    "mean": [admm.mean(U), admm.mean(abs(U), axis=0), admm.mean(U, axis=(0, 1)), admm.mean(X[0])],
    "diff": [admm.diff(X), admm.diff(U, 2, axis=0), admm.diff(U - W)],
    "gradient": [admm.gradient(U), admm.gradient(V, (2, 0), (0.5, 2)), admm.gradient(X, 0)],
    "laplacian": [admm.laplacian(U), admm.laplacian(V, (2, 0), (0.5, 2)), admm.laplacian(X[:1])],
    "pad": [
        *(admm.pad(U, ((1, 2), (0, 3)), mode) for mode in ("constant", "edge", "reflect", "symmetric", "wrap")),
        *(admm.pad(X, 1), admm.pad(X, (0, 2), "edge")),
    ],
    "concatenate": [admm.hstack([X, 2 * X]), admm.vstack([U, W, U[:1]]), admm.hstack([W, U]), admm.vstack([X, X])],
    "roll": [admm.roll(X, 1), admm.roll(U, -2, axis=1), admm.roll(U, 7), admm.roll(abs(U), 4, axis=0)],
    "linear": [admm.linear(flipped, U), admm.linear(scaled_sum, U, W)],
    "penalty": [admm.penalty(Absolute(), U)],
    "sum_squares": [admm.sum_squares(X - 1), admm.sum_squares(U)],
}
CASES = [(name, i) for name, samples in SAMPLES.items() for i in range(len(samples))]


def test_every_operation_has_a_sample():
    assert {operation.name for operation in OPERATIONS} == set(SAMPLES)
    assert all(sample.op == name for name, samples in SAMPLES.items() for sample in samples)


@pytest.mark.parametrize(("name", "i"), CASES)
def test_operators_and_adjoints_are_those_of_the_value(name, i):
    e = SAMPLES[name][i]
    operation = operation_of(e)
    if operation.linear is None:
        same = meaning(e)
        assert is_affine(e) == (same is not None and is_affine(same))
        return
    values = Values([e], None)
    for number, arg in enumerate(e.args):
        if arg.is_constant:
            continue
        at = {v: RNG.normal(size=v.shape) for v in e.variables}
        x, y = value_of(arg, at), RNG.normal(size=e.shape)
        with jax.enable_x64(True):
            image, back = x, y
            for op in (ops := operation.linear(e, number, values)):
                image = op(image)
            for op in reversed(ops):
                back = op.adjoint(back)
        assert image.shape == e.shape
        zeros = [np.zeros(a.shape) if a is arg or operation.jointly else values(a) for a in e.args]
        filled = [x if a is arg else given for a, given in zip(e.args, zeros, strict=True)]
        np.testing.assert_allclose(image, operation.value(np, *filled, **e.attrs), atol=1e-12)
        np.testing.assert_allclose(np.vdot(image, y), np.vdot(x, back), atol=1e-10)
        if operation.adjoint is not None:
            mine = operation.adjoint(e, number, y, values)
            assert isinstance(mine, np.ndarray | np.generic)
            np.testing.assert_allclose(np.broadcast_to(mine, arg.shape), back, atol=1e-12)
            # one number for all entries may stay one
            mine = operation.adjoint(e, number, np.asarray(2.0), values)
            with jax.enable_x64(True):
                back = np.full(e.shape, 2.0)
                for op in reversed(ops):
                    back = op.adjoint(back)
            np.testing.assert_allclose(np.broadcast_to(mine, arg.shape), back, atol=1e-12)


@pytest.mark.parametrize(("name", "i"), CASES)
def test_signs_hold(name, i):
    e = SAMPLES[name][i]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        value = value_of(e, {v: rng.normal(size=v.shape) for v in e.variables})
        assert np.all(sign(e) * value >= 0)


@pytest.mark.parametrize(("name", "i"), CASES)
def test_an_abbreviation_has_the_value_of_what_it_means(name, i):
    e = SAMPLES[name][i]
    same = meaning(e)
    if same is None:
        return
    at = {v: RNG.normal(size=v.shape) for v in e.variables}
    assert same.shape == e.shape
    np.testing.assert_allclose(value_of(same, at), value_of(e, at), atol=1e-12)
