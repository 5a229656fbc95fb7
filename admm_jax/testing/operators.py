"""Whether an operator is one: linear, with its own adjoint, and true in all that it says of itself."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from admm_jax.operators.function import name_of, operator_of

Shape = tuple[int, ...]
MATRIX_ENTRIES = 40_000  # up to so many the operator is compared with its matrix
SIGNS = 8  # else so many arrays of random signs look for what is largest
LARGE = 2.0**14  # times numbers of about one: what saturates or bends far out is no operator
ROUNDING = 200.0  # units of rounding, of the sizes of what is compared


def check_operator(
    op: Any, in_shape: Shape | None = None, *params: Any, dtype: DTypeLike = np.float64, seed: int = 0
) -> None:
    """Check on random numbers that `op` is a linear operator as the solver takes it.

    Checked are, to some hundred units of rounding: the shapes and the precision of A x and A^T y; A 0 = 0, A (x - 2
    y) = A x - 2 A y and A (s x) = s A x for small and large s, for the adjoint too; <A x, y> = <x, A^T y>; that
    compiled, and given to a compiled program as an argument, it is the same; that it takes NumPy's arrays as JAX's;
    and of what it says of itself: |A| x <= magnitude x and |A|^T y <= magnitude^T y, that `rounded` bounds what an
    error in x can do, that the faster and prepared operators are equal to it, and `dense`, `diagonal`,
    `keeps_order`, `picks` and `convolution` are what it is.

    Args:
        op: An operator, of the contract `admm_jax.operators.contract.Operator`; an object with `in_shape`,
            `out_shape`, a product and `adjoint`; or a JAX function f(x, *params), linear in x.
        in_shape: Of x; needed for a function.
        *params: What a function reads besides.
        dtype: In which to compute, float32 or float64. The operator's own numbers should be of it.
        seed: Of the random numbers.

    Raises:
        AssertionError: an identity does not hold; the message says which, with the numbers.
    """
    dtype = np.dtype(dtype)
    with jax.enable_x64(dtype == np.float64):
        _Check(_completed(op, in_shape, params, dtype), op, dtype, seed).all()


def _completed(op: Any, in_shape: Shape | None, params: tuple[Any, ...], dtype: np.dtype) -> Any:
    """`op` with all of the contract: functions, and objects that have a part of it, are wrapped."""
    if hasattr(op, "rounded") and hasattr(op, "gram_symbol"):
        return op
    shape = in_shape if in_shape is not None else getattr(op, "in_shape", None)
    if shape is None:
        raise TypeError("in_shape is needed for a function, as in check_operator(f, (32, 32))")
    return operator_of(op, tuple(shape), tuple(jnp.asarray(p, dtype) for p in params))


def both(op: Any, x: np.ndarray, y: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """(A x, A^T y) in one program, which is sooner compiled than each of its operations."""
    return jax.jit(lambda x, y: (op(x), op.adjoint(y)))(x, y)


class _Check:
    """One operator and the numbers that it is tried on."""

    def __init__(self, op: Any, given: Any, dtype: np.dtype, seed: int) -> None:
        self.op, self.dtype = op, dtype
        self.name = name_of(getattr(op, "function", given))
        self.rng = np.random.default_rng(seed)
        self.eps = float(np.finfo(dtype).eps)
        self.x, self.other = self.random(op.in_shape), self.random(op.in_shape)
        self.y, self.beside = self.random(op.out_shape), self.random(op.out_shape)
        self.forward, self.back = jax.jit(lambda x: op(x)), jax.jit(lambda y: op.adjoint(y))

    def random(self, shape: Shape) -> np.ndarray:
        return self.rng.uniform(-1, 1, shape).astype(self.dtype)

    def all(self) -> None:
        try:
            jax.eval_shape(self.op.adjoint, jax.ShapeDtypeStruct(self.op.out_shape, self.dtype))
        except Exception as error:
            raise AssertionError(f"{self.name}: the adjoint cannot be formed, is it linear? {error}") from error
        self.shapes()
        self.linear(self.forward, self.x, self.other, "A")
        self.linear(self.back, self.y, self.beside, "A^T")
        self.adjoint()
        self.same()
        self.claims()

    def shapes(self) -> None:
        for what, value, shape in (
            ("A x", self.forward(self.x), self.op.out_shape),
            ("A^T y", self.back(self.y), self.op.in_shape),
        ):
            assert value.shape == tuple(shape), f"{self.name}: {what} has shape {value.shape}, expected {shape}"
            assert value.dtype == self.dtype, f"{self.name}: {what} is in {value.dtype}, expected {self.dtype}"

    def close(self, what: str, found: Any, expected: Any, size: float) -> None:
        off = float(np.max(np.abs(np.asarray(found) - np.asarray(expected)), initial=0.0))
        room = ROUNDING * self.eps * size
        assert off <= room, f"{self.name}: {what}: off by {off:.3g}, where rounding explains {room:.3g}"

    def linear(self, apply: Any, v: np.ndarray, w: np.ndarray, what: str) -> None:
        at_zero = float(np.max(np.abs(apply(np.zeros_like(v))), initial=0.0))
        assert at_zero == 0, f"{self.name}: {what} 0 = 0 fails, it is up to {at_zero:.3g}: affine, not linear"
        image, second = apply(v), apply(w)
        size = self.scale(image) + 2 * self.scale(second)
        combined = apply((v - 2 * w).astype(self.dtype))
        self.close(f"{what} (v - 2 w) = {what} v - 2 {what} w fails", combined, image - 2 * second, size)
        for factor in (LARGE, 1 / LARGE):
            scaled = apply((factor * v).astype(self.dtype))
            self.close(
                f"{what} (s v) = s {what} v fails for s = {factor:.3g}", scaled / factor, image, self.scale(image)
            )

    def scale(self, value: Any) -> float:
        """The size of an array, at least its typical one times a few."""
        return float(np.max(np.abs(value), initial=0.0)) * max(1.0, math.log2(self.x.size + 1))

    def adjoint(self) -> None:
        image, pulled = (np.asarray(v, np.float64) for v in (self.forward(self.x), self.back(self.y)))
        left, right = float(np.vdot(image, self.y)), float(np.vdot(self.x, pulled))
        size = np.linalg.norm(image) * np.linalg.norm(self.y) + np.linalg.norm(self.x) * np.linalg.norm(pulled)
        room = ROUNDING * self.eps * float(size)
        assert abs(left - right) <= room, (
            f"{self.name}: <A x, y> = <x, A^T y> fails: {left:.9g} and {right:.9g} differ by {abs(left - right):.3g},"
            f" where rounding explains {room:.3g}"
        )

    def same(self) -> None:
        """Eager and compiled, NumPy's arrays and JAX's, as it stands and as an argument."""
        image, pulled = self.forward(self.x), self.back(self.y)
        sizes = self.scale(image), self.scale(pulled)
        for what, x, y in (("NumPy's", self.x, self.y), ("JAX's", jnp.asarray(self.x), jnp.asarray(self.y))):
            self.close(f"A x of {what} arrays is not what it is compiled", self.op(x), image, sizes[0])
            self.close(f"A^T y of {what} arrays is not what it is compiled", self.op.adjoint(y), pulled, sizes[1])
        if jax.tree_util.all_leaves([self.op]):
            return  # no pytree: it cannot be an argument
        passed = jax.jit(lambda op, x, y: (op(x), op.adjoint(y)))(self.op, self.x, self.y)
        self.close("A x is another where the operator is an argument", passed[0], image, sizes[0])
        self.close("A^T y is another where the operator is an argument", passed[1], pulled, sizes[1])

    def claims(self) -> None:
        self.magnitude()
        self.rounding()
        self.faster()
        self.structure()

    def largest(self, apply: Any, v: np.ndarray, out_shape: Shape) -> np.ndarray:
        """|A| v for v >= 0: by the matrix if it is small, else what random signs find, which is below."""
        if v.size * math.prod(out_shape) <= MATRIX_ENTRIES:
            units = np.eye(v.size, dtype=self.dtype).reshape(v.size, *v.shape)
            return np.tensordot(v.ravel(), np.abs(np.asarray(jax.jit(jax.vmap(apply))(units), np.float64)), 1)
        signs = (self.rng.choice([-1.0, 1.0], v.shape).astype(self.dtype) for _ in range(SIGNS))
        return np.max([np.abs(apply(v * sign)) for sign in signs], axis=0)

    def below(self, what: str, small: Any, large: Any) -> None:
        small, large = np.asarray(small, np.float64), np.asarray(large, np.float64)
        room = ROUNDING * self.eps * float(np.max(small, initial=0.0))
        excess = float(np.max(small - large, initial=0.0))
        assert small.shape == large.shape, f"{self.name}: {what}: shape {large.shape}, expected {small.shape}"
        assert excess <= room, f"{self.name}: {what} fails by {excess:.3g}, where rounding explains {room:.3g}"

    def magnitude(self) -> None:
        bound = self.op.magnitude()
        if bound is None:
            return
        x, y = np.abs(self.x), np.abs(self.y)
        forth, back = both(bound, x, y)
        self.below("|A| x <= magnitude x", self.largest(self.forward, x, self.op.out_shape), forth)
        self.below("|A|^T y <= magnitude^T y", self.largest(self.back, y, self.op.in_shape), back)

    def rounding(self) -> None:
        error = np.abs(self.other)
        image = self.forward(self.x)
        known = jax.jit(lambda *args: self.op.rounded(*args))(self.x, error, image)
        self.below("what an error in x does <= rounded", self.largest(self.forward, error, self.op.out_shape), known)

    def faster(self) -> None:
        chosen, _ = self.op.faster(self.dtype, jax.default_backend())
        image, pulled = self.forward(self.x), self.back(self.y)
        for what, equal in (("faster", chosen), ("prepared", chosen.prepared(self.dtype))):
            if equal is self.op:
                continue
            forth, back = both(equal, self.x, self.y)
            self.close(f"the {what} operator is another", forth, image, self.scale(image))
            self.close(f"the adjoint of the {what} operator is another", back, pulled, self.scale(pulled))

    def structure(self) -> None:
        op, image = self.op, self.forward(self.x)
        size = self.scale(image)
        if op.dense is not None:
            self.close("A x = dense @ x fails", np.asarray(op.dense) @ self.x, image, size)
        if op.diagonal is not None:
            self.close("A x = diagonal * x fails", np.asarray(op.diagonal) * self.x, image, size)
        if op.keeps_order:
            self.close("A x has the entries of x in their order: fails", np.ravel(self.x), np.ravel(image), size)
        if op.picks:
            places = self.forward(np.arange(1.0, 1 + self.x.size).reshape(self.x.shape))
            taken = np.ravel(self.x)[np.rint(np.ravel(places)).astype(int) - 1]
            self.close("A x are entries of x, as picks says: fails", taken, np.ravel(image), size)
            assert np.all(np.diff(np.ravel(places)) > 0), f"{self.name}: A x are not in the order of x, as picks says"
        if op.circular_symbol is not None:
            own = op.transform.inverse(np.asarray(op.circular_symbol) * op.transform(self.x))
            self.close("A x = F^-1 (S F x) fails", own, image, size)
        if op.convolution is not None:
            window = op.convolution
            periods, axes = window.periods, window.along
            spectrum = window.in_place(np.asarray(window.symbol(periods))) * np.fft.rfftn(self.x, periods, axes)
            own = np.fft.irfftn(spectrum, periods, axes)[tuple(slice(n) for n in op.out_shape)]
            self.close("A x = crop F^-1 (S F x) fails", own, image, size)
