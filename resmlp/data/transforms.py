"""One RGB picture -> the uint8 tensor that goes into a batch. timm is loaded where it is needed: it takes seconds.

Randomness comes from Python's, NumPy's and torch's global generators, which the loader seeds for each picture.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from resmlp.config import Augment, Data
from resmlp.errors import UserError
from resmlp.imaging.frame import frame
from resmlp.preprocessing import Preprocessing

Transform = Callable[[Image.Image], torch.Tensor]
Step = Callable[[Any], Any]


def train_transform(data: Data, augment: Augment) -> Transform:
    """PIL RGB -> uint8 3 H W: crop, flip, colour policy, in that order.

    As in DeiT, RandAugment stands in for the colour jitter. Raises `UserError` for a RandAugment string timm refuses.
    """
    preprocessing = data.preprocessing()
    steps = _crop(preprocessing, augment)
    if augment.flip:
        steps.append(transforms.RandomHorizontalFlip(augment.flip))
    if augment.policy == "rand":
        steps.append(_rand_augment(preprocessing, augment.magnitudes))
    if augment.policy == "three":
        steps.append(_three_augment())
    if augment.jitter and augment.policy != "rand":
        steps.append(transforms.ColorJitter(augment.jitter, augment.jitter, augment.jitter))
    return transforms.Compose([*steps, transforms.PILToTensor()])


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """PIL RGB -> uint8 3 H W: the shorter side to size / crop_ratio, then the centre; small pictures are enlarged."""
    return transforms.Compose([partial(frame, preprocessing=preprocessing), transforms.PILToTensor()])


def _crop(p: Preprocessing, augment: Augment) -> list[Step]:
    height, width = p.size
    if augment.crop == "centre":
        return [partial(frame, preprocessing=p)]
    if augment.crop == "pad":
        fit = partial(frame, preprocessing=replace(p, crop_ratio=1.0))
        return [fit, transforms.RandomCrop(p.size, padding=(width // 8, height // 8))]
    return [
        transforms.RandomResizedCrop(
            p.size, augment.scale, ratio=(3 / 4, 4 / 3), interpolation=InterpolationMode(p.interpolation)
        )
    ]


def _rand_augment(p: Preprocessing, magnitudes: str) -> Step:
    """timm's RandAugment, with the settings that timm's `create_transform` gives it."""
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import str_to_pil_interp

    settings = {
        "translate_const": int(min(p.size) * 0.45),
        "img_mean": tuple(min(255, round(255 * mean)) for mean in p.mean),
        "interpolation": str_to_pil_interp(p.interpolation),
    }
    try:
        policy = rand_augment_transform(magnitudes, settings)
    except (AssertionError, ValueError, KeyError) as error:
        raise UserError(f"--augment.magnitudes {magnitudes}", "as in rand-m9-n2-mstd0.5-inc1") from error
    for op in policy.ops:
        if op.name.startswith("Posterize"):
            op.level_fn = partial(_posterize_bits, op.level_fn)
    return policy


def _posterize_bits(level_fn: Callable[..., tuple[int]], level: float, hparams: dict) -> tuple[int]:
    """timm's posterize may keep 0 bits, a black picture, which Pillow 12 and on refuse: keep one at least."""
    return (max(1, level_fn(level, hparams)[0]),)


def _three_augment() -> Step:
    """3-Augment (DeiT III, section 3.3): one of solarise, greyscale and Gaussian blur for each picture."""
    from timm.data.auto_augment import auto_augment_transform

    return auto_augment_transform("3a")
