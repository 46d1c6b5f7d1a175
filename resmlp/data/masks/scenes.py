"""Scenes to segment, embedded: light handwritten digits strewn over dark patterns, with the class of each pixel.

A scene is a function of its seed and its number alone. 0 is the background, and 1 to 10 are the digits 0 to 9.
"""

import colorsys
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, digits_splits
from resmlp.data.masks.files import Color
from resmlp.data.masks.maskset import Labeled, MaskSet

SIDE = 96  # pixels of a scene
TRAIN, VAL = 1500, 200
MOST_DIGITS = 7
ENLARGED = (3, 4)  # of digits of 8 x 8
STROKE = 0.3  # share of the darkest ink from which on a pixel is the digit's
CONTRAST = 0.35  # of luminance, at least, by which a digit is lighter than what is behind it
DARK, LIGHT = (0.05, 0.5), (0.6, 1)  # value, of HSV, of patterns and of digits
CLASSES = ("background", *"0123456789")
DOWN, ACROSS = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5


class SceneSplits(NamedTuple):
    """What is trained on and what is held out; the latter's digits are in none of the former's."""

    train: MaskSet
    val: MaskSet


class Scene(NamedTuple):
    """One scene, made whenever it is read."""

    digits: ImageSet
    """from which it draws"""
    seed: int
    part: int
    number: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"scene {self.number}"

    def read(self) -> Labeled:
        """RGB of 96 x 96, and its labels."""
        rng = np.random.default_rng([self.seed, self.part, self.number])
        canvas = _canvas(rng)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for place in _places(rng):
            chosen = int(rng.integers(len(self.digits)))
            _draw(canvas, labels, self.digits.read(chosen), self.digits.labels[chosen] + 1, place, rng)
        noise = rng.uniform(0, 0.04) * rng.standard_normal(canvas.shape, np.float32)
        return Image.fromarray(((canvas + noise).clip(0, 1) * 255).round().astype(np.uint8)), labels


class _Place(NamedTuple):
    """A square in a scene."""

    top: int
    left: int
    side: int

    def touches(self, other: "_Place") -> bool:
        apart = (abs(2 * a + self.side - 2 * b - other.side) for a, b in zip(self[:2], other[:2]))
        return max(apart) < self.side + other.side


def colors() -> tuple[Color, ...]:
    """Dark gray for the background, and the digits around the color wheel."""
    wheel = (colorsys.hsv_to_rgb(i / 10, 0.9 - 0.4 * (i % 2), 1) for i in range(10))
    return ((40, 40, 40), *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel))


def scene_splits(data: Data) -> SceneSplits:
    """1,500 scenes to learn from and 200 held out, a function of `data.split_seed`."""
    train, val = digits_splits(data)
    made = (
        MaskSet(CLASSES, colors(), [Scene(digits, data.split_seed, part, number) for number in range(count)])
        for part, (digits, count) in enumerate(((train, TRAIN), (val, VAL)))
    )
    return SceneSplits(*made)


def _places(rng: np.random.Generator) -> list[_Place]:
    """Squares for one to seven digits, which do not touch."""
    places: list[_Place] = []
    for _ in range(int(rng.integers(1, MOST_DIGITS + 1)) * 4):  # some find no room
        side = round(8 * rng.uniform(*ENLARGED))
        top, left = rng.integers(0, SIDE - side + 1, 2).tolist()
        place = _Place(top, left, side)
        if not any(place.touches(other) for other in places) and len(places) < MOST_DIGITS:
            places.append(place)
    return places


def _draw(
    canvas: np.ndarray, labels: np.ndarray, digit: Image.Image, label: int, place: _Place, rng: np.random.Generator
) -> None:
    """Lay a digit, in a color that stands out from what is behind it, on the canvas, and its strokes on the labels."""
    square = np.s_[place.top : place.top + place.side, place.left : place.left + place.side]
    ink = np.asarray(digit.convert("L").resize((place.side, place.side), Image.Resampling.BICUBIC), np.float32) / 255
    behind = float(_luminance(canvas[square]).mean())
    while float(_luminance(color := _color(rng, LIGHT))) - behind < CONTRAST:
        pass
    alpha = ((ink - STROKE) * 4 + 0.5).clip(0, 1)[..., None]  # soft over a pixel or two about the edge
    canvas[square] += alpha * (color - canvas[square])
    labels[square][ink > STROKE] = label


def _canvas(rng: np.random.Generator) -> np.ndarray:
    """A pattern of two dark colors, H W 3 in [0, 1]."""
    share = PATTERNS[rng.integers(len(PATTERNS))](rng)[..., None]
    one, other = _color(rng, DARK), _color(rng, DARK)
    return (one + share * (other - one)).clip(0, 1)


def _color(rng: np.random.Generator, value: tuple[float, float]) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0, 0.9), rng.uniform(*value)), np.float32)


def _luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Noise of three scales."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (24, 0.2)):
        coarse = Image.fromarray(rng.random((cells, cells), np.float32))
        total += weight * np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return total


def _ramp(rng: np.random.Generator) -> np.ndarray:
    """From 0 to 1 in some direction."""
    angle = rng.uniform(0, 2 * math.pi)
    return 0.5 + (DOWN * math.sin(angle) + ACROSS * math.cos(angle)) / math.sqrt(2)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Waves in some direction, 6 to 24 pixels long."""
    waves = SIDE * math.sqrt(2) / rng.uniform(6, 24)
    return 0.5 + 0.5 * np.sin(2 * math.pi * waves * _ramp(rng))


def _checks(rng: np.random.Generator) -> np.ndarray:
    """Two sets of stripes."""
    return (_stripes(rng) + _stripes(rng)) / 2


PATTERNS: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (_clouds, _ramp, _stripes, _checks)
