"""One RGB image -> the uint8 tensor that goes into a batch. timm is loaded where it is needed: it takes seconds.

Randomness comes from Python's, NumPy's and torch's global generators, which the loader seeds for each image. Crop,
flip and policy draw as timm's do, the crop first: of a large image no more is decoded than the crop needs.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision import transforms

from resmlp.config import Augment, Data
from resmlp.config.preprocessing import Preprocessing
from resmlp.data.images import color_ops
from resmlp.data.images.randaugment import Step, rand_augment, three_augment
from resmlp.imaging.decode import Region, Size, full_region
from resmlp.imaging.crop import eval_crop
from resmlp.imaging.image_file import ImageSource

Transform = Callable[[Image.Image], torch.Tensor]

ATTEMPTS = 10
RATIOS = (3 / 4, 4 / 3)
"""of a crop's width to its height, before it is resized"""
LOG_RATIOS = (math.log(RATIOS[0]), math.log(RATIOS[1]))
KERNELS: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "bicubic", "antialias": True},
    "bilinear": {"mode": "bilinear", "antialias": True},
    "nearest": {"mode": "nearest-exact"},
}
"""torch's words for Pillow's interpolations"""


class Crop(Protocol):
    """From an image to pixels of the network's size."""

    def choose(self, size: Size) -> Region:
        """What is wanted of an image of that size; may draw."""

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """That part, uint8 h w 3 -> uint8 3 H W; may draw."""


class TrainTransform:
    """An image -> uint8 3 H W: the crop, then steps from uint8 3 H W to the same. It can be pickled."""

    def __init__(self, crop: Crop, steps: list[Step]):
        self.crop, self.steps = crop, steps

    def __call__(self, image: ImageSource) -> torch.Tensor:
        """Raises `UnreadableImage`, as the image is decoded here."""
        pixels = self.crop.fit(image.read_region(self.crop.choose))
        for step in self.steps:
            pixels = step(pixels)
        return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


def train_transform(data: Data, augment: Augment) -> TrainTransform:
    """Crop, flip, color policy, in that order.

    As in DeiT, RandAugment stands in for the color jitter. Raises `UserError` for a RandAugment string timm refuses.
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


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """PIL RGB -> uint8 3 H W: the shorter side to size / crop_ratio, then the center; small images are enlarged."""
    return transforms.Compose([partial(eval_crop, preprocessing=preprocessing), transforms.PILToTensor()])


class ResizedCrop:
    """A box of a random share of the area and a random shape, made the right size (Inception's augmentation)."""

    def __init__(self, preprocessing: Preprocessing, share: tuple[float, float]):
        self.size, self.share = preprocessing.size, share
        self.kernel = KERNELS[preprocessing.interpolation]

    def choose(self, size: Size) -> Region:
        """Draws as timm's RandomResizedCropAndInterpolation; where no box fits, as much as RATIOS allow, centerd.

        A box of no pixels, which timm may draw of a tiny image, does not fit.
        """
        most_wide, most_high = size
        for _ in range(ATTEMPTS):
            area = random.uniform(*self.share) * most_high * most_wide
            ratio = math.exp(random.uniform(*LOG_RATIOS))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= most_wide and 0 < height <= most_high:
                top, left = random.randint(0, most_high - height), random.randint(0, most_wide - width)
                break
        else:
            low, high = RATIOS
            width = min(most_wide, round(most_high * high))
            height = min(most_high, round(most_wide / low))
            top, left = (most_high - height) // 2, (most_wide - width) // 2
        return Region((left, top, left + width, top + height), self.size[::-1])

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Within a level or so of Pillow's resize: torch's filter is Pillow's, with shorter weights."""
        if pixels.shape[:2] == self.size:
            return planar(pixels)
        image = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None]
        return interpolate(image, self.size, **self.kernel)[0].contiguous().numpy()


class CenterCrop:
    """The part of an image that is seen in evaluation."""

    def __init__(self, preprocessing: Preprocessing):
        self.preprocessing = preprocessing

    def choose(self, size: Size) -> Region:
        """All of it."""
        return full_region(size)

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """As `eval_crop`."""
        if pixels.shape[:2] == self.preprocessing.size and self.preprocessing.crop_ratio == 1:
            return planar(pixels)
        return planar(np.asarray(eval_crop(Image.fromarray(pixels), self.preprocessing)))


class PadCrop(CenterCrop):
    """As in evaluation at crop ratio 1, then shifted by up to an eighth of each side; what comes in is black."""

    def __init__(self, preprocessing: Preprocessing):
        super().__init__(replace(preprocessing, crop_ratio=1.0))

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Its draws are those of torchvision's RandomCrop."""
        image = super().fit(pixels)
        height, width = image.shape[1:]
        down, across = height // 8, width // 8
        padded = np.zeros((3, height + 2 * down, width + 2 * across), np.uint8)
        padded[:, down : down + height, across : across + width] = image
        top, left = (int(torch.randint(2 * most + 1, (1,))) for most in (down, across))
        return padded[:, top : top + height, left : left + width]


class Flip:
    """Left for right, with a probability; its draw is that of torchvision's RandomHorizontalFlip."""

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 3 H W -> the same"""
        return torch.from_numpy(image).flip(2).numpy() if torch.rand(1) < self.probability else image


class Jitter:
    """Brightness, contrast and saturation, each by a random factor and in random order: torchvision's ColorJitter."""

    CHANGES = (color_ops.brightness, color_ops.contrast, color_ops.color)

    def __init__(self, strength: float):
        self.factors = [max(0.0, 1 - strength), 1 + strength]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 3 H W -> the same"""
        order, *factors = transforms.ColorJitter.get_params(self.factors, self.factors, self.factors, None)
        for i in order.tolist():
            if i < len(self.CHANGES):  # the fourth is hue, which stays
                image = self.CHANGES[i](image, factors[i])
        return image


def planar(pixels: np.ndarray) -> np.ndarray:
    """uint8 H W 3 -> 3 H W, of its own."""
    return pixels.transpose(2, 0, 1).copy()
