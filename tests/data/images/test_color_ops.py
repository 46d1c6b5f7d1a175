"""Every color operation has exactly Pillow's pixels."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from resmlp.data.images import color_ops

FACTORS = (0.0, 0.1, 0.37, 1.0, 1.81, 1.9)


@pytest.fixture(params=["photo", "noise", "flat", "two", "small", "tiny"])
def image(request, photo) -> Image.Image:
    rng = np.random.default_rng(0)
    made = {
        "photo": lambda: photo,
        "noise": lambda: Image.fromarray(rng.integers(0, 256, (40, 33, 3), dtype=np.uint8)),
        "flat": lambda: Image.new("RGB", (20, 30), (7, 255, 0)),
        "two": lambda: Image.fromarray(np.repeat(rng.integers(0, 2, (16, 16, 1), dtype=np.uint8) * 200, 3, 2)),
        "small": lambda: photo.resize((3, 3)),
        "tiny": lambda: photo.resize((2, 1)),
    }
    return made[request.param]()


def same(actual: np.ndarray, expected: Image.Image) -> bool:
    assert actual.dtype == np.uint8
    return (actual.transpose(1, 2, 0) == np.asarray(expected)).all()


def planar(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("actual", "pillow"),
    [
        (color_ops.brightness, ImageEnhance.Brightness),
        (color_ops.contrast, ImageEnhance.Contrast),
        (color_ops.color, ImageEnhance.Color),
        (color_ops.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_blends(image, actual, pillow):
    for factor in FACTORS:
        assert same(actual(planar(image), factor), pillow(image).enhance(factor))


@pytest.mark.parametrize(
    ("actual", "pillow"),
    [
        (color_ops.invert, ImageOps.invert),
        (color_ops.autocontrast, ImageOps.autocontrast),
        (color_ops.equalize, ImageOps.equalize),
    ],
)
def test_operations_without_a_level(image, actual, pillow):
    assert same(actual(planar(image)), pillow(image))


def test_posterize(image):
    for bits in range(1, 9):
        assert same(color_ops.posterize(planar(image), bits), ImageOps.posterize(image, bits))


def test_solarize(image):
    for threshold in (0, 26, 128, 255, 256):
        assert same(color_ops.solarize(planar(image), threshold), ImageOps.solarize(image, threshold))


def test_solarize_add(image):
    table = [min(255, i + 110) if i < 128 else i for i in range(256)] * 3
    assert same(color_ops.solarize_add(planar(image), 110), image.point(table))


def test_gray(image):
    assert (color_ops.gray(planar(image)) == np.asarray(image.convert("L"))).all()


def test_input_is_not_changed(image):
    before = planar(image)
    changes = (color_ops.invert, color_ops.autocontrast, color_ops.equalize)
    for change in (
        *changes,
        *(lambda x, f=f: f(x, 0.5) for f in (color_ops.color, color_ops.sharpness, color_ops.contrast)),
    ):
        change(before)
        assert (before == planar(image)).all()
