"""Preprocessing of an image for the network; stored in model.json."""

from dataclasses import dataclass, replace
from typing import Literal

from resmlp.utils.checks import ANY, POSITIVE, check_choices, check_range, demand

Interpolation = Literal["bicubic", "bilinear", "nearest"]
Exif = Literal["apply", "ignore"]
"""what to do with the EXIF orientation of an image: turn it upright, or read its pixels as they are stored"""
ValueRange = tuple[float, float]
"""the sample values that become black and white"""
Channels = tuple[float, ...]
"""a value for each channel: three for RGB, one for gray"""

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
COUNTS = (1, 3)
"""numbers of channels"""
LUMA = (19_595, 38_470, 7_471)
"""of 65,536: the shares of red, green and blue in gray, ITU-R 601 as in Pillow"""


@dataclass(frozen=True)
class Decoding:
    """How the pixels of an image file become RGB with 8 bits per channel."""

    exif: Exif = "apply"
    value_range: ValueRange | None = None
    """of samples with more than 8 bits; None: that of the file format, such as 0 to 65535 for 16 bits"""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing in evaluation: decode, resize, center crop, normalize."""

    size: tuple[int, int]
    """(height, width) in pixels"""
    crop_ratio: float = 0.9
    """the shorter side is resized to size / crop_ratio before the crop"""
    interpolation: Interpolation = "bicubic"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    exif: Exif = "apply"
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        check_choices("", self)
        check_range("", self, size=(1, 2**15), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range("--data.", self, mean=(-ANY, ANY), value_range=(-ANY, ANY))
        check_value_range(self.value_range)
        check_channels(self.mean, self.std)

    @property
    def rgb_mean(self) -> tuple[float, ...]:
        """The mean of each channel of RGB; all are equal for a network of gray images."""
        return self.mean * (3 // len(self.mean))

    def for_channels(self, channels: int) -> "Preprocessing":
        """The same for a network with 1 or 3 channels: the mean and the std of gray are the means over the colors."""
        if len(self.mean) == channels:
            return self
        mean, std = (as_channels(values, channels) for values in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    @property
    def decoding(self) -> Decoding:
        """How an image file is decoded."""
        return Decoding(self.exif, self.value_range)


def as_channels(values: Channels, channels: int) -> Channels:
    """A value for each of 1 or 3 channels: the mean of three, or three times the one."""
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) if channels == 1 else values * channels


def check_channels(mean: Channels, std: Channels) -> None:
    """Raise `UserError` unless there are as many values of the mean as of the std, one or three."""
    fits = len(mean) == len(std) and len(mean) in COUNTS
    what = f"the mean is {list(mean)} and the std is {list(std)}"
    demand(fits, what, "--data.mean and --data.std: give three values each, or one each for gray images")


def check_value_range(value_range: ValueRange | None) -> None:
    """Raise `UserError` unless the first value is the smaller one."""
    low, high = value_range or (0, 1)
    demand(low < high, f"--data.value-range {low:g} {high:g}", "give the smaller value first")
