"""What is evaluated on what: the model, the images, and one pass of the one over the other."""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from resmlp.config import Data, Recipe, Text
from resmlp.config.evaluation import EvalData, Knn, Linear
from resmlp.hub.resolve import kind_of
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json
from resmlp.utils.serialization import from_dict

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.data import EvalBatches, ImageSet
    from resmlp.inference import Predictor
    from resmlp.metrics import Collected, Ranking
    from resmlp.models import Saved
    from resmlp.tasks import Place

Weights = Literal["best", "raw", "ema", "avg"]
AVERAGES = {"ema": "--run.ema", "avg": "--run.average"}
"""kinds of averaged weights -> the field with which a run keeps them"""
Columns = tuple[int, ...]
D = TypeVar("D", Data, Text)

PIXELS = "pixels"
"""the MODEL that gives the pixels themselves"""


@dataclass
class Evaluator:
    """What a protocol is given: what was asked for, and the model and the images, each opened at first use."""

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
        from resmlp.inference import Predictor

        predictor = Predictor(open_weights(self.model, self.weights), self.place.device)
        return predictor if self.crop is None else predictor.with_crop(self.crop)

    @cached_property
    def images(self) -> "ImageSet":
        """The images, with the labels that their folders give them."""
        return open_images(self.model, self.data)

    @cached_property
    def learned_from(self) -> "ImageSet":
        """The labeled images that neighbors are among and that a linear classifier is trained on."""
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

    def at(self, crop: float) -> "Evaluator":
        """The same model and the same images, seen through another crop."""
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
        """What the model says of each image once, over all processes; of the classes `columns`, if given.

        The network runs once for all protocols that ask for the same columns.
        """
        if columns not in self._rankings:
            self._rankings[columns] = self._rank(columns)
        return self._rankings[columns]

    def _rank(self, columns: Columns | None) -> "Ranking":
        from resmlp.metrics import rank

        ranking = rank(self.predictor.logits, self._batches(self.images), "cpu", columns)
        check_counts(ranking, self.images)
        return ranking

    def features(self, sources: "ImageSet", layers: int = 1, flipped: bool = False) -> "Collected":
        """The features of each of the images once, over all processes: N layers*D.

        With `flipped` those of its mirror image follow: N 2*layers*D.
        """
        import torch

        from resmlp.metrics import extract

        def both(images: "Tensor") -> "Tensor":
            views = (images, images.flip(-1)) if flipped else (images,)
            return torch.cat([self.predictor.features(view, layers) for view in views], 1)

        found = extract(both, self._batches(sources), "cpu")
        check_counts(found, sources)
        return found

    def depths(self, layers: tuple[int, ...], strict: bool) -> tuple[int, ...]:
        """Those of `layers` that the network has; unless `strict`, where a missing one raises `UserError`."""
        from resmlp.models.features import last_layers

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
        """This process's share of the images."""
        from resmlp.data import EvalBatches

        predictor, data, place = self.predictor, self.data, self.place
        if place.rank == 0 and not self._warned:
            warn_untrained(self.model, predictor.saved.trained)
        self._warned = True
        options = (predictor.preprocessing, data.batch_size, data.workers)
        return EvalBatches(images, *options, rank=place.rank, world=place.world, strict=data.strict)


def check_counts(found: "Ranking | Collected", images: "ImageSet") -> None:
    """Raises unless each of the images was counted or named; and `UserError` where none could be read."""
    counted = len(found.index) + len(found.unreadable)
    if counted != len(images):
        raise RuntimeError(f"{counted} images were counted, of {len(images)}")
    if not len(found.index):
        raise UserError(f"none of the {counted} images can be read, as {found.unreadable[0]}", "see to the files")


def open_weights(model: str, weights: Weights) -> "Saved":
    """MODEL, with the raw or the averaged weights of its last checkpoint where they are asked for."""
    from resmlp.models import load_into, open_model, read_weights

    if model == PIXELS and not Path(model).exists():
        demand(weights == "best", f"--weights {weights}: pixels have none", "leave it out")
        return _pixels()
    if kind_of(model) == "exported":
        from resmlp.inference.predictor import open_exported

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


def open_images(model: str, data: EvalData) -> "ImageSet":
    """The images at `data.root`; without one, or at the root that a run was trained on, those the run held out."""
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
    """The "network" whose features are the pixels of the whole image, 32 x 32."""
    from resmlp.config.preprocessing import Preprocessing
    from resmlp.models import Saved
    from resmlp.models.features import Pixels

    return Saved(Pixels(), (), Preprocessing((32, 32), crop_ratio=1.0))


def open_training(model: str, data: EvalData, train: Path | None) -> "ImageSet":
    """The images at `train`; without one, those beside `open_images`: of a run's own data or of `data.root`."""
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
    learned = f"{model} has learned from {'text' if isinstance(data, Text) else 'images'}"
    demand(isinstance(data, kind), learned, "choose another --protocol")
    return data


def same_root(own: Data, data: EvalData) -> bool:
    """Whether both name one folder or archive, however each spells it."""
    return bool(own.root and data.root) and realpath(str(own.root)) == realpath(str(data.root))
