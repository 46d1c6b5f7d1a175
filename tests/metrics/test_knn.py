"""The k-NN classifier against a loop over NumPy vectors."""

import math
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resmlp.metrics import collect, features, knn, valid_ks
from resmlp.metrics.knn import COLUMNS, KS, NEVER, ROWS, nearest, ranks, unit
from resmlp.utils.errors import UserError


def brute_force(train, train_labels, test, test_labels, k, temperature):
    """(top-1, top-5), and for each image the classes with votes, best first."""
    ranked = []
    for query in test.double().numpy():
        cosines = [query @ row / (np.linalg.norm(query) * np.linalg.norm(row)) for row in train.double().numpy()]
        near = sorted(range(len(train)), key=lambda i: (-round(cosines[i], 6), i))[:k]
        votes: dict[int, float] = {}
        for i in near:
            votes[int(train_labels[i])] = votes.get(int(train_labels[i]), 0) + math.exp(cosines[i] / temperature)
        ranked.append(sorted(votes, key=lambda c: (-votes[c], c)))
    hits = [[label in own[:n] for own, label in zip(ranked, test_labels.tolist())] for n in (1, 5)]
    return tuple(sum(own) / len(test) for own in hits), ranked


@pytest.mark.parametrize("classes", [2, 4, 12])
@pytest.mark.parametrize("ks", [(1, 3), (2, 4, 7), (20, 61)], ids=str)
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_scores_equal_those_of_a_loop(classes, ks, temperature):
    train_labels, test_labels = torch.randint(classes, (61,)), torch.randint(classes, (40,))
    centers = torch.randn(classes, 6)
    train = (centers[train_labels] + 1.5 * torch.randn(61, 6)) * torch.rand(61, 1).add(0.1)
    test = centers[test_labels] + 1.5 * torch.randn(40, 6)
    scores = dict(knn(train, train_labels, test, test_labels, ks, temperature))
    for k in ks:
        (top1, top5), _ = brute_force(train, train_labels, test, test_labels, k, temperature)
        assert scores[f"knn@{k}"] == pytest.approx(top1, abs=1e-6)
        assert scores[f"knn@{k}_top5"] == pytest.approx(top5, abs=1e-6)
    reported = 20 if 20 in ks else max(ks)
    assert (scores["knn"], scores["knn_top5"]) == (scores[f"knn@{reported}"], scores[f"knn@{reported}_top5"])


def test_ranks_equal_those_of_a_loop():
    train, test, labels = torch.randn(50, 5), torch.randn(30, 5), torch.randint(9, (50,))
    _, ranked = brute_force(train, labels, test, torch.zeros(30), 8, 0.1)
    cosines, positions = nearest(unit(test), unit(train), 8)
    weights = (cosines / 0.1).exp()
    for true in range(9):
        scores = ranks(labels[positions], weights, torch.full((30,), true), 9).tolist()
        assert scores == [own.index(true) if true in own else NEVER for own in ranked]


def test_a_class_without_votes_is_not_among_the_five():
    """With k = 1 one class has votes, so top-5 is top-1 for any number of classes."""
    train, test = torch.randn(40, 4), torch.randn(30, 4)
    train_labels, test_labels = torch.randint(3, (40,)), torch.randint(3, (30,))
    scores = dict(knn(train, train_labels, test, test_labels, (1,)))
    assert 0 < scores["knn@1"] == scores["knn@1_top5"] < 1
    strange = dict(knn(train, train_labels, test, test_labels + 3, (1, 40)))
    assert set(strange.values()) == {0.0}


def test_one_image_of_each_is_enough():
    one = torch.ones(1, 3)
    scores = dict(knn(one, torch.tensor([4]), one, torch.tensor([4])))
    assert scores == {"knn": 1.0, "knn_top5": 1.0, "knn@1": 1.0, "knn@1_top5": 1.0}


def test_ties_go_to_the_first_image_and_the_lower_class():
    train = torch.tensor([[1.0, 0.0]] * 6)
    labels = torch.tensor([3, 1, 1, 3, 0, 0])
    right = [dict(knn(train, labels, train[:1], torch.tensor([c]), (1, 2, 4, 6))) for c in range(4)]
    assert [[c for c in range(4) if right[c][f"knn@{k}"]] for k in (1, 2, 4, 6)] == [[3], [1], [1], [0]]


@pytest.mark.parametrize("columns", [1, 7, 64, 200])
def test_chunks_change_nothing(monkeypatch, columns):
    train, test = unit(torch.randn(100, 16)), unit(torch.randn(33, 16))
    train = torch.cat([train, train[:50]])  # so that there are ties
    cosines, positions = nearest(test, train, 30, columns)
    whole = test.double().numpy() @ train.double().numpy().T
    expected = np.stack([np.lexsort((np.arange(150), -row))[:30] for row in whole])
    assert positions.tolist() == expected.tolist()
    assert (cosines.numpy() == np.take_along_axis(whole, expected, 1)).all(), "sums are exact"

    labels = torch.randint(5, (150,)), torch.randint(5, (33,))
    alone = dict(knn(train, labels[0], test, labels[1]))
    monkeypatch.setattr(sys.modules[knn.__module__], "ROWS", columns)
    assert dict(knn(train, labels[0], test, labels[1])) == alone


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, list | tuple) else [out]:
            view = not isinstance(made, torch.Tensor) or made._is_view()
            self.bytes = self.bytes if view else max(self.bytes, made.numel() * made.element_size())
        return out


def test_memory_does_not_grow_with_the_training_set():
    """Of a chunk, the cosines, the rounded cosines and the keys are in memory: three tensors of 8 bytes an element."""
    test = torch.randn(20, 4)
    for images in (500, 4_000):
        train = torch.randn(images, 4)
        with Largest() as largest:
            nearest(test, train, 10, columns=256)
        assert largest.bytes == 20 * 256 * 8
    assert ROWS * COLUMNS * 3 * 8 <= 2**28, "a quarter of a GiB"


def test_features_that_are_not_finite_are_no_neighbors():
    train, labels = torch.randn(30, 4), torch.randint(2, (30,))
    test, test_labels = torch.randn(10, 4), torch.randint(2, (10,))
    alone = dict(knn(train, labels, test, test_labels, (5,)))
    bad = torch.tensor([[float("nan")] * 4, [float("inf")] * 4])
    scores = dict(knn(torch.cat([bad, train]), torch.cat([test_labels[:2], labels]), test, test_labels, (5,)))
    assert scores == alone
    half = dict(knn(train, labels, torch.cat([test, bad.repeat(5, 1)]), test_labels.repeat(2), (5,)))
    assert half == {name: value / 2 for name, value in alone.items()}


def test_the_default_ks_are_at_most_the_number_of_images():
    assert valid_ks(None, 10**6) == KS == (10, 20, 100, 200)
    assert valid_ks(None, 150) == (10, 20, 100)
    assert valid_ks(None, 10) == (10,)
    assert valid_ks(None, 9) == (9,)
    assert valid_ks([7, 3, 7], 7) == (3, 7)
    for ks, message in (([8], "only 7 training images"), ([0], "k = 0"), ([], "without any k")):
        with pytest.raises(UserError, match=message):
            valid_ks(ks, 7)
    with pytest.raises(UserError, match="no training image for k-NN"):
        valid_ks(None, 0)


def test_features_are_in_the_order_of_the_data_set():
    labels, order, values = torch.arange(20) % 4, torch.randperm(20), torch.randn(20, 6)
    batches = [{"image": own, "label": labels[own], "index": own, "unreadable": []} for own in order.split(6)]
    scores, test_labels = features(lambda images: values[images].bfloat16(), batches, "cpu")
    assert torch.equal(scores, values.bfloat16().float())
    assert scores.dtype == torch.float32
    assert torch.equal(test_labels, labels)
    nothing = {"image": order[:0], "label": labels[:0], "index": order[:0], "unreadable": ["a.png"]}
    scores, test_labels = features(lambda images: values[images], [nothing], "cpu")
    assert (scores.shape, test_labels.shape) == ((0, 0), (0,))


def test_features_of_several_processes_are_concatenated(monkeypatch):
    labels, values, other = torch.arange(20) % 4, torch.randn(20, 6), []

    def of(own, gather):
        monkeypatch.setattr(sys.modules[collect.__module__], "all_gather", gather)
        batches = [{"image": i, "label": labels[i], "index": i, "unreadable": []} for i in own.split(3)]
        return features(lambda images: values[images], batches, "cpu")

    of(torch.arange(1, 20, 2), lambda own_rows: other.append(own_rows) or [own_rows])
    scores, test_labels = of(torch.arange(0, 20, 2), lambda own_rows: [own_rows, *other])
    assert torch.equal(scores, values)
    assert torch.equal(test_labels, labels)
