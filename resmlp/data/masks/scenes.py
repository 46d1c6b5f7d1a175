"""Embedded scenes for segmentation: light handwritten digits on dark patterns, with the class of each pixel.

A scene is a function of its seed and its number. Class 0 is the background, classes 1 to 10 are the digits 0 to 9.
"""

import colorsys
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config import Data
from resmlp.data.images.digits import digits_splits
from resmlp.data.images.imageset import ImageSet
from resmlp.data.masks.files import Color
from resmlp.data.masks.maskset import ImageAndLabels, MaskSet

SIDE = 96  # height and width of a scene, in pixels
TRAIN, VAL = 1500, 200
MAX_DIGITS = 7
SCALES = (3, 4)  # smallest and largest enlargement of the digits of 8 x 8 pixels
STROKE = 0.3  # a pixel with more than this fraction of the darkest ink belongs to the digit
CONTRAST = 0.35  # smallest difference of luminance between a digit and its background
DARK, LIGHT = (0.05, 0.5), (0.6, 1)  # value in HSV, of patterns and of digits
CLASSES = ("background", *"0123456789")
DOWN, ACROSS = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5


class SceneSplits(NamedTuple):
    """The training set and the validation set; they share no digit."""

    train: MaskSet
    val: MaskSet


class Scene(NamedTuple):
    """One scene, drawn each time it is read."""

    digits: ImageSet
    """the digits that occur in it"""
    seed: int
    split: int
    number: int

    @property
    def name(self) -> str:
        """The scene's name in messages."""
        return f"scene {self.number}"

    def read(self) -> ImageAndLabels:
        """RGB image of 96 x 96 pixels, and its labels, uint8 96 96."""
        rng = np.random.default_rng([self.seed, self.split, self.number])
        canvas = _canvas(rng)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for place in _places(rng):
            chosen = int(rng.integers(len(self.digits)))
            _draw(canvas, labels, self.digits.read(chosen), self.digits.labels[chosen] + 1, place, rng)
        noise = rng.uniform(0, 0.04) * rng.standard_normal(canvas.shape, np.float32)
        return Image.fromarray(((canvas + noise).clip(0, 1) * 255).round().astype(np.uint8)), labels


class _Place(NamedTuple):
    """A square in a scene, in pixels."""

    top: int
    left: int
    side: int

    def touches(self, other: "_Place") -> bool:
        apart = (abs(2 * a + self.side - 2 * b - other.side) for a, b in zip(self[:2], other[:2]))
        return max(apart) < self.side + other.side


def colors() -> tuple[Color, ...]:
    """The color of each class: dark gray for the background, the color wheel for the digits."""
    wheel = (colorsys.hsv_to_rgb(i / 10, 0.9 - 0.4 * (i % 2), 1) for i in range(10))
    return ((40, 40, 40), *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel))


def scene_splits(data: Data) -> SceneSplits:
    """1,500 training scenes and 200 validation scenes, a function of `data.split_seed`."""
    train, val = digits_splits(data)
    splits = (
        MaskSet(CLASSES, colors(), [Scene(digits, data.split_seed, split, number) for number in range(count)])
        for split, (digits, count) in enumerate(((train, TRAIN), (val, VAL)))
    )
    return SceneSplits(*splits)


def _places(rng: np.random.Generator) -> list[_Place]:
    """Squares for one to seven digits that do not touch each other."""
    places: list[_Place] = []
    for _ in range(int(rng.integers(1, MAX_DIGITS + 1)) * 4):  # some do not fit
        side = round(8 * rng.uniform(*SCALES))
        top, left = rng.integers(0, SIDE - side + 1, 2).tolist()
        place = _Place(top, left, side)
        if not any(place.touches(other) for other in places) and len(places) < MAX_DIGITS:
            places.append(place)
    return places


def _draw(
    canvas: np.ndarray, labels: np.ndarray, digit: Image.Image, label: int, place: _Place, rng: np.random.Generator
) -> None:
    """Draw a digit on the canvas, in a color with enough contrast, and its strokes on the labels."""
    square = np.s_[place.top : place.top + place.side, place.left : place.left + place.side]
    ink = np.asarray(digit.convert("L").resize((place.side, place.side), Image.Resampling.BICUBIC), np.float32) / 255
    background = float(_luminance(canvas[square]).mean())
    while float(_luminance(color := _color(rng, LIGHT))) - background < CONTRAST:
        pass
    alpha = ((ink - STROKE) * 4 + 0.5).clip(0, 1)[..., None]  # a soft edge of one or two pixels
    canvas[square] += alpha * (color - canvas[square])
    labels[square][ink > STROKE] = label


def _canvas(rng: np.random.Generator) -> np.ndarray:
    """A pattern of two dark colors, H W 3 in [0, 1]."""
    mix = PATTERNS[rng.integers(len(PATTERNS))](rng)[..., None]
    first, second = _color(rng, DARK), _color(rng, DARK)
    return (first + mix * (second - first)).clip(0, 1)


def _color(rng: np.random.Generator, value: tuple[float, float]) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0, 0.9), rng.uniform(*value)), np.float32)


def _luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Noise at three scales."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (24, 0.2)):
        coarse = Image.fromarray(rng.random((cells, cells), np.float32))
        total += weight * np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return total


def _ramp(rng: np.random.Generator) -> np.ndarray:
    """A linear ramp from 0 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    return 0.5 + (DOWN * math.sin(angle) + ACROSS * math.cos(angle)) / math.sqrt(2)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Waves of 6 to 24 pixels in a random direction."""
    waves = SIDE * math.sqrt(2) / rng.uniform(6, 24)
    return 0.5 + 0.5 * np.sin(2 * math.pi * waves * _ramp(rng))


def _checks(rng: np.random.Generator) -> np.ndarray:
    """The mean of two sets of stripes."""
    return (_stripes(rng) + _stripes(rng)) / 2


PATTERNS: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (_clouds, _ramp, _stripes, _checks)
