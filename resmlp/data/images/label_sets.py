"""The labels and the weights of a set of images as a loss needs them: one label, several labels, weights of mean 1."""

from dataclasses import replace

import torch
from torch import Tensor

from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.label_table import check_weights
from resmlp.utils.errors import UserError, counted

EVALUATE_ONE = "give one label for each image; a model of resmlp train multilabel is evaluated on several"
EVALUATE_SEVERAL = "resmlp eval without --protocol evaluates it"
TRAIN_SEVERAL = "resmlp train multilabel trains on several or no labels for each image"


def require_one_label(images: ImageSet, hint: str = TRAIN_SEVERAL) -> None:
    """Raise `UserError`, with this `hint`, where an image has several labels or none."""
    for i, labels in enumerate(images.label_sets):
        if len(labels) != 1:
            named = f", {' and '.join(images.classes[label] for label in labels[:5])}" if labels else ""
            what = f"{images.path(i)} has {counted(len(labels), 'label')}{named}; one is needed"
            raise UserError(what, hint)


def with_label_sets(images: ImageSet) -> ImageSet:
    """The same images, each with the set of its labels."""
    return replace(images, label_sets=tuple(map(images.labels_of, range(len(images)))))


def multi_hot(images: ImageSet) -> Tensor:
    """Whether image n has label k: bool N K."""
    hot = torch.zeros(len(images), len(images.classes), dtype=torch.bool)
    rows = [i for i in range(len(images)) for _ in images.labels_of(i)]
    hot[rows, [label for i in range(len(images)) for label in images.labels_of(i)]] = True
    return hot


def relative_weights(images: ImageSet) -> Tensor | None:
    """The weights of the images divided by their mean, float32 N; None if they have none. Raises `UserError`."""
    if not images.weights:
        return None
    check_weights(images.weights)
    weights = torch.tensor(images.weights, dtype=torch.float64)
    weights = weights / weights.max().clamp(min=torch.finfo(torch.float64).tiny)  # their sum could overflow
    return (weights / weights.mean()).float()
