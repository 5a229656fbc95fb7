"""Deblur a photograph whose blur kernel is known, by total variation.

Without arguments: scikit-image's `camera`, blurred by a curved, unsymmetric motion and seen through a frame with
noise of 2/255. With an image (and a kernel file): the same on that image, or, with --observed, on a photograph that is
already blurred.

A frame shows a part of a scene, and the light at its border comes partly from beyond it. Two models:

    unknown   minimise over U   lam TV(U) + 1/2 || conv2d(U, K, "valid") - B ||^2
    zero      minimise over U   lam TV(U) + 1/2 || conv2d(U, K, "same") - B ||^2

The unknown boundary has a U larger than the frame, which is cropped afterwards; the zero boundary takes the scene to be
black beyond the frame, and answers with ringing where it is not.

Examples:
    python examples/deblur_photo.py
    python examples/deblur_photo.py holiday.png --kernel kernel.txt --noise 0.01 --boundary unknown
    python examples/deblur_photo.py shaken.jpg --kernel kernels.npz:k1 --observed --lam 1e-3
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from skimage import data, metrics, util

import admm_jax as admm
from admm_jax import plot
from admm_jax.progress import Info, NoProgress, Record, TableProgress


def motion_kernel(size=15):
    """The trace of a shaken camera: a curve, run through unevenly, centred; neither symmetric nor separable."""
    t = np.linspace(0, 1, 40 * size)
    weight = 1 + 0.8 * np.cos(5 * t)
    path = np.stack([0.72 * np.sin(2.3 * np.pi * t + 0.4) * (1 - 0.35 * t), 1.76 * t**1.3])
    path -= np.average(path, axis=1, weights=weight)[:, None]
    path = (size - 1) / 2 * (1 + path / np.abs(path).max())
    kernel = np.zeros((size + 1, size + 1))
    corner = np.floor(path).astype(int)
    for shift in np.ndindex(2, 2):  # each point of the curve is shared among its four pixels
        pixel = corner + np.reshape(shift, (2, 1))
        np.add.at(kernel, tuple(pixel), weight * np.prod(1 - np.abs(path - pixel), axis=0))
    return kernel[:size, :size] / kernel.sum()


def load_array(path):
    """The numbers in an image, .npy, .npz (`file.npz:key`) or text file."""
    name, _, key = str(path).partition(".npz:")
    file = Path(f"{name}.npz" if key else path)
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    try:
        if file.suffix == ".npy":
            return np.load(file)
        if file.suffix == ".npz":
            with np.load(file) as arrays:
                if not key and len(arrays.files) != 1:
                    raise ValueError(
                        f"several arrays; name one, as in {file.name}:{arrays.files[0]}, of {arrays.files}"
                    )
                if key and key not in arrays.files:
                    raise ValueError(f"no array {key!r} among {arrays.files}")
                return arrays[key or arrays.files[0]]
        if file.suffix in (".txt", ".csv", ".dat"):
            return np.loadtxt(file, delimiter="," if file.suffix == ".csv" else None, ndmin=2)
        with Image.open(file) as picture:
            mode = {"LA": "L", "P": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}.get(picture.mode, picture.mode)
            return np.asarray(picture.convert(mode))
    except Exception as error:  # whatever the reader of a broken file raises
        raise ValueError(f"{file}: not readable: {error}") from error


def load_image(path):
    """An image in [0, 1], (height, width) or (height, width, 3)."""
    image = np.asarray(load_array(path))
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"{path}: expected an image, (height, width) or (height, width, 3), got shape {image.shape}")
    image = finite(util.img_as_float(image) if image.dtype.kind in "bu" else image, path)
    if image.min() < -0.5 or image.max() > 1.5:
        raise ValueError(f"{path}: expected values from 0 to 1, got {image.min():.3g} to {image.max():.3g}")
    return image


def load_kernel(path):
    """A blur kernel of sum 1."""
    kernel = np.asarray(load_array(path))
    if kernel.ndim == 3:
        kernel = kernel.mean(axis=2)
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"{path}: expected a kernel, (height, width), got shape {kernel.shape}")
    kernel = finite(kernel, path)
    if kernel.sum() <= 0:
        raise ValueError(f"{path}: expected a kernel of positive sum, got {kernel.sum():.3g}")
    return kernel / kernel.sum()


def finite(array, path):
    """The array as floats, if it holds real, finite numbers."""
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(f"{path}: expected real, finite numbers, got {array.dtype} with NaN, infinity or other values")
    return array.astype(float)


def crop(image, kernel_shape):
    """The part of a scene that conv2d(scene, kernel, "valid") shows: the kernel's centre stays where it is."""
    rows, columns = (slice(n // 2, image.shape[i] - (n - 1) // 2) for i, n in enumerate(kernel_shape))
    return image[rows, columns]


def convolve(image, kernel, mode):
    """conv2d of each channel."""
    if image.ndim == 2:
        return np.asarray(admm.conv2d(image, kernel, mode))
    return np.stack([convolve(image[..., c], kernel, mode) for c in range(3)], axis=-1)


def observe(scene, kernel, noise):
    """What a frame shows of a scene: its blurred part that needs nothing from beyond the scene, and noise."""
    frame = convolve(scene, kernel, "valid")
    return frame + noise * np.random.default_rng(0).standard_normal(frame.shape)


def deblurring_model(frame_shape, kernel, boundary, p):
    """The model of one channel, with the data B and the weight lam as parameters; its unknown image or scene U."""
    B, lam = admm.Param("B", *frame_shape), admm.Param("lam")
    beyond = boundary == "unknown"
    U, mode = (admm.Scene("U", B, kernel), "valid") if beyond else (admm.Var("U", frame_shape), "same")
    model = admm.Model()
    model.setObjective(lam * admm.tv2d(U, p=p) + 0.5 * admm.sum(admm.square(admm.conv2d(U, kernel, mode) - B)))
    return model, U


class Result(NamedTuple):
    """A recovered frame and how it was found; over the channels, the worst figures."""

    recovered: np.ndarray
    objective: float
    gap: float
    iterations: int
    converged: bool
    history: Any
    compiling: float  # seconds
    solving: float


def deblur(frame, kernel, boundary, args):
    """Recover the frame: a grey one by `optimize`, the channels of a colour one by a batched `solve`.

    What a model with the unknown boundary estimates beyond the frame is left out.
    """
    model, U = deblurring_model(frame.shape[:2], kernel, boundary, args.tv)
    display = NoProgress() if args.quiet else TableProgress()
    result = (deblur_grey if frame.ndim == 2 else deblur_colour)(model, U, frame, args, display)
    images = np.asarray(result.recovered, dtype=float)  # channels first, where there are any
    images = U.frame(images) if boundary == "unknown" else images
    return result._replace(recovered=images if frame.ndim == 2 else np.moveaxis(images, 0, 2))


def deblur_grey(model, U, frame, args, display):
    """One channel, in float64."""
    params = {"B": frame, "lam": args.lam}
    model.setOption("tol", args.tol)
    model.setOption("max_iterations", 1)
    model.optimize(params)  # compiles the program that the solve uses
    compiling = model.SolverTime
    model.setOption("max_iterations", args.max_iterations)
    model.optimize(params, progress=display)
    figures = model.ObjVal, model.DualGap, model.NumIters, bool(model.Solution.converged)
    return Result(U.X, *figures, model.Solution.history, compiling, model.SolverTime)


def deblur_colour(model, U, frame, args, display, turn=200):
    """All channels in one batched solve in JAX's own dtype, some iterations a turn so as to show progress."""

    def solve(B, init=None):
        return model.solve({"B": B, "lam": args.lam}, init=init, tol=args.tol, max_iterations=turn)

    def run(*arguments):
        nonlocal compiling, solving
        if len(arguments) not in programs:
            start = time.perf_counter()
            programs[len(arguments)] = jax.jit(jax.vmap(solve)).lower(*arguments).compile()
            compiling += time.perf_counter() - start
        start = time.perf_counter()
        solution = jax.block_until_ready(programs[len(arguments)](*arguments))
        solving += time.perf_counter() - start
        return solution

    programs, compiling, solving, iterations, histories = {}, 0.0, 0.0, 0, []
    channels = jnp.moveaxis(jnp.asarray(frame), 2, 0)
    display.start(Info(channels.size, args.tol, args.max_iterations))
    solution = run(channels)
    while True:
        histories.append(solution.history._replace(iteration=solution.history.iteration + iterations))
        iterations += int(jnp.max(solution.iterations))
        gap, objective = float(jnp.max(solution.gap)), float(jnp.sum(solution.objective))
        residuals = [float(jnp.max(r)) for r in (solution.primal_residual, solution.dual_residual)]
        display.update(Record(iterations, objective, gap, *residuals, float(jnp.mean(solution.rho)), solving))
        converged = bool(jnp.all(solution.converged))
        if converged or iterations >= args.max_iterations:
            break
        solution = run(channels, solution)
    slowest = int(jnp.argmax(solution.gap))
    history = jax.tree.map(lambda *parts: np.concatenate([np.asarray(part[slowest]) for part in parts]), *histories)
    result = Result(solution[U], objective, gap, iterations, converged, history, compiling, solving)
    display.finish(result)
    return result


def quality(image, truth):
    """PSNR in dB and SSIM, for images in [0, 1]."""
    channel = 2 if truth.ndim == 3 else None
    return (
        metrics.peak_signal_noise_ratio(truth, image, data_range=1),
        metrics.structural_similarity(truth, image, data_range=1, channel_axis=channel),
    )


def report(title, truth, blurred, results):
    """Print the scores and how they were reached."""
    print(f"{title:26}{'PSNR':>8}{'SSIM':>8}{'gap':>10}{'iterations':>12}{'compile':>10}{'solve':>9}")
    if truth is not None:
        print("{:26}{:8.2f}{:8.4f}".format("  blurred", *quality(blurred, truth)))
    for boundary, result in results.items():
        scores = "{:8.2f}{:8.4f}".format(*quality(result.recovered, truth)) if truth is not None else f"{'':16}"
        figures = f"{result.gap:10.1e}{result.iterations:12d}{result.compiling:8.2f} s{result.solving:7.2f} s"
        print(f"{f'  {boundary} boundary':26}{scores}{figures}")
        if not result.converged:
            print("  the tolerance was not reached: raise --max-iterations or --tol")


def draw(truth, frame, result, compared, args):
    """Save the figure: the images with a magnified part, the convergence; below, a cut under both boundaries."""
    if not compared:
        zoom = tuple(args.zoom)
        plot.deblurring(truth, frame, result.recovered, result.history, zoom=zoom, tol=args.tol, path=args.output)
        return
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 7.6), layout="constrained")
    frames = {"original": truth, "blurred": frame, f"recovered, {args.boundary} boundary": result.recovered}
    cuts = {f"cut, {boundary} boundary": result.recovered for boundary, result in compared.items()}
    shown = [(title, picture) for title, picture in frames.items() if picture is not None]
    for ax, (title, picture) in zip(axes.flat, shown, strict=False):
        plot.inset(plot.image(picture, ax, title=title), picture, tuple(args.zoom))
    for ax, (title, picture) in zip(axes[1], cuts.items(), strict=False):
        plot.image(picture, ax, title=title)
    if truth is None:
        axes[0, 2].set_axis_off()
    plot.convergence(result.history, axes[1, 2], tol=args.tol)
    figure.savefig(args.output, dpi=130)


def parse(argv):
    """The command line, its files read and checked; bad ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", help="image file or .npy; scikit-image's `camera` by default")
    parser.add_argument("--kernel", help="image, .npy, .npz (file.npz:key) or text file; a motion by default")
    parser.add_argument("--observed", action="store_true", help="the image is blurred already: deblur it as it is")
    parser.add_argument("--noise", type=float, default=2 / 255, help="standard deviation of the noise, white being 1")
    parser.add_argument("--lam", type=float, help="weight of the total variation; by default 12 noise^2")
    parser.add_argument("--tv", type=int, choices=(1, 2), default=1, help="1 anisotropic, 2 isotropic")
    parser.add_argument("--boundary", choices=("unknown", "zero"), default="unknown", help="beyond the frame")
    parser.add_argument("--cut", type=int, default=128, help="side of a part to compare both boundaries on; 0 for none")
    parser.add_argument("--tol", type=float, default=1e-3, help="certified relative gap to reach")
    parser.add_argument("--max-iterations", type=int, default=2000)
    parser.add_argument(
        "--zoom", type=int, nargs=4, metavar=("ROW", "COLUMN", "HEIGHT", "WIDTH"), help="what to magnify"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    parser.add_argument("--output", default="deblur_photo.png", help="where to save the figure")
    parser.add_argument("--no-figure", action="store_true", help="save none")
    args = parser.parse_args(argv)
    try:
        return check(args)
    except ValueError as error:
        parser.error(str(error))


def check(args):
    """Fill in the defaults, read the files, and refuse what cannot work: the arguments, the image, the kernel."""
    if args.observed and not (args.image and args.kernel):
        raise ValueError("--observed: expected the blurred image and --kernel, the kernel that blurred it")
    args.lam = 12 * max(args.noise, 1e-3) ** 2 if args.lam is None else args.lam
    for name, value, good, expected in (
        ("noise", args.noise, 0 <= args.noise < np.inf, "a number >= 0"),
        ("lam", args.lam, 0 < args.lam < np.inf, "a number > 0"),
        ("tol", args.tol, 0 < args.tol < 1, "a number between 0 and 1"),
        ("max-iterations", args.max_iterations, args.max_iterations > 0, "a number >= 1"),
    ):
        if not good:
            raise ValueError(f"--{name}: expected {expected}, got {value}")
    kernel = load_kernel(args.kernel) if args.kernel else motion_kernel()
    image = load_image(args.image) if args.image else util.img_as_float(data.camera())
    rows, columns = np.subtract(image.shape[:2], (0, 0) if args.observed else np.subtract(kernel.shape, 1))
    if min(*np.subtract(image.shape[:2], kernel.shape), rows - 7, columns - 7) < 0:  # SSIM needs 7 x 7 pixels
        raise ValueError(f"kernel: expected one smaller than the image, {image.shape[:2]}, got {kernel.shape}")
    if args.cut and not max(7, *kernel.shape) <= args.cut <= min(rows, columns):
        raise ValueError(f"--cut: expected 0, or a side between the kernel's and the frame's, got {args.cut}")
    zoom = [80, 190, 110, 110] if args.image is None else None
    row, column, height, width = args.zoom = (
        args.zoom or zoom or [rows * 3 // 8, columns * 3 // 8, rows // 4, columns // 4]
    )
    if not (0 <= row < row + height <= rows and 0 <= column < column + width <= columns):
        raise ValueError(f"--zoom: expected a part of the frame, {rows} x {columns}, got {args.zoom}")
    return args, image, kernel


def main(argv=None):
    """Run the example with the given command-line arguments."""
    args, image, kernel = parse(argv)
    truth = None if args.observed else crop(image, kernel.shape)
    frame = image if args.observed else observe(image, kernel, args.noise)
    name = Path(args.image).name if args.image else "camera"
    print(f"{name}: frame of {frame.shape[0]} x {frame.shape[1]}, kernel {kernel.shape[0]} x {kernel.shape[1]}")
    print(f"lam {args.lam:.3g}, {('anisotropic', 'isotropic')[args.tv - 1]} TV, tolerance {args.tol:.0e}\n")

    result = deblur(frame, kernel, args.boundary, args)
    print()
    report("the frame", truth, frame, {args.boundary: result})
    beyond = "goes on" if args.boundary == "unknown" else "is black"
    print(f"  used: the {args.boundary} boundary, taking it that the scene {beyond} beyond the frame")

    compared = {}
    if args.cut:
        part = tuple(slice((n - args.cut) // 2, (n + args.cut) // 2) for n in frame.shape[:2])
        args.quiet = True
        compared = {boundary: deblur(frame[part], kernel, boundary, args) for boundary in ("zero", "unknown")}
        print()
        report(
            f"a cut of {args.cut} x {args.cut} from it", None if truth is None else truth[part], frame[part], compared
        )

    if not args.no_figure:
        draw(truth, frame, result, compared, args)
        print(f"\nfigure: {args.output}")


if __name__ == "__main__":
    main()
