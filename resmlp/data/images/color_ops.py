"""Changes of an image's colors, to the pixel as Pillow's ImageOps and ImageEnhance make them, with fewer copies.

Most are tables: what becomes of each of the 256 values, in all channels or in each. Images are uint8 3 H W.
"""

import numpy as np
from PIL import Image

VALUES = np.arange(256)
LUMA = (19595, 38470, 7471)
"""ITU-R 601 shares of red, green and blue in gray, of 65536"""


def invert(image: np.ndarray) -> np.ndarray:
    """The negative."""
    return 255 - image


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest bits of each value; 8 or more are all."""
    return image & np.uint8(256 - (1 << (8 - bits))) if bits < 8 else image


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """The negative of values from the threshold on."""
    return looked_up(image, np.where(threshold > VALUES, VALUES, 255 - VALUES))


def solarize_add(image: np.ndarray, add: int, threshold: int = 128) -> np.ndarray:
    """Values below the threshold become greater."""
    return looked_up(image, np.where(threshold > VALUES, np.minimum(VALUES + add, 255), VALUES))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """1 changes nothing, 0 is black."""
    return looked_up(image, _blend(0, VALUES, factor))


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """1 changes nothing, 0 is the mean of the image's gray."""
    return looked_up(image, _blend(int(gray(image).mean() + 0.5), VALUES, factor))


def color(image: np.ndarray, factor: float) -> np.ndarray:
    """1 changes nothing, 0 is gray."""
    return _blend(gray(image), image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """1 changes nothing, 0 is the mean of 3 x 3 pixels, the middle one five times; the outermost pixels stay."""
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
    """Each channel is stretched to 0 to 255."""
    tables = []
    for low, high in zip(image.min((1, 2)).tolist(), image.max((1, 2)).tolist()):
        scale = 255 / max(high - low, 1)
        stretched = (VALUES * scale - low * scale).astype(int).clip(0, 255)
        tables.append(stretched if high > low else VALUES)
    return looked_up(image, *tables)


def equalize(image: np.ndarray) -> np.ndarray:
    """Each channel's values are spread so that each is about as frequent."""
    tables = []
    for channel in image:
        counts = np.array(Image.fromarray(channel).histogram())  # np.bincount would first make wide integers of them
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        before = counts.cumsum() - counts
        tables.append((step // 2 + before) // step if step else VALUES)
    return looked_up(image, *(table.clip(0, 255) for table in tables))


def gray(image: np.ndarray) -> np.ndarray:
    """uint8 H W, as Pillow's mode L."""
    red, green, blue = (channel * np.uint32(share) for channel, share in zip(image, LUMA))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


def looked_up(image: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Each value by what the table of 256 says of it: one for all channels, or one for each."""
    own = [table.astype(np.uint8).tobytes() for table in tables]
    parts = [image] if len(own) == 1 else image
    changed = [bytearray(np.ascontiguousarray(part)).translate(table) for part, table in zip(parts, own)]
    return np.frombuffer(bytearray().join(changed), np.uint8).reshape(image.shape)


def _blend(least: np.ndarray | int, image: np.ndarray, factor: float) -> np.ndarray:
    """least + factor (image - least), rounded down and clipped."""
    low = np.asarray(least, np.float32)
    return np.clip(low + np.float32(factor) * (image.astype(np.float32) - low), 0, 255).astype(np.uint8)
