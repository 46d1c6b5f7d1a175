"""The images that a person passes to `predict`: paths, bytes, Pillow images, arrays and tensors. Loads no torch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.imaging.decode import decode, to_rgb
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError

HINT = "give a path, bytes, a PIL image, uint8 H W 3 as a NumPy array, uint8 3 H W as a tensor, or a list of them"


def split_inputs(inputs: Any) -> tuple[Sequence[Any], bool]:
    """The inputs of a sequence, or the one input as a sequence, and whether it was one. None of them is read.

    An input is a path, the bytes of an image file, a PIL image, a NumPy array (uint8, H W or H W 3), or a tensor
    (uint8, H W or 3 H W). Arrays and tensors with one more dimension are batches. Raises `UserError` for anything else.
    """
    if isinstance(inputs, str | Path | bytes | Image.Image):
        return [inputs], True
    if _is_array(inputs):
        single = inputs.ndim < 4
        return [inputs] if single else inputs, single
    if isinstance(inputs, Sequence):
        return inputs, False
    raise UserError(f"an image cannot be a {type(inputs).__name__}", HINT)


def read_image(value: Any) -> Image.Image:
    """The RGB image of one input of `split_inputs`. Raises `UnreadableImage` that names the file, and `UserError`."""
    if isinstance(value, str | Path):
        return File(str(value)).read()
    if isinstance(value, bytes):
        return decode("the given bytes", lambda: io.BytesIO(value))
    if isinstance(value, Image.Image):
        return to_rgb(value)
    if _is_array(value):
        return to_rgb(Image.fromarray(_pixels(value)))
    raise UserError(f"an image cannot be a {type(value).__name__}", HINT)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _pixels(value: Any) -> np.ndarray:
    """uint8 H W or H W 3, of an array with channels last or of a tensor with channels first."""
    array = value
    if _is_tensor(value):
        array = value.detach().cpu().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    what = f"an image of type {array.dtype} and shape {tuple(value.shape)}"
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise UserError(what, HINT)
    if 0 in array.shape:
        raise UserError(what, "it has no pixels")
    return np.ascontiguousarray(array)
