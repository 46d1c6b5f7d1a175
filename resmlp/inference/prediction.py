"""From the numbers that a network gives to named classes. Loads no torch."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one image, best first, with their probabilities."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


class Namer(ABC):
    """A network that is ready to predict, whatever runs it."""

    classes: tuple[str, ...]
    """class names, in the order of the outputs; empty where unknown"""
    words: tuple[str, ...]
    """what to call them for people, where names are codes"""
    trained: bool
    """False where weights are random"""

    @abstractmethod
    def probabilities(self, images: Sequence[Image.Image] | Any) -> np.ndarray:
        """Of each class, B K. Raises `UserError` for a network without a classifier."""

    def rank(self, images: Sequence[Image.Image] | Any, top: int = 5) -> list[Prediction]:
        """The `top` likeliest classes of each image. Raises `UserError` for a network without a classifier."""
        return [self._likeliest(row, top) for row in self.probabilities(images)]

    def predict(self, *files: str | Path, top: int = 5) -> list[Prediction]:
        """What is in these files. Raises `UserError` naming the first that cannot be read."""
        return self.rank([File(str(file)).read() for file in files], top) if files else []

    def label(self, index: int) -> str:
        """The name of a class, in words where there are some; its number where names are unknown."""
        names = self.words or self.classes
        return names[index] if names else str(index)

    def _likeliest(self, row: np.ndarray, top: int) -> Prediction:
        indices = np.argsort(-row, kind="stable")[:top].tolist()
        return Prediction(tuple(self.label(i) for i in indices), tuple(row[indices].tolist()))


def check_classifier(has_classifier: bool) -> None:
    """Raises `UserError` for a network whose output is features."""
    if not has_classifier:
        hint = "resmlp train probe or finetune gives it one"
        raise UserError("the model has no classifier, its output is features", hint)


def warn_untrained(name: str, trained: bool) -> None:
    """Say on standard error that a model given by its name alone has learned nothing."""
    if not trained:
        print(f"{name} is a name alone: its weights are random (a run folder has learned ones)", file=sys.stderr)
