"""The part of an image that a network sees in evaluation: the shorter side to size / crop_ratio, then the center."""

from math import floor

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Preprocessing

RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
"""Pillow's word for an interpolation"""


def frame(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """RGB of any size -> RGB of the network's, as timm does it, to the pixel; small images are enlarged."""
    height, width = preprocessing.size
    size = covering(image.size, preprocessing)
    if size != image.size:
        image = image.resize(size, RESAMPLING[preprocessing.interpolation])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def covering(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """(width, height) to which an image of that (width, height) is resized: it covers size / crop_ratio.

    A square is covered as torchvision does it, which rounds down; another box as timm's ResizeKeepRatio.
    """
    width, height = size
    down, across = (floor(side / preprocessing.crop_ratio) for side in preprocessing.size)
    if down == across:
        return (down, int(down * height / width)) if width <= height else (int(down * width / height), down)
    ratio = min(height / down, width / across)
    return round(width / ratio), round(height / ratio)


def to_array(image: Image.Image) -> np.ndarray:
    """RGB -> uint8 3 H W."""
    return np.array(image).transpose(2, 0, 1)  # a copy, which can be written to
