"""What a network of the server does: predict, embed, segment or translate, each from an input to an answer.

`prepare` and `answer` run in the threads that decode, `run` in the thread of the networks.
"""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from resmlp.inference.prediction import Classifier, ImagePredictor
from resmlp.serving import answers
from resmlp.serving.images import Prepared, Upload, prepare, seen
from resmlp.serving.limits import Refusal
from resmlp.serving.metrics import Metrics
from resmlp.serving.options import EmbedOptions, Options, PredictOptions, SegmentOptions

MOST_COLORS = 255  # classes of a PNG with a palette, beside the value of no class


class ImageOperation(ABC):
    """An operation on images."""

    name: str
    options: type[Options]
    holds_images = False
    """whether what waits for the network are whole images, and not the network's inputs"""

    def __init__(self, model: str, predictor: ImagePredictor, metrics: Metrics):
        self.model, self.predictor, self.metrics = model, predictor, metrics
        self.batch_size = predictor.batch_size

    def of(self, predictor: ImagePredictor) -> "ImageOperation":
        """The same operation of the network for another size of images."""
        return type(self)(self.model, predictor, self.metrics)

    def prepare(self, upload: Upload) -> Prepared:
        """Decode an image. Raises `Refusal`."""
        return prepare(upload, self.predictor, self.metrics)

    def group(self, options: Any) -> Hashable:
        """What images of one batch have in common."""
        return ()

    @abstractmethod
    def run(self, kept: Sequence[Any], options: Hashable) -> Sequence[Any]:
        """A result for each image of a batch."""

    @abstractmethod
    def answer(self, prepared: Sequence[Prepared], results: Sequence[Any], options: Any) -> Any:
        """The answer to a request, a dataclass of `resmlp.serving.answers`."""


class Predict(ImageOperation):
    """The most probable classes."""

    name = "predict"
    options = PredictOptions
    predictor: Classifier

    def run(self, kept: Sequence[np.ndarray], options: Hashable) -> Sequence[np.ndarray]:
        """The probability of each class."""
        probabilities = self.predictor.probabilities(np.stack(kept))
        check_finite(probabilities)
        return list(probabilities)

    def answer(
        self, prepared: Sequence[Prepared], results: Sequence[np.ndarray], options: PredictOptions
    ) -> answers.Predictions:
        """The `options.top` best of each image."""
        return answers.Predictions(
            self.model,
            tuple(
                answers.Prediction(
                    image.name, self._top(row, options.top), seen(image.size, self.predictor.preprocessing)
                )
                for image, row in zip(prepared, results)
            ),
        )

    def _top(self, row: np.ndarray, top: int) -> tuple[answers.Ranked, ...]:
        best = np.argsort(-row, kind="stable")[:top].tolist()
        return tuple(answers.Ranked(self.predictor.label(i), float(row[i])) for i in best)


class Embed(ImageOperation):
    """The features of a network."""

    name = "embed"
    options = EmbedOptions
    predictor: Classifier

    def run(self, kept: Sequence[np.ndarray], options: Hashable) -> Sequence[np.ndarray]:
        """What the head sees, D each; of a network without a head its output."""
        features = getattr(self.predictor, "features", self.predictor.logits)
        values = np.asarray(features(np.stack(kept)))
        check_finite(values)
        return list(values)

    def answer(
        self, prepared: Sequence[Prepared], results: Sequence[np.ndarray], options: EmbedOptions
    ) -> answers.Embeddings:
        """The features of each image."""
        rows = (answers.Embedding(image.name, tuple(row.tolist())) for image, row in zip(prepared, results))
        return answers.Embeddings(self.model, tuple(rows))


class Segment(ImageOperation):
    """The class of each pixel."""

    name = "segment"
    options = SegmentOptions
    holds_images = True

    def prepare(self, upload: Upload) -> Prepared:
        """The whole image. Raises `Refusal` for one that the network cannot take."""
        prepared = super().prepare(upload)
        problem = self.predictor.size_problem(prepared.size[::-1])  # type: ignore[attr-defined]
        if problem:
            raise Refusal(422, f"{upload.name}: {problem}")
        return prepared

    def run(self, kept: Sequence[Any], options: Hashable) -> Sequence[Any]:
        """The labels of each image."""
        return self.predictor.results(kept)

    def answer(
        self, prepared: Sequence[Prepared], results: Sequence[Any], options: SegmentOptions
    ) -> answers.Segmentations:
        """The labels of each image, as a PNG or as runs."""
        found = (self._one(image, result, options.format) for image, result in zip(prepared, results))
        return answers.Segmentations(self.model, tuple(found))

    def _one(self, image: Prepared, result: Any, form: str) -> answers.Segmentation:
        from resmlp.data.masks.classnames import palette

        colors = result.palette or palette(len(result.classes))
        counts = np.bincount(result.labels.ravel(), minlength=len(result.classes))
        present = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
        regions = tuple(
            answers.Region(i, result.classes[i], colors[i], float(counts[i] / result.labels.size)) for i in present
        )
        if form == "png":
            content: dict[str, Any] = {"png": base64.b64encode(png(result.labels, colors)).decode()}
        else:
            content = {"runs": runs(result.labels)}
        return answers.Segmentation(image.name, *image.size, regions, **content)


def check_finite(values: np.ndarray) -> None:
    """Raise for outputs that are no numbers, which JSON cannot hold."""
    if not np.isfinite(values).all():
        raise FloatingPointError("the network gives values that are not finite")


def png(labels: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> bytes:
    """Class indices H W as the bytes of a PNG with a palette. Raises `Refusal` for more classes than it holds."""
    from resmlp.analysis.overlay import label_image

    if len(colors) > MOST_COLORS:
        raise Refusal(422, f"the model has {len(colors)} classes, and a PNG holds {MOST_COLORS}: ask for format=runs")
    file = io.BytesIO()
    label_image(labels, colors).save(file, format="png")
    return file.getvalue()


def runs(labels: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Class indices H W as (index, number of pixels), row by row."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(np.append(starts, len(flat)))
    return tuple(zip(flat[starts].tolist(), lengths.tolist()))
