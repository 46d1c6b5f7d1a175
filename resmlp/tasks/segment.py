"""Semantic segmentation: a class for each pixel (the paper's section 3.6 and Table 6)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import Augment
from resmlp.config import tasks as settings
from resmlp.config.model_config import SegmenterModelConfig
from resmlp.data import (
    IGNORED,
    EvalPairs,
    JointTransform,
    TrainBatches,
    label_frequencies,
    normalize,
    open_masks,
)
from resmlp.inference.segmenter import Example, SegmentationPredictor, examples, save_segmenter
from resmlp.metrics import count_pixels
from resmlp.models import Segmenter, build_segmenter, count_macs, preprocessing_of, synchronize
from resmlp.recipes import RECIPES
from resmlp.tasks.base import Batch
from resmlp.tasks.image_task import ImageTask, share_in_words
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process
from resmlp.utils.serialization import difference, to_dict


def pixel_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy of the pixels that count: logits B K H W and labels B H W -> a scalar, 0 where none counts.

    Each pixel weighs as `weights` (K) says of its class.
    """
    labels = labels.long()
    loss = F.cross_entropy(logits.float(), labels, weights, ignore_index=IGNORED, reduction="sum")
    weight = weights.take(labels.clamp(max=len(weights) - 1)).masked_fill(labels == IGNORED, 0).sum()
    return loss / weight.clamp(min=weights.min())  # which is what a single pixel weighs at least


def class_weights(shares: np.ndarray, power: float) -> Tensor:
    """What a pixel of each class weighs, by the classes' shares (K): share^-power, 1 for the most frequent class.

    A class without a pixel weighs as the rarest that has some. At 1 it is SegNet's balancing but for its median.
    """
    least = shares[shares > 0].min()
    return torch.from_numpy((shares.max() / np.maximum(shares, least)) ** power).float()


class Segment(ImageTask):
    """Cross-entropy of each pixel that counts, of the decoder and, with a weight, of the auxiliary one."""

    model: Segmenter
    metric = "miou"

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__()
        self.options = task = cast(settings.Segment, recipe.task)
        known = preprocessing_of(recipe.model, task.backbone)
        own = "--task.scale, --task.flip and --task.jitter say what becomes of images and labels"
        demand(recipe.augment == Augment(), "--augment.* is for images without masks", own)
        frozen = f"--optim.freeze-epochs {recipe.optim.freeze_epochs} is for classifiers"
        demand(recipe.optim.freeze_epochs == 0, frozen, "--optim.layer-decay slows the trunk down")
        if task.backbone:
            check_no_trunk(recipe)
        train, self.held_out = masks = open_masks(recipe.data, task)
        recipe = self.fit(recipe, process, len(train))
        data, run = recipe.data, recipe.run
        check_batch(data.batch_size // (run.accumulate * process.world))
        self.counts = {"train": len(train), "val": len(self.held_out)}
        self.warnings = [note for part in masks for note in part.notes]
        if known and (known.mean, known.std) != (data.mean, data.std):
            theirs = "mean {:g} {:g} {:g} and std {:g} {:g} {:g}".format(*known.mean, *known.std)
            self.warnings.append(
                f"the weights were trained with {theirs}: --data.mean None --data.std None takes these"
            )
        self.class_weights = torch.ones(len(train.classes), device=process.device)
        if task.balance:
            self.class_weights = class_weights(label_frequencies(train), task.balance).to(process.device)
        auxiliary = max(1, task.width // 2) if task.auxiliary else 0
        self.model, self.weights = build_segmenter(
            recipe.model, data.size, len(train.classes), task.backbone, task.width, auxiliary
        )
        if process.world > 1 and process.device.type == "cuda":
            synchronize(self.model)
        self.model.backbone.checkpoint_activations(run.checkpoint_activations)
        if task.whole:  # what cannot be moved says so before it is trained
            self.model.at(self.model.whole_patches((data.size[0] + 1, data.size[1])))
        self.config = SegmenterModelConfig(
            self.model.config,
            data.preprocessing(),
            train.classes,
            train.palette,
            task.eval_size or task.base_size,
            task.stride,
            task.whole,
        )
        part: dict[str, Any] = {"rank": process.rank, "world": process.world}
        cut = JointTransform(data, task)
        self.train = TrainBatches(
            train, data, recipe.augment, seed=run.seed, accumulate=run.accumulate, transform=cut, **part
        )
        self.val = EvalPairs(self.held_out, self._predictor().prepare, data.workers, strict=data.strict, **part)
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images, and how each is looked at."""
        task, (height, width) = self.options, self.config.model.size
        names = self.config.classes
        yield "model", in_words(self.model, self.recipe.model)
        yield "weights", self.weights
        share = share_in_words(self.recipe.data, ())
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        yield "images", f"{self.counts['train']:,} to train on{share}, {self.counts['val']:,} held out"
        yield "classes", f"{len(names)}: {shown}"
        train, seen = ("" if s is None else f", images fitted to {'x'.join(map(str, s))}" for s in self._sizes())
        step = "the whole image at once" if task.whole else "steps of {}x{}".format(*self._predictor().step)
        yield "windows", f"{height}x{width}{train}; in evaluation {step}{seen}"
        if task.balance:
            named = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names[:12], self.class_weights.tolist()))
            yield "balance", named + (", ..." if len(names) > 12 else "")
        for note in self.warnings:
            yield "note", note

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Windows, uint8 B 3 h w, and their labels, uint8 B h w; what cannot be read is named once and counted."""
        yield from self.readable(self.train.epoch(epoch, start), "another image stands in for it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The decoder's cross-entropy, and the auxiliary one's times its weight."""
        p = self.config.preprocessing
        images, labels = (batch[key].to(self.process.device, non_blocking=True) for key in ("image", "mask"))
        seen = model(normalize(images, p.mean, p.std))
        main, *others = (pixel_loss(logits, labels, self.class_weights) for logits in seen)
        if not others:
            return {"loss": main}
        return {"loss": main + self.options.auxiliary * others[0], "main": main, "auxiliary": others[0]}

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """mIoU and the share of right pixels, of the held-out images at their own size."""
        batches = self.readable(self.val, "left out")
        yield from count_pixels(self._predictor(model).label, batches, len(self.config.classes)).scores()

    def save(self, folder: Path, model: nn.Module) -> None:
        """`model.safetensors` and `model.json`."""
        save_segmenter(folder, cast(Segmenter, model), self.config)

    def examples(self, model: nn.Module, count: int) -> list[Example]:
        """A few of the held-out images, evenly spread, with what `model` says of them."""
        return examples(self._predictor(model.eval()), self.held_out, count)

    def _predictor(self, model: nn.Module | None = None) -> SegmentationPredictor:
        return SegmentationPredictor(cast(Segmenter, model or self.model), self.config, self.process.device)

    def _sizes(self) -> tuple[tuple[int, ...] | None, ...]:
        """What images are fitted to, in training and in evaluation."""
        return self.options.base_size, self.config.base_size


def check_no_trunk(recipe: config.ImageRecipe) -> None:
    """Refuse settings of a trunk whose place a backbone takes, but those of the recipe that was begun from."""
    base = RECIPES[recipe.name].model if recipe.name in RECIPES else config.Model()
    changed = difference(to_dict(base), to_dict(recipe.model), "--model")
    demand(not changed, f"{'; '.join(changed[:2])}: --task.backbone takes the trunk's place", "leave one of them out")


def check_batch(images: int) -> None:
    """Refuse a batch of a process's that UPerNet's BatchNorm cannot train on."""
    what = "one image at a time: UPerNet pools each to a value a channel, and BatchNorm needs two to train on"
    demand(images != 1, what, "give --data.batch-size 2 or more for each process and part of --run.accumulate")


def in_words(model: Segmenter, settings: config.Model) -> str:
    """A segmenter by its backbone, what changes that, its decoder and its cost."""
    built = model.config
    name = f"timm's {built.backbone}" if built.trunk is None else built.trunk.name
    changed = "" if built.trunk is None else "".join(f", {key} {value}" for key, value in settings.changes().items())
    with torch.device("meta"):
        macs = count_macs(Segmenter(built).eval(), torch.empty(1, 3, *built.size))
    return f"{name}{changed}, UPerNet {built.width} wide, {macs / 1e9:.3g} GMACs a window"
