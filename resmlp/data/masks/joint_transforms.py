"""An image and its labels -> the window that is learned from: resize, cut, flip, change the colors.

The order and the settings are MMSegmentation's, with which UPerNet is trained on ADE20K. H W is the image's size,
h w the window's. Randomness comes from Python's global generator, which the loader seeds for each image.
"""

import random
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import adjust_hue

from resmlp.config import Data
from resmlp.config.preprocessing import Interpolation
from resmlp.config.tasks import Segment
from resmlp.data.masks.files import IGNORED
from resmlp.data.masks.maskset import Labeled

TRIES = 10  # windows, before one that is nearly all of one class is taken
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32, 0.5, 0.5, 0.1  # of 255; about 1; about 1; of the circle


class Window(NamedTuple):
    """Rows and columns of an image that is resized to `height` x `width`."""

    height: int
    width: int
    rows: slice
    columns: slice


class JointTransform:
    """(RGB, labels uint8 H W) -> {"image": uint8 3 h w, "mask": uint8 h w}, where the window is `data.size`.

    The image is brought to `task.base_size` times a random number of `task.scale`, and a window is cut anywhere: up
    to 10 times, until no class has `task.max_class_share` of the labels that count. A resized image that is smaller
    than the window lies in its upper left corner, and the rest is of the mean color and counts for nothing.
    """

    def __init__(self, data: Data, task: Segment):
        p = data.preprocessing()
        self.size, self.task = p.size, task
        self.resample = Image.Resampling[p.interpolation.upper()]
        self.fill = tuple(min(255, max(0, round(255 * mean))) for mean in p.mean)

    def __call__(self, pair: Labeled) -> dict[str, Tensor]:
        """One image and its labels."""
        (image, labels), task = pair, self.task
        (height, width), scale = fitted(labels.shape, task.base_size), random.uniform(*task.scale)
        whole = max(1, round(height * scale)), max(1, round(width * scale))
        window, labels = self.cut(whole, labels)
        image = part(image, window, self.resample)
        if random.random() < task.flip:
            image, labels = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
        if task.jitter:
            image = distorted(image, task.jitter)
        return self.padded(image, labels)

    def cut(self, whole: tuple[int, int], labels: np.ndarray) -> tuple[Window, np.ndarray]:
        """A window of an image resized to `whole`, and its labels; the first that the share of classes allows."""
        for _ in range(TRIES):
            rows, columns = (_stretch(own, side) for own, side in zip(self.size, whole))
            window = Window(*whole, rows, columns)
            found = nearest(labels, window)
            counts = np.bincount(found.ravel(), minlength=IGNORED + 1)[:IGNORED]
            most = self.task.max_class_share
            if most == 1 or (np.count_nonzero(counts) > 1 and counts.max() < most * counts.sum()):
                break
        return window, found

    def padded(self, image: Image.Image, labels: np.ndarray) -> dict[str, Tensor]:
        """Both as tensors of the window's size."""
        canvas = np.empty((*self.size, 3), np.uint8)
        canvas[:] = self.fill
        mask = np.full(self.size, IGNORED, np.uint8)
        here = np.s_[: labels.shape[0], : labels.shape[1]]
        canvas[here], mask[here] = np.asarray(image), labels
        return {"image": torch.from_numpy(canvas).permute(2, 0, 1).contiguous(), "mask": torch.from_numpy(mask)}


class BaseSize:
    """For evaluation: the image `fitted` to a base size, uint8 3 h w, and its labels as they are, uint8 H W."""

    def __init__(self, base_size: tuple[int, ...] | None, interpolation: Interpolation):
        self.base_size, self.resample = base_size, Image.Resampling[interpolation.upper()]

    def __call__(self, pair: Labeled) -> dict[str, Tensor]:
        """One image and its labels."""
        image, labels = pair
        height, width = fitted(labels.shape, self.base_size)
        if (width, height) != image.size:
            image = image.resize((width, height), self.resample)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return {"image": pixels, "mask": torch.from_numpy(labels)}


def fitted(size: tuple[int, ...], base_size: tuple[int, ...] | None) -> tuple[int, int]:
    """(height, width) as large as `base_size` allows, in the proportions of `size`, (height, width).

    Two numbers bound the longer and the shorter side, one is the shorter side; None: as it is.
    """
    height, width = size
    if base_size is None:
        return height, width
    factor = min(base_size) / min(size)
    if len(base_size) > 1:
        factor = min(factor, max(base_size) / max(size))
    return max(1, round(height * factor)), max(1, round(width * factor))


def nearest(labels: np.ndarray, window: Window) -> np.ndarray:
    """The labels H W in a window, each that of the pixel into which the center of the resized one falls."""
    height, width = labels.shape[:2]
    rows = (np.arange(window.rows.start, window.rows.stop) + 0.5) * height // window.height
    columns = (np.arange(window.columns.start, window.columns.stop) + 0.5) * width // window.width
    return labels[rows.astype(int)[:, None], columns.astype(int)]


def part(image: Image.Image, window: Window, resample: Image.Resampling) -> Image.Image:
    """The image in a window: what `resize` and then `crop` would give, but only the window is computed."""
    if resample == Image.Resampling.NEAREST:  # Pillow's rounds some ties the other way
        return Image.fromarray(nearest(np.asarray(image), window))
    width, height = image.size
    across, down = width / window.width, height / window.height
    box = (
        window.columns.start * across,
        window.rows.start * down,
        min(width, window.columns.stop * across),
        min(height, window.rows.stop * down),
    )
    size = (window.columns.stop - window.columns.start, window.rows.stop - window.rows.start)
    return image.resize(size, resample, box)


def distorted(image: Image.Image, strength: float) -> Image.Image:
    """Brightness, contrast, saturation and hue, each with odds of one half; contrast before or after the colors."""
    pixels = np.asarray(image, np.float32)
    if random.random() < 0.5:
        pixels = (pixels + strength * random.uniform(-BRIGHTNESS, BRIGHTNESS)).clip(0, 255)
    contrast = 1 + strength * random.uniform(-CONTRAST, CONTRAST) if random.random() < 0.5 else 1.0
    early = random.random() < 0.5
    if early:
        pixels = (pixels * contrast).clip(0, 255)
    if random.random() < 0.5:
        pixels = saturated(pixels, 1 + strength * random.uniform(-SATURATION, SATURATION))
    if random.random() < 0.5:
        turn = strength * random.uniform(-HUE, HUE)
        pixels = np.asarray(adjust_hue(_image(pixels), turn), np.float32)
    return _image(pixels if early else (pixels * contrast).clip(0, 255))


def saturated(pixels: np.ndarray, factor: float) -> np.ndarray:
    """RGB H W 3 in [0, 255] with the saturation of HSV multiplied by `factor`, 1 at most; hue and value stay."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    value = np.maximum(np.maximum(red, green), blue)[..., None]
    low = np.minimum(np.minimum(red, green), blue)[..., None]
    most = value / np.maximum(value - low, 1e-6)  # full saturation: then the least channel is 0
    return value - (value - pixels) * np.minimum(factor, most)


def _stretch(length: int, side: int) -> slice:
    """A stretch of this length anywhere in a side, or all of it."""
    start = random.randint(0, max(0, side - length))
    return slice(start, min(side, start + length))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.round().astype(np.uint8))
