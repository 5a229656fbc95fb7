"""Learn the weight of a deblurring model from a photograph whose sharp version is known.

    minimise over lam   || U(lam) - truth ||^2,   U(lam) = argmin lam TV(U) + 1/2 || K * U - B ||^2

Follows the exact derivative of the solution, and compares with a grid search: values, solves and seconds. Saves a
figure: the curve with what the search saw of it, and the images.

    python examples/learn_lambda.py [--size 96] [--noise 0.02] [--grid 60] [--output FILE] [--no-figure]
"""

import argparse
import time

import numpy as np
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn


def photograph(size):
    """A square of scikit-image's `camera`, and its blurred version without noise."""
    truth = transform.resize(data.camera()[30:286, 110:366] / 255, (size, size), anti_aliasing=True).astype(np.float32)
    profile = np.array([1, 4, 6, 4, 1], np.float32) / 16
    kernel = np.outer(profile, profile)
    return truth, kernel, np.asarray(admm.conv2d(truth, kernel, "same"))


def deblurring(shape, kernel):
    """The model, with lam and the data as parameters."""
    U, B, lam = admm.Var("U", shape), admm.Param("B", shape), admm.Param("lam")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))
    return model, U


def main(argv=None):
    """Run the example with the given command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=96, help="side of the photograph")
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation of the noise, white being 1")
    parser.add_argument("--grid", type=int, default=60, help="values of the grid search")
    parser.add_argument("--output", default="learn_lambda.png", help="where to save the figure")
    parser.add_argument("--no-figure", action="store_true", help="save none")
    args = parser.parse_args(argv)

    truth, kernel, blurred = photograph(args.size)
    B = (blurred + args.noise * np.random.default_rng(0).standard_normal(truth.shape)).astype(np.float32)
    model, U = deblurring(truth.shape, kernel)
    data_of_image = {"B": B, "truth": truth}

    learn.search(model, "lam", learn.MSE(U), data_of_image, max_evaluations=1)  # compiles
    clock = time.perf_counter()
    found = learn.search(model, "lam", learn.MSE(U), data_of_image)
    seconds = time.perf_counter() - clock
    print(found)

    clock = time.perf_counter()
    path = learn.path(model, "lam", np.geomspace(1e3, 1, args.grid) * args.noise**2, data_of_image)
    grid_seconds = time.perf_counter() - clock
    scores = [float(learn.psnr(u, truth)) for u in path[U]]
    best = int(np.argmax(scores))
    score = float(learn.psnr(found.solution[U], truth))
    print()
    print(f"blurred                {learn.psnr(B, truth):.2f} dB")
    least = path.parameter[best]
    print(f"grid, {args.grid:3d} solves       {scores[best]:.2f} dB at lam = {least:.2e}, {grid_seconds:.2f} s")
    print(f"derivative, {found.solves:2d} solves  {score:.2f} dB at lam = {found.value:.2e}, {seconds:.2f} s")

    if not args.no_figure:
        import matplotlib.pyplot as plt

        from admm_jax import plot

        figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained", width_ratios=(1.4, 1, 1, 1))
        errors = np.mean((path[U] - truth) ** 2, axis=(1, 2))
        learn.plot.search(found, axes[0], curve=(path.parameter, errors), label="mean squared error")
        titles = ("original", f"observed, {learn.psnr(B, truth):.2f} dB", f"recovered, {score:.2f} dB")
        for ax, picture, title in zip(axes[1:], (truth, B, found.solution[U]), titles, strict=True):
            plot.image(picture, ax, title=title)
        figure.savefig(args.output, dpi=130)
        print(f"figure: {args.output}")


if __name__ == "__main__":
    main()
