"""The figure of segmentations, for images of any shape."""

import numpy as np
import pytest
from PIL import Image

from resmlp.analysis.overlay import draw_segmentations
from resmlp.analysis.style import DPI, WIDTH
from resmlp.inference.segmentation import Example

SHADES = ((200, 30, 30), (30, 30, 200))


def test_without_images_nothing_is_drawn(tmp_path):
    draw_segmentations([], ("a", "b"), SHADES, tmp_path / "figure.png")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "height"), [(1, 3000), (3000, 1), (40, 30), (1, 1)])
def test_the_size_of_the_figure(tmp_path, width, height):
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :, width // 2 :] = 1
    found = [Example("a.png", Image.new("RGB", (width, height), (9, 99, 9)), labels, labels.astype(np.int16))] * 3
    draw_segmentations(found, ("a", "b"), SHADES, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        across, down = image.size
    assert across == WIDTH * DPI
    assert down < 3 * across
