"""timm's RandAugment and 3-Augment with faster pixel operations: the same draws, nearly the same pixels.

timm parses the settings and draws operations and magnitudes; this module replaces the function of each operation.
Operations without a replacement, and interpolation other than bicubic, use Pillow. Images are uint8 3 H W.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Preprocessing
from resmlp.data.images import affine_ops, color_ops
from resmlp.imaging.crop import RESAMPLING
from resmlp.utils.errors import UserError

Step = Callable[[np.ndarray], np.ndarray]

COLORS: dict[str, Callable[..., np.ndarray]] = {
    "auto_contrast": color_ops.autocontrast,
    "brightness": color_ops.brightness,
    "color": color_ops.color,
    "contrast": color_ops.contrast,
    "equalize": color_ops.equalize,
    "invert": color_ops.invert,
    "posterize": color_ops.posterize,
    "sharpness": color_ops.sharpness,
    "solarize": color_ops.solarize,
    "solarize_add": color_ops.solarize_add,
}
SHIFTS: dict[str, Callable[..., np.ndarray]] = {
    "shear_x": affine_ops.shear_x,
    "shear_y": affine_ops.shear_y,
    "translate_x_abs": affine_ops.translate_x,
    "translate_y_abs": affine_ops.translate_y,
}
RELATIVE: dict[str, Callable[..., np.ndarray]] = {
    "translate_x_rel": affine_ops.translate_x,
    "translate_y_rel": affine_ops.translate_y,
}
"""by timm's names; the operations of `RELATIVE` take fractions of the image's width or height"""


class RandAugment:
    """Apply randomly chosen operations, with or without repetition. Draws faster than timm's class."""

    def __init__(self, ops: list[Any], layers: int, weights: np.ndarray | None):
        self.ops, self.layers, self.weights = ops, layers, weights

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 3 H W -> uint8 3 H W; draws the same random numbers as timm's class."""
        count = len(self.ops)
        if self.weights is None:
            chosen = np.random.randint(count, size=self.layers)
        else:
            chosen = np.random.choice(count, self.layers, replace=False, p=self.weights)
        for i in chosen.tolist():
            image = self.ops[i](image)
        return image


def rand_augment(p: Preprocessing, magnitudes: str) -> RandAugment:
    """timm's RandAugment with the settings of timm's `create_transform`.

    Raises `UserError` for a string that timm does not accept.
    """
    from timm.data.auto_augment import rand_augment_transform

    settings = {
        "translate_const": int(min(p.size) * 0.45),
        "img_mean": tuple(min(255, round(255 * mean)) for mean in p.rgb_mean),
        "interpolation": RESAMPLING[p.interpolation],
    }
    try:
        policy = rand_augment_transform(magnitudes, settings)
    except (AssertionError, ValueError, KeyError) as error:
        raise UserError(
            f"--augment.magnitudes {magnitudes} is not valid", "example: rand-m9-n2-mstd0.5-inc1"
        ) from error
    _replace(policy.ops)
    return RandAugment(policy.ops, policy.num_layers, policy.choice_weights)


def three_augment() -> Step:
    """3-Augment (DeiT III, section 3.3): solarize, grayscale or Gaussian blur for each image."""
    from timm.data.auto_augment import auto_augment_transform

    policy = auto_augment_transform("3a")
    _replace(op for ops in policy.policy for op in ops)
    return policy


def through_pillow(change: Callable[..., Image.Image], image: np.ndarray, *level: Any, **settings: Any) -> np.ndarray:
    """Apply a function of Pillow images to a uint8 3 H W image."""
    bands = [Image.fromarray(channel) for channel in image]
    changed = change(Image.merge("RGB", bands), *level, **settings)
    return np.stack([np.asarray(band) for band in changed.split()])


def _replace(ops: Iterable[Any]) -> None:
    for op in ops:
        name, bicubic = op.aug_fn.__name__, op.kwargs["resample"] == Image.Resampling.BICUBIC
        if op.name.startswith("Posterize"):
            op.level_fn = partial(_posterize_bits, op.level_fn)
        if name in COLORS:
            op.aug_fn = partial(_change_colors, COLORS[name])
        elif name in SHIFTS and bicubic:
            op.aug_fn = partial(_shift, SHIFTS[name])
        elif name in RELATIVE and bicubic:
            op.aug_fn = partial(_shift_by_fraction, RELATIVE[name])
        else:
            op.aug_fn = partial(through_pillow, op.aug_fn)


def _change_colors(change: Callable[..., np.ndarray], image: np.ndarray, *level: Any, **_: Any) -> np.ndarray:
    return change(image, *level)


def _shift(move: Callable[..., np.ndarray], image: np.ndarray, by: float, *, fillcolor: Any, **_: Any) -> np.ndarray:
    return move(image, by, fillcolor)


def _shift_by_fraction(
    move: Callable[..., np.ndarray], image: np.ndarray, fraction: float, **settings: Any
) -> np.ndarray:
    side = image.shape[2] if move is affine_ops.translate_x else image.shape[1]
    return _shift(move, image, fraction * side, **settings)


def _posterize_bits(level_fn: Callable[..., tuple[int]], level: float, hparams: dict[str, Any]) -> tuple[int]:
    """timm may ask to keep 0 bits, a black image, which Pillow 12 and later refuse: keep at least one."""
    return (max(1, level_fn(level, hparams)[0]),)
