"""Classification with cross-entropy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.config.model_json import ModelConfig
from resmlp.data import (
    BatchAugment,
    EvalBatches,
    ImageSet,
    Splits,
    TrainBatches,
    count_mismatch,
    normalize,
    open_splits,
)
from resmlp.data.images.image_list import make_image_list
from resmlp.data.images.label_sets import relative_weights, require_one_label
from resmlp.data.loading.resampling import draw_probabilities
from resmlp.hub.resolve import resolve
from resmlp.metrics import classify
from resmlp.models import Trunk, TrunkConfig, count_macs, load_into, read_weights, save_model
from resmlp.models.any_size import AnySizeTrunk
from resmlp.models.channels import fit_channels
from resmlp.models.memory import fitting
from resmlp.models.resize import Size, resize_to
from resmlp.tasks.base import Batch
from resmlp.tasks.class_balance import image_weights, shown_by_class
from resmlp.tasks.grids import Grids, resized
from resmlp.tasks.image_task import ImageTask, fraction_summary
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process
from resmlp.utils.errors import counted


def build_model(
    model: config.Model, size: Size, classes: tuple[str, ...], sizes: Sequence[Size] = ()
) -> tuple[Trunk, str]:
    """The network of a recipe for images of `size` (height, width), and a text about the source of its weights.

    With `sizes` it takes images of these as well. The head is new if the classes of the checkpoint differ. Weights for
    another grid of tokens are interpolated. Raises `UserError` if the weights do not fit the network.
    """
    network = TrunkConfig(*model.network(), size, len(classes), model.drop_path)
    fitting(network)
    make = partial(AnySizeTrunk, sizes=sizes) if sizes else Trunk
    if not model.start:
        return make(network), "new"
    start = resolve(model.start)
    weights, model_config = read_weights(start), start.expect(ModelConfig)
    if model_config and model_config.classes and model_config.classes != classes:
        weights = weights.without_head()
    weights, network, resized = resize_to(weights, network, model_config.model.size if model_config else None)
    weights, joined = fit_channels(weights, network.architecture, model_config.preprocessing if model_config else None)
    trunk = make(network)
    has_new_head = load_into(trunk, weights, swap_head=True)
    head = f"a new head for {len(classes)} classes" * has_new_head
    changes = [change for change in (resized, joined, head) if change]
    return trunk, model.start + (", but " + ", ".join(changes) if changes else "")


def check_head(only: Sequence[str], weights: str) -> None:
    """Raise `UserError` where `optim.only` leaves out a head that is new, by the text about the weights."""
    trained = not only or any(fnmatchcase("head.weight", pattern) for pattern in only)
    what = f"--optim.only {' '.join(only)} leaves out the head, and the weights need one: {weights}"
    demand(trained or "a new head for" not in weights, what, "add 'head.*', or give the classes of the checkpoint")


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
        self.splits = splits = Splits(*map(self.labeled, open_splits(recipe.data, self.open_list(recipe, process))))
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
        self.consistency: float = getattr(recipe.task, "consistency", 0.0)
        patch = recipe.model.network()[1].patch_size
        self.grids = Grids(data, patch, run.seed, len(splits.train) // data.batch_size * run.epochs)
        several = self.grids.sizes if data.grids else ()
        self.model, self.weights = build_model(recipe.model, data.size, self.classes, several)
        check_head(recipe.optim.only, self.weights)
        self.weigh(recipe, splits.train)
        self.changes = recipe.model.changes()
        self.model.checkpoint_activations = run.checkpoint_activations
        part: dict[str, Any] = {"rank": process.rank, "world": process.world}
        loaded = self.grids.loaded(data)
        self.train = TrainBatches(
            splits.train, loaded, recipe.augment, seed=run.seed, accumulate=run.accumulate, **part
        )
        self.val = EvalBatches(
            splits.val, self.preprocessing, min(data.batch_size, 256), data.workers, strict=data.strict, **part
        )
        self.augment = BatchAugment(recipe.augment, data, len(self.classes))
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size
        self.frozen_steps = recipe.optim.freeze_epochs * self.steps_per_epoch

    def labeled(self, images: ImageSet) -> ImageSet:
        """The images with their labels as the task needs them. Raises `UserError` for an image without exactly one."""
        require_one_label(images)
        return replace(images, label_sets=())

    def weigh(self, recipe: config.ImageRecipe, train: ImageSet) -> None:
        """The weights of the images, those of their classes, and how often each class is drawn."""
        self.smoothing = cast(settings.Supervised | settings.Distill | settings.MultiLabel, recipe.task).label_smoothing
        self.image_weights = relative_weights(train)
        if self.image_weights is not None:
            low, high = (f(self.image_weights).item() for f in (torch.min, torch.max))
            self.images += f"; weights from {low:.3g} to {high:.3g} times their mean"
        resample = recipe.data.resample
        counts = np.bincount(train.labels, minlength=len(self.classes))
        weights = image_weights(counts, getattr(recipe.task, "balance", 0.0), resample)
        self.class_weights = None if weights is None else weights.to(self.process.device)
        self.drawn = None if resample is None else draw_probabilities(counts, resample)

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network and the images."""
        yield "model", model_summary(self.model.config, self.changes)
        yield "weights", self.weights
        yield "images", self.images
        if self.class_weights is not None:
            yield "balance", shown_by_class(self.classes, self.class_weights.tolist())
        if self.drawn is not None:
            yield "resample", shown_by_class(self.classes, self.drawn.tolist())
        if self.recipe.data.grids:
            sizes = ", ".join("{}x{}".format(*size) for size in self.grids.sizes)
            yield "sizes", f"{sizes} ({self.recipe.data.grid_order})"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Batches of uint8 images and labels; unreadable images are reported and counted."""
        yield from self.report_unreadable(self.train.epoch(epoch, start), "another image replaces it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """Mean cross-entropy of the augmented batch."""
        self.freeze(step)
        images, targets = self.augmented(batch)
        logits = model(self.grids.resized(images, step)).float()
        return {"loss": self.cross_entropy(logits, targets) + self.inconsistency(logits, images, step)}

    def inconsistency(self, logits: Tensor, images: Tensor, step: int) -> Tensor | float:
        """The divergence of the logits B K from those of the largest grid, KL(largest || this), weighted; in nats.

        ResFormer (Tian et al. 2023) keeps scales alike in this way. 0 in steps of the largest grid, and where the
        weight is 0: then nothing more is computed.
        """
        largest = max(self.grids.sizes, key=math.prod)
        if not self.consistency or self.grids.size(step) == largest:
            return 0.0
        with torch.no_grad():
            wanted = self.model(resized(images, largest)).float().log_softmax(1)
        return self.consistency * F.kl_div(logits.log_softmax(1), wanted, reduction="batchmean", log_target=True)

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean of the smoothed, weighted cross-entropy over the batch: logits B K, targets B K.

        The sum of the targets of an image is its weight. The loss of a mixed image is the mixture of the weighted
        losses of its classes.
        """
        weighted = self.weighted(targets)
        if weighted is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
        uniform = weighted.sum(1, keepdim=True) / len(self.classes)  # B 1
        return F.cross_entropy(logits, (1 - self.smoothing) * weighted + self.smoothing * uniform)

    def weighted(self, targets: Tensor) -> Tensor | None:
        """Targets B K of weighted images, times the weights of the classes: B K; None where all weights are 1."""
        if self.class_weights is not None:
            return targets * self.class_weights
        return None if self.image_weights is None else targets

    def augmented(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch on the device, normalized, erased and mixed: images B 3 H W and targets B K.

        The sum of the targets of an image is its weight, 1 without weights.
        """
        images, labels = (batch[key].to(self.process.device, non_blocking=True) for key in ("image", "label"))
        if self.image_weights is not None:
            labels = F.one_hot(labels, len(self.classes)) * self.weights_of(batch)
        return self.augment(images, labels, batch["key"])

    def weights_of(self, batch: Batch) -> Tensor:
        """The weights of the images of a batch, of mean 1 over the training set: float32 B 1."""
        assert self.image_weights is not None
        return self.image_weights[batch["index"]].to(self.process.device)[:, None]

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

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write `model.safetensors` and `model.json`."""
        save_model(folder, cast(Trunk, model), self.classes, self.preprocessing)
