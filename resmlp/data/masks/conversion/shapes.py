"""Polygons and run-length codes as masks."""

import numpy as np
from PIL import Image, ImageDraw

from resmlp.data.masks.conversion.plan import Fields
from resmlp.imaging.limits import MAX_ASPECT

MAX_SIDE = 2**15
MAX_PIXELS = 2**28
"""of a mask, a byte each"""
MAX_POINTS = 100_000
"""of a polygon"""
Size = tuple[int, int]
"""width, height"""


def size_of(fields: Fields, width: str = "width", height: str = "height") -> Size:
    """The size of an image in its JSON object. Raises `UserError`."""
    size = fields.integer(width, 1, MAX_SIDE), fields.integer(height, 1, MAX_SIDE)
    if size[0] * size[1] > MAX_PIXELS or max(size) > MAX_ASPECT * min(size):
        fields.refuse(width, f"one of an image of up to {MAX_PIXELS:,} pixels", "{} x {}".format(*size))
    return size


def polygon_of(fields: Fields, key: str, numbers: np.ndarray) -> np.ndarray:
    """The points N 2 of x and y in one list. Raises `UserError`."""
    if len(numbers) % 2 or len(numbers) < 6 or len(numbers) > 2 * MAX_POINTS:
        wanted = f"x and y of 3 to {MAX_POINTS:,} points"
        fields.refuse(key, wanted, f"{len(numbers)} numbers")
    return numbers.reshape(-1, 2)


def fill_polygon(mask: Image.Image, points: np.ndarray, number: int) -> None:
    """Draw a polygon of points N 2 into a mask of mode L, with its edge; what is outside the image is cut off.

    A pixel that the outline surrounds twice is outside (even-odd). A polygon that is drawn later covers an earlier one.
    """
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points], fill=number, outline=number)


def run_lengths(fields: Fields, key: str, code: str | list[int], size: Size) -> np.ndarray:
    """COCO's run-length code, as text or as a list of lengths -> bool H W. Raises `UserError`."""
    width, height = size
    if isinstance(code, str):
        lengths = np.array(_decode(fields, key, code), np.int64)
    else:
        lengths = fields.numbers(key, code).astype(np.int64)
    wrong = len(lengths) == 0 or lengths.min() < 0 or lengths.sum() != width * height
    if wrong:
        fields.refuse(key, f"the lengths of {width * height:,} pixels", f"{len(lengths)} lengths")
    values = np.arange(len(lengths)) % 2 == 1  # the first run is outside
    return np.repeat(values, lengths).reshape(width, height).T  # column by column


def _decode(fields: Fields, key: str, text: str) -> list[int]:
    """The lengths in COCO's text: 5 bits a character, least first; from the third on, minus the length two before."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            fields.refuse(key, "a run-length code", text)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        fields.refuse(key, "a complete run-length code", text)
    return lengths


def circle(center: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """A circle by its center and a point on its edge, as a polygon of 64 points."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return center + np.hypot(*(edge - center)) * np.stack([np.cos(angles), np.sin(angles)], 1)


def rectangle(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A rectangle by two opposite corners."""
    (x0, y0), (x1, y1) = first, last
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
