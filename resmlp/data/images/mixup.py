"""Batch augmentation, on the device of the batch: normalization, random erasing, mixup and CutMix."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from resmlp.config import Augment, Data
from resmlp.config.preprocessing import LUMA
from resmlp.utils.seeding import preserved_generators


def to_gray(images: Tensor) -> Tensor:
    """uint8 B 3 H W -> uint8 B 1 H W, as Pillow converts; gray images B 1 H W are returned as they are."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(LUMA, dtype=torch.int32, device=images.device).view(3, 1, 1)
    total = (images.int() * weights).sum(1, keepdim=True, dtype=torch.int32)
    return ((total + 2**15) >> 16).byte()


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixels / 255 - mean) / std: uint8 B 3 H W -> float32 B C H W, with one mean and one std for each channel.

    C is 3, or 1 for the mean of one channel: then the images become gray.
    """
    images = to_gray(images) if len(mean) == 1 else images
    offset, scale = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std))
    if images.device.type != "cpu":
        return (images / 255).sub_(offset).div_(scale)
    factor, shift = 1 / (255 * scale), -offset / scale  # on a CPU, division takes longer than all the rest
    result = torch.empty(images.shape)
    for image, out in zip(images, result):  # one image at a time stays in the cache
        out.copy_(image).mul_(factor).add_(shift)
    return result


class BatchAugment:
    """Normalize, erase, then mix the images of a training batch and their targets, in timm's order.

    The erased rectangle of an image and its noise are a function of the image's key. Mixing uses the global generator
    of NumPy, which the engine seeds equally in each process, and mixes an image with the one at the same distance from
    the other end of the batch: see `resmlp.data.loading.train.paired`.
    """

    def __init__(self, augment: Augment, data: Data, num_classes: int):
        from timm.data import Mixup  # the import takes seconds
        from timm.data.random_erasing import RandomErasing

        preprocessing = data.preprocessing()
        self.mean, self.std, self.num_classes = preprocessing.mean, preprocessing.std, num_classes
        self.probability, self.erasing = augment.erasing, RandomErasing(1.0, mode="pixel")
        self.mixing: Any = None
        if augment.mixup or augment.cutmix:
            self.mixing = Mixup(
                augment.mixup,
                augment.cutmix,
                prob=augment.mix_prob,
                switch_prob=augment.switch_prob,
                label_smoothing=0.0,  # the loss does the smoothing
                num_classes=num_classes,
            )

    def __call__(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 B 3 H W, labels and keys int64 B -> images float32 B 3 H W and targets float32 B K, with sum 1.

        In place of labels, float32 B C may have a row of numbers for each image: they are mixed as the images are. B
        must be even if images are mixed.
        """
        images = normalize(images, self.mean, self.std)
        if self.probability:
            self.erase(images, keys)
        if labels.is_floating_point():
            return self._mix_rows(images, labels) if self.mixing else (images, labels)
        if self.mixing:
            return self.mixing(images, labels)
        return images, one_hot(labels, self.num_classes).float()

    def _mix_rows(self, images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the images and any rows B C alike: timm's targets for the places of the images are the shares of each."""
        self.mixing.num_classes = len(images)
        images, shares = self.mixing(images, torch.arange(len(images), device=images.device))  # B B
        self.mixing.num_classes = self.num_classes
        return images, shares @ rows

    def erase(self, images: Tensor, keys: Tensor) -> None:
        """Put noise into a rectangle of some of the images B 3 H W, in place: random erasing, by timm."""
        self.erasing.device = images.device
        devices = [images.device] if images.device.type == "cuda" else []
        # without an accelerator, torch.manual_seed only adds work: it keeps a formatted stack trace for CUDA's start
        seed = torch.default_generator.manual_seed if images.device.type == "cpu" else torch.manual_seed
        with preserved_generators(), torch.random.fork_rng(devices):
            for image, key in zip(images, keys.tolist()):
                random.seed(key)
                if random.random() < self.probability:
                    seed(key)
                    self.erasing(image)
