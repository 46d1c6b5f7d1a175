"""Resampled epochs: their class frequencies, and that they are a function of (seed, epoch, position)."""

from collections import Counter

import numpy as np
import pytest
import torch

from resmlp.config import Augment, Data
from resmlp.data import TrainBatches
from resmlp.data.images.imageset import ImageSet
from resmlp.data.loading.resampling import ResampledOrder, draw_probabilities
from resmlp.imaging.image_file import Pixels
from resmlp.utils.errors import UserError

COUNTS = (40, 2, 18, 0, 4)


def images(counts=COUNTS) -> ImageSet:
    """Images of 4x4 pixels, each with its own number as its gray value."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    pixels = [Pixels(f"image {i}", np.full((4, 4), i, np.uint8)) for i in range(len(labels))]
    return ImageSet(tuple("abcde"[: len(counts)]), labels, pixels)


def batches(seed: int = 3, workers: int = 0, augment: Augment | None = None, **options) -> TrainBatches:
    data = Data(img_size=(4,), batch_size=16, workers=workers, resample=options.pop("resample", 1.0))
    return TrainBatches(images(), data, augment or Augment("center", flip=0), seed=seed, **options)


def drawn(epoch) -> list[list[int]]:
    """The images of each batch."""
    return [batch["image"][:, 0, 0, 0].tolist() for batch in epoch]


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_classes_are_drawn_by_a_power_of_their_frequency(power):
    weights = [count ** (1 - power) if count else 0 for count in COUNTS]
    expected = [weight / sum(weights) for weight in weights]
    assert draw_probabilities(np.array(COUNTS), power).tolist() == pytest.approx(expected)
    order, labels = ResampledOrder(images().labels, power), np.array(images().labels)
    found = np.array([labels[order(np.arange(64), key)] for key in range(500)])
    shares = np.bincount(found.ravel(), minlength=5) / found.size
    assert shares == pytest.approx(expected, abs=4 * (0.25 / found.size) ** 0.5)
    for position in (0, 63):
        shares = np.bincount(found[:, position], minlength=5) / 500
        assert shares == pytest.approx(expected, abs=4 * (0.25 / 500) ** 0.5)


def test_no_power_keeps_the_frequencies():
    assert draw_probabilities(np.array(COUNTS), None).tolist() == pytest.approx([count / 64 for count in COUNTS])


def test_images_of_a_class_take_turns():
    order, labels = ResampledOrder(images().labels, 1.0), images().labels
    uses = Counter(order(np.arange(64), 0).tolist())
    assert uses.total() == 64
    for label, count in enumerate(COUNTS):
        own = [uses[i] for i in range(64) if labels[i] == label]
        assert len(own) == count
        assert not own or max(own) - min(own) <= 1


def test_batches_depend_on_seed_and_epoch_only():
    whole = drawn(batches().epoch(2))
    assert len(whole) == 4
    assert drawn(batches(workers=2).epoch(2)) == whole
    assert drawn(batches().epoch(2, start=3)) == whole[3:]
    assert whole not in (drawn(batches().epoch(1)), drawn(batches(seed=4).epoch(2)))


@pytest.mark.parametrize("augment", [Augment("center", flip=0), Augment("center", flip=0, mixup=0.5)], ids=str)
def test_processes_share_the_batches_of_one(augment):
    whole = drawn(batches(augment=augment).epoch(0))
    parts = [drawn(batches(augment=augment, rank=rank, world=2).epoch(0)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*parts)] == [sorted(batch) for batch in whole]


def test_labels_are_those_of_the_drawn_images():
    for batch in batches().epoch(0):
        labels = torch.tensor(images().labels)
        assert batch["label"].tolist() == labels[batch["image"][:, 0, 0, 0].long()].tolist()


@pytest.mark.parametrize("counts", [(16,), ()], ids=["one class", "no class"])
def test_images_without_classes_cannot_be_resampled(counts):
    with pytest.raises(UserError, match=r"--data.resample 0.5: the training images have no classes"):
        ResampledOrder(images(counts).labels, 0.5)
    with pytest.raises(UserError, match="--data.resample 1: "):
        ResampledOrder(None, 1.0)


@pytest.mark.parametrize("power", [0.0, -1.0, 1.5, float("nan")])
def test_powers_out_of_range(power):
    with pytest.raises(UserError, match="--data.resample"):
        Data(resample=power)
