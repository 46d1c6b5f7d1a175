"""Calibration images: training images that a compression method is fitted to."""

import os
from pathlib import Path

import torch
from torch import Tensor

from resmlp.config.evaluation import EvalData
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import EvalBatches, ImageSet
from resmlp.utils.checks import demand


def calibration_images(
    train: ImageSet, scored: ImageSet, count: int, preprocessing: Preprocessing, data: EvalData
) -> Tensor:
    """uint8 P 3 H W: `count` images of `train`, a seeded choice, without those that cannot be read.

    Raises `UserError` where one of them is among `scored`: the accuracy would be measured on calibration images.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    chosen = train.subset(order[:count].tolist())
    scored_paths = set(image_paths(scored))
    shared = [path for path in image_paths(chosen) if path in scored_paths]
    what = f"{len(shared)} of the {len(chosen)} calibration images are evaluated as well: {', '.join(shared[:1])}"
    demand(not shared, what, "give --train, a tree of other images, or a --data.root with train/ and val/")
    batches = EvalBatches(chosen, preprocessing, data.batch_size, data.workers)
    pixels = torch.cat([batch["image"] for batch in batches])
    demand(len(pixels) > 0, "no training image can be read", "resmlp data check lists the damaged files")
    return pixels


def image_paths(images: ImageSet) -> list[str]:
    """A normalized absolute path for each image, to compare images of two sets."""
    return [os.path.normpath(Path(images.name(i)).absolute()) for i in range(len(images))]
