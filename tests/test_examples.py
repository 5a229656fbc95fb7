import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")
import matplotlib.pyplot as plt
from skimage import data, io, transform

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def photo():
    return load("deblur_photo")


@pytest.fixture(scope="module")
def scene():
    return transform.resize(data.camera()[40:240, 140:340], (40, 36), anti_aliasing=True)


@pytest.fixture
def files(tmp_path, scene):
    """A grey and a colour image, and a kernel with an even side that is neither symmetric nor separable."""
    kernel = np.array([[0, 1, 2, 4], [1, 3, 1, 0], [5, 2, 0, 1]])
    np.savetxt(tmp_path / "kernel.txt", kernel)
    io.imsave(tmp_path / "grey.png", (255 * scene).astype(np.uint8), check_contrast=False)
    colour = np.stack([scene, scene[::-1], 1 - scene], axis=-1)
    io.imsave(tmp_path / "colour.png", (255 * colour).astype(np.uint8), check_contrast=False)
    return tmp_path


def test_image_deblurring_prints_the_expected_figures(capsys, tmp_path):
    load("image_deblurring").main(["--output", str(tmp_path / "figure.png")])
    out = capsys.readouterr().out
    objective = float(re.search(r"^ \* model\.ObjVal:  (\S+)$", out, re.MULTILINE)[1])
    assert objective == pytest.approx(9.210929386767, rel=1e-8)
    assert " * model.StatusString:  SOLVE_OPT_SUCCESS\n" in out
    assert " * error of the blurred image:   3.59\n" in out
    assert " * error of the recovered image: 1.08\n" in out
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_motion_kernel_is_neither_symmetric_nor_separable_and_is_centred(photo):
    kernel = photo.motion_kernel()
    assert kernel.shape == (15, 15)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0
    values = np.linalg.svd(kernel, compute_uv=False)
    assert values[1] > 0.1 * values[0]
    assert np.abs(kernel - kernel[::-1, ::-1]).sum() > 1
    assert np.abs(kernel - kernel.T).sum() > 1
    centre = [np.average(np.arange(15), weights=kernel.sum(axis=axis)) for axis in (0, 1)]
    np.testing.assert_allclose(centre, 7, atol=1e-9)


@pytest.mark.slow
def test_deblur_photo_and_a_cut_under_both_boundaries(photo, files, capsys):
    figure = files / "figure.png"
    arguments = [files / "grey.png", "--kernel", files / "kernel.txt", "--noise", "0.004", "--cut", "26"]
    photo.main(list(map(str, [*arguments, "--output", figure])))
    frame, cut = (
        {line.split()[0]: line.split() for line in part.splitlines() if re.match(r"  (blurred|zero|unknown) ", line)}
        for part in capsys.readouterr().out.split("a cut of 26 x 26")
    )
    assert float(frame["unknown"][2]) > float(frame["blurred"][1]) + 1.5  # PSNR
    assert float(cut["unknown"][2]) > float(cut["zero"][2]) + 1  # the zero boundary rings
    assert float(frame["unknown"][4]) <= 1e-3  # gap
    assert figure.exists()


@pytest.mark.parametrize("boundary", ["unknown", pytest.param("zero", marks=pytest.mark.slow)])
def test_deblurring_neither_moves_nor_brightens_the_image(photo, files, scene, boundary):
    args, _, kernel = photo.parse(
        [str(files / "grey.png"), "--kernel", str(files / "kernel.txt"), "--noise", "0", "--cut", "0"]
    )
    if boundary == "zero":  # a scene on black, for which this model is true
        scene = np.pad(scene[8:28, 6:26], 3)
        frame, truth = photo.convolve(scene, kernel, "same"), scene
    else:
        frame, truth = photo.observe(scene, kernel, 0.0), photo.crop(scene, kernel.shape)
    args.lam = 1e-5
    recovered = photo.deblur(frame, kernel, boundary, args).recovered
    assert recovered.shape == truth.shape
    errors = {
        shift: np.linalg.norm((np.roll(recovered, shift, (0, 1)) - truth)[3:-3, 3:-3])
        for shift in [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
    }
    assert min(errors, key=errors.get) == (0, 0)
    assert recovered.mean() == pytest.approx(truth.mean(), abs=2e-3)


@pytest.mark.slow
def test_colour_is_deblurred_channel_by_channel_in_one_batch(photo, files, capsys):
    command = [str(files / "colour.png"), "--kernel", str(files / "kernel.txt"), "--cut", "0", "--quiet"]
    args, image, kernel = photo.parse([*command, "--no-figure"])
    frame = photo.observe(image, kernel, args.noise)
    result = photo.deblur(frame, kernel, "unknown", args)
    assert result.converged
    assert result.gap <= args.tol
    one = photo.deblur(frame[..., 1], kernel, "unknown", args).recovered
    np.testing.assert_allclose(result.recovered[..., 1], one, atol=5e-3)
    photo.main([*command, "--no-figure"])
    assert "unknown boundary" in capsys.readouterr().out


@pytest.mark.slow
def test_a_photograph_that_is_blurred_already(photo, files, capsys):
    np.savez(files / "kernels.npz", first=np.ones((3, 4)), second=np.ones((5, 5)))
    io.imsave(files / "blurred.png", io.imread(files / "grey.png")[:38, :33], check_contrast=False)
    output = files / "observed.png"
    command = f"{files}/blurred.png --observed --kernel {files}/kernels.npz:first --cut 0 --output {output}"
    photo.main(command.split())
    out = capsys.readouterr().out
    assert "frame of 38 x 33, kernel 3 x 4" in out
    assert "  blurred" not in out  # no truth, no scores
    assert output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["grey.png", "--kernel", "text.png"], "text.png: not readable"),
        (["grey.png", "--kernel", "nan.npy"], "nan.npy: expected real, finite numbers"),
        (["grey.png", "--kernel", "zero.npy"], "zero.npy: expected a kernel of positive sum, got 0"),
        (["grey.png", "--kernel", "line.npy"], r"line.npy: expected a kernel, \(height, width\), got shape \(4,\)"),
        (["grey.png", "--kernel", "empty.npy"], r"empty.npy: expected a kernel, .*got shape \(0, 3\)"),
        (
            ["grey.png", "--kernel", "large.npy"],
            r"kernel: expected one smaller than the image, \(40, 36\), got \(60, 3\)",
        ),
        (["grey.png", "--kernel", "two.npz"], r"several arrays; name one, as in two.npz:a"),
        (["grey.png", "--kernel", "two.npz:c"], r"no array 'c' among \['a', 'b'\]"),
        (["stack.npy"], r"stack.npy: expected an image, .*got shape \(2, 3, 4, 5\)"),
        (["bright.npy"], "bright.npy: expected values from 0 to 1, got 1 to 255"),
        (["grey.png", "--observed"], "--observed: expected the blurred image and --kernel"),
        (["grey.png", "--lam", "-1"], "--lam: expected a number > 0, got -1.0"),
        (["grey.png", "--lam", "nan"], "--lam: expected a number > 0, got nan"),
        (["grey.png", "--noise", "-1"], "--noise: expected a number >= 0"),
        (["grey.png", "--tol", "0"], "--tol: expected a number between 0 and 1"),
        (["grey.png", "--cut", "35"], "--cut: expected 0, or a side between the kernel's and the frame's, got 35"),
        (["grey.png", "--cut", "0", "--zoom", "30", "0", "20", "5"], "--zoom: expected a part of the frame, 26 x 22"),
    ],
)
def test_bad_input_ends_with_a_message_and_exit_code_2(photo, files, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(files)
    Path("text.png").write_text("not an image")
    np.save("nan.npy", np.full((3, 3), np.nan))
    np.save("zero.npy", np.zeros((3, 3)))
    np.save("line.npy", np.ones(4))
    np.save("empty.npy", np.ones((0, 3)))
    np.save("large.npy", np.ones((60, 3)))
    np.save("stack.npy", np.ones((2, 3, 4, 5)))
    np.save("bright.npy", np.linspace(1, 255, 900).reshape(30, 30))
    np.savez("two.npz", a=np.ones((3, 3)), b=np.ones((3, 3)))
    with pytest.raises(SystemExit) as ended:
        photo.main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize("name", load("cookbook").RECIPES)
def test_recipes_recover_what_was_lost(name):
    book = load("cookbook")
    seen, recovered, truth = book.RECIPES[name](40)
    assert recovered.shape == truth.shape
    if seen.shape == truth.shape:
        assert book.psnr(recovered, truth) > book.psnr(seen, truth) + 2
    else:
        assert book.psnr(recovered, truth) > 18


@pytest.mark.slow
def test_the_cookbook_draws_what_is_asked_for(tmp_path, capsys):
    load("cookbook").main(["--size", "40", "--only", "missing_pixels", "--output", str(tmp_path / "book.png")])
    assert "missing_pixels" in capsys.readouterr().out
    assert (tmp_path / "book.png").stat().st_size > 5_000


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_and_its_text_agree(notebook):
    import jupytext

    cells = [
        [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
        for path in (notebook, notebook.with_suffix(".py"))
    ]
    assert cells[0] == cells[1]
