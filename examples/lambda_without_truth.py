"""Choose the weight of a deblurring model when only the blurred photograph is known.

Estimates the noise level from the photograph, then finds lam by four criteria: SUGAR (least estimated prediction
error), the discrepancy principle (residual as large as the noise), whiteness (residual like white noise, without a
noise level) and noise whiteness (the same with the noise that the solution took up put back). Here the true photograph
is known after all, to say how much each choice loses against the best.

    python examples/lambda_without_truth.py [--size 96] [--noise 0.02] [--output FILE] [--no-figure]
"""

import argparse

import numpy as np
from skimage import data, transform

import admm_jax as admm
from admm_jax import learn


def main(argv=None):
    """Run the example with the given command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=96, help="side of the photograph")
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation of the noise, white being 1")
    parser.add_argument("--output", default="lambda_without_truth.png", help="where to save the figure")
    parser.add_argument("--no-figure", action="store_true", help="save none")
    args = parser.parse_args(argv)

    shape = (args.size, args.size)
    truth = transform.resize(data.camera()[30:286, 110:366] / 255, shape, anti_aliasing=True).astype(np.float32)
    profile = np.array([1, 4, 6, 4, 1], np.float32) / 16
    kernel = np.outer(profile, profile)
    noise = args.noise * np.random.default_rng(0).standard_normal(shape)
    photograph = (np.asarray(admm.conv2d(truth, kernel, "same")) + noise).astype(np.float32)

    U, B, lam = admm.Var("U", shape), admm.Param("B", shape), admm.Param("lam")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, "same") - B)))

    sigma = float(learn.noise_level(photograph))
    print(f"noise level: estimated {sigma:.4f}, true {args.noise:.4f}")
    criteria = {
        "SUGAR": learn.SUGAR(sigma),
        "discrepancy": learn.Discrepancy(sigma),
        "whiteness": learn.Whiteness(),
        "noise whiteness": learn.NoiseWhiteness(),
    }
    found = {name: learn.search(model, "lam", criterion, {"B": photograph}) for name, criterion in criteria.items()}
    found["oracle"] = learn.search(model, "lam", learn.MSE(U), {"B": photograph, "truth": truth})
    scores = {name: float(learn.psnr(result.solution[U], truth)) for name, result in found.items()}
    print(f"{'criterion':<16}{'lam / sigma^2':>14}{'PSNR':>9}{'lost':>8}{'solves':>8}")
    for name, result in found.items():
        units = learn.to_noise_units(result.value, args.noise)
        lost = scores["oracle"] - scores[name]
        print(f"{name:<16}{units:14.1f}{scores[name]:9.2f}{lost:8.2f}{result.solves:8d}")

    if not args.no_figure:
        from admm_jax import plot

        titles = [f"{name}, {scores[name]:.2f} dB" for name in found]
        pictures = [photograph, *(result.solution[U] for result in found.values())]
        plot.images(pictures, ["observed", *titles], path=args.output)
        print(f"figure: {args.output}")


if __name__ == "__main__":
    main()
