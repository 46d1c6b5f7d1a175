"""The size to which an image is resized for a segmenter."""

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Interpolation
from resmlp.imaging.crop import RESAMPLING, to_array


def fitted(image: Image.Image, base_size: tuple[int, ...] | None, interpolation: Interpolation) -> np.ndarray:
    """An RGB image, resized by `fit_size` -> uint8 3 h w, a writable copy."""
    height, width = fit_size((image.height, image.width), base_size)
    if (width, height) != image.size:
        image = image.resize((width, height), RESAMPLING[interpolation])
    return np.ascontiguousarray(to_array(image))


def fit_size(size: tuple[int, ...], base_size: tuple[int, ...] | None) -> tuple[int, int]:
    """The largest (height, width) that fits `base_size`, with the aspect ratio of `size`, (height, width).

    Two numbers limit the longer and the shorter side, one number is the shorter side, None keeps the size.
    """
    height, width = size
    if base_size is None:
        return height, width
    factor = min(base_size) / min(size)
    if len(base_size) > 1:
        factor = min(factor, max(base_size) / max(size))
    return max(1, round(height * factor)), max(1, round(width * factor))
