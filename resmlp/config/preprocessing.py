"""Preprocessing of an image for the network; stored in model.json."""

from dataclasses import dataclass
from typing import Literal

from resmlp.utils.checks import ANY, POSITIVE, check_choices, check_range

Interpolation = Literal["bicubic", "bilinear", "nearest"]
Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing in evaluation: resize, center crop, normalize."""

    size: tuple[int, int]
    """(height, width) in pixels"""
    crop_ratio: float = 0.9
    """the shorter side is resized to size / crop_ratio before the crop"""
    interpolation: Interpolation = "bicubic"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    def __post_init__(self) -> None:
        check_choices("", self)
        check_range("", self, size=(1, 2**15), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range("--data.", self, mean=(-ANY, ANY))
