"""Semantic segmentation with UPerNet (section 3.6 and Table 6 of the paper)."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from resmlp import config
from resmlp.config import Augment
from resmlp.config import tasks as settings
from resmlp.config.model_json import SegmenterModelConfig
from resmlp.data import (
    BaseSize,
    EvalPairs,
    JointTransform,
    TrainBatches,
    label_frequencies,
    normalize,
    open_masks,
)
from resmlp.data.images.image_list import make_image_list
from resmlp.data.masks.maskset import FilePair
from resmlp.inference.segmentation import Example
from resmlp.inference.segmenter import TorchSegmentationPredictor, examples
from resmlp.metrics import count_pixels
from resmlp.models import Segmenter, build_segmenter, count_macs, preprocessing_of
from resmlp.models.count import input_channels
from resmlp.models.segmenter_files import save_segmenter
from resmlp.recipes import RECIPES
from resmlp.tasks.base import Batch
from resmlp.tasks.class_balance import class_weights, shown_by_class
from resmlp.tasks.image_task import ImageTask, fraction_summary
from resmlp.tasks.pixel_losses import PIXEL_LOSSES
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process
from resmlp.utils.serialization import difference, to_dict


class Segment(ImageTask):
    """Cross-entropy of each labeled pixel, for the decoder and, with a weight, for the auxiliary decoder."""

    model: Segmenter
    metric = "miou"

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__()
        self.options = task = cast(settings.Segment, recipe.task)
        pretrained = preprocessing_of(recipe.model, task.backbone)
        hint = "use --task.scale, --task.flip and --task.jitter"
        demand(recipe.augment == Augment(), "--augment.* is for images without masks", hint)
        frozen = f"--optim.freeze-epochs {recipe.optim.freeze_epochs} is for classifiers"
        demand(
            recipe.optim.freeze_epochs == 0, frozen, "use --optim.layer-decay for a lower learning rate of the trunk"
        )
        if task.backbone:
            check_no_trunk(recipe)
        train, self.val_masks = masks = open_masks(recipe.data, task, self.open_list(recipe, process))
        self.listed = partial(make_image_list, *masks)
        recipe = self.fit(recipe, process, len(train))
        self.check_values([pair.image for pair in train.pairs if isinstance(pair, FilePair)])
        data, run = recipe.data, recipe.run
        check_batch(data.batch_size // run.accumulate)
        self.counts = {"train": len(train), "val": len(self.val_masks)}
        self.warnings = [note for part in masks for note in part.notes]
        seen = pretrained and pretrained.for_channels(len(data.preprocessing().mean))
        if seen and (seen.mean, seen.std) != (data.mean, data.std):
            values = " and std ".join(" ".join(f"{value:g}" for value in values) for values in (seen.mean, seen.std))
            self.warnings.append(f"the weights were trained with mean {values}: use --data.mean None --data.std None")
        self.pixel_loss = PIXEL_LOSSES[task.loss]
        self.class_weights = torch.ones(len(train.classes), device=process.device)
        if task.balance:
            self.class_weights = class_weights(label_frequencies(train), task.balance).to(process.device)
        auxiliary = max(1, task.width // 2) if task.auxiliary else 0
        self.model, self.weights = build_segmenter(
            recipe.model, data.size, len(train.classes), task.backbone, task.width, auxiliary
        )
        self.model.backbone.checkpoint_activations(run.checkpoint_activations)
        if task.whole:  # raises before training if the network cannot be resized
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
        transform = JointTransform(data, task)
        self.train = TrainBatches(
            train, data, recipe.augment, seed=run.seed, accumulate=run.accumulate, transform=transform, **part
        )
        fit = BaseSize(self.config.base_size, self.config.preprocessing.interpolation)
        self.val = EvalPairs(self.val_masks, fit, data.workers, strict=data.strict, **part)
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images, the classes and the windows."""
        task, (height, width) = self.options, self.config.model.size
        names = self.config.classes
        yield "model", segmenter_summary(self.model, self.recipe.model)
        yield "weights", self.weights
        fraction = fraction_summary(self.recipe.data, ())
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        yield "images", f"{self.counts['train']:,} for training{fraction}, {self.counts['val']:,} for validation"
        yield "classes", f"{len(names)}: {shown}"
        train, val = ("" if s is None else f", images resized to {'x'.join(map(str, s))}" for s in self._sizes())
        step = "the whole image at once" if task.whole else "steps of {}x{}".format(*self._predictor().step)
        yield "windows", f"{height}x{width}{train}; in evaluation {step}{val}"
        if task.balance:
            yield "balance", shown_by_class(names, self.class_weights.tolist())
        if task.loss != "ce":
            yield "loss", task.loss
        for note in self.warnings:
            yield "note", note

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Windows, uint8 B 3 h w, and labels, uint8 B h w; unreadable images are reported and counted."""
        yield from self.report_unreadable(self.train.epoch(epoch, start), "another image replaces it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss of the decoder, plus that of the auxiliary decoder times its weight."""
        p = self.config.preprocessing
        images, labels = (batch[key].to(self.process.device, non_blocking=True) for key in ("image", "mask"))
        outputs = model(normalize(images, p.mean, p.std))
        main, *others = (self.pixel_loss(logits, labels, self.class_weights) for logits in outputs)
        if not others:
            return {"loss": main}
        return {"loss": main + self.options.auxiliary * others[0], "main": main, "auxiliary": others[0]}

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """mIoU and pixel accuracy on the validation images at their own size."""
        batches = self.report_unreadable(self.val, "left out")
        yield from count_pixels(self._predictor(model).label, batches, len(self.config.classes)).scores()

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write `model.safetensors` and `model.json`."""
        save_segmenter(folder, cast(Segmenter, model), self.config)

    def examples(self, model: nn.Module, count: int) -> list[Example]:
        """`count` evenly spaced validation images with the predictions of `model`."""
        return examples(self._predictor(model.eval()), self.val_masks, count)

    def _predictor(self, model: nn.Module | None = None) -> TorchSegmentationPredictor:
        return TorchSegmentationPredictor(cast(Segmenter, model or self.model), self.config, self.process.device)

    def _sizes(self) -> tuple[tuple[int, ...] | None, ...]:
        """The sizes to which images are resized, in training and in evaluation."""
        return self.options.base_size, self.config.base_size


def check_no_trunk(recipe: config.ImageRecipe) -> None:
    """Raise `UserError` for settings of the trunk that differ from the named recipe, if a backbone replaces it."""
    base = RECIPES[recipe.name].model if recipe.name in RECIPES else config.Model()
    changes = difference(to_dict(base), to_dict(recipe.model), "--model")
    demand(not changes, f"{'; '.join(changes[:2])}: --task.backbone replaces the trunk", "leave one of them out")


def check_batch(images: int) -> None:
    """Raise `UserError` for a part of a single image, over all processes, which BatchNorm cannot train on."""
    what = "a batch of one image: BatchNorm of UPerNet's pooled features needs two or more"
    demand(images != 1, what, "use --data.batch-size 2 or more per part of --run.accumulate")


def segmenter_summary(model: Segmenter, settings: config.Model) -> str:
    """The backbone of a segmenter, its changes, its decoder and its cost, for the table."""
    built = model.config
    name = f"timm's {built.backbone}" if built.trunk is None else built.trunk.name
    changed = "" if built.trunk is None else "".join(f", {key} {value}" for key, value in settings.changes().items())
    with torch.device("meta"):
        segmenter = Segmenter(built).eval()
        macs = count_macs(segmenter, torch.empty(1, input_channels(segmenter), *built.size))
    return f"{name}{changed}, UPerNet {built.width} wide, {macs / 1e9:.3g} GMACs per window"
