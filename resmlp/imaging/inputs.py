"""The images that a person passes to `predict`: paths, bytes, Pillow images, arrays and tensors. Loads no torch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.decode import DEFAULT, UnreadableImage, decode, to_rgb
from resmlp.imaging.image_file import Encoded, File
from resmlp.utils.errors import UserError
from resmlp.utils.files import exists

HINT = (
    "give a path, bytes, a PIL image, an array H W 3 or a tensor 3 H W, uint8 or floats from 0 to 1, or a list of them"
)
CHANNELS = (1, 3, 4)
"""gray, RGB, RGB with transparency"""


class MissingImage(UnreadableImage):
    """There is no file of this name."""

    def __init__(self, name: str, reason: str = "no such file"):
        super().__init__(name, reason)
        UserError.__init__(self, f"no image at {self.name}", "check the path")


def split_inputs(inputs: Any) -> tuple[Sequence[Any], bool]:
    """The inputs of a sequence, or the one input as a sequence, and whether it was one. None of them is read.

    An input is a path, the bytes of an image file, a PIL image, a NumPy array (H W 3, H W, or 3 H W), or a tensor
    (3 H W or H W), of uint8 or of floats from 0 to 1. Arrays and tensors with one more dimension are batches. Raises
    `UserError` for anything else.
    """
    if isinstance(inputs, str | Path | bytes | Image.Image):
        return [inputs], True
    if _is_array(inputs):
        single = inputs.ndim < 4
        return [inputs] if single else inputs, single
    if isinstance(inputs, Sequence):
        return inputs, False
    raise UserError(f"an image cannot be a {type(inputs).__name__}", HINT)


def read_image(value: Any, decoding: Decoding = DEFAULT) -> Image.Image:
    """The RGB image of one input of `split_inputs`. Raises `UnreadableImage` that names the file, and `UserError`."""
    if isinstance(value, str | Path):
        if not exists(str(value)):
            raise MissingImage(str(value))
        if Path(value).is_dir():
            raise UserError(f"{value} is a folder", "give its images, such as list(Path(FOLDER).glob('*.png'))")
        return File(str(value), decoding).read()
    if isinstance(value, Encoded):
        return value.decoded(decoding).read()
    if isinstance(value, bytes):
        return decode("the given bytes", lambda: io.BytesIO(value), decoding)
    if isinstance(value, Image.Image):
        return to_rgb(value, decoding.value_range)
    if _is_array(value):
        return to_rgb(Image.fromarray(_pixels(value)))
    raise UserError(f"an image cannot be a {type(value).__name__}", HINT)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _pixels(value: Any) -> np.ndarray:
    """uint8 H W or H W C, of an array or a tensor of `read_images`."""
    array = _numpy(value)
    what = f"an image of type {array.dtype} and shape {tuple(array.shape)}"
    if array.ndim == 3:
        array = _channels_last(array, is_tensor=_is_tensor(value))
    has_channels = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in CHANNELS)
    is_float = np.issubdtype(array.dtype, np.floating)
    if not has_channels or not (is_float or array.dtype == np.uint8):
        raise UserError(what, HINT)
    if 0 in array.shape:
        raise UserError(what, "it has no pixels")
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.ascontiguousarray(_from_unit(array) if is_float else array)


def _channels_last(array: np.ndarray, is_tensor: bool) -> np.ndarray:
    """H W C of a tensor's C H W; an array is C H W only where its last axis cannot be channels."""
    is_first = is_tensor or (array.shape[0] in (1, 3) and array.shape[-1] not in CHANNELS)
    return np.moveaxis(array, 0, -1) if is_first else array


def _numpy(value: Any) -> np.ndarray:
    """The values of an array or a tensor; NumPy has no bfloat16."""
    if not _is_tensor(value):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _from_unit(array: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1 -> uint8 from 0 to 255, rounded. Raises `UserError` for other values."""
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # nor NaN
        what = f"a float image with values from {low:.4g} to {high:.4g}"
        raise UserError(what, "give values from 0 to 1, not normalized, or uint8")
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
