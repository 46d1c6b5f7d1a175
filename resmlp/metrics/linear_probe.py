"""A linear classifier on frozen features: a grid of learning rates and depths, all trained at once.

N training images in V views each, M images to classify, D the width of their features, K classes, R learning rates.
All classifiers of the grid read the same batches, and each is trained as if it were alone.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from resmlp.metrics.accuracy import Tally
from resmlp.utils.checks import demand

LEARNING_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
MOMENTUM = 0.9
DEAD = 1e-6  # a feature with a deviation below this share of the largest value is constant but for rounding
ROWS = 1024  # images in a batch of the evaluation
HELD_OUT = 0.2  # of the training images of each class, to choose a classifier of the grid
HELD_OUT_STREAM = 1  # part of the random key, so that the choice of these images is independent of the batches


class Classifier(NamedTuple):
    """A classifier of the grid, and its accuracy."""

    layers: int
    """number of the last layers with the features that it reads"""
    lr: float
    top1: float
    top5: float


class Settings(NamedTuple):
    """Settings of the training."""

    learning_rates: Sequence[float] = LEARNING_RATES
    epochs: int = 100
    batch_size: int = 256
    seed: int = 0


def linear(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    layers: Sequence[int] = (1,),
    settings: Settings | None = None,
    device: torch.device | str = "cpu",
) -> list[Classifier]:
    """Train on V N D features with labels N, and classify M D features with labels M.

    Returns one classifier for each pair of `layers` and learning rate. The D features are those of the last max(layers)
    layers, of equal width, the deepest last. They are standardized by mean and deviation over `train`, which a linear
    classifier could learn. Weights start at zero and are trained by SGD with momentum 0.9, cosine decay to zero and no
    weight decay; in each epoch, a random view of each image is used. Features that are not finite are left out of
    `train` and are never right.
    """
    settings = settings or Settings()
    finite = train.isfinite().all(2).all(0)  # N
    demand(bool(finite.any()), "no image to learn from", "check the data, and that the features are finite")
    train, train_labels = train[:, finite].to(device), train_labels[finite].to(device)
    train, test = standardized(train, test.to(device))
    width, classes = train.shape[2] // max(layers), int(max(train_labels.max(), test_labels.max())) + 1
    heads = fit(train, train_labels, classes, [width * count for count in layers], settings)
    return [
        Classifier(count, lr, *(score for _, score in tally.scores()))
        for count, head in zip(layers, heads)
        for lr, tally in zip(settings.learning_rates, _classified(head, test, test_labels))
    ]


def choose(
    train: Tensor,
    labels: Tensor,
    layers: Sequence[int] = (1,),
    settings: Settings | None = None,
    device: torch.device | str = "cpu",
) -> list[Classifier]:
    """The grid of `linear`, trained without the images of `held_out` and scored on the first view of these.

    The best one has the learning rate and the depth to use: no image of the evaluation has a part in the choice. Raises
    `UserError` if no class has two images.
    """
    settings = settings or Settings()
    held = held_out(labels, settings.seed)
    what = "no class has two training images, so none can be held out to choose the learning rate and the depth"
    demand(bool(held.any()), what, "give one --linear.lr and one --linear.layers")
    return linear(train[:, ~held], labels[~held], train[0, held], labels[held], layers, settings, device)


def held_out(labels: Tensor, seed: int) -> Tensor:
    """A fifth of the images of each class, at least one and not all of them, by the seed: bool N."""
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        own = (labels == label).nonzero()[:, 0].numpy()
        order = np.random.default_rng([seed, HELD_OUT_STREAM, int(label)]).permutation(own)
        held[order[: min(max(1, round(HELD_OUT * len(own))), len(own) - 1)]] = True
    return held


def standardized(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """V N D and M D, each feature minus its mean over `train`, divided by its deviation; constant features are 0."""
    deviation, mean = torch.std_mean(train, dim=(0, 1), correction=0)
    constant = deviation <= DEAD * torch.maximum(mean.abs(), deviation).max()
    deviation = deviation.masked_fill(constant, math.inf)
    return (train - mean) / deviation, (test - mean) / deviation


def fit(train: Tensor, labels: Tensor, classes: int, widths: Sequence[int], settings: Settings) -> list[Tensor]:
    """Weights R K W+1 for each W of `widths`, of the last W features; the bias comes last.

    The gradient of the mean cross-entropy is written out: softmax minus target, times features.
    """
    views, images = train.shape[:2]
    rates = torch.tensor(settings.learning_rates, device=train.device)[:, None]  # R 1
    heads = [torch.zeros(width + 1, len(rates), classes, device=train.device) for width in widths]  # W+1 R K
    velocities = [torch.zeros_like(head) for head in heads]
    generator = torch.Generator().manual_seed(settings.seed)
    steps = settings.epochs * math.ceil(images / settings.batch_size)
    for step, own in enumerate(_batches(images, settings, generator)):
        view = torch.randint(views, (len(own),), generator=generator)
        view, own = view.to(train.device), own.to(train.device)
        batch, target = train[view, own], one_hot(labels[own], classes)[:, None]  # B D, B 1 K
        batch = torch.cat([batch, batch.new_ones(len(batch), 1)], 1)  # B D+1
        lr = rates * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for head, velocity in zip(heads, velocities):
            inputs = batch[:, -len(head) :]  # B W+1
            error = _logits(inputs, head).softmax(2) - target  # B R K
            gradient = (inputs.T @ error.flatten(1)).view_as(head) / len(own)
            velocity.mul_(MOMENTUM).add_(gradient)
            head.sub_(velocity * lr)
    return [head.permute(1, 2, 0) for head in heads]


def _batches(images: int, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of images, all of them in a new order in each epoch; the last batch of an epoch may be smaller."""
    for _ in range(settings.epochs):
        yield from torch.randperm(images, generator=generator).split(settings.batch_size)


def _logits(features: Tensor, head: Tensor) -> Tensor:
    """B W+1 by weights W+1 R K -> B R K, as one product."""
    return (features @ head.flatten(1)).view(len(features), *head.shape[1:])


def _classified(head: Tensor, test: Tensor, labels: Tensor) -> list[Tally]:
    """The predictions of the R classifiers, R K W+1, for M D features."""
    rates, classes, columns = head.shape
    weights = head.permute(2, 0, 1)
    tops = []
    for part in test.split(ROWS):
        part = torch.cat([part, part.new_ones(len(part), 1)], 1)[:, -columns:]
        logits = _logits(part, weights)
        top = logits.topk(min(5, classes), dim=2).indices  # B R k
        tops.append(top.masked_fill(~logits.isfinite().all(2, keepdim=True), -1).cpu())
    top = torch.cat(tops)
    return [Tally(labels, top[:, i], classes) for i in range(rates)]
