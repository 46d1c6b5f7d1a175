"""Classification with several labels for each image, or none: a yes or no for each class.

B images of a batch, K classes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.data import ImageSet, normalize
from resmlp.data.images.label_sets import multi_hot, with_label_sets
from resmlp.metrics import extract
from resmlp.metrics.multilabel import average_precisions, best_threshold, macro_f1, mean_of_known
from resmlp.models import Trunk, save_model
from resmlp.tasks.base import Batch
from resmlp.tasks.supervised import Supervised
from resmlp.utils.devices import Process

TINY = 1e-12
"""the least base of a power: the derivative of a root of 0 is infinite"""


class MultiLabel(Supervised):
    """Binary cross-entropy or the asymmetric loss, for the labels of the images or those that mixup and CutMix mix."""

    metric = "map"

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__(recipe, process)
        self.options = cast(settings.MultiLabel, recipe.task)
        self.targets, self.val_targets = multi_hot(self.splits.train), multi_hot(self.splits.val)

    def labeled(self, images: ImageSet) -> ImageSet:
        """The images with the set of their labels."""
        return with_label_sets(images)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The mean loss over the images and classes of the augmented batch, each image with its weight."""
        self.freeze(step)
        device = self.process.device
        targets = self.targets[batch["index"]].float().to(device)  # B K
        weights = torch.ones(len(targets), 1, device=device) if self.image_weights is None else self.weights_of(batch)
        images = batch["image"].to(device, non_blocking=True)
        rows = torch.cat([targets * weights, weights], 1)  # B K+1: weighted losses are mixed, as they are linear in it
        images, rows = self.augment(images, rows, batch["key"])
        weights = rows[:, -1:]
        losses = self.losses(model(images).float(), (rows[:, :-1] / weights.clamp(min=TINY)).clamp(0, 1))
        return {"loss": (weights * losses).mean()}

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each class of each image: logits and targets in [0, 1], B K -> B K."""
        options = self.options
        smooth = targets * (1 - options.label_smoothing) + options.label_smoothing / 2
        if options.loss == "bce":
            return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
        return asymmetric_loss(logits, smooth, options.gamma_neg, options.gamma_pos, options.clip)

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Mean average precision, and macro F1 at the threshold that is best for it, on the validation set."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        batches = self.report_unreadable(self.val, "left out")
        rows = extract(lambda images: model(normalize(images, mean, std)), batches, self.process.device)
        targets = self.val_targets[rows.index].numpy()
        probabilities = rows.value.reshape(len(targets), len(self.classes)).sigmoid().nan_to_num(0).numpy()
        threshold = best_threshold(probabilities, targets)
        yield "map", mean_of_known(average_precisions(probabilities, targets))
        yield "f1", macro_f1(probabilities, targets, threshold)
        yield "threshold", threshold

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write `model.safetensors`, and `model.json` with the threshold of the last evaluation."""
        save_model(folder, cast(Trunk, model), self.classes, self.preprocessing, scores["threshold"])


def asymmetric_loss(logits: Tensor, targets: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """The asymmetric loss of Ridnik et al. 2021 (equations 4, 5 and 7), linear in the targets: B K -> B K.

    With p the probability and q = max(p - clip, 0) it is (1 - p)^gamma_pos log p for a label that an image has, and
    q^gamma_neg log(1 - q) for one that it has not, both negated.
    """
    p = logits.sigmoid()
    shifted = (p - clip).clamp(min=0)
    log_absent = F.logsigmoid(-logits) if clip == 0 else torch.log1p(-shifted)
    present = (1 - p).clamp(min=TINY) ** gamma_pos * F.logsigmoid(logits)
    absent = shifted.clamp(min=TINY) ** gamma_neg * log_absent
    return -(targets * present + (1 - targets) * absent)
