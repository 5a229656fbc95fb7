"""Arrays with masked entries, which are refused wherever numbers are taken."""

from __future__ import annotations

import numpy as np
import pytest

import admm_jax as admm
from tests.bad_input.leaves import Leaves, refused

IMAGE = np.ones((4, 5))
MASKED = np.ma.array(IMAGE, mask=np.arange(20).reshape(4, 5) < 3)

CASES = {
    "Param masked": (
        lambda o: o.minimise(admm.norm(o.U - o.B), {"B": MASKED}),
        admm.ParameterError,
        "the value of Param 'B' must be an array without masked entries, got 3 of 20 masked",
    ),
    "constant masked": (
        lambda o: o.minimise(admm.norm(o.U - MASKED)),
        admm.DataError,
        "the right of - must be an array without masked entries, got 3 of 20 masked",
    ),
    "constant masked, on the left": (
        lambda o: o.minimise(admm.norm(MASKED - o.U)),
        admm.DataError,
        "must be an array without masked entries",
    ),
    "bound masked": (lambda o: o.U <= MASKED, admm.DataError, "the right of <= must be an array without masked"),
    "image masked": (lambda o: admm.conv2d(MASKED, IMAGE), admm.DataError, "the image of conv2d must be an array with"),
    "start masked": (
        lambda o: setattr(o.U, "start", MASKED),
        admm.DataError,
        "the start of U must be an array without masked entries",
    ),
    "example masked": (
        lambda o: admm.learn.path(o.model, "lam", [1.0], {"B": MASKED}),
        admm.DataError,
        "data['B'] must be an array without masked entries",
    ),
    "one of several images masked": (
        lambda o: admm.learn.fit(o.model, admm.learn.MSE(o.U), {"lam": 1.0}, {"B": [IMAGE, MASKED]}),
        admm.DataError,
        "data['B'] must be an array without masked entries",
    ),
    "noise of a masked image": (lambda o: admm.learn.noise_level(MASKED), admm.DataError, "the image of noise_level"),
    "masked images of a kernel": (
        lambda o: admm.learn.refine(lambda k: k, IMAGE, MASKED, IMAGE),
        admm.DataError,
        "blurred must be an array without masked entries",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_message(name):
    refused(*CASES[name])


def test_a_masked_array_without_masked_entries_is_an_array():
    o = Leaves()
    problem = o.minimise(admm.sum(admm.square(o.U - np.ma.array(IMAGE))))
    np.testing.assert_array_equal(problem.quadratics[0].data, IMAGE)
