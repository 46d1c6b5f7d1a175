"""What is evaluated on what: the model, the pictures, and one pass of the one over the other."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from resmlp.checks import ANY, POSITIVE, check_range
from resmlp.config import Data, Recipe
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.serial import from_dict
from resmlp.verbs.base import warn_untrained

if TYPE_CHECKING:
    from resmlp.data import ImageSet
    from resmlp.deploy import Predictor
    from resmlp.evaluate import Ranking
    from resmlp.models import Saved
    from resmlp.tasks import Place

Weights = Literal["best", "raw", "ema"]
Columns = tuple[int, ...]


@dataclass(frozen=True)
class EvalData:
    """What to evaluate on; for a run folder, by default what that run held out."""

    root: str | None = None
    """an ImageFolder tree or archive: its val/ (or test/), else all of it"""
    batch_size: int = 64
    workers: int = 2
    crop_ratio: tuple[float, ...] = ()
    """other evaluation crops than the model's own; several give a result for each"""
    strict: bool = False
    """stop at a picture that cannot be read, instead of naming it and leaving it out"""

    def __post_init__(self):
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), crop_ratio=(POSITIVE, 1))


@dataclass
class Exam:
    """What a protocol is given: what was asked for, and the model and the pictures, each opened at first use."""

    model: str
    data: EvalData
    place: "Place"
    weights: Weights = "best"
    real: Path | None = None
    indices: Path | None = None
    out: Path | None = None
    """where figures go; None where none are to be drawn"""
    crop: float | None = None
    _rankings: "dict[Columns | None, Ranking]" = field(default_factory=dict)

    @cached_property
    def predictor(self) -> "Predictor":
        """The model with the weights and the crop that were asked for, on this process's device."""
        from resmlp.deploy import Predictor

        predictor = Predictor(open_weights(self.model, self.weights), self.place.device)
        return predictor if self.crop is None else predictor.with_crop(self.crop)

    @cached_property
    def images(self) -> "ImageSet":
        """The pictures, with the labels that their folders give them."""
        return open_pictures(self.model, self.data)

    @cached_property
    def num_classes(self) -> int:
        """How many classes the model tells apart. Raises `UserError` where its output is features."""
        if not self.predictor.saved.has_classifier:
            raise UserError(f"{self.model} has no classifier", "give it one: resmlp train finetune")
        import torch

        blank = torch.zeros(1, 3, *self.predictor.preprocessing.size, dtype=torch.uint8)
        return self.predictor.logits(blank).shape[1]

    def at(self, crop: float) -> "Exam":
        """The same model and the same pictures, seen through another crop."""
        other = replace(self, crop=crop, _rankings={})
        other.predictor, other.images = self.predictor.with_crop(crop), self.images
        return other

    def suffix(self) -> str:
        """What figures are called after, so that those of other data do not replace those of the run's own."""
        root = "" if self.data.root is None else "-" + re.sub(r"[^\w.-]", "_", Path(self.data.root).resolve().name)
        crop = "" if self.crop is None else f"-crop{self.crop:g}"
        return root + crop + ("" if self.weights == "best" else f"-{self.weights}")

    def ranking(self, columns: Columns | None = None) -> "Ranking":
        """What the model says of each picture once, over all processes; of the classes `columns`, if given.

        The network runs once for all protocols that ask for the same columns.
        """
        if columns not in self._rankings:
            self._rankings[columns] = self._rank(columns)
        return self._rankings[columns]

    def _rank(self, columns: Columns | None) -> "Ranking":
        from resmlp.data import EvalBatches
        from resmlp.evaluate import rank

        predictor, data, place = self.predictor, self.data, self.place
        if place.rank == 0 and not self._rankings:
            warn_untrained(self.model, predictor.saved.trained)
        options = (predictor.preprocessing, data.batch_size, data.workers)
        batches = EvalBatches(self.images, *options, rank=place.rank, world=place.world, strict=data.strict)
        ranking = rank(predictor.logits, batches, "cpu", columns)
        counted = len(ranking.index) + len(ranking.unreadable)
        if counted != len(self.images):
            raise RuntimeError(f"{counted} pictures were counted, of {len(self.images)}")
        if not len(ranking.index):
            raise UserError(
                f"none of the {counted} pictures can be read, as {ranking.unreadable[0]}", "see to the files"
            )
        return ranking


def open_weights(model: str, weights: Weights) -> "Saved":
    """MODEL, with the raw or the averaged weights of its last checkpoint where they are asked for."""
    from resmlp.models import load_into, open_model, read_weights

    saved = open_model(model)
    if weights == "best":
        return saved
    checkpoints = sorted(Path(model).glob("checkpoints/step-" + "[0-9]" * 8))
    if not checkpoints:
        raise UserError(
            f"--weights {weights}: {model} has no checkpoints", "only a run folder keeps both; leave it out"
        )
    file = checkpoints[-1] / f"{weights}.safetensors"
    if weights == "ema" and not file.is_file():
        raise UserError(
            f"--weights ema: {model} kept no average of its weights", "--weights raw; or train with --run.ema"
        )
    load_into(saved.model, read_weights(file))
    return saved


def open_pictures(model: str, data: EvalData) -> "ImageSet":
    """The pictures at `data.root`; without one, or at the root that a run was trained on, those the run held out."""
    from resmlp.data import open_eval, open_splits

    trained = Path(model) / "recipe.json"
    own = from_dict(Recipe, read_json(trained)).data if trained.is_file() else None
    if own and (data.root is None or (own.root and Path(own.root).resolve() == Path(data.root).resolve())):
        return open_splits(own).val
    if data.root is None:
        raise UserError(f"nothing to evaluate {model} on", "give --data.root, an ImageFolder tree")
    if own and own.source != "digits":
        return open_eval(replace(own, root=data.root))
    return open_eval(Data(root=data.root))


@contextmanager
def take_place(device: str) -> Iterator["Place"]:
    """Which process of `torchrun` or `accelerate launch` this is, and its device; without them, the only one."""
    from resmlp.deploy.runtime import find_device
    from resmlp.tasks import Place

    found = find_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Place(found)
        return
    from accelerate import PartialState

    state = PartialState(cpu=found.type == "cpu")
    yield Place(state.device, state.process_index, state.num_processes)
    state.destroy_process_group()  # after a failure not: the others may still wait in it
