"""Classification with cross-entropy."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.config.model_json import ModelConfig
from resmlp.data import BatchAugment, EvalBatches, TrainBatches, count_mismatch, normalize, open_splits
from resmlp.data.images.image_list import make_image_list
from resmlp.hub.resolve import resolve
from resmlp.metrics import classify
from resmlp.models import Trunk, TrunkConfig, count_macs, load_into, read_weights, save_model
from resmlp.models.channels import fit_channels
from resmlp.models.resize import resize_to
from resmlp.tasks.base import Batch
from resmlp.tasks.image_task import ImageTask, fraction_summary
from resmlp.utils.devices import Process
from resmlp.utils.errors import counted


def build_model(model: config.Model, size: tuple[int, int], classes: tuple[str, ...]) -> tuple[Trunk, str]:
    """The network of a recipe for images of `size` (height, width), and a text about the source of its weights.

    The head is new if the classes of the checkpoint differ. Weights for another grid of tokens are interpolated. Raises
    `UserError` if the weights do not fit the network.
    """
    network = TrunkConfig(*model.network(), size, len(classes), model.drop_path)
    if not model.start:
        return Trunk(network), "new"
    start = resolve(model.start)
    weights, model_config = read_weights(start), start.expect(ModelConfig)
    if model_config and model_config.classes and model_config.classes != classes:
        weights = weights.without_head()
    weights, network, resized = resize_to(weights, network, model_config.model.size if model_config else None)
    weights, joined = fit_channels(weights, network.architecture, model_config.preprocessing if model_config else None)
    trunk = Trunk(network)
    has_new_head = load_into(trunk, weights, swap_head=True)
    changes = [change for change in (resized, joined) if change] + [
        f"a new head for {len(classes)} classes"
    ] * has_new_head
    return trunk, model.start + (", but " + ", ".join(changes) if changes else "")


def model_summary(config: TrunkConfig, changes: dict[str, Any]) -> str:
    """The name of a network, its `changes`, its image size and its cost, for the table."""
    with torch.device("meta"):
        macs = count_macs(Trunk(config), torch.empty(1, config.architecture.in_chans, *config.size))
    changed = "".join(f", {key} {value}" for key, value in changes.items())
    amount = f"{macs / 1e9:.2f} GMACs" if macs >= 1e8 else f"{macs / 1e6:.2f} MMACs"
    return f"{config.name}{changed}, at {config.size[0]}x{config.size[1]}, {amount} per image"


class Supervised(ImageTask):
    """Cross-entropy with class labels or the mixed targets of mixup and CutMix, with label smoothing."""

    model: Trunk
    metric = "top1"

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__()
        splits = open_splits(recipe.data, self.open_list(process))
        self.announce(process, splits.train.notes)
        self.listed = partial(make_image_list, *splits)
        recipe = self.fit(recipe, process, len(splits.train))
        self.check_values(splits.train.images)
        data, run = recipe.data, recipe.run
        self.preprocessing, self.classes = data.preprocessing(), splits.train.classes
        self.counts = {"train": len(splits.train), "val": len(splits.val)}
        train = f"{len(splits.train):,} for training{fraction_summary(data, self.classes)}"
        self.images = f"{train}, {len(splits.val):,} for validation, {counted(len(self.classes), 'class')}"
        if data.fraction == 1 and (published := count_mismatch(data.source, splits)):
            self.images += f" ({published})"
        self.smoothing = cast(settings.Supervised | settings.Distill, recipe.task).label_smoothing
        self.model, self.weights = build_model(recipe.model, data.size, self.classes)
        self.changes = recipe.model.changes()
        self.model.checkpoint_activations = run.checkpoint_activations
        part: dict[str, Any] = {"rank": process.rank, "world": process.world}
        self.train = TrainBatches(splits.train, data, recipe.augment, seed=run.seed, accumulate=run.accumulate, **part)
        self.val = EvalBatches(
            splits.val, self.preprocessing, min(data.batch_size, 256), data.workers, strict=data.strict, **part
        )
        self.augment = BatchAugment(recipe.augment, data, len(self.classes))
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size
        self.frozen_steps = recipe.optim.freeze_epochs * self.steps_per_epoch

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network and the images."""
        yield "model", model_summary(self.model.config, self.changes)
        yield "weights", self.weights
        yield "images", self.images

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Batches of uint8 images and labels; unreadable images are reported and counted."""
        yield from self.report_unreadable(self.train.epoch(epoch, start), "another image replaces it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """Mean cross-entropy of the augmented batch."""
        self.freeze(step)
        images, targets = self.augmented(batch)
        return {"loss": self.cross_entropy(model(images).float(), targets)}

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean of the smoothed cross-entropy over the batch: logits B K, targets B K with sum 1."""
        return F.cross_entropy(logits, targets, label_smoothing=self.smoothing)

    def augmented(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch on the device, normalized, erased and mixed: images B 3 H W and targets B K."""
        images, labels = (batch[key].to(self.process.device, non_blocking=True) for key in ("image", "label"))
        return self.augment(images, labels, batch["key"])

    def freeze(self, step: int) -> None:
        """Set a frozen trunk to evaluation mode: constant BatchNorm statistics, no drop path."""
        if step < self.frozen_steps:
            self.model.eval()
            self.model.head.train()

    def before_step(self, model: nn.Module, step: int) -> None:
        """Remove the gradients of a frozen trunk: no step, weight decay or momentum changes it."""
        if step < self.frozen_steps:
            for name, parameter in model.named_parameters():
                if not name.startswith("head."):
                    parameter.grad = None

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Top-1 and top-5 accuracy on the validation set."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        batches = self.report_unreadable(self.val, "left out")
        tally = classify(
            lambda images: model(normalize(images, mean, std)), batches, len(self.classes), self.process.device
        )
        yield from tally.scores()

    def save(self, folder: Path, model: nn.Module) -> None:
        """Write `model.safetensors` and `model.json`."""
        save_model(folder, cast(Trunk, model), self.classes, self.preprocessing)
