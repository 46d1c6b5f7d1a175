"""Shear and translation against Pillow's affine transform with the bicubic filter."""

import numpy as np
import pytest
from PIL import Image

from resmlp.data.images import affine_ops

FILL = (124, 116, 104)


def pillow(image: Image.Image, *matrix: float) -> np.ndarray:
    how = {"resample": Image.Resampling.BICUBIC, "fillcolor": FILL}
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, **how)).astype(int)


def check(actual: np.ndarray, expected: np.ndarray) -> None:
    """Pillow computes in 64 bits and rounds down, so some values are 17 instead of 16 or the reverse."""
    far = abs(actual.transpose(1, 2, 0).astype(int) - expected)
    assert actual.dtype == np.uint8
    assert far.max() <= 1
    assert far.sum() < 2 + 0.02 * far.size


@pytest.fixture(params=["photo", "noise", "small"])
def image(request, photo) -> Image.Image:
    if request.param == "noise":
        return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8))
    return photo if request.param == "photo" else photo.resize((3, 2))


def planar(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("factor", [0.0, 0.27, -0.3, 0.011, 1.7, -4.0])
def test_shear(image, factor):
    check(affine_ops.shear_x(planar(image), factor, FILL), pillow(image, 1, factor, 0, 0, 1, 0))
    check(affine_ops.shear_y(planar(image), factor, FILL), pillow(image, 1, 0, 0, factor, 1, 0))


@pytest.mark.parametrize("pixels", [0.0, 3.0, -7.0, 12.37, -11.81, 0.5, -0.5, 0.04, 200.3, -200.3, 1e9])
def test_translation(image, pixels):
    check(affine_ops.translate_x(planar(image), pixels, FILL), pillow(image, 1, 0, pixels, 0, 1, 0))
    check(affine_ops.translate_y(planar(image), pixels, FILL), pillow(image, 1, 0, 0, 0, 1, pixels))


def test_input_is_not_changed(image):
    before = planar(image)
    for shift in (affine_ops.shear_x, affine_ops.shear_y, affine_ops.translate_x, affine_ops.translate_y):
        shift(before, 0.3, FILL)
        assert (before == planar(image)).all()
