"""Color operations with the same pixels as Pillow's ImageOps and ImageEnhance, and fewer copies.

Most are lookup tables of 256 values, one for all channels or one for each. Images are uint8 3 H W.
"""

import numpy as np
from PIL import Image

VALUES = np.arange(256)
LUMA = (19595, 38470, 7471)
"""ITU-R 601 weights of red, green and blue in gray, times 65536"""


def invert(image: np.ndarray) -> np.ndarray:
    """Invert all values."""
    return 255 - image


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep the `bits` highest bits of each value; 8 or more keep all."""
    return image & np.uint8(256 - (1 << (8 - bits))) if bits < 8 else image


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """Invert the values that are not below the threshold."""
    return apply_tables(image, np.where(threshold > VALUES, VALUES, 255 - VALUES))


def solarize_add(image: np.ndarray, add: int, threshold: int = 128) -> np.ndarray:
    """Add `add` to the values below the threshold."""
    return apply_tables(image, np.where(threshold > VALUES, np.minimum(VALUES + add, 255), VALUES))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the brightness: factor 1 changes nothing, 0 is black."""
    return apply_tables(image, _blend(0, VALUES, factor))


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the contrast: factor 1 changes nothing, 0 is the mean gray of the image."""
    return apply_tables(image, _blend(int(gray(image).mean() + 0.5), VALUES, factor))


def color(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the saturation: factor 1 changes nothing, 0 is gray."""
    return _blend(gray(image), image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the sharpness: factor 1 changes nothing, 0 is the mean of 3 x 3 pixels, with weight 5 in the center.

    The pixels at the edges do not change.
    """
    if min(image.shape[1:]) < 3:
        return image
    result = image.copy()
    for channel, out in zip(image, result):
        wide = channel.astype(np.uint16)
        rows = wide[:-2] + wide[1:-1] + wide[2:]
        sums = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * wide[1:-1, 1:-1]
        smooth = (2 * sums + 13) // 26  # / 13, to the nearest
        out[1:-1, 1:-1] = _blend(smooth, channel[1:-1, 1:-1], factor)
    return result


def autocontrast(image: np.ndarray) -> np.ndarray:
    """Stretch the values of each channel to 0 to 255."""
    tables = []
    for low, high in zip(image.min((1, 2)).tolist(), image.max((1, 2)).tolist()):
        scale = 255 / max(high - low, 1)
        stretched = (VALUES * scale - low * scale).astype(int).clip(0, 255)
        tables.append(stretched if high > low else VALUES)
    return apply_tables(image, *tables)


def equalize(image: np.ndarray) -> np.ndarray:
    """Equalize the histogram of each channel."""
    tables = []
    for channel in image:
        counts = np.array(Image.fromarray(channel).histogram())  # faster than np.bincount, which converts to int64
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        before = counts.cumsum() - counts
        tables.append((step // 2 + before) // step if step else VALUES)
    return apply_tables(image, *(table.clip(0, 255) for table in tables))


def gray(image: np.ndarray) -> np.ndarray:
    """uint8 3 H W -> uint8 H W, as Pillow's mode L."""
    red, green, blue = (channel * np.uint32(weight) for channel, weight in zip(image, LUMA))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


def apply_tables(image: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Replace each value by its entry in a table of 256: one table for all channels, or one for each."""
    rows = [table.astype(np.uint8).tobytes() for table in tables]
    parts = [image] if len(rows) == 1 else image
    changed = [bytearray(np.ascontiguousarray(part)).translate(table) for part, table in zip(parts, rows)]
    return np.frombuffer(bytearray().join(changed), np.uint8).reshape(image.shape)


def _blend(base: np.ndarray | int, image: np.ndarray, factor: float) -> np.ndarray:
    """base + factor (image - base), rounded down and clipped to 0 to 255."""
    low = np.asarray(base, np.float32)
    return np.clip(low + np.float32(factor) * (image.astype(np.float32) - low), 0, 255).astype(np.uint8)
