"""What a network that is ready to predict takes and returns, whatever runs it. Loads no torch."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Preprocessing
from resmlp.imaging.inputs import read_images
from resmlp.utils.errors import UserError, counted

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


class ImagePredictor(Predictor):
    """A network of images ready to predict."""

    preprocessing: Preprocessing
    """also how image files are decoded"""

    def predict(self, inputs: Any, **options: Any) -> Any:
        """The result for an image, or the list of results for a sequence of images.

        An image is a path, bytes, a PIL image, a NumPy array (H W 3) or a tensor (3 H W), both of uint8 or of floats
        from 0 to 1. Raises `UserError` that names the first one that cannot be read.
        """
        images, single = read_images(inputs, self.preprocessing.decoding)
        results = self.results(images, **options) if images else []
        return results[0] if single else results

    @abstractmethod
    def results(self, images: Sequence[Image.Image]) -> list[Any]:
        """A result for each of at least one RGB image."""


class Classifier(ImagePredictor):
    """A network that classifies images, or gives features of them where it has no classifier."""

    classes: tuple[str, ...]
    """class names, in the order of the outputs; empty where unknown"""
    words: tuple[str, ...]
    """what to call them for people, where names are codes"""
    has_classifier: bool
    """False where the output is features"""
    preprocessing: Preprocessing

    def _facts(self, network: str, classes: int, device: str) -> list[str]:
        height, width = self.preprocessing.size
        output = counted(classes, "class") if self.has_classifier else "features"
        return [network, f"{height}x{width}", output, device] + ["random weights"] * (not self.trained)

    @abstractmethod
    def logits(self, images: Images) -> Any:
        """The output of the network, B K; B D of a network without a classifier."""

    @abstractmethod
    def probabilities(self, images: Images) -> np.ndarray:
        """The probability of each class, B K. Raises `UserError` for a network without a classifier."""

    def results(self, images: Sequence[Image.Image], top: int = 5) -> list[Any]:
        """A `Prediction` of the `top` most probable classes for each image; an `Embedding` without a classifier."""
        if not self.has_classifier:
            return [Embedding(row) for row in np.asarray(self.logits(images))]
        return self.rank(images, top)

    def rank(self, images: Images, top: int = 5) -> list[Prediction]:
        """The `top` most probable classes of each image. Raises `UserError` for a network without a classifier."""
        return [self._most_probable(row, top) for row in self.probabilities(images)]

    def label(self, index: int) -> str:
        """The name of a class, in words where there are some; its number where names are unknown."""
        names = self.words or self.classes
        return names[index] if names else str(index)

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
        print(
            f"{name} is the name of a network: its weights are random (a run folder has trained ones)", file=sys.stderr
        )
