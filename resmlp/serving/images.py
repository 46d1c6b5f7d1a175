"""From the bytes of an uploaded image to what a network sees; limits are checked before anything is decoded."""

import io
import time
from typing import Any, NamedTuple

from PIL import Image

from resmlp.config.preprocessing import Preprocessing
from resmlp.imaging.crop import cover_size
from resmlp.imaging.decode import UnreadableImage, decode
from resmlp.imaging.formats import open_image
from resmlp.inference.prediction import ImagePredictor
from resmlp.serving.limits import Refusal
from resmlp.serving.metrics import Metrics


class Upload(NamedTuple):
    """An image of a request, not decoded."""

    name: str
    data: bytes


class Prepared(NamedTuple):
    """An image as the network takes it, and what the answer says of it."""

    name: str
    kept: Any
    size: tuple[int, int]
    """width and height of the upright image"""


def image_size(upload: Upload, most: int) -> tuple[int, int]:
    """Width and height as the file's header says. Raises `Refusal`: 413 above `most` pixels, 422 for no image."""
    try:
        with open_image(io.BytesIO(upload.data)) as image:
            size = image.size
    except Image.DecompressionBombError:
        raise Refusal(413, f"{upload.name} has too many pixels: at most {most:,}") from None
    except Exception:  # Pillow's readers raise many kinds
        raise Refusal(422, f"cannot read {upload.name}: not an image, or an unsupported format") from None
    if size[0] * size[1] > most:
        raise Refusal(413, f"{upload.name} has {size[0]} x {size[1]} pixels: at most {most:,}")
    return size


def prepare(upload: Upload, predictor: ImagePredictor, metrics: Metrics) -> Prepared:
    """Decode an image and make the network's input of it. Raises `Refusal` 422 for a damaged one."""
    started = time.monotonic()
    try:
        image = decode(upload.name, lambda: io.BytesIO(upload.data), predictor.preprocessing.decoding)
    except UnreadableImage as error:
        raise Refusal(422, f"cannot read {error.name}: {error.reason}") from None
    decoded = time.monotonic()
    kept = predictor.keep(image)
    metrics.parts.labels("decode").observe(decoded - started)
    metrics.parts.labels("resize").observe(time.monotonic() - decoded)
    return Prepared(upload.name, kept, image.size)


def seen(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The evaluation crop of an image of (width, height): left, top, right, bottom, from 0 to 1."""
    height, width = preprocessing.size
    resized = cover_size(size, preprocessing)
    left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
    return left / resized[0], top / resized[1], (left + width) / resized[0], (top + height) / resized[1]
