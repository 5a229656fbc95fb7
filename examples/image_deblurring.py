"""Deblur a small synthetic image by total variation, and see how near the result is to the truth.

    minimise over U   lam * TV(U) + 1/2 || K * U - B ||_F^2

K is a 3 x 3 binomial kernel, B the blurred image. Prints the objective, the status and both errors, and saves a
figure: original, blurred, recovered, convergence.

    python examples/image_deblurring.py [--output FILE] [--no-figure]
"""

import argparse

import numpy as np

import admm_jax as admm


def piecewise_constant_image(height=40, width=50):
    """Two grey blocks with a white one over them, on black, under slight noise."""
    np.random.seed(1)
    image = np.zeros((height, width))
    image[: height // 2, : width // 2] = 0.8
    image[height // 2 :, width // 2 :] = 0.6
    image[height // 4 : 3 * height // 4, width // 5 : 4 * width // 5] = 1.0
    return image + 0.02 * np.random.randn(height, width)


def main(argv=None):
    """Run the example with the given command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default="image_deblurring.png", help="where to save the figure")
    parser.add_argument("--no-figure", action="store_true", help="save none")
    args = parser.parse_args(argv)

    image = piecewise_constant_image()
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    image_blur = admm.conv2d(image, kernel, "same")
    lam = 0.1

    model = admm.Model()
    U = admm.Var("U", image.shape)
    residual = admm.conv2d(U, kernel, "same") - image_blur
    model.setObjective(lam * admm.tv2d(U, p=1) + 0.5 * admm.sum(admm.square(residual)))
    model.optimize()

    print(" * model.ObjVal: ", model.ObjVal)  # expected: 9.2109294; the optimum is 9.210929386767
    print(" * model.StatusString: ", model.StatusString)  # expected: SOLVE_OPT_SUCCESS
    print(f" * error of the blurred image:   {np.linalg.norm(image_blur - image):.2f}")  # expected: 3.59
    print(f" * error of the recovered image: {np.linalg.norm(U.X - image):.2f}")  # expected: 1.08

    if not args.no_figure:
        from admm_jax import plot

        plot.deblurring(image, image_blur, U.X, model.Solution, path=args.output)
        print(f" * figure: {args.output}")


if __name__ == "__main__":
    main()
