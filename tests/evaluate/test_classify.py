"""Counts of an evaluation against loops over plain lists."""

import numpy as np
import pytest
import torch

from resmlp.evaluate import classify


def brute_force(logits: np.ndarray, labels: np.ndarray, classes: int):
    confusion, top5 = [[0] * classes for _ in range(classes)], 0
    for row, label in zip(logits, labels):
        order = sorted(range(classes), key=lambda k: -row[k])
        confusion[label][order[0]] += 1
        top5 += int(label in order[:5])
    return confusion, top5


def batches_of(labels: torch.Tensor, sizes: list[int]):
    """Batches whose images hold nothing but each picture's number."""
    start = 0
    for size in sizes:
        own = torch.arange(start, start + size)
        yield {"image": own, "label": labels[own], "unreadable": []}
        start += size


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 6, 30])
@pytest.mark.parametrize("sizes", [[50], [20, 20, 10], [0, 25, 0, 25, 0], [1] * 50], ids=str)
def test_counts_are_those_of_a_loop(classes, sizes):
    labels = torch.randint(classes, (50,))
    logits = torch.randn(50, classes)
    tally = classify(lambda images: logits[images], batches_of(labels, sizes), classes, "cpu")
    confusion, top5 = brute_force(logits.numpy(), labels.numpy(), classes)
    assert tally.confusion.tolist() == confusion
    assert tally.pictures == 50
    right = sum(confusion[k][k] for k in range(classes))
    assert dict(tally.scores()) == {"top1": right / 50, "top5": top5 / 50}
    per_class = [row[k] / sum(row) if sum(row) else None for k, row in enumerate(confusion)]
    assert tally.per_class() == pytest.approx(per_class)


def test_with_five_classes_or_fewer_every_picture_is_in_the_top_five():
    labels = torch.randint(3, (20,))
    tally = classify(lambda images: torch.randn(len(images), 3), batches_of(labels, [20]), 3, "cpu")
    assert dict(tally.scores())["top5"] == 1.0


@pytest.mark.parametrize("sizes", [[], [0]], ids=["no batch", "an empty batch"])
def test_nothing_to_count_is_no_error(sizes):
    empty = torch.zeros(0, dtype=torch.int64)
    tally = classify(lambda images: torch.zeros(len(images), 7), batches_of(empty, sizes), 7, "cpu")
    assert dict(tally.scores()) == {"top1": 0.0, "top5": 0.0}
    assert tally.per_class() == [None] * 7


def test_half_precision_logits_are_counted():
    labels = torch.randint(6, (40,))
    logits = torch.randn(40, 6).bfloat16()
    tally = classify(lambda images: logits[images], batches_of(labels, [40]), 6, "cpu")
    assert tally.confusion.diagonal().sum() == (logits.float().argmax(1) == labels).sum()


def test_counts_are_exact_beyond_the_integers_of_float32():
    """2**24 + 1 is the first number that a float32 count would miss."""
    labels = torch.zeros(2**22, dtype=torch.int64)
    batch = {"image": labels, "label": labels}
    logits = torch.tensor([[1.0, 0.0]]).expand(2**22, 2)
    one = {"image": labels[:1], "label": labels[:1]}
    tally = classify(lambda images: logits[: len(images)], [batch] * 4 + [one], 2, "cpu")
    assert tally.pictures == 2**24 + 1
