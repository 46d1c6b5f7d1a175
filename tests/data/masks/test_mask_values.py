"""Masks as other programs write them: 0 and 255, soft edges, and the modes of PNG."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import open_eval_masks, open_masks
from resmlp.data.masks.files import read_numbers
from resmlp.data.masks.soft_edges import has_soft_edges
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError

SIZE = (40, 30)
MaskOf = Callable[[int], Image.Image]


def disk(low: int = 0, high: int = 255) -> MaskOf:
    """A mask of two values, with a disk of the second one."""

    def mask(i: int) -> Image.Image:
        image = Image.new("L", SIZE, low)
        ImageDraw.Draw(image).ellipse((5, 5, 25 + i, 22), fill=high)
        return image

    return mask


def antialiased(i: int) -> Image.Image:
    large = Image.new("L", (320, 240))
    ImageDraw.Draw(large).ellipse((40, 40, 200 + 8 * i, 180), fill=255)
    return large.resize(SIZE)


def once_jpeg(i: int) -> Image.Image:
    file = BytesIO()
    disk()(i).save(file, "JPEG")
    return Image.open(file)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Data]:
    """A data set of these masks, 3 for training and 2 for validation."""

    def tree(mask: MaskOf, classes: str = "background\nroad\n", palette: str = "") -> Data:
        for part, count in (("train", 3), ("val", 2)):
            for folder in ("images", "labels"):
                (tmp_path / folder / part).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", SIZE, (i, 0, 0)).save(tmp_path / f"images/{part}/{i}.jpg")
                mask(i).save(tmp_path / f"labels/{part}/{i}.png")
        for name, text in (("classes", classes), ("palette", palette)):
            if text:
                (tmp_path / f"{name}.txt").write_text(text)
        return Data(source="masks", root=str(tmp_path))

    return tree


def message(data: Data, task: Segment) -> str:
    with pytest.raises(UserError) as caught:
        open_masks(data, task)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text.replace(str(data.root), "")) < 240
    return text


@pytest.mark.parametrize("classes", ["background\nroad\n", "", "0 background\n1 road\n", "0 background\n255 road\n"])
def test_masks_of_0_and_255(tree, classes):
    data = tree(disk(), classes)
    text = message(data, Segment())
    assert "255" in text
    assert "ignored" in text
    assert "--task.label-map 255 1 reads 255 as" in text
    if "255" not in classes:
        assert "is in every mask" in text
    train, val = open_masks(data, Segment(label_map=((255, 1),)))
    assert len(train.classes) == 2
    assert train.notes == () or not classes
    for masks, folder in ((train, "train"), (val, "val")):
        raw = np.asarray(Image.open(Path(str(data.root)) / f"labels/{folder}/1.png"))
        assert np.array_equal(masks.read(1)[1], (raw == 255).astype(np.uint8))
    evaluated = open_eval_masks(data, Segment(label_map=((255, 1),)), classes=train.classes)
    assert np.array_equal(evaluated.read(0)[1], val.read(0)[1])


def test_a_note_where_the_empty_class_is_accepted(tree):
    train, _ = open_masks(tree(disk()), Segment(empty_classes=True))
    assert "255, the ignored label, is in every mask" in train.notes[-1]
    assert "--task.label-map 255 K" in train.notes[-1]


def test_255_in_some_masks_is_counted(tree):
    text = message(tree(lambda i: disk()(i) if i else Image.new("L", SIZE)), Segment())
    assert "255, which is ignored, is in 2 of 3 masks" in text


@pytest.mark.parametrize(("number", "ignored"), [(128, 255), (255, None), (100, 255), (254, 255)])
def test_another_number_of_the_foreground(tree, number, ignored):
    data, task = tree(disk(high=number)), {"ignore_index": ignored}
    text = message(data, Segment(**task))
    assert f"has label {number}" in text
    assert f"--task.label-map {number} K" in text
    assert open_masks(data, Segment(**task, label_map=((number, 1),))).train.classes == ("background", "road")


def test_three_levels(tree):
    def mask(i: int) -> Image.Image:
        image = disk()(i)
        ImageDraw.Draw(image).rectangle((30, 20, 38, 28), fill=128)
        return image

    data = tree(mask, "a\nb\nc\n")
    train, _ = open_masks(data, Segment(label_map=((128, 1), (255, 2))))
    assert np.unique(train.read(0)[1]).tolist() == [0, 1, 2]


def test_the_foreground_is_class_0_where_0_is_ignored(tree):
    data = tree(disk(low=0, high=255), "road\nsky\n")
    text = message(data, Segment(reduce_zero_label=True))
    assert "all labels" in text
    assert "255, which is ignored" in text
    train, _ = open_masks(data, Segment(reduce_zero_label=True, label_map=((255, 1),), empty_classes=True))
    assert np.unique(train.read(0)[1]).tolist() == [0, 255]


def test_a_class_that_does_not_exist(tree):
    assert "--task.label-map 255 2: the classes are 0 to 1" in message(tree(disk()), Segment(label_map=((255, 2),)))
    with pytest.raises(UserError, match="from 0 to 65535"):
        Segment(label_map=((-1, 1),))


@pytest.mark.parametrize("mask", [antialiased, once_jpeg])
@pytest.mark.parametrize("classes", ["background\nroad\n", ""])
@pytest.mark.parametrize("label_map", [(), ((255, 1),)])
def test_soft_edges_are_named(tree, mask, classes, label_map):
    text = message(tree(mask, classes), Segment(label_map=label_map))
    assert "soft edges" in text
    assert "antialiasing" in text


def test_a_jpeg_is_named(tree):
    data = tree(disk())
    disk()(0).save(Path(str(data.root)) / "labels/train/0.png", format="JPEG")
    assert "is a JPEG file (its edges hold other numbers" in message(data, Segment())


def test_many_rare_classes_are_not_soft_edges():
    numbers = np.zeros((100, 100), np.uint8)
    for k in range(1, 81):
        row, column = divmod(k, 9)
        numbers[11 * row : 11 * row + 6, 11 * column : 11 * column + 6] = k
    numbers[90:, 50:] = 100
    assert not has_soft_edges(numbers)
    assert not has_soft_edges(np.zeros((5, 5), np.uint8))
    assert not has_soft_edges(np.asarray(disk()(0)))


NUMBERS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
COLORS = np.array([[0, 0, 0], [128, 64, 128], [70, 130, 180]], np.uint8)
PALETTE = tuple((i, tuple(color)) for i, color in enumerate(COLORS.tolist()))


def with_alpha(image: Image.Image, alpha: int) -> Image.Image:
    image = image.copy()
    image.putalpha(alpha)
    return image


def transparent_palette(image: Image.Image, file: Path) -> None:
    image = image.copy()
    image.putpalette(COLORS.tobytes())
    image.save(file, transparency=0)


GRAY, COLORED = Image.fromarray(NUMBERS), Image.fromarray(COLORS[NUMBERS])
READ = {
    "gray": (lambda f: GRAY.save(f), ()),
    "gray as RGB": (lambda f: GRAY.convert("RGB").save(f), ()),
    "gray as RGBA": (lambda f: GRAY.convert("RGBA").save(f), ()),
    "gray with opaque alpha": (lambda f: with_alpha(GRAY, 255).save(f), ()),
    "gray with a transparent color": (lambda f: GRAY.save(f, transparency=1), ()),
    "RGB": (lambda f: COLORED.save(f), PALETTE),
    "RGBA": (lambda f: with_alpha(COLORED, 255).save(f), PALETTE),
    "RGB with a transparent color": (lambda f: COLORED.save(f, transparency=(0, 0, 0)), PALETTE),
    "a palette with transparency": (lambda f: transparent_palette(GRAY, f), ()),
    "a palette and palette.txt": (lambda f: transparent_palette(GRAY, f), PALETTE),
    "16 bits": (lambda f: Image.fromarray(NUMBERS.astype(np.uint16)).save(f), ()),
}


@pytest.mark.parametrize("kind", READ)
def test_kinds_of_png(kind, tmp_path):
    write, colors = READ[kind]
    write(tmp_path / "a.png")
    assert np.array_equal(read_numbers(File(str(tmp_path / "a.png")), colors), NUMBERS)


def test_one_bit(tmp_path):
    Image.fromarray(NUMBERS == 1).save(tmp_path / "a.png")
    assert np.array_equal(read_numbers(File(str(tmp_path / "a.png"))), NUMBERS == 1)


def rgb16(file: Path) -> None:
    """RGB of 16 bits, of which Pillow would read the upper 8 bits: 0 everywhere."""
    rows = b"".join(b"\0" + np.repeat(row.astype(">u2"), 3).tobytes() for row in NUMBERS)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


REFUSED = {
    "colors": (lambda f: COLORED.save(f), (), "has colors \\(RGB\\)"),
    "RGBA colors": (lambda f: with_alpha(COLORED, 255).save(f), (), "has colors \\(RGBA\\)"),
    "an unknown color": (lambda f: Image.new("RGB", (4, 3), "red").save(f), PALETTE, "the color 255 0 0"),
    "half transparent": (lambda f: with_alpha(COLORED, 128).save(f), PALETTE, "transparent pixels"),
    "gray, transparent": (lambda f: with_alpha(GRAY, 0).save(f), (), "transparent pixels"),
    "RGB of 16 bits": (rgb16, (), "channels of 16 bits"),
    "WebP": (lambda f: COLORED.save(f, "WEBP"), PALETTE, "is a WEBP file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_one_line(kind, tmp_path):
    write, colors, expected = REFUSED[kind]
    write(tmp_path / "a.png")
    with pytest.raises(UserError, match=expected) as caught:
        read_numbers(File(str(tmp_path / "a.png")), colors)
    assert "\n" not in str(caught.value)


def test_rgba_by_palette(tree):
    colors = "0 0 0\n128 64 128\n70 130 180\n"
    data = tree(lambda i: with_alpha(Image.fromarray(COLORS[np.asarray(disk(0, 1)(i))]), 255), "a\nb\n", colors)
    train, _ = open_masks(data, Segment())
    assert np.array_equal(train.read(2)[1], np.asarray(disk(0, 1)(2)))
