"""Top-1, top-5, per-class accuracy and the confusion matrix, from what was said of each image by all processes.

N images, K classes, k = min(5, K). Nothing is averaged over batches or processes: each image is there once, under
its index, and every number is a count over them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resmlp.utils.devices import all_gather

MATRIX_LIMIT = 2_000  # classes; of 21,841 the matrix would take 3.5 GiB


@dataclass(frozen=True)
class Ranking:
    """What a network said of N images, in the order of their set."""

    index: Tensor
    """N int64: each image's place in its set"""
    label: Tensor
    """N int64: each image's label in its set"""
    top: Tensor
    """N k int64: the likeliest classes, best first; all -1 where an output was not finite, which is never right"""
    unreadable: tuple[str, ...] = ()
    """names of the images that were left out, as they could not be read"""


@dataclass(frozen=True)
class Tally:
    """The likeliest classes of N images against the true ones."""

    label: Tensor
    """N int64: the true class"""
    top: Tensor
    """N k int64: as `Ranking.top`"""
    num_classes: int

    @property
    def images(self) -> int:
        """How many were counted."""
        return len(self.label)

    @property
    def top1(self) -> int:
        """Images whose likeliest class is the true one."""
        return int((self.top[:, 0] == self.label).sum())

    @property
    def top5(self) -> int:
        """Images whose true class is among the five likeliest: all of them where there are no more than five."""
        return int((self.top == self.label[:, None]).any(1).sum())

    @property
    def not_finite(self) -> int:
        """Images for which the network gave something that is not finite; they count as wrong."""
        return int((self.top[:, 0] < 0).sum())

    def scores(self) -> Iterator[tuple[str, float]]:
        """("top1", fraction) and ("top5", fraction); both 0 without images."""
        yield "top1", self.top1 / max(self.images, 1)
        yield "top5", self.top5 / max(self.images, 1)

    def per_class(self) -> list[float | None]:
        """Accuracy of each class; None where it has no image."""
        right = self.label[self.top[:, 0] == self.label]
        seen, hits = (torch.bincount(label, minlength=self.num_classes).tolist() for label in (self.label, right))
        return [hit / n if n else None for hit, n in zip(hits, seen)]

    def confusion(self) -> Tensor | None:
        """K K int64: row the true class, column the predicted one; None above 2,000 classes."""
        k = self.num_classes
        if k > MATRIX_LIMIT:
            return None
        finite = self.top[:, 0] >= 0
        return torch.bincount((self.label * k + self.top[:, 0])[finite], minlength=k * k).view(k, k)


def classify(
    predict: Callable[[Tensor], Tensor], batches: Iterable[dict[str, Any]], num_classes: int, device: torch.device | str
) -> Tally:
    """Count `predict`'s logits B K (from uint8 images B 3 H W on `device`) against the batches' labels."""
    ranking = rank(predict, batches, device)
    return Tally(ranking.label, ranking.top, num_classes)


def rank(
    predict: Callable[[Tensor], Tensor],
    batches: Iterable[dict[str, Any]],
    device: torch.device | str,
    columns: Sequence[int] | None = None,
) -> Ranking:
    """The five likeliest classes of every image of every process, by `predict`'s logits B K.

    A batch is `{"image": uint8 B 3 H W, "label": int64 B, "index": int64 B, "unreadable": [name, ...]}`. With `columns`
    only these classes can be said: the logits of the others are left out before the largest is taken.
    """
    kept = None if columns is None else torch.tensor(list(columns), device=device)
    parts, left_out = list[tuple[Tensor, Tensor, Tensor]](), list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        if not len(batch["label"]):
            continue
        logits = predict(batch["image"].to(device, non_blocking=True)).float().to(device)  # B K
        logits = logits if kept is None else logits[:, kept]
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices  # B k
        top = top if kept is None else kept[top]
        top = top.masked_fill(~logits.isfinite().all(1, keepdim=True), -1)
        parts.append((batch["index"], batch["label"], top))
    every = collect(parts, left_out)
    return Ranking(every.index, every.label, every.value, every.unreadable)


@dataclass(frozen=True)
class Collected:
    """One row for each of N images of all processes, in the order of their set."""

    index: Tensor
    """N int64: each image's place in its set"""
    label: Tensor
    """N int64"""
    value: Tensor
    """N ...: what was found of each; N 1 int64 without images"""
    unreadable: tuple[str, ...]
    """names of the images that were left out"""


def collect(parts: Sequence[tuple[Tensor, Tensor, Tensor]], left_out: Sequence[str]) -> Collected:
    """Put together the (index, label, value) of this process's batches and those of all others, on the CPU."""
    mine = [torch.cat(list(column)).cpu() for column in zip(*parts)]
    processes = all_gather((mine, left_out))
    unreadable = tuple(sorted(name for _, names in processes for name in names))
    rows = [part for part, _ in processes if part]  # a process may have had no image
    if not rows:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Collected(nothing, nothing, nothing[:, None], unreadable)
    index, label, value = (torch.cat(list(column)) for column in zip(*rows))
    order = index.argsort()
    if (index[order].diff() == 0).any():
        raise RuntimeError("an image was counted twice")
    return Collected(index[order], label[order], value[order], unreadable)


DRAWS = 10_000


def bootstrap(right: int, images: int, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of `right / images` over resampled sets of images (Efron 1979); None without any.

    To draw n images with replacement of which a share p is right is a draw from the binomial (n, p), and so that is
    what is drawn, 10,000 times. Where all or none are right every draw is the same, and the interval a point.
    """
    if not images:
        return None
    draws = np.random.default_rng(seed).binomial(images, right / images, DRAWS)
    low, high = np.percentile(draws, (2.5, 97.5)) / images
    return float(low), float(high)
