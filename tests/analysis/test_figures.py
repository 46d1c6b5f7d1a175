"""Figures are complete PNGs of the expected size, with missing parts of a run and with unusual class names."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.analysis import confusion, curves, predictions
from resmlp.analysis.style import DPI, WIDTH, shorten, spread
from resmlp.utils.errors import UserError

from .conftest import NASTY, log_lines, png_size

WIDE = round(WIDTH * DPI)
NAMES = [
    "$\\frac{1",
    "$x$",
    NASTY,
    "北京",
    "new\nline",
    "\udcff\x00",
    "",
    "a name that is longer than its space",
]


def colors(path):
    red, green, blue = np.moveaxis(pixels(path), 2, 0)
    return set(np.flatnonzero(np.bincount((red << 16 | green << 8 | blue).ravel())))


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_matplotlib_is_imported_with_the_first_figure():
    code = "import sys, resmlp.analysis; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_drawing_does_not_change_matplotlib(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves(log_lines(), tmp_path / "c.png")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize(
    ("lines", "panels"),
    [
        (log_lines(), 3),
        (log_lines(kinds=("raw",)), 3),
        (log_lines(kinds=("raw", "ema", "teacher")), 3),
        (log_lines(names=("bleu", "exact_match"), top=30.0), 4),
        (log_lines(names=("miou",)), 3),
        (log_lines(epochs=300), 3),
        ([line for line in log_lines() if line["kind"] == "train"], 2),
        ([line for line in log_lines() if line["kind"] == "eval"], 1),
        (log_lines()[:1], 2),
        ([{"kind": "eval", "step": 0, "epoch": 0, "knn": 0.0}], 1),
        ([{"kind": "eval", "step": 3, "weights": "raw", "top1": 1, "top5": float("nan")}], 1),
        ([{"kind": "train", "step": 1, "epoch": 1, "lr": 0.0, "loss": -2.5, "note": "text", "fine": True}], 2),
        ([{"kind": "train", "step": 1, "epoch": 1, "loss": float("inf")}], 0),
        ([], 0),
    ],
)
def test_curves(tmp_path, lines, panels):
    curves(lines, tmp_path / "figures" / "curves.png")
    width, height = png_size(tmp_path / "figures" / "curves.png")
    assert width == WIDE
    assert height == 1.5 * DPI if panels == 0 else 1.0 * DPI < height <= panels * 3.5 * DPI
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["curves.png"]
    assert pixels(tmp_path / "figures" / "curves.png").min() < 130  # something is drawn


def test_raw_and_averaged_weights_have_their_colors(tmp_path):
    curves(log_lines(kinds=("raw", "ema")), tmp_path / "c.png")
    assert {0x0072B2, 0xC9500A} <= colors(tmp_path / "c.png")


@pytest.mark.parametrize("k", [1, 2, 8, 15, 16, 30, 31, 251, 1000])
def test_confusion(tmp_path, k):
    matrix = torch.eye(k, dtype=torch.int64) * 12_345
    matrix[0, k - 1] += 3
    matrix[k // 2] = 0  # a class without images
    confusion(matrix, [NAMES[i % len(NAMES)] for i in range(k)], tmp_path / "c.png")
    width, height = png_size(tmp_path / "c.png")
    assert width == WIDE
    assert 2.5 * DPI < height < 10 * DPI


def test_confusion_of_nothing_and_with_too_few_names(tmp_path):
    confusion(np.zeros((3, 3), int), ["a"], tmp_path / "c.png")
    confusion(torch.zeros(40, 40, dtype=torch.int64), [], tmp_path / "d.png")
    assert png_size(tmp_path / "c.png")[0] == png_size(tmp_path / "d.png")[0] == WIDE


def test_a_single_error_among_a_thousand_classes_is_visible(tmp_path):
    right, wrong = (torch.eye(1000, dtype=torch.int64) * 50 for _ in range(2))
    wrong[100, 777] = 5
    for name, matrix in (("right", right), ("wrong", wrong)):
        confusion(matrix, [str(i) for i in range(1000)], tmp_path / f"{name}.png")
    differ = abs(pixels(tmp_path / "right.png") - pixels(tmp_path / "wrong.png"))[150:1000].max(axis=2) > 40
    assert differ.sum() >= 9


@pytest.mark.parametrize("count", [0, 1, 5, 9, 24, 30])
def test_predictions_of_a_tensor(tmp_path, count):
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    names = [NAMES[i % len(NAMES)] for i in range(count)]
    predictions(images, names, names[::-1], torch.rand(count), tmp_path / "p.png")
    assert png_size(tmp_path / "p.png")[0] == WIDE


def test_predictions_of_images_of_any_mode_and_shape(tmp_path):
    images = [Image.new("L", (9, 300)), Image.new("RGBA", (1, 1)), Image.new("P", (2000, 50)), Image.new("1", (7, 7))]
    predictions(images, ["a"] * 4, ["a", "b", "a", "b"], [0.0, 0.5, 1.0, 0.25], tmp_path / "p.png")
    assert png_size(tmp_path / "p.png")[0] == WIDE
    assert images[2].size == (2000, 50)
    assert {0x00805C, 0xC9500A} <= colors(tmp_path / "p.png")  # right and wrong


def test_small_images_show_their_pixels(tmp_path):
    board = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    board[0, :, 0, 0] = board[0, :, 1, 1] = 255
    predictions(board, ["a"], ["a"], [1.0], tmp_path / "p.png")
    between = pixels(tmp_path / "p.png")[80:200, 40:200].mean(axis=2)
    assert np.isin(between, (0, 255)).all()


def test_a_figure_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        curves(log_lines(), tmp_path / "file" / "curves.png")


def test_shorten():
    assert shorten("short", 5) == "short"
    assert shorten("abcdefghij", 7) == "abcd…ij"
    assert shorten("two\n lines\t", 20) == "two lines"
    assert shorten("\u202egnp.exe", 20) == r"\u202egnp.exe"
    assert all(len(shorten(name, n)) <= n for name in NAMES for n in (4, 8, 20))


def test_spread():
    assert spread([0.5, 0.1], 0.2) == [0.5, 0.1]
    assert spread([0.5, 0.5], 0.2) == pytest.approx([0.5, 0.7])
    assert spread([1.0, 0.95, 0.99], 0.1) == pytest.approx([1.0, 0.8, 0.9])
    assert spread([], 0.1) == []
