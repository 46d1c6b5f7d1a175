"""A linear classifier on frozen features: a grid of learning rates and depths, all trained at once.

N images to learn from in V views each, M to be classified, D the width of their features, K classes, R rates.
The members of the grid see the same batches and do not see one another: a member is what it would be alone.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from resmlp.metrics.accuracy import Tally
from resmlp.utils.checks import demand

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
MOMENTUM = 0.9
DEAD = 1e-6  # a feature that varies by less, of what the largest is, is constant but for rounding
ROWS = 1024  # images that are classified at once


class Member(NamedTuple):
    """A classifier of the grid, and how it does."""

    layers: int
    """of how many of the last layers it sees the features"""
    lr: float
    top1: float
    top5: float


class Settings(NamedTuple):
    """How the classifiers are trained."""

    rates: Sequence[float] = RATES
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
) -> list[Member]:
    """Train on V N D features with labels N, and classify M D features with labels M; a member for each layers x rate.

    The D features are of the last max(layers) layers, each as wide, the deepest last. They are standardized by mean and
    deviation over `train`, which a linear classifier could do itself. Trained are weights that start at zero, by SGD
    with momentum 0.9, cosine decay to zero and no weight decay, on one of an image's views at random in each epoch.
    Features that are not finite are left out of `train` and are never right.
    """
    settings = settings or Settings()
    finite = train.isfinite().all(2).all(0)  # N
    demand(bool(finite.any()), "there is no image to learn from", "see to the data, and that the features are finite")
    train, train_labels = train[:, finite].to(device), train_labels[finite].to(device)
    train, test = standardized(train, test.to(device))
    width, classes = train.shape[2] // max(layers), int(max(train_labels.max(), test_labels.max())) + 1
    heads = fit(train, train_labels, classes, [width * count for count in layers], settings)
    return [
        Member(count, rate, *(score for _, score in tally.scores()))
        for count, head in zip(layers, heads)
        for rate, tally in zip(settings.rates, _classified(head, test, test_labels))
    ]


def standardized(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """V N D and M D, each feature less its mean over `train` and divided by its deviation; constant ones are 0."""
    deviation, mean = torch.std_mean(train, dim=(0, 1), correction=0)
    constant = deviation <= DEAD * torch.maximum(mean.abs(), deviation).max()
    deviation = deviation.masked_fill(constant, math.inf)
    return (train - mean) / deviation, (test - mean) / deviation


def fit(train: Tensor, labels: Tensor, classes: int, widths: Sequence[int], settings: Settings) -> list[Tensor]:
    """Weights R K W+1 for each of the `widths` W, which are of the last W features; the bias comes last.

    The gradient of the mean cross-entropy is written out: softmax less target, times features.
    """
    views, images = train.shape[:2]
    rates = torch.tensor(settings.rates, device=train.device)[:, None]  # R 1
    heads = [torch.zeros(width + 1, len(rates), classes, device=train.device) for width in widths]  # W+1 R K
    moved = [torch.zeros_like(head) for head in heads]
    generator = torch.Generator().manual_seed(settings.seed)
    steps = settings.epochs * math.ceil(images / settings.batch_size)
    for step, own in enumerate(_batches(images, settings, generator)):
        view = torch.randint(views, (len(own),), generator=generator)
        view, own = view.to(train.device), own.to(train.device)
        batch, target = train[view, own], one_hot(labels[own], classes)[:, None]  # B D, B 1 K
        batch = torch.cat([batch, batch.new_ones(len(batch), 1)], 1)  # B D+1
        now = rates * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for head, velocity in zip(heads, moved):
            seen = batch[:, -len(head) :]  # B W+1
            wrong = _logits(seen, head).softmax(2) - target  # B R K
            gradient = (seen.T @ wrong.flatten(1)).view_as(head) / len(own)
            velocity.mul_(MOMENTUM).add_(gradient)
            head.sub_(velocity * now)
    return [head.permute(1, 2, 0) for head in heads]


def _batches(images: int, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
    """Numbers of images, all of them in a new order in each epoch; the last batch of an epoch may be small."""
    for _ in range(settings.epochs):
        yield from torch.randperm(images, generator=generator).split(settings.batch_size)


def _logits(features: Tensor, head: Tensor) -> Tensor:
    """B W+1 by weights W+1 R K -> B R K, as one product."""
    return (features @ head.flatten(1)).view(len(features), *head.shape[1:])


def _classified(head: Tensor, test: Tensor, labels: Tensor) -> list[Tally]:
    """What each of the classifiers R K W+1 says of M D features."""
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
