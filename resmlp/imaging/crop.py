"""The evaluation crop: resize the shorter side to size / crop_ratio, then crop the center."""

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config.image_size import nearest_shape
from resmlp.config.preprocessing import Interpolation, Preprocessing

Size = tuple[int, int]
"""width, height"""
Box = tuple[int, int, int, int]
"""left, top, right, bottom"""

RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
"""from the name of an interpolation to Pillow's filter"""
SUPPORT = 2  # pixels of the smaller of the two images on each side of a point that bicubic interpolation reads
MAX_RESIZED = 2**24  # pixels of an image that is resized as a whole


def eval_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize and center-crop an RGB image to `preprocessing.size`; every pixel equals timm's evaluation transform.

    Smaller images are enlarged. Of a very long image only the part that the crop shows is resized, so that the memory
    does not grow with its length; its pixels then equal timm's but for the rounding between the two axes.
    """
    height, width = preprocessing.size
    size = cover_size(image.size, preprocessing)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    box = (left, top, left + width, top + height)
    resample = RESAMPLING[preprocessing.interpolation]
    if size[0] * size[1] > MAX_RESIZED:
        return _resize_box(image, size, box, resample)
    return (image if size == image.size else image.resize(size, resample)).crop(box)


def _resize_box(image: Image.Image, size: Size, box: Box, resample: Image.Resampling) -> Image.Image:
    """The `box` of the image resized to `size`, without the rest of it; the box lies inside."""
    spans = [_source_span(*side) for side in zip(image.size, size, box[:2], box[2:])]
    part = image.crop((spans[0].first, spans[1].first, spans[0].last, spans[1].last))
    left, top = (span.start - span.first for span in spans)
    right, bottom = (span.end - span.first for span in spans)
    return part.resize((box[2] - box[0], box[3] - box[1]), resample, (left, top, right, bottom))


class _Span(NamedTuple):
    """Where a range of output pixels lies along one side of the input, in input pixels."""

    start: float
    end: float
    first: int
    """the first pixel that the interpolation reads"""
    last: int
    """the pixel after the last one"""


def _source_span(length: int, resized: int, start: int, end: int) -> _Span:
    """The span of the output pixels from `start` to `end`, of a side of `length` that is resized to `resized`."""
    scale = length / resized
    margin = SUPPORT * max(scale, 1)
    first, last = floor(start * scale - margin), ceil(end * scale + margin)
    return _Span(start * scale, end * scale, max(0, first), min(length, last))


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


def resize_whole(image: Image.Image, shapes: Sequence[Size], interpolation: Interpolation) -> Image.Image:
    """The whole RGB image resized, without a crop, to the one of `shapes` (height, width) with the nearest aspect."""
    height, width = nearest_shape((image.height, image.width), shapes)
    return image if image.size == (width, height) else image.resize((width, height), RESAMPLING[interpolation])


def to_array(image: Image.Image) -> np.ndarray:
    """RGB image -> uint8 3 H W, a writable copy."""
    return np.array(image).transpose(2, 0, 1)
