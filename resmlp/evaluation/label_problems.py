"""The problems in which `mistakes` judges labels: one over all classes, or a yes or no for each class."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from resmlp.evaluation.classification import class_numbers, labels_by_name
from resmlp.evaluation.evaluator import Evaluator

if TYPE_CHECKING:
    from resmlp.metrics import Collected


class Problem(NamedTuple):
    """What the data and the network say of N images, among C names."""

    names: Sequence[str]
    """C"""
    probabilities: np.ndarray
    """N C"""
    labels: np.ndarray
    """N int64"""
    guesses: np.ndarray
    """N int64: what the network predicts"""
    class_name: str = ""
    """the class that it is about; empty for a problem over all classes"""


Problems = Callable[["Collected"], Iterator[Problem]]
"""The logits of the images, N K -> the problems in which their labels are judged."""


def problems(evaluator: Evaluator) -> Problems:
    """Those of the model: checks what can be checked before the network runs. Raises `UserError`."""
    return _one_label(evaluator) if evaluator.predictor.threshold is None else _several_labels(evaluator)


def _one_label(evaluator: Evaluator) -> Problems:
    """One problem over all classes."""
    numbers, names = labels_by_name(evaluator)

    def problems(outputs: "Collected") -> Iterator[Problem]:
        probabilities = outputs.value.softmax(1).numpy()
        labels = np.asarray(numbers)[outputs.label.numpy()]
        yield Problem(list(map(str, names)), probabilities, labels, probabilities.argmax(1))

    return problems


def _several_labels(evaluator: Evaluator) -> Problems:
    """For each class that the data know whether an image has it, by the threshold of the model."""
    from resmlp.data.images.label_sets import multi_hot

    images, threshold = evaluator.images, evaluator.predictor.threshold
    numbers = class_numbers(evaluator.predictor.classes, images.classes)

    def problems(outputs: "Collected") -> Iterator[Problem]:
        import torch

        targets = multi_hot(images)[outputs.index].numpy()
        for name, number, target in zip(images.classes, numbers, targets.T):
            logits = outputs.value[:, number]
            probabilities = torch.stack([-logits, logits], 1).sigmoid().numpy()
            guesses = (probabilities[:, 1] >= threshold).astype(np.int64)
            yield Problem((f"not {name}", name), probabilities, target.astype(np.int64), guesses, name)

    return problems
