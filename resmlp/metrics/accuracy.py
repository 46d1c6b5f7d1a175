"""Top-1, top-5, per-class accuracy and the confusion matrix, over the images of all processes.

N images, K classes, k = min(5, K). Nothing is averaged over batches or processes: each image counts once, by its index,
and every number is a count over images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resmlp.utils.devices import all_gather

MATRIX_LIMIT = 2_000  # classes; the matrix of 21,841 would take 3.5 GiB


@dataclass(frozen=True)
class Ranking:
    """The likeliest classes of N images by a network, in the order of the data set."""

    index: Tensor
    """N int64: positions of the images in the data set"""
    label: Tensor
    """N int64: labels in the data set"""
    top: Tensor
    """N k int64: the likeliest classes, likeliest first; all -1, which is never right, if an output was not finite"""
    probability: Tensor
    """N float32: the probability of the likeliest class; NaN if an output was not finite"""
    unreadable: tuple[str, ...] = ()
    """names of the images that could not be read and are left out"""


@dataclass(frozen=True)
class Tally:
    """The likeliest classes of N images and the ground truth."""

    label: Tensor
    """N int64: the ground truth"""
    top: Tensor
    """N k int64: as `Ranking.top`"""
    num_classes: int

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.label)

    @property
    def top1(self) -> int:
        """Number of images with the true class first."""
        return int((self.top[:, 0] == self.label).sum())

    @property
    def top5(self) -> int:
        """Number of images with the true class among the first five; all of them for five classes or fewer."""
        return int((self.top == self.label[:, None]).any(1).sum())

    @property
    def not_finite(self) -> int:
        """Number of images with an output that is not finite; they count as wrong."""
        return int((self.top[:, 0] < 0).sum())

    def scores(self) -> Iterator[tuple[str, float]]:
        """Yield ("top1", fraction) and ("top5", fraction); both are 0 without images."""
        yield "top1", self.top1 / max(self.images, 1)
        yield "top5", self.top5 / max(self.images, 1)

    def per_class(self) -> list[float | None]:
        """Accuracy of each class; None for a class without images."""
        right = self.label[self.top[:, 0] == self.label]
        counts, hits = (torch.bincount(label, minlength=self.num_classes).tolist() for label in (self.label, right))
        return [hit / n if n else None for hit, n in zip(hits, counts)]

    def confusion(self) -> Tensor | None:
        """The confusion matrix, K K int64: row the true class, column the predicted class; None above 2,000 classes."""
        k = self.num_classes
        if k > MATRIX_LIMIT:
            return None
        finite = self.top[:, 0] >= 0
        return torch.bincount((self.label * k + self.top[:, 0])[finite], minlength=k * k).view(k, k)


def classify(
    predict: Callable[[Tensor], Tensor], batches: Iterable[dict[str, Any]], num_classes: int, device: torch.device | str
) -> Tally:
    """The predictions of `predict` and the labels of the batches, as in `rank`."""
    ranking = rank(predict, batches, device)
    return Tally(ranking.label, ranking.top, num_classes)


def rank(
    predict: Callable[[Tensor], Tensor],
    batches: Iterable[dict[str, Any]],
    device: torch.device | str,
    columns: Sequence[int] | None = None,
) -> Ranking:
    """The five likeliest classes of every image of every process.

    `predict` takes uint8 B 3 H W on `device` to logits B K. A batch is `{"image": uint8 B 3 H W, "label": int64 B,
    "index": int64 B, "unreadable": [name, ...]}`. With `columns`, only these classes can be predicted: the logits of
    all others are dropped first, and the probabilities are those among the kept ones.
    """
    kept = None if columns is None else torch.tensor(list(columns), device=device)
    parts, left_out = list[tuple[Tensor, ...]](), list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        if not len(batch["label"]):
            continue
        logits = predict(batch["image"].to(device, non_blocking=True)).float().to(device)  # B K
        logits = logits if kept is None else logits[:, kept]
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices  # B k
        top = top if kept is None else kept[top]
        finite = logits.isfinite().all(1)
        top = top.masked_fill(~finite[:, None], -1)
        probability = logits.softmax(1).amax(1).masked_fill(~finite, torch.nan)  # B
        parts.append((batch["index"], batch["label"], top, probability))
    rows = collect(parts, left_out)
    probability = rows.more[0] if rows.more else torch.zeros(0)
    return Ranking(rows.index, rows.label, rows.value, probability, rows.unreadable)


@dataclass(frozen=True)
class Collected:
    """One row for each of N images of all processes, in the order of the data set."""

    index: Tensor
    """N int64: positions of the images in the data set"""
    label: Tensor
    """N int64"""
    value: Tensor
    """N ...: result for each image; 0 1 int64 without images"""
    unreadable: tuple[str, ...]
    """names of the images that could not be read and are left out"""
    more: tuple[Tensor, ...] = ()
    """N ... each: further results for each image; empty without images"""


def collect(parts: Sequence[tuple[Tensor, ...]], left_out: Sequence[str]) -> Collected:
    """Concatenate the (index, label, value, ...) of the batches of all processes, on the CPU."""
    own = [torch.cat(list(column)).cpu() for column in zip(*parts)]
    processes = all_gather((own, left_out))
    unreadable = tuple(sorted(name for _, names in processes for name in names))
    rows = [part for part, _ in processes if part]  # a process may have no image
    if not rows:
        empty = torch.zeros(0, dtype=torch.int64)
        return Collected(empty, empty, empty[:, None], unreadable)
    index, *columns = (torch.cat(list(column)) for column in zip(*rows))
    order = index.argsort()
    if (index[order].diff() == 0).any():
        raise RuntimeError("an image was counted twice")
    label, value, *more = (column[order] for column in columns)
    return Collected(index[order], label, value, unreadable, tuple(more))


DRAWS = 10_000


def bootstrap(right: int, images: int, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the accuracy `right / images` by the bootstrap (Efron 1979); None without images.

    The number of right images among n drawn with replacement is binomial (n, right / images), so 10,000 binomial
    numbers are drawn. If all or none are right, all draws are equal and the interval is a point.
    """
    if not images:
        return None
    draws = np.random.default_rng(seed).binomial(images, right / images, DRAWS)
    low, high = np.percentile(draws, (2.5, 97.5)) / images
    return float(low), float(high)
