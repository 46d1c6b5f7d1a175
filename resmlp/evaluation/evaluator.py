"""What a protocol is given: the model and the data that were asked for, and one pass of the one over the other."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config.evaluation import EvalData, Knn, Linear, WeightKind
from resmlp.config.image_size import shown
from resmlp.config.model_json import noun
from resmlp.config.precision import Execution
from resmlp.config.preprocessing import Preprocessing
from resmlp.evaluation.datasets import open_eval_images, open_training_images
from resmlp.hub.resolve import Source
from resmlp.inference.model_kinds import KINDS, check_size, load_source, open_source
from resmlp.utils.checks import demand_finite
from resmlp.utils.errors import UserError, notice
from resmlp.utils.run_folder import AVERAGES, checkpoint_path, checkpoint_steps, checkpoint_weights

if TYPE_CHECKING:
    from torch import Tensor, device

    from resmlp.data import EvalBatches, ImageSet
    from resmlp.inference import TorchPredictor
    from resmlp.metrics import Collected, Ranking
    from resmlp.models import Saved
    from resmlp.utils.devices import Process

AS_IS = Execution()
Columns = tuple[int, ...]
Scores = Iterator[tuple[str, Any]]
"""(name, value) pairs, as every protocol yields them"""


@dataclass
class Evaluator:
    """The model and the images of an evaluation, each opened at first use."""

    source: Source
    data: EvalData
    process: "Process"
    weights: WeightKind = "best"
    real: Path | None = None
    indices: Path | None = None
    train: str | Path | None = None
    knn: Knn = Knn()
    linear: Linear = Linear()
    out: Path | None = None
    """where figures go; None: none are drawn"""
    crop: float | None = None
    execution: Execution = AS_IS
    """the backend, the precision and the size of the images"""
    open_images: "Callable[[], ImageSet] | None" = None
    """opens the images, where they are read ahead"""
    _rankings: "dict[tuple[Columns | None, bool], Ranking]" = field(default_factory=dict)
    _warned: bool = False

    @cached_property
    def predictor(self) -> "TorchPredictor":
        """The model with the weights and the crop that were asked for, on the device of this process."""
        predictor = open_predictor(self.source, self.weights, self.process.device, self.execution)
        return predictor if self.crop is None else predictor.with_crop(self.crop)

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the model, with the EXIF choice of the data."""
        own = self.predictor.preprocessing
        return replace(own, exif=self.data.exif or own.exif)

    @cached_property
    def images(self) -> "ImageSet":
        """The images to evaluate on, with the labels that their folders give them."""
        images = self.open_images() if self.open_images else open_eval_images(self.source, self.data)
        for note in images.notes if self.process.rank == 0 else ():
            notice(note)
        return images

    @cached_property
    def training_images(self) -> "ImageSet":
        """The labeled images that k-NN searches and that a linear probe is trained on."""
        return open_training_images(self.source, self.data, self.train)

    @cached_property
    def num_classes(self) -> int:
        """The number of classes of the model. Raises `UserError` where its output is features."""
        if not self.predictor.has_classifier:
            raise UserError(
                f"{self.source} has no classifier",
                "resmlp eval --protocol knn or linear measures its features; resmlp train probe or finetune adds one",
            )
        import torch

        blank = torch.zeros(1, 3, *self.predictor.preprocessing.size, dtype=torch.uint8)
        return self.predictor.logits(blank).shape[1]

    def at(self, crop: float) -> "Evaluator":
        """The same model and the same images, with another crop."""
        other = replace(self, crop=crop, _rankings={}, _warned=False)
        other.predictor, other.images = self.predictor.with_crop(crop), self.images
        return other

    def suffix(self) -> str:
        """The ending of the names of figures: those of other data do not replace those of the run's own data."""
        root = "" if self.data.root is None else Path(self.data.root).resolve().name
        labels = "" if self.data.labels is None else Path(self.data.labels).stem
        parts = [root, labels, self.data.val or "", self.data.split or ""]
        names = "".join("-" + re.sub(r"[^\w.-]", "_", part) for part in parts if part)
        crop = "" if self.crop is None else f"-crop{self.crop:g}"
        size = "" if self.execution.size is None else f"-{shown(self.execution.size)}"
        return names + crop + size + ("" if self.weights == "best" else f"-{self.weights}")

    def ranking(self, columns: Columns | None = None, mirrored: bool = False) -> "Ranking":
        """The most probable classes of each image, once over all processes; among the classes `columns`, if given.

        With `mirrored` by the mean of the logits of the image and of its mirror image. The network runs once for all
        protocols that ask for the same.
        """
        if (columns, mirrored) not in self._rankings:
            from resmlp.metrics import rank

            def both(batch: "Tensor") -> "Tensor":
                return (self.predictor.logits(batch) + self.predictor.logits(batch.flip(-1))) / 2

            said = both if mirrored else self.predictor.logits
            ranking = rank(said, self._batches(self.images), "cpu", columns)
            check_counts(ranking, self.images)
            demand_finite((ranking.top >= 0).any())
            self._rankings[columns, mirrored] = ranking
        return self._rankings[columns, mirrored]

    def outputs(self) -> "Collected":
        """The logits of each image, once over all processes: N K."""
        from resmlp.metrics import extract

        collected = extract(self.predictor.logits, self._batches(self.images), "cpu")
        check_counts(collected, self.images)
        demand_finite(collected.value.isfinite().all(1).any())
        return collected

    def features(self, images: "ImageSet", layers: int = 1, flipped: bool = False) -> "Collected":
        """The features of each of the images, once over all processes: N layers*D.

        With `flipped` those of its mirror image follow: N 2*layers*D.
        """
        import torch

        from resmlp.metrics import extract

        def views(batch: "Tensor") -> "Tensor":
            both = (batch, batch.flip(-1)) if flipped else (batch,)
            return torch.cat([self.predictor.features(view, layers) for view in both], 1)

        collected = extract(views, self._batches(images), "cpu")
        check_counts(collected, images)
        demand_finite(collected.value.isfinite().all(1).any())
        return collected

    def depths(self, layers: tuple[int, ...], strict: bool) -> tuple[int, ...]:
        """Those of `layers` that the network has; with `strict` a missing one raises `UserError`."""
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
        from resmlp.inference.prediction import warn_untrained

        predictor, data, process = self.predictor, self.data, self.process
        if process.rank == 0 and not self._warned:
            warn_untrained(self.source.name, predictor.trained)
        self._warned = True
        options = (self.preprocessing, data.batch_size, data.workers)
        part: dict[str, Any] = {"rank": process.rank, "world": process.world}
        return EvalBatches(images, *options, **part, strict=data.strict, shapes=predictor.shapes)


def check_counts(collected: "Ranking | Collected", images: "ImageSet") -> None:
    """Raise unless each of the images was counted or named; `UserError` where none could be read."""
    number = len(collected.index) + len(collected.unreadable)
    if number != len(images):
        raise RuntimeError(f"{number} images were counted, of {len(images)}")
    if not len(collected.index):
        what = f"none of the {number} images can be read: {collected.unreadable[0]}"
        raise UserError(what, "resmlp data check lists the damaged files")


def open_predictor(source: Source, weights: WeightKind, device: "device", execution: Execution) -> "TorchPredictor":
    """A network of images ready to predict; an exported one is run by its own program, within a torch module."""
    from resmlp.inference.native import predictor_of
    from resmlp.inference.predictor import Exported, open_exported

    check_size(source, execution.size)
    saved = open_network(source, weights)
    if isinstance(saved.model, Exported):
        saved, execution = open_exported(source, execution), AS_IS
    return predictor_of(saved, device, execution)


def open_weights(source: Source, weights: WeightKind) -> Any:
    """The network of `source`, with the raw or averaged weights of its last checkpoint where they are asked for."""
    saved = open_source(source)
    if weights != "best":
        from resmlp.models import Weights, load_into
        from resmlp.models.weights import read_tensors

        file = last_weights(source, weights)
        load_into(saved.model, Weights(read_tensors(file), str(file)))
    return saved


def open_export(evaluator: Evaluator) -> Any:
    """An exported segmenter or translator ready to predict. Raises `UserError` for weights that only a run has."""
    if evaluator.weights != "best":
        last_weights(evaluator.source, evaluator.weights)
    return load_source(evaluator.source, evaluator.execution)


def open_network(source: Source, weights: WeightKind) -> "Saved":
    """The same for a network that gives an output for a whole image. Raises `UserError` for any other kind."""
    from resmlp.models import Saved

    saved = open_weights(source, weights)
    if not isinstance(saved, Saved):
        use = "; resmlp translate takes it" if KINDS[source.kind].takes == "text" else ""
        raise UserError(
            f"{source} is {noun(source.kind)}",
            f"resmlp eval --protocol {KINDS[source.kind].protocol} evaluates it{use}",
        )
    return saved


def last_weights(source: Source, weights: WeightKind) -> Path:
    """The file of a run's last raw or averaged weights. Raises `UserError` where its checkpoint has none of these."""
    steps = checkpoint_steps(source.folder) if source.folder else []
    if source.folder is None or not steps:
        hint = "only a run folder has them; leave it out"
        raise UserError(f"--weights {weights}: {source} has no checkpoints", hint)
    checkpoint = checkpoint_path(source.folder, steps[-1])
    files = {kind: checkpoint_weights(checkpoint, kind) for kind in ("raw", *AVERAGES)}
    if weights in AVERAGES and not files[weights].is_file():
        present = " and ".join(kind for kind, file in files.items() if file.is_file()) or "none"
        what = f"--weights {weights}: {source} was trained without {AVERAGES[weights]}"
        raise UserError(what, f"its last checkpoint has {present}; without --weights the best ones are taken")
    return files[weights]
