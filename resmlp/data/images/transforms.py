"""Transforms of one RGB image to the uint8 tensor in a batch.

The random numbers come from the global generators of Python, NumPy and torch, which the loader seeds for each image.
Crop, flip and policy draw the same numbers as timm's. The crop is drawn first, so that only its region is decoded.
timm and torchvision are imported inside the functions that need them: the import takes seconds.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from resmlp.config import Augment, Data
from resmlp.config.preprocessing import Preprocessing
from resmlp.data.images import color_ops
from resmlp.data.images.randaugment import Step, rand_augment, three_augment
from resmlp.imaging.crop import Size, eval_crop, resize_whole
from resmlp.imaging.decode import Region, full_region
from resmlp.imaging.image_file import ImageSource

Transform = Callable[[Image.Image], torch.Tensor]

ATTEMPTS = 10
RATIOS = (3 / 4, 4 / 3)
"""width / height of a crop before it is resized: smallest and largest"""
LOG_RATIOS = (math.log(RATIOS[0]), math.log(RATIOS[1]))
KERNELS: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "bicubic", "antialias": True},
    "bilinear": {"mode": "bilinear", "antialias": True},
    "nearest": {"mode": "nearest-exact"},
}
"""from the name of an interpolation to the arguments of torch's `interpolate`"""


class Crop(Protocol):
    """A way to turn an image of any size into pixels of the network's input size."""

    def choose(self, size: Size) -> Region:
        """The region to decode of an image of that (width, height); may draw random numbers."""

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """The decoded region, uint8 h w 3 -> uint8 3 H W; may draw random numbers."""


class TrainTransform:
    """An image -> uint8 3 H W: the crop, then steps from uint8 3 H W to uint8 3 H W. Can be pickled."""

    def __init__(self, crop: Crop, steps: list[Step]):
        self.crop, self.steps = crop, steps

    def __call__(self, image: ImageSource) -> torch.Tensor:
        """Decode and transform an image; raises `UnreadableImage`."""
        pixels = self.crop.fit(image.read_region(self.crop.choose))
        for step in self.steps:
            pixels = step(pixels)
        return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


def train_transform(data: Data, augment: Augment) -> TrainTransform:
    """The training transform: crop, flip and color policy, in that order.

    As in DeiT, RandAugment replaces the color jitter. Raises `UserError` for a RandAugment string that timm does not
    accept.
    """
    preprocessing = data.preprocessing()
    steps: list[Step] = []
    if augment.flip:
        steps.append(Flip(augment.flip))
    if augment.policy == "rand":
        steps.append(rand_augment(preprocessing, augment.magnitudes))
    if augment.policy == "three":
        steps.append(three_augment())
    if augment.jitter and augment.policy != "rand":
        steps.append(Jitter(augment.jitter))
    return TrainTransform(_crop(preprocessing, augment), steps)


def _crop(preprocessing: Preprocessing, augment: Augment) -> Crop:
    if augment.crop == "resized":
        return ResizedCrop(preprocessing, augment.scale)
    return (CenterCrop if augment.crop == "center" else PadCrop)(preprocessing)


def eval_transform(preprocessing: Preprocessing, shapes: Sequence[Size] = ()) -> Transform:
    """The evaluation transform, PIL RGB -> uint8 3 H W: resize the shorter side to size / crop_ratio, crop the center.

    Smaller images are enlarged. With `shapes` (height, width) the whole image is resized to the nearest of them.
    """
    if shapes:
        whole = partial(resize_whole, shapes=shapes, interpolation=preprocessing.interpolation)
        return Evaluated(whole)
    return Evaluated(partial(eval_crop, preprocessing=preprocessing))


class Evaluated:
    """What a resized image becomes, PIL RGB -> uint8 3 H W. Can be pickled."""

    def __init__(self, resize: Callable[[Image.Image], Image.Image]):
        self.resize = resize

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Resize, and copy the pixels."""
        return torch.from_numpy(to_planar(np.asarray(self.resize(image))))


class ResizedCrop:
    """Random resized crop (Inception's augmentation): a box of random area and shape, resized to the input size."""

    def __init__(self, preprocessing: Preprocessing, scale: tuple[float, float]):
        self.size, self.scale = preprocessing.size, scale
        self.kernel = KERNELS[preprocessing.interpolation]

    def choose(self, size: Size) -> Region:
        """Draw a box as timm's RandomResizedCropAndInterpolation does; if none fits, the largest one RATIOS allow.

        That one is centered. A box without pixels, which timm may draw of a tiny image, does not fit.
        """
        image_width, image_height = size
        for _ in range(ATTEMPTS):
            area = random.uniform(*self.scale) * image_height * image_width
            ratio = math.exp(random.uniform(*LOG_RATIOS))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= image_width and 0 < height <= image_height:
                top, left = random.randint(0, image_height - height), random.randint(0, image_width - width)
                break
        else:
            low, high = RATIOS
            width = min(image_width, round(image_height * high))
            height = min(image_height, round(image_width / low))
            top, left = (image_height - height) // 2, (image_width - width) // 2
        return Region((left, top, left + width, top + height), self.size[::-1])

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Resize with torch's filter; the values differ from Pillow's by about 1, as its weights are less precise."""
        if pixels.shape[:2] == self.size:
            return to_planar(pixels)
        image = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None]
        interleaved = image.contiguous(memory_format=torch.channels_last)  # torch then resizes all channels at once
        return interpolate(interleaved, self.size, **self.kernel)[0].contiguous().numpy()


class CenterCrop:
    """The evaluation crop."""

    def __init__(self, preprocessing: Preprocessing):
        self.preprocessing = preprocessing

    def choose(self, size: Size) -> Region:
        """The whole image."""
        return full_region(size)

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Apply `eval_crop`."""
        if pixels.shape[:2] == self.preprocessing.size and self.preprocessing.crop_ratio == 1:
            return to_planar(pixels)
        return to_planar(np.asarray(eval_crop(Image.fromarray(pixels), self.preprocessing)))


class PadCrop(CenterCrop):
    """The evaluation crop at crop ratio 1, padded with black by an eighth of each side, then a random crop."""

    def __init__(self, preprocessing: Preprocessing):
        super().__init__(replace(preprocessing, crop_ratio=1.0))

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Draws the same random numbers as torchvision's RandomCrop."""
        image = super().fit(pixels)
        height, width = image.shape[1:]
        pad_y, pad_x = height // 8, width // 8
        padded = np.zeros((3, height + 2 * pad_y, width + 2 * pad_x), np.uint8)
        padded[:, pad_y : pad_y + height, pad_x : pad_x + width] = image
        top, left = (int(torch.randint(2 * pad + 1, (1,))) for pad in (pad_y, pad_x))
        return padded[:, top : top + height, left : left + width]


class Flip:
    """Horizontal flip with a probability; draws the same random number as torchvision's RandomHorizontalFlip."""

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 3 H W -> uint8 3 H W"""
        return torch.from_numpy(image).flip(2).numpy() if torch.rand(1) < self.probability else image


class Jitter:
    """torchvision's ColorJitter of brightness, contrast and saturation, with random factors and in random order."""

    CHANGES = (color_ops.brightness, color_ops.contrast, color_ops.color)

    def __init__(self, strength: float):
        from torchvision.transforms import ColorJitter

        self.draw, self.factors = ColorJitter.get_params, [max(0.0, 1 - strength), 1 + strength]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 3 H W -> uint8 3 H W"""
        order, *factors = self.draw(self.factors, self.factors, self.factors, None)
        for i in order.tolist():
            if i < len(self.CHANGES):  # the fourth is hue, which does not change
                image = self.CHANGES[i](image, factors[i])
        return image


def to_planar(pixels: np.ndarray) -> np.ndarray:
    """uint8 H W 3 -> uint8 3 H W, a copy."""
    return pixels.transpose(2, 0, 1).copy()
