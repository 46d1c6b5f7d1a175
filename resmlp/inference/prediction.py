"""What a network that is ready to predict takes and returns, whatever runs it. Loads no torch."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, NoReturn

import numpy as np
from PIL import Image

from resmlp.config.precision import Ran
from resmlp.config.preprocessing import Preprocessing
from resmlp.imaging.crop import eval_crop, to_array
from resmlp.imaging.decode import UnreadableImage, to_rgb
from resmlp.imaging.inputs import read_image, split_inputs
from resmlp.utils.checks import demand_finite
from resmlp.utils.errors import UserError, counted, printable

Images = Sequence[Image.Image] | Any
"""RGB images, or uint8 B 3 H W of the network's size"""


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first, with their probabilities."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[0]

    def to_dict(self) -> dict[str, Any]:
        """`{"label": ..., "probabilities": {label: probability}}`."""
        return {"label": self.label, "probabilities": dict(zip(self.labels, self.probabilities))}

    def __str__(self) -> str:
        return ", ".join(f"{label} {p:.3f}" for label, p in zip(self.labels, self.probabilities))


@dataclass(frozen=True)
class LabelSet:
    """All classes of one image from the threshold on, most probable first; none, one or several."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    """of `named`"""
    named: tuple[str, ...]
    """the labels, or as many classes as were asked for"""

    def to_dict(self) -> dict[str, Any]:
        """`{"labels": [...], "probabilities": {label: probability}}`."""
        return {"labels": list(self.labels), "probabilities": dict(zip(self.named, self.probabilities))}

    def __str__(self) -> str:
        return ", ".join(f"{label} {p:.3f}" for label, p in zip(self.named, self.probabilities)) or "none"


@dataclass(frozen=True, eq=False)
class Embedding:
    """The features of one image, of a network without a classifier."""

    values: np.ndarray
    """float32 D"""

    def to_dict(self) -> dict[str, Any]:
        """`{"features": [...]}`."""
        return {"features": self.values.tolist()}

    def __str__(self) -> str:
        return f"{len(self.values)} features of norm {np.linalg.norm(self.values):.3f}"


class Predictor(ABC):
    """A network ready to predict."""

    trained: bool = True
    """False where the weights are random"""

    @abstractmethod
    def predict(self, inputs: Any) -> Any:
        """One result for one input, a list of results for a sequence of inputs. Raises `UserError`."""

    @abstractmethod
    def facts(self) -> list[str]:
        """The network, the size of its inputs, the number of its classes and the device, for people."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.facts())})"


class Predicted(NamedTuple):
    """One input of a stream, what was kept of it, and the result."""

    given: Any
    kept: Any
    result: Any


def _refuse(error: UnreadableImage) -> NoReturn:
    raise error


class ImagePredictor(Predictor):
    """A network of images ready to predict."""

    preprocessing: Preprocessing
    """also how image files are decoded"""
    batch_size = 32
    """images that the network sees at once; of so many what `keep` returns is in memory"""

    def predict(self, inputs: Any, **options: Any) -> Any:
        """The result for an image, or the list of results for a sequence of images.

        An image is a path, bytes, a PIL image, a NumPy array (H W 3) or a tensor (3 H W), both of uint8 or of floats
        from 0 to 1. Raises `UserError` that names the first one that cannot be read.
        """
        given, single = split_inputs(inputs)
        results = [predicted.result for predicted in self.stream(given, **options)]
        return results[0] if single else results

    def stream(
        self, inputs: Iterable[Any], on_unreadable: Callable[[UnreadableImage], Any] = _refuse, **options: Any
    ) -> Iterator[Predicted]:
        """The results in order, while the inputs are read: one decoded image is in memory at a time.

        `on_unreadable` is called for an image that cannot be read, which is left out; by default it raises.
        """
        waiting = iter(inputs)
        while batch := list(islice(waiting, self.batch_size)):
            kept = list[tuple[Any, Any]]()
            for given in batch:
                try:
                    kept.append((given, self.keep(read_image(given, self.preprocessing.decoding))))
                except UnreadableImage as error:
                    on_unreadable(error)
            results = self.results([part for _, part in kept], **options) if kept else []
            yield from (Predicted(given, part, result) for (given, part), result in zip(kept, results))

    @abstractmethod
    def keep(self, image: Image.Image) -> Any:
        """What is kept of an RGB image until the network sees it."""

    @abstractmethod
    def results(self, kept: Sequence[Any]) -> list[Any]:
        """A result for each of at least one image that `keep` returned."""


class Classifier(ImagePredictor):
    """A network that classifies images, or gives features of them where it has no classifier."""

    classes: tuple[str, ...]
    """class names, in the order of the outputs; empty where unknown"""
    words: tuple[str, ...]
    """what to call them for people, where names are codes"""
    has_classifier: bool
    """False where the output is features"""
    threshold: float | None = None
    """the probability from which on an image has a class, where it may have several; None: it has one"""
    by_torch: bool = False
    """whether torch runs it: then the loader of torch can read its images"""

    def _facts(self, network: str, classes: int, device: str) -> list[str]:
        height, width = self.preprocessing.size
        output = counted(classes, "class") if self.has_classifier else "features"
        return [network, f"{height}x{width}", output, device] + ["random weights"] * (not self.trained)

    @property
    @abstractmethod
    def ran(self) -> Ran:
        """What runs the network; where several ways are measured the fastest so far."""

    @abstractmethod
    def logits(self, images: Images) -> Any:
        """The output of the network, B K; B D of a network without a classifier."""

    @abstractmethod
    def probabilities(self, images: Images) -> np.ndarray:
        """The probability of each class, B K. Raises `UserError` for a network without a classifier."""

    def keep(self, image: Image.Image) -> np.ndarray:
        """The evaluation crop of an RGB image: uint8 3 H W."""
        return to_array(eval_crop(image, self.preprocessing))

    def pixels(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Images of any mode -> uint8 B 3 H W of the network's size."""
        return np.stack([self.keep(to_rgb(image)) for image in images])

    def results(self, kept: Sequence[np.ndarray], top: int | None = None) -> list[Any]:
        """A `Prediction` of the `top` most probable classes (5) for each image; an `Embedding` without a classifier.

        With a threshold a `LabelSet` of the classes from it on, which also names the `top` most probable ones.
        """
        pixels = np.stack(kept)
        outputs = np.asarray(self.probabilities(pixels) if self.has_classifier else self.logits(pixels))
        demand_finite(np.isfinite(outputs).all())
        if not self.has_classifier:
            return [Embedding(row) for row in outputs]
        if self.threshold is not None:
            return [self._above(row, self.threshold, top) for row in outputs]
        return [self._most_probable(row, top or 5) for row in outputs]

    def rank(self, images: Images, top: int = 5) -> list[Prediction]:
        """The `top` most probable classes of each image. Raises `UserError` for a network without a classifier."""
        return [self._most_probable(row, top) for row in self.probabilities(images)]

    def label(self, index: int) -> str:
        """The name of a class, in words where there are some; its number where names are unknown."""
        names = self.words or self.classes
        return names[index] if names else str(index)

    def _above(self, row: np.ndarray, threshold: float, top: int | None) -> LabelSet:
        count = int((row >= threshold).sum())
        named = self._most_probable(row, count if top is None else top)
        return LabelSet(self._most_probable(row, count).labels, named.probabilities, named.labels)

    def _most_probable(self, row: np.ndarray, top: int) -> Prediction:
        indices = np.argsort(-row, kind="stable")[:top].tolist()
        return Prediction(tuple(self.label(i) for i in indices), tuple(row[indices].tolist()))


def check_classifier(has_classifier: bool) -> None:
    """Raise `UserError` for a network whose output is features."""
    if not has_classifier:
        hint = "resmlp train probe or finetune adds one"
        raise UserError("the model has no classifier, its output is features", hint)


def warn_untrained(name: str, trained: bool) -> None:
    """Say on standard error that a model given by its name alone has random weights."""
    if not trained:
        known = f"{name} is the name of a network: its weights are random (a run folder has trained ones)"
        print(printable(known), file=sys.stderr)
