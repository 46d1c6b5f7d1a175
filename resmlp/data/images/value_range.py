"""The values in images with more than 8 bits per channel, measured before training and by `resmlp data check`."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from resmlp.config.preprocessing import Decoding, ValueRange
from resmlp.data.shards.index import Index
from resmlp.data.shards.rows import Images
from resmlp.imaging.bit_depth import Samples, measure
from resmlp.imaging.formats import open_image
from resmlp.imaging.image_file import Encoded, ImageSource
from resmlp.utils.checks import demand

MEASURED = 64  # images
HALF = 0.5  # of the range of the file format: less is worth a warning


def check_value_range(images: Sequence[ImageSource], decoding: Decoding) -> str:
    """A warning if `MEASURED` evenly spaced images use a small part of their range, or another one; else empty.

    Raises `UserError` if all of these images need --data.value-range, as float does.
    """
    chosen = spaced(images)
    measured = measure_images(chosen)
    warning = value_range_warning(measured, decoding.value_range)
    unknown = [samples for samples in measured.values() if samples.full is None]
    hopeless = decoding.value_range is None and 0 < len(chosen) == len(unknown)
    demand(not hopeless, *warning)
    return "{} ({})".format(*warning) if warning[0] else ""


def spaced(images: Sequence[ImageSource]) -> list[ImageSource]:
    """`MEASURED` evenly spaced images, or all if there are fewer; of shards on a server those of one shard."""
    index = images.packed if isinstance(images, Images) and len(images) else None
    if isinstance(images, Images) and isinstance(index, Index) and not index.folder.is_local:
        shards = index.shard[images.numbers()]
        images = images.take(np.flatnonzero(shards == shards[0]))
    indices = np.linspace(0, len(images) - 1, min(MEASURED, len(images))).astype(int)
    return [images[i] for i in indices.tolist()]


def measure_images(images: Iterable[ImageSource]) -> dict[str, Samples]:
    """From name to values, of the images with more than 8 bits per channel. Skips those that cannot be read."""
    measured = {}
    for image in images:
        if isinstance(image, Encoded):
            with suppress(Exception), warnings.catch_warnings():  # Pillow raises many kinds of exceptions
                warnings.simplefilter("ignore")
                with image.open() as file, open_image(file) as opened:
                    samples = measure(opened)
                if samples:
                    measured[image.name] = samples
    return measured


def value_range_warning(measured: Mapping[str, Samples], value_range: ValueRange | None) -> tuple[str, str]:
    """What is wrong with the range of these images, and what to do; both empty if nothing is."""
    if not measured:
        return "", ""
    low, high = min(s.low for s in measured.values()), max(s.high for s in measured.values())
    used, range_text = f"{low:g} to {high:g}", "{:g} {:g}".format(*_suggested(low, high))
    if value_range:
        outside = low < value_range[0] or high > value_range[1]
        what = f"images have values from {used}, outside --data.value-range {value_range[0]:g} {value_range[1]:g}"
        return (what, f"they are clipped: try --data.value-range {range_text}") if outside else ("", "")
    if any(samples.full is None for samples in measured.values()):
        what = f"images have 32-bit values from {used}, whose range is unknown"
        return what, f"name it, or they cannot be read: --data.value-range {range_text}"
    full = max(samples.full[1] for samples in measured.values() if samples.full)
    if high - low >= HALF * full:
        return "", ""
    share = (high - low) / full
    what = f"16-bit images use the values {used} of {full:g} ({share:.0%}): the network sees "
    what += f"{round(255 * low / full)} to {round(255 * high / full)} of 255"
    if any(samples.colors for samples in measured.values()):
        return what, "convert RGB images to 8 bits: only the upper 8 bits are read"
    return what, f"--data.value-range {range_text} scales them"


def _suggested(low: float, high: float) -> ValueRange:
    """A range with some reason: of bits for integers from near 0, otherwise the values."""
    if low < 0 or not float(low).is_integer() or not float(high).is_integer() or high < 1:
        return low, high if high > low else low + 1
    return (0, 2 ** int(high).bit_length() - 1) if low < high / 4 else (low, high if high > low else low + 1)
