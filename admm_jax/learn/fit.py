"""Learning any parameters by gradient descent through the solves."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from admm_jax.errors import DataError, LearningError
from admm_jax.learn.checkpoint import Checkpoint, load, save
from admm_jax.learn.dataset import batches, put, repeated, stacked, take
from admm_jax.learn.display import EpochBar, epoch_display
from admm_jax.learn.outcome import Epoch, Fit, small
from admm_jax.learn.parameters import values
from admm_jax.learn.trial import Bind, Criterion, blank, default_bind, evaluate_criterion, solves_in, usable
from admm_jax.model import Model
from admm_jax.solution import Solution

RATE = 0.1  # of the default optimiser: a tenth in the logarithm of a positive parameter is a tenth of it
DIVERGED = 10.0  # a loss this many times its first size above its first value


class Images(NamedTuple):
    """A stack of images, and where the next solve of each starts."""

    data: dict[str, Array]  # by name, (size, ...)
    size: int  # images
    starts: Solution  # each leaf (size, ...)


class _Failure(Exception):  # noqa: N818 - turned into a LearningError that holds the result
    """The fit cannot go on."""


class Fitter(NamedTuple):
    """What stays the same during a fit.

    Attributes:
        model: The model.
        loss: From a `Trial` to a number.
        bind: From parameter values and an example to the model's parameters.
        optimizer: As optax has them.
        batch: Images in a batch.
        seed: Of the order of the images.
        options: Of each solve.
        together: Whether the images of a batch are solved in one program, or one after the other.
    """

    model: Model
    loss: Criterion
    bind: Bind
    optimizer: optax.GradientTransformation
    batch: int
    seed: int
    options: Mapping[str, Any]
    together: bool

    def one(self, params: Any, example: Mapping[str, Any], init: Solution) -> tuple[Array, Solution]:
        """(loss, solution) of one image."""
        return evaluate_criterion(self.model, self.loss, self.bind, values(params), example, init, self.options)

    def images(self, data: Mapping[str, Any], params: Any, what: str) -> Images:
        """The images of a data set, without an earlier solution; `params` give shapes only, `what` is for messages."""
        stack, count = stacked(data, what)
        bound = self.bind(values(params), take(stack, np.array(0)))
        return Images(stack, count, repeated(blank(self.model, bound, self.options), count))

    def over(self, function: Any, params: Any, data: Any, starts: Solution) -> Any:
        """function(params, example, start) of each image of a batch, stacked.

        Args:
            function: Of one image.
            params: The same for all images.
            data: A pytree with the images along the first axis.
            starts: Where each solve starts, likewise.
        """
        if self.together:
            return jax.vmap(function, in_axes=(None, 0, 0))(params, data, starts)
        places = map(np.array, range(len(jax.tree.leaves(data)[0])))
        outcomes = [function(params, take(data, place), take(starts, place)) for place in places]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outcomes)

    def step(self, params: Any, state: Any, images: Images, index: np.ndarray, weight: np.ndarray) -> Step:
        """One batch: losses and gradients image by image, their mean, one step of the optimiser.

        Args:
            params: The parameters as the optimiser moves them.
            state: Its state.
            images: All images.
            index: The places of those of the batch.
            weight: 1 for each that counts, 0 for one that only fills the batch up.
        """
        starts = take(images.starts, index)
        graded = jax.value_and_grad(self.one, has_aux=True)
        (losses, solutions), slopes = self.over(graded, params, take(images.data, index), starts)
        if losses.ndim != 1:
            raise LearningError(f"the loss must be a scalar, got shape {losses.shape[1:]}")
        good = jnp.isfinite(losses)
        for slope in jax.tree.leaves(slopes):
            good = good & jnp.all(jnp.isfinite(slope), axis=tuple(range(1, slope.ndim)))
        counted = (weight > 0) & np.asarray(good)
        if not counted.any():
            raise _Failure(_why(losses, solutions, weight))
        share = jnp.asarray(counted / counted.sum(), losses.dtype)
        gradient = jax.tree.map(lambda slope: _mean(slope, good, share), slopes)
        updates, state = self.optimizer.update(gradient, state, params)
        after = optax.apply_updates(params, updates)
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(after)):
            raise _Failure("the optimiser's step made a parameter infinite or NaN")
        moved = images._replace(starts=put(images.starts, index, usable(solutions, starts)))
        total = float(jnp.sum(jnp.where(counted, losses, 0)))
        iterations = int(np.sum(np.where(weight > 0, np.asarray(solutions.iterations), 0)))
        slope = float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))))
        return Step(after, state, moved, total, int(counted.sum()), int((weight > 0).sum()), iterations, slope)

    def validate(self, params: Any, images: Images) -> tuple[float, Images]:
        """The mean loss, without derivatives; infinite where an image has none that is finite."""
        total = 0.0
        for index, weight in batches(images.size, self.batch, None):
            starts = take(images.starts, index)
            losses, solutions = self.over(self.one, params, take(images.data, index), starts)
            images = images._replace(starts=put(images.starts, index, usable(solutions, starts)))
            total += float(jnp.sum(jnp.where(weight > 0, losses, 0)))
        return (total / images.size if math.isfinite(total) else math.inf), images


class Step(NamedTuple):
    """The outcome of one batch: what goes on, and what is counted."""

    params: Any
    optimizer: Any
    images: Images
    total: float  # of the losses
    counted: int  # images with a finite loss and gradient
    tried: int
    iterations: int
    slope: float  # norm of the mean gradient


def _mean(slope: Array, good: Array, share: Array) -> Array:
    """sum over the images of share times slope, along the first axis; where not `good`, a slope may be NaN."""
    shape = (-1,) + (1,) * (slope.ndim - 1)
    return jnp.sum(jnp.where(good.reshape(shape), slope, 0) * share.reshape(shape).astype(slope.dtype), axis=0)


def _why(losses: Array, solutions: Solution, weight: np.ndarray) -> str:
    failed = int(np.sum(~np.asarray(solutions.converged) & (weight > 0)))
    nan = int(np.sum(~np.isfinite(np.asarray(losses)) & (weight > 0)))
    return (
        f"no image of a batch has a finite loss and gradient: {nan} losses are not finite, {failed} solves did not "
        "converge (raise max_iterations or tol; keep weights positive by learn.positive; lower the learning rate)"
    )


def fit(
    model: Model,
    loss: Criterion,
    params: Any,
    data: Mapping[str, Any],
    *,
    predict: Bind | None = None,
    optimizer: optax.GradientTransformation | None = None,
    epochs: int = 30,
    batch_size: int | None = None,
    validation: Mapping[str, Any] | None = None,
    patience: int | None = None,
    seed: int = 0,
    together: bool | None = None,
    progress: Any = None,
    checkpoint: str | os.PathLike | None = None,
    resume: str | os.PathLike | None = None,
    **options: Any,
) -> Fit:
    """Argmin over params of the mean over images of loss(u(params, image)), by stochastic gradient descent.

    u solves the model; its derivative is the exact one. Each image stops by its own certificate, and starts at its
    solution of the epoch before. An image whose solve fails is left out of its batch and counted.

    Args:
        model: The model; its data are `Param`s.
        loss: From a `Trial` to a number: `MSE(U)`, `SUGAR()`, or a function of yours.
        params: Any pytree of arrays, `positive(...)`, `between(...)`, `simplex(...)`: {"lam": positive(0.01)}.
        data: By name the images along the first axis, (k, m, n), or lists of k images: values of `Param`s and whatever
            else the loss reads.
        predict: (params by value, example) -> value of each `Param` of the model; by default those named in `params`
            come from there and all others from the data.
        optimizer: As optax has them; Adam with rate 0.1 by default, in log for positive parameters.
        epochs: Passes over the images, those before a resume included.
        batch_size: Images in a step; all by default.
        validation: Other images, like `data`, to choose the best epoch by.
        patience: Stop after so many epochs without a better (validation) loss.
        seed: Of the order of the images.
        together: Whether to solve a batch in one vmapped program; by default not on a CPU, where a branch that one
            image takes would cost all of them its time.
        progress: "table", "bar", a function of each `Epoch`, or None.
        checkpoint: A file to save the state to after each epoch.
        resume: A checkpoint to go on from; the images start afresh, everything else goes on as it was.
        **options: Of each solve.

    Returns:
        The best parameters by validation loss, or without validation images by the mean loss of an epoch, which is
        credited to the parameters that its last batch saw. Ctrl-C ends a fit early and hands out the best so far.

    Raises:
        DataError, ShapeError: there is no image, or images differ in size or number.
        LearningError: the loss diverges or is not finite; its `result` is the `Fit` up to there.
    """
    started = time.perf_counter()
    if not jax.tree.leaves(params):
        raise DataError(f"there is no parameter to learn in {params!r:.60}")
    params = jax.tree.map(jnp.asarray, params)
    count = stacked(data)[1]
    fitter = Fitter(
        model,
        loss,
        default_bind(model) if predict is None else predict,
        optax.adam(RATE) if optimizer is None else optimizer,
        min(batch_size or count, count),
        seed,
        options,
        jax.default_backend() != "cpu" if together is None else together,
    )
    train = fitter.images(data, params, "data")
    held = None if validation is None else fitter.images(validation, params, "validation")
    state = Checkpoint(params, fitter.optimizer.init(params), params, math.inf, 0, ())
    if resume is not None:
        state = load(resume, state)
    before = state.history[-1].seconds if state.history else 0.0
    display = epoch_display(progress, epochs - len(state.history))
    converged, message = False, f"all {epochs} epochs done"
    try:
        while len(state.history) < epochs:
            state, train, held = _epoch(fitter, state, train, held, started - before)
            if checkpoint is not None:
                save(checkpoint, state)
            display(state.history[-1])
            if patience is not None and len(state.history) - state.best_epoch >= patience:
                converged, message = True, f"no better loss for {patience} epochs"
                break
    except KeyboardInterrupt:
        message = "interrupted"
    except _Failure as failure:
        message = f"epoch {len(state.history) + 1}: {failure}"
        raise LearningError(message, _outcome(state, False, message)) from None
    finally:
        if isinstance(display, EpochBar):
            display.close()
    return _outcome(state, converged, message)


def _outcome(state: Checkpoint, converged: bool, message: str) -> Fit:
    return Fit(state.best, state.params, state.best_loss, state.best_epoch, converged, message, state.history)


def _epoch(
    fitter: Fitter, state: Checkpoint, train: Images, held: Images | None, began: float
) -> tuple[Checkpoint, Images, Images | None]:
    """One pass over the images, and over those of the validation.

    Args:
        fitter: What stays the same.
        state: Where the fit stands.
        train: The images.
        held: The validation images; None without them.
        began: When the fit began by `time.perf_counter`, as if all earlier runs belonged to it, in seconds.

    Returns:
        The three, after the epoch.
    """
    number = len(state.history) + 1
    params, optimizer, measured = state.params, state.optimizer, state.params
    total, counted, tried, iterations, slope = 0.0, 0, 0, 0, math.nan
    for index, weight in batches(train.size, fitter.batch, (fitter.seed, number)):
        measured = params
        step = fitter.step(params, optimizer, train, index, weight)
        params, optimizer, train, slope = step.params, step.optimizer, step.images, step.slope
        total, counted = total + step.total, counted + step.counted
        tried, iterations = tried + step.tried, iterations + step.iterations
    loss, validation = total / counted, math.nan
    if held is not None:
        validation, held = fitter.validate(params, held)
        measured = params
    solves = (state.history[-1].solves if state.history else 0) + solves_in(fitter.loss) * (
        tried + (held.size if held is not None else 0)
    )
    seconds = time.perf_counter() - began
    epoch = Epoch(number, loss, validation, slope, tried - counted, iterations, solves, seconds, small(measured))
    first = state.history[0].loss if state.history else loss
    if loss > first + DIVERGED * abs(first):
        raise _Failure(f"the loss grew from {first:.4g} to {loss:.4g}: it diverges; lower the learning rate")
    state = state._replace(params=params, optimizer=optimizer, history=(*state.history, epoch))
    if epoch.monitored < state.best_loss:
        state = state._replace(best=measured, best_loss=epoch.monitored, best_epoch=number)
    return state, train, held
