"""Counts of an evaluation against loops over plain lists."""

import sys

import numpy as np
import pytest
import torch

from resmlp.metrics import MATRIX_LIMIT, Tally, classify, rank


def brute_force(logits: np.ndarray, labels: np.ndarray, classes: int):
    confusion, top5 = [[0] * classes for _ in range(classes)], 0
    for row, label in zip(logits, labels):
        order = sorted(range(classes), key=lambda k: -row[k])
        confusion[label][order[0]] += 1
        top5 += int(label in order[:5])
    return confusion, top5


def batches_of(labels: torch.Tensor, sizes: list[int]):
    """Batches with the number of each image in place of the image."""
    start = 0
    for size in sizes:
        own = torch.arange(start, start + size)
        yield {"image": own, "label": labels[own], "index": own, "unreadable": []}
        start += size


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 6, 30])
@pytest.mark.parametrize("sizes", [[50], [20, 20, 10], [0, 25, 0, 25, 0], [1] * 50], ids=str)
def test_counts_equal_those_of_a_loop(classes, sizes):
    labels = torch.randint(classes, (50,))
    logits = torch.randn(50, classes)
    tally = classify(lambda images: logits[images], batches_of(labels, sizes), classes, "cpu")
    confusion, top5 = brute_force(logits.numpy(), labels.numpy(), classes)
    assert tally.confusion().tolist() == confusion
    assert tally.images == 50
    right = sum(confusion[k][k] for k in range(classes))
    assert dict(tally.scores()) == {"top1": right / 50, "top5": top5 / 50}
    per_class = [row[k] / sum(row) if sum(row) else None for k, row in enumerate(confusion)]
    assert tally.per_class() == pytest.approx(per_class)


def test_with_five_classes_or_fewer_every_image_is_in_the_top_five():
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
    assert tally.confusion().diagonal().sum() == (logits.float().argmax(1) == labels).sum()


def test_counts_are_exact_beyond_the_integers_of_float32():
    """2**24 + 1 is the first number that a float32 count would miss."""
    labels = torch.zeros((), dtype=torch.int64).expand(2**24 + 1)
    tally = Tally(labels, labels[:, None], 2)
    assert tally.images == tally.top1 == tally.top5 == int(tally.confusion()[0, 0]) == 2**24 + 1
    assert tally.per_class() == [1.0, None]


def test_many_classes_are_counted_without_their_matrix():
    classes = 21_841
    labels = torch.randint(classes, (300,))
    predicted = torch.where(torch.rand(300) < 0.5, labels, torch.randint(classes, (300,)))
    tally = Tally(labels, predicted[:, None], classes)
    assert tally.confusion() is None
    assert Tally(labels, predicted[:, None], MATRIX_LIMIT + 1).confusion() is None
    right: dict[int, list[bool]] = {}
    for label, prediction in zip(labels.tolist(), predicted.tolist()):
        right.setdefault(label, []).append(label == prediction)
    per_class = {k: score for k, score in enumerate(tally.per_class()) if score is not None}
    assert per_class == {k: sum(hits) / len(hits) for k, hits in right.items()}


def test_only_the_columns_can_be_predicted():
    logits, columns = torch.randn(60, 30), [29, 3, 4, 11, 17, 20, 21]
    ranking = rank(lambda images: logits[images], batches_of(torch.zeros(60).long(), [25, 35]), "cpu", columns)
    for row, top in zip(logits.tolist(), ranking.top.tolist()):
        assert top == sorted(columns, key=lambda k: -row[k])[:5]
    few = rank(lambda images: logits[images], batches_of(torch.zeros(60).long(), [60]), "cpu", [7, 5])
    assert few.top.sort(1).values.tolist() == [[5, 7]] * 60


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_an_output_that_is_not_finite_is_never_right(bad):
    """Of a row of NaN, topk takes the first columns: class 0 would be right."""
    labels = torch.zeros(10, dtype=torch.int64)
    logits = torch.tensor([1.0, 0.0, 0.0]).repeat(10, 1)
    logits[:4] = torch.tensor([bad, 0.0, 0.0])
    tally = classify(lambda images: logits[images], batches_of(labels, [10]), 3, "cpu")
    assert (tally.top1, tally.top5, tally.not_finite, tally.images) == (6, 6, 4, 10)
    assert tally.confusion().sum() == 6
    assert tally.per_class() == [0.6, None, None]


def test_images_are_in_the_order_of_the_data_set_and_none_twice():
    labels, order = torch.arange(20) % 4, torch.randperm(20)
    batches = [{"image": own, "label": labels[own], "index": own, "unreadable": []} for own in order.split(6)]
    batches[1]["unreadable"] = ["b.png", "a.png"]
    logits = torch.randn(20, 4)
    ranking = rank(lambda images: logits[images], batches, "cpu")
    assert ranking.index.tolist() == list(range(20))
    assert ranking.label.tolist() == labels.tolist()
    assert ranking.top[:, 0].tolist() == logits.argmax(1).tolist()
    assert ranking.unreadable == ("a.png", "b.png")
    with pytest.raises(RuntimeError, match="twice"):
        rank(lambda images: logits[images], [*batches, batches[0]], "cpu")


@pytest.mark.parametrize("share", [0, 1, 9], ids=str)
def test_counts_of_processes_are_combined(monkeypatch, share):
    """Unequal shares, one of them empty, give the result of one process."""
    labels, logits = torch.arange(20) % 4, torch.randn(20, 4)

    def ranked(own: torch.Tensor, gather):
        monkeypatch.setattr(sys.modules[rank.__module__], "all_gather", gather)
        batches = [
            {"image": i, "label": labels[i], "index": i, "unreadable": [f"{len(own)}.png"]} for i in own.split(3)
        ]
        return rank(lambda images: logits[images], batches, "cpu")

    other = []
    ranked(torch.arange(20)[:share], lambda own_rows: other.append(own_rows) or [own_rows])
    together = ranked(torch.arange(20)[share:], lambda own_rows: [own_rows, *other])
    alone = ranked(torch.arange(20), lambda own_rows: [own_rows])
    assert together.index.tolist() == alone.index.tolist()
    assert together.label.tolist() == alone.label.tolist()
    assert together.top.tolist() == alone.top.tolist()
    assert set(together.unreadable) == {f"{share}.png", f"{20 - share}.png"}
