"""What is evaluated on what: the model, the pictures, and one pass of the one over the other."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from resmlp.checks import ANY, POSITIVE, check_range, demand
from resmlp.config import Data, Recipe, Text
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.serial import from_dict
from resmlp.sources import kind_of
from resmlp.verbs.base import warn_untrained
from resmlp.verbs.frozen import Knn, Linear

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.data import EvalBatches, ImageSet
    from resmlp.deploy import Predictor
    from resmlp.evaluate import Collected, Ranking
    from resmlp.models import Saved
    from resmlp.tasks import Place

Weights = Literal["best", "raw", "ema", "avg"]
AVERAGES = {"ema": "--run.ema", "avg": "--run.average"}
"""kinds of averaged weights -> the field with which a run keeps them"""
Columns = tuple[int, ...]
D = TypeVar("D", Data, Text)

PIXELS = "pixels"
"""the MODEL that gives the pixels themselves"""


@dataclass(frozen=True)
class EvalData:
    """What to evaluate on; for a run folder, by default what that run held out."""

    root: str | None = None
    """an ImageFolder tree or archive: its val/ (or test/), else all of it; a folder of text, for a translator; of
    images/ and labels/, for a segmenter"""
    val: str | None = None
    """for a translator: NAME of the files NAME.en and NAME.de, say; default those that the run held out"""
    split: str | None = None
    """for a segmenter: the part of the data, such as CamVid's test; default that which the run held out, or val"""
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
    train: Path | None = None
    knn: Knn = Knn()
    linear: Linear = Linear()
    out: Path | None = None
    """where figures go; None where none are to be drawn"""
    crop: float | None = None
    _rankings: "dict[Columns | None, Ranking]" = field(default_factory=dict)
    _warned: bool = False

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
    def learned_from(self) -> "ImageSet":
        """The labelled pictures that neighbours are among and that a linear classifier is trained on."""
        return open_training(self.model, self.data, self.train)

    @cached_property
    def num_classes(self) -> int:
        """How many classes the model tells apart. Raises `UserError` where its output is features."""
        if not self.predictor.saved.has_classifier:
            raise UserError(
                f"{self.model} has no classifier",
                "--protocol knn or linear measures its features; resmlp train probe or finetune gives it one",
            )
        import torch

        blank = torch.zeros(1, 3, *self.predictor.preprocessing.size, dtype=torch.uint8)
        return self.predictor.logits(blank).shape[1]

    def at(self, crop: float) -> "Exam":
        """The same model and the same pictures, seen through another crop."""
        other = replace(self, crop=crop, _rankings={}, _warned=False)
        other.predictor, other.images = self.predictor.with_crop(crop), self.images
        return other

    def suffix(self) -> str:
        """What figures are called after, so that those of other data do not replace those of the run's own."""
        root = "" if self.data.root is None else "-" + re.sub(r"[^\w.-]", "_", Path(self.data.root).resolve().name)
        root += "" if self.data.val is None else "-" + re.sub(r"[^\w.-]", "_", self.data.val)
        root += "" if self.data.split is None else "-" + re.sub(r"[^\w.-]", "_", self.data.split)
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
        from resmlp.evaluate import rank

        ranking = rank(self.predictor.logits, self._batches(self.images), "cpu", columns)
        check_counts(ranking, self.images)
        return ranking

    def features(self, images: "ImageSet", layers: int = 1, flipped: bool = False) -> "Collected":
        """The features of each of the pictures once, over all processes: N layers*D.

        With `flipped` those of its mirror image follow: N 2*layers*D.
        """
        import torch

        from resmlp.evaluate import extract

        def both(pictures: "Tensor") -> "Tensor":
            views = (pictures, pictures.flip(-1)) if flipped else (pictures,)
            return torch.cat([self.predictor.features(view, layers) for view in views], 1)

        found = extract(both, self._batches(images), "cpu")
        check_counts(found, images)
        return found

    def depths(self, layers: tuple[int, ...], strict: bool) -> tuple[int, ...]:
        """Those of `layers` that the network has; unless `strict`, where a missing one raises `UserError`."""
        from resmlp.evaluate import last_layers

        kept = []
        for count in dict.fromkeys(layers):
            try:
                last_layers(self.predictor.model, count)
                kept.append(count)
            except UserError:
                if strict or not kept:
                    raise
        return tuple(kept)

    def _batches(self, images: "ImageSet") -> "EvalBatches":
        """This process's share of the pictures."""
        from resmlp.data import EvalBatches

        predictor, data, place = self.predictor, self.data, self.place
        if place.rank == 0 and not self._warned:
            warn_untrained(self.model, predictor.saved.trained)
        self._warned = True
        options = (predictor.preprocessing, data.batch_size, data.workers)
        return EvalBatches(images, *options, rank=place.rank, world=place.world, strict=data.strict)


def check_counts(found: "Ranking | Collected", images: "ImageSet") -> None:
    """Raises unless each of the pictures was counted or named; and `UserError` where none could be read."""
    counted = len(found.index) + len(found.unreadable)
    if counted != len(images):
        raise RuntimeError(f"{counted} pictures were counted, of {len(images)}")
    if not len(found.index):
        raise UserError(f"none of the {counted} pictures can be read, as {found.unreadable[0]}", "see to the files")


def open_weights(model: str, weights: Weights) -> "Saved":
    """MODEL, with the raw or the averaged weights of its last checkpoint where they are asked for."""
    from resmlp.models import load_into, open_model, read_weights

    if model == PIXELS and not Path(model).exists():
        demand(weights == "best", f"--weights {weights}: pixels have none", "leave it out")
        return _pixels()
    if kind_of(model) == "graph":
        from resmlp.deploy.runtime import open_exported

        demand(weights == "best", f"--weights {weights}: {model} is exported, and has one kind", "leave it out")
        return open_exported(model)
    saved = open_model(model)
    if weights != "best":
        load_into(saved.model, read_weights(kept(model, weights)))
    return saved


def kept(model: str, weights: Weights) -> Path:
    """The file of a run's last raw or averaged weights. Raises `UserError` where its checkpoint keeps none of these."""
    checkpoints = sorted(Path(model).glob("checkpoints/step-" + "[0-9]" * 8))
    if not checkpoints:
        raise UserError(
            f"--weights {weights}: {model} has no checkpoints", "only a run folder keeps them; leave it out"
        )
    files = {kind: checkpoints[-1] / f"{kind}.safetensors" for kind in ("raw", *AVERAGES)}
    if weights in AVERAGES and not files[weights].is_file():
        there = " and ".join(kind for kind, file in files.items() if file.is_file()) or "none"
        what = f"--weights {weights}: {model} kept no average of its weights by {AVERAGES[weights]}"
        raise UserError(what, f"its last checkpoint has {there}; without --weights, those it chose are taken")
    return files[weights]


def open_pictures(model: str, data: EvalData) -> "ImageSet":
    """The pictures at `data.root`; without one, or at the root that a run was trained on, those the run held out."""
    from resmlp.data import open_eval, open_splits

    own = own_data(model)
    if own and (data.root is None or same_root(own, data)):
        return open_splits(own).val
    if data.root is None:
        raise UserError(f"nothing to evaluate {model} on", "give --data.root, an ImageFolder tree")
    if own and own.source != "digits":
        return open_eval(replace(own, root=data.root))
    return open_eval(Data(root=data.root))


def _pixels() -> "Saved":
    """The "network" whose features are the pixels of the whole picture, 32 x 32."""
    from resmlp.evaluate import Pixels
    from resmlp.models import Saved
    from resmlp.preprocessing import Preprocessing

    return Saved(Pixels(), (), Preprocessing((32, 32), crop_ratio=1.0))


def open_training(model: str, data: EvalData, train: Path | None) -> "ImageSet":
    """The pictures at `train`; without one, those beside `open_pictures`: of a run's own data or of `data.root`."""
    from resmlp.data import folder_train, open_splits

    if train is not None:
        return folder_train(Data(root=str(train)), "--train")
    own = own_data(model)
    if own and data.root is None:
        return open_splits(own).train
    if own and (same_root(own, data) or own.source not in ("folder", "digits")):
        return open_splits(replace(own, root=data.root)).train
    hint = "give --train PATH, or a --data.root with train/ and val/"
    demand(data.root is not None, f"nothing to evaluate {model} on", hint)
    return folder_train(Data(root=data.root))


def own_data(model: str, kind: type[D] = Data) -> D | None:  # type: ignore[assignment]
    """What a run folder was trained on; None for any other model. Raises `UserError` for data of another kind."""
    recipe = Path(model) / "recipe.json"
    if not recipe.is_file():
        return None
    data = from_dict(Recipe, read_json(recipe)).data
    learned = f"{model} has learned from {'text' if isinstance(data, Text) else 'pictures'}"
    demand(isinstance(data, kind), learned, "choose another --protocol")
    return data


def same_root(own: Data, data: EvalData) -> bool:
    """Whether both name one folder or archive, however each spells it."""
    return bool(own.root and data.root) and realpath(str(own.root)) == realpath(str(data.root))


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
