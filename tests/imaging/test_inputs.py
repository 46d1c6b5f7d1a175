"""What `predict` takes: paths, arrays and tensors of every layout give the same pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.imaging.inputs import read_image, split_inputs
from resmlp.utils.errors import UserError


@pytest.fixture
def pixels() -> np.ndarray:
    """uint8 5 6 3, with 0 and 255."""
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    values[0, 0] = (0, 255, 128)
    return values


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a.transpose(2, 0, 1),
        lambda a: a / 255,
        lambda a: (a / 255).astype(np.float32),
        lambda a: (a / 255).astype(np.float32).transpose(2, 0, 1),
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda a: torch.from_numpy(a).permute(2, 0, 1) / 255,
        lambda a: (torch.from_numpy(a).permute(2, 0, 1) / 255).double().requires_grad_(),
    ],
)
def test_every_layout_gives_the_same_pixels(pixels, change):
    given = change(pixels.copy())
    for value, is_single in ((given, True), (given[None], False)):
        images, single = split_inputs(value)
        assert single == is_single
        np.testing.assert_array_equal(np.asarray(read_image(images[0])), pixels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_to_the_nearest_value(pixels, dtype):
    given = (torch.from_numpy(pixels).permute(2, 0, 1) / 255).to(dtype)
    expected = (given.float() * 255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(read_image(given)), expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((3, 4, 5), 1.5), "values from 1.5 to 1.5 (give values from 0 to 1"),
        (torch.full((3, 4, 5), 255.0), "values from 255 to 255 (give values from 0 to 1"),
        (np.full((4, 5, 3), -0.1), "values from -0.1 to -0.1 (give values from 0 to 1"),
        (np.full((4, 5, 3), np.nan), "values from nan to nan (give values from 0 to 1"),
        (torch.zeros(6, 5, 3), "float32 and shape (6, 5, 3) (give a path"),
        (np.zeros((4, 5, 3), np.int64), "int64 and shape (4, 5, 3) (give a path"),
        (np.zeros((4, 5, 2), np.float32), "float32 and shape (4, 5, 2) (give a path"),
        (torch.zeros(3, 0, 5), "it has no pixels"),
    ],
)
def test_other_arrays_are_an_error_in_one_line(value, message):
    with pytest.raises(UserError) as error:
        read_image(value)
    assert message in str(error.value)
    assert len(str(error.value)) < 200


def test_a_path_that_is_no_file_is_named(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").size == (2, 2)
    for path in ("nope.png", "a\0b", "x" * 5000):
        with pytest.raises(UserError, match="no image at") as error:
            read_image(path)
        assert str(error.value).endswith("(check the path)")
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path)
