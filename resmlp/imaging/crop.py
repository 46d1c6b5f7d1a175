"""The evaluation crop: resize the shorter side to size / crop_ratio, then crop the center."""

from math import floor

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Preprocessing

RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
"""from the name of an interpolation to Pillow's filter"""


def eval_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize and center-crop an RGB image to `preprocessing.size`; every pixel equals timm's evaluation transform.

    Smaller images are enlarged.
    """
    height, width = preprocessing.size
    size = cover_size(image.size, preprocessing)
    if size != image.size:
        image = image.resize(size, RESAMPLING[preprocessing.interpolation])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def cover_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """The (width, height) to resize an image of `size`, (width, height), to: it covers size / crop_ratio.

    A square target is computed as in torchvision, which rounds down; any other target as in timm's ResizeKeepRatio.
    """
    width, height = size
    target_height, target_width = (floor(side / preprocessing.crop_ratio) for side in preprocessing.size)
    if target_height == target_width:
        if width <= height:
            return target_width, int(target_width * height / width)
        return int(target_height * width / height), target_height
    ratio = min(height / target_height, width / target_width)
    return round(width / ratio), round(height / ratio)


def to_array(image: Image.Image) -> np.ndarray:
    """RGB image -> uint8 3 H W, a writable copy."""
    return np.array(image).transpose(2, 0, 1)
