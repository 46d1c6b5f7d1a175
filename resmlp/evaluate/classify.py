"""Top-1, top-5, per-class accuracy and the confusion matrix, as exact counts over all processes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Tally:
    """Counts of an evaluation over K classes."""

    confusion: Tensor
    """K K int64: row the true class, column the predicted one"""
    top5: int
    """pictures whose class is among the five likeliest"""

    @property
    def pictures(self) -> int:
        """How many were counted."""
        return int(self.confusion.sum())

    def scores(self) -> Iterator[tuple[str, float]]:
        """("top1", fraction) and ("top5", fraction); the latter is 1 where there are five classes or fewer."""
        pictures = max(self.pictures, 1)
        yield "top1", int(self.confusion.diagonal().sum()) / pictures
        yield "top5", self.top5 / pictures

    def per_class(self) -> list[float | None]:
        """Accuracy of each class; None where it has no picture."""
        seen = self.confusion.sum(1).tolist()
        return [hit / n if n else None for hit, n in zip(self.confusion.diagonal().tolist(), seen)]


def classify(predict: Callable[[Tensor], Tensor], batches: Iterable[dict], num_classes: int, device) -> Tally:
    """Count `predict`'s logits B K (from uint8 pictures B 3 H W on `device`) against the batches' labels."""
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
    top5 = torch.zeros((), dtype=torch.int64, device=device)
    for batch in batches:
        images = batch["image"].to(device, non_blocking=True)
        labels = batch["label"].to(device, non_blocking=True)
        logits = predict(images).float()
        ranked = logits.topk(min(5, num_classes), dim=1).indices  # B 5
        confusion.view(-1).index_add_(0, labels * num_classes + ranked[:, 0], torch.ones_like(labels))
        top5 += (ranked == labels[:, None]).any(1).sum()
    for count in (confusion, top5):
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
    return Tally(confusion.cpu(), int(top5))
