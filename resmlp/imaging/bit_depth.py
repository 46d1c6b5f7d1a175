"""Images with more than 8 bits per channel: the range of their values, and its scaling to 8 bits."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import ValueRange

WIDE: ValueRange = (0, 2**16 - 1)
UNKNOWN_RANGE = "of unknown range: set --data.value-range"
"""the end of the message for an image that cannot be scaled"""
TWELVE_BITS: ValueRange = (0, 2**12 - 1)
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # two tags of TIFF, and the value of one for images in which 0 is white


class Samples(NamedTuple):
    """The values in one image with more than 8 bits per channel."""

    low: float
    high: float
    """the smallest and the largest value"""
    full: ValueRange | None
    """the range of the file format; None: unknown, as for float"""
    colors: bool = False
    """RGB or with an alpha channel: Pillow reads only the upper 8 bits, so that no other range can be scaled"""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image is gray with more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def to_8_bits(image: Image.Image, value_range: ValueRange | None = None) -> Image.Image:
    """Scale a deep gray image to mode L: the lower end of the range becomes 0, the upper end 255; the rest is clipped.

    Pillow's own conversion clips at 255 and makes most pixels white. In a TIFF whose 0 is white, the values are
    inverted; Pillow does this only up to 8 bits. Raises ValueError if the range is unknown.
    """
    values = np.asarray(image)
    known = value_range or _full_range(image, values)
    if known is None:
        if not np.isfinite(values).any():
            raise ValueError("none of its samples is a finite number")
        low, high = _ends(values)
        raise ValueError(f"32-bit samples from {low:g} to {high:g}, {UNKNOWN_RANGE}")
    low, high = known
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        values = low + high - values.astype(np.float64)
    scaled = np.nan_to_num((values - low) * (255 / (high - low)), nan=0, posinf=255, neginf=0)
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def measure(image: Image.Image) -> Samples | None:
    """The values of an opened image; None for 8 bits per channel. Decodes only an image with more."""
    if is_deep(image):
        values = np.asarray(image)
        return Samples(*_ends(values), _full_range(image, values))
    tiles = getattr(image, "tile", None)
    raw = tiles[0][3] if tiles else ""
    if str(raw if isinstance(raw, str) or not raw else raw[0]).endswith((";16B", ";16L", ";16N")):
        low, high = _ends(np.asarray(image))
        return Samples(257 * low, 257 * high, WIDE, colors=True)
    return None


def _full_range(image: Image.Image, values: np.ndarray) -> ValueRange | None:
    """The range of the format of a deep image; None if it is unknown."""
    if _tag(image, BITS) == (12,):
        return TWELVE_BITS
    if image.mode == "F" or values.min() < 0 or values.max() > WIDE[1]:
        return None
    return WIDE


def _tag(image: Image.Image, number: int) -> Any:
    """A tag of a TIFF file; None for any other format."""
    return getattr(image, "tag_v2", {}).get(number)


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest finite value."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
