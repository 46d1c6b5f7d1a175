"""Mean intersection over union, over the pixels of all processes.

K classes, H W the size of an image. Nothing is averaged over images, batches or processes: every number is a count over
pixels. Each pixel counts once, and ignored pixels do not count.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resmlp.utils.devices import all_gather

IGNORED = 255
"""label of an ignored pixel"""


@dataclass(frozen=True)
class PixelTally:
    """The true and the predicted classes of pixels, counted."""

    counts: Tensor
    """K K+1 int64: row the true class, column the predicted class; the last column: an output that is not finite"""
    images: int = 0
    """number of images"""
    unreadable: tuple[str, ...] = ()
    """names of the images that could not be read and are left out"""

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self.counts.sum())

    @property
    def not_finite(self) -> int:
        """Number of pixels with an output that is not finite; they count as wrong."""
        return int(self.counts[:, -1].sum())

    @property
    def confusion(self) -> Tensor:
        """The confusion matrix, K K int64: row the true class, column the predicted class."""
        return self.counts[:, :-1]

    def per_class(self) -> list[float | None]:
        """Intersection over union of each class; None for a class that no pixel has or is predicted to have."""
        both = self.confusion.diagonal()
        either = self.counts.sum(1) + self.confusion.sum(0) - both
        return [hit / n if n else None for hit, n in zip(both.tolist(), either.tolist())]

    def scores(self) -> Iterator[tuple[str, float]]:
        """Yield ("miou", fraction), the mean over the classes that are not None, and ("pixel_accuracy", fraction).

        A class that is predicted but does not occur counts with 0. Both are 0 without pixels.
        """
        ious = [iou for iou in self.per_class() if iou is not None]
        yield "miou", sum(ious) / max(len(ious), 1)
        yield "pixel_accuracy", int(self.confusion.trace()) / max(self.pixels, 1)


def count_pixels(
    label: Callable[[Tensor, tuple[int, int]], Any],
    batches: Iterable[dict[str, Any]],
    num_classes: int,
    observe: Callable[[Tensor, Tensor], Any] = lambda mask, predicted: None,
) -> PixelTally:
    """Compare the predictions of `label` for each image of each process with the masks.

    A batch is `{"image": uint8 B 3 h w, "mask": uint8 B H W, "unreadable": [name, ...]}`. `label(image, (H, W))` takes
    uint8 3 h w to classes H W, an array or a tensor, -1 for an output that is not finite. `observe` is called with each
    mask and its prediction.
    """
    counts = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    images, left_out = 0, list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        for image, mask in zip(batch["image"], batch["mask"]):
            height, width = mask.shape
            predicted = torch.as_tensor(label(image, (height, width))).cpu()
            counts += pixel_counts(mask, predicted, num_classes)
            observe(mask, predicted)
            images += 1
    parts = all_gather((counts, images, left_out))
    total = torch.stack([part for part, _, _ in parts]).sum(0)
    names = tuple(sorted(name for _, _, own in parts for name in own))
    return PixelTally(total, sum(number for _, number, _ in parts), names)


def pixel_counts(target: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Labels H W, 255 where ignored, and predicted classes H W, -1 for none -> `PixelTally.counts`, int64 K K+1."""
    counted = target != IGNORED
    rows, columns = target[counted].long(), predicted[counted].long()
    columns = columns.where(columns >= 0, num_classes)
    size = num_classes * (num_classes + 1)
    return torch.bincount(rows * (num_classes + 1) + columns, minlength=size).view(num_classes, -1)
