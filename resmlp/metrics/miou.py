"""Mean intersection over union, from what was said of each pixel by all processes.

K classes, H W the size of an image. Nothing is averaged over images, batches or processes: every number is a count
over pixels, each of which is counted once, and those that are to be ignored not at all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resmlp.utils.devices import all_gather

IGNORED = 255
"""label of a pixel that counts for nothing"""


@dataclass(frozen=True)
class PixelTally:
    """Which class was taken for which, pixel by pixel."""

    counts: Tensor
    """K K+1 int64: row the true class, column the one that was said; the last: none, where an output was not finite"""
    images: int = 0
    """how many were counted"""
    unreadable: tuple[str, ...] = ()
    """names of the images that were left out, as they could not be read"""

    @property
    def pixels(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    @property
    def not_finite(self) -> int:
        """Pixels for which the network gave something that is not finite; they count as wrong."""
        return int(self.counts[:, -1].sum())

    @property
    def confusion(self) -> Tensor:
        """K K int64: row the true class, column the predicted one."""
        return self.counts[:, :-1]

    def per_class(self) -> list[float | None]:
        """Intersection over union of each class; None for one that no pixel has and of which none is said."""
        both = self.confusion.diagonal()
        either = self.counts.sum(1) + self.confusion.sum(0) - both
        return [hit / n if n else None for hit, n in zip(both.tolist(), either.tolist())]

    def scores(self) -> Iterator[tuple[str, float]]:
        """("miou", fraction), the mean over the classes that are not None, and ("pixel_accuracy", fraction).

        A class that occurs nowhere, but is said somewhere, counts with 0. Both are 0 without pixels.
        """
        known = [iou for iou in self.per_class() if iou is not None]
        yield "miou", sum(known) / max(len(known), 1)
        yield "pixel_accuracy", int(self.confusion.trace()) / max(self.pixels, 1)


def count_pixels(
    label: Callable[[Tensor, tuple[int, int]], Tensor], batches: Iterable[dict[str, Any]], num_classes: int
) -> PixelTally:
    """Count what `label` says of each image of each process against the labels of its pixels.

    A batch is `{"image": uint8 B 3 h w, "mask": uint8 B H W, "unreadable": [name, ...]}`, and `label(image, (H, W))` of
    uint8 3 h w gives H W: the class, or -1 for none.
    """
    counts = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    images, left_out = 0, list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        for image, mask in zip(batch["image"], batch["mask"]):
            height, width = mask.shape
            counts += pixel_counts(mask, label(image, (height, width)).cpu(), num_classes)
            images += 1
    parts = all_gather((counts, images, left_out))
    total = torch.stack([part for part, _, _ in parts]).sum(0)
    names = tuple(sorted(name for _, _, own in parts for name in own))
    return PixelTally(total, sum(number for _, number, _ in parts), names)


def pixel_counts(truth: Tensor, said: Tensor, num_classes: int) -> Tensor:
    """Labels H W, 255 where they are to be ignored, and classes H W, -1 for none -> int64 K K+1 as `PixelTally`."""
    counted = truth != IGNORED
    rows, columns = truth[counted].long(), said[counted].long()
    columns = columns.where(columns >= 0, num_classes)
    size = num_classes * (num_classes + 1)
    return torch.bincount(rows * (num_classes + 1) + columns, minlength=size).view(num_classes, -1)
