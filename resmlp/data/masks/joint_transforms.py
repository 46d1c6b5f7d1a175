"""Joint transforms of an image and its labels: resize, random window, flip, color distortion.

The order and the settings are those of MMSegmentation for UPerNet on ADE20K. H W is the size of the image, h w that of
the window. The random numbers come from Python's global generator, which the loader seeds for each image.
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
from resmlp.data.masks.maskset import ImageAndLabels
from resmlp.imaging.fit_size import fit_size, fitted

TRIES = 10  # windows to draw before one with mostly one class is accepted
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32, 0.5, 0.5, 0.1  # of 255; around 1; around 1; of the color circle


class Window(NamedTuple):
    """Rows and columns of an image after it is resized to `height` x `width`."""

    height: int
    width: int
    rows: slice
    columns: slice


class JointTransform:
    """(RGB, labels uint8 H W) -> {"image": uint8 3 h w, "mask": uint8 h w}, where the window is `data.size`.

    The image is resized to `task.base_size` times a random factor from `task.scale`. A random window is drawn, up to 10
    times, until every class has less than `task.max_class_share` of the labels that are not ignored. A resized image
    that is smaller than the window is in its upper left corner; the rest has the mean color and is ignored.
    """

    def __init__(self, data: Data, task: Segment):
        p = data.preprocessing()
        self.size, self.task = p.size, task
        self.resample = Image.Resampling[p.interpolation.upper()]
        self.fill = tuple(min(255, max(0, round(255 * mean))) for mean in p.rgb_mean)

    def __call__(self, pair: ImageAndLabels) -> dict[str, Tensor]:
        """Transform one image and its labels."""
        (image, labels), task = pair, self.task
        (height, width), scale = fit_size(labels.shape, task.base_size), random.uniform(*task.scale)
        resized = max(1, round(height * scale)), max(1, round(width * scale))
        window, labels = self.random_window(resized, labels)
        image = resize_window(image, window, self.resample)
        if random.random() < task.flip:
            image, labels = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
        if task.jitter:
            image = distort_colors(image, task.jitter)
        return self.pad(image, labels)

    def random_window(self, resized: tuple[int, int], labels: np.ndarray) -> tuple[Window, np.ndarray]:
        """A random window of an image resized to the (height, width) `resized`, and the labels in it."""
        for _ in range(TRIES):
            rows, columns = (_random_slice(length, side) for length, side in zip(self.size, resized))
            window = Window(*resized, rows, columns)
            window_labels = nearest_labels(labels, window)
            counts = np.bincount(window_labels.ravel(), minlength=IGNORED + 1)[:IGNORED]
            max_share = self.task.max_class_share
            if max_share == 1 or (np.count_nonzero(counts) > 1 and counts.max() < max_share * counts.sum()):
                break
        return window, window_labels

    def pad(self, image: Image.Image, labels: np.ndarray) -> dict[str, Tensor]:
        """Both as tensors of the window's size, with the image in the upper left corner."""
        canvas = np.empty((*self.size, 3), np.uint8)
        canvas[:] = self.fill
        mask = np.full(self.size, IGNORED, np.uint8)
        corner = np.s_[: labels.shape[0], : labels.shape[1]]
        canvas[corner], mask[corner] = np.asarray(image), labels
        return {"image": torch.from_numpy(canvas).permute(2, 0, 1).contiguous(), "mask": torch.from_numpy(mask)}


class BaseSize:
    """The evaluation transform: the image resized by `fit_size`, uint8 3 h w, and the unchanged labels, uint8 H W."""

    def __init__(self, base_size: tuple[int, ...] | None, interpolation: Interpolation):
        self.base_size, self.interpolation = base_size, interpolation

    def __call__(self, pair: ImageAndLabels) -> dict[str, Tensor]:
        """Transform one image and its labels."""
        image, labels = pair
        pixels = torch.from_numpy(fitted(image, self.base_size, self.interpolation))
        return {"image": pixels, "mask": torch.from_numpy(labels)}


def nearest_labels(labels: np.ndarray, window: Window) -> np.ndarray:
    """The labels in a window, uint8 h w, by nearest-neighbor resizing: those at the centers of the resized pixels."""
    height, width = labels.shape[:2]
    rows = (np.arange(window.rows.start, window.rows.stop) + 0.5) * height // window.height
    columns = (np.arange(window.columns.start, window.columns.stop) + 0.5) * width // window.width
    return labels[rows.astype(int)[:, None], columns.astype(int)]


def resize_window(image: Image.Image, window: Window, resample: Image.Resampling) -> Image.Image:
    """The window of a resized image: equals `resize` and then `crop`, but computes only the window."""
    if resample == Image.Resampling.NEAREST:  # Pillow rounds some ties in the other direction
        return Image.fromarray(nearest_labels(np.asarray(image), window))
    width, height = image.size
    scale_x, scale_y = width / window.width, height / window.height
    box = (
        window.columns.start * scale_x,
        window.rows.start * scale_y,
        min(width, window.columns.stop * scale_x),
        min(height, window.rows.stop * scale_y),
    )
    size = (window.columns.stop - window.columns.start, window.rows.stop - window.rows.start)
    return image.resize(size, resample, box)


def distort_colors(image: Image.Image, strength: float) -> Image.Image:
    """MMSegmentation's PhotoMetricDistortion: brightness, contrast, saturation and hue, each with probability 1/2.

    Contrast changes before or after saturation and hue, with equal probability.
    """
    pixels = np.asarray(image, np.float32)
    if random.random() < 0.5:
        pixels = (pixels + strength * random.uniform(-BRIGHTNESS, BRIGHTNESS)).clip(0, 255)
    contrast = 1 + strength * random.uniform(-CONTRAST, CONTRAST) if random.random() < 0.5 else 1.0
    contrast_first = random.random() < 0.5
    if contrast_first:
        pixels = (pixels * contrast).clip(0, 255)
    if random.random() < 0.5:
        pixels = saturate(pixels, 1 + strength * random.uniform(-SATURATION, SATURATION))
    if random.random() < 0.5:
        shift = strength * random.uniform(-HUE, HUE)
        pixels = np.asarray(adjust_hue(_image(pixels), shift), np.float32)
    return _image(pixels if contrast_first else (pixels * contrast).clip(0, 255))


def saturate(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the HSV saturation of RGB pixels, float H W 3 in [0, 255], by `factor`; hue and value do not change."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    value = np.maximum(np.maximum(red, green), blue)[..., None]
    low = np.minimum(np.minimum(red, green), blue)[..., None]
    limit = value / np.maximum(value - low, 1e-6)  # full saturation: the smallest channel becomes 0
    return value - (value - pixels) * np.minimum(factor, limit)


def _random_slice(length: int, side: int) -> slice:
    """A random slice of this length in a side, or the whole side if it is shorter."""
    start = random.randint(0, max(0, side - length))
    return slice(start, min(side, start + length))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.round().astype(np.uint8))
