"""mIoU against a loop over pixels, and of several processes against one process."""

import math

import processes
import pytest
import torch

from resmlp.metrics import PixelTally, count_pixels
from resmlp.metrics.miou import pixel_counts

K = 5


def images(count: int):
    """(image, mask, prediction) of several sizes; class 4 occurs nowhere, class 3 in predictions only."""
    generator = torch.Generator().manual_seed(3)
    for i in range(count):
        size = (7 + i, 11 - i)
        mask = torch.randint(0, 3, size, generator=generator).byte()
        mask[torch.rand(size, generator=generator) < 0.2] = 255
        predicted = torch.randint(-1, 4, size, generator=generator).short()
        yield torch.full((3, 2, 2), i, dtype=torch.uint8), mask, predicted


def batches(samples):
    for image, mask, _ in samples:
        yield {"image": image[None], "mask": mask[None], "unreadable": []}


def brute_force(samples):
    """mIoU, pixel accuracy and each class's IoU, a pixel at a time with sets."""
    target, predicted = {k: set() for k in range(K)}, {k: set() for k in range(K)}
    right = counted = 0
    for i, (_, mask, prediction) in enumerate(samples):
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                true_class, predicted_class = int(mask[y, x]), int(prediction[y, x])
                if true_class == 255:
                    continue
                counted += 1
                right += true_class == predicted_class
                target[true_class].add((i, y, x))
                if predicted_class >= 0:
                    predicted[predicted_class].add((i, y, x))
    ious = [
        len(target[k] & predicted[k]) / len(target[k] | predicted[k]) if target[k] | predicted[k] else None
        for k in range(K)
    ]
    defined = [iou for iou in ious if iou is not None]
    return sum(defined) / len(defined), right / counted, ious


def labels_of(samples):
    predictions = [predicted for _, _, predicted in samples]
    return lambda image, size: predictions[int(image[0, 0, 0])]


def test_equals_a_loop_over_pixels():
    samples = list(images(4))
    tally = count_pixels(labels_of(samples), batches(samples), K)
    miou, accuracy, ious = brute_force(samples)
    scores = dict(tally.scores())
    assert list(scores) == ["miou", "pixel_accuracy"], "the main number comes first"
    assert math.isclose(scores["miou"], miou, rel_tol=1e-12)
    assert math.isclose(scores["pixel_accuracy"], accuracy, rel_tol=1e-12)
    assert tally.per_class() == pytest.approx(ious)
    assert ious[4] is None, "class 4 occurs nowhere"
    assert ious[3] == 0, "class 3 occurs in predictions only"
    assert tally.images == 4
    assert tally.pixels == sum(int((mask != 255).sum()) for _, mask, _ in samples)
    assert tally.not_finite == sum(int(((mask != 255) & (predicted < 0)).sum()) for _, mask, predicted in samples)


def test_predictions_have_the_size_of_the_mask():
    calls = []

    def label(image, size):
        calls.append((tuple(image.shape), size))
        return torch.zeros(size, dtype=torch.int16)

    mask = torch.zeros(1, 6, 9, dtype=torch.uint8)
    count_pixels(label, [{"image": torch.zeros(1, 3, 4, 8).byte(), "mask": mask, "unreadable": []}], 2)
    assert calls == [((3, 4, 8), (6, 9))]


def test_an_unreadable_image_is_named_and_not_counted():
    unreadable = {"image": torch.empty(0, 3, 1, 1).byte(), "mask": torch.empty(0, 1, 1).byte(), "unreadable": ["a.png"]}
    tally = count_pixels(lambda image, size: torch.zeros(size), [unreadable], 2)
    assert (tally.images, tally.unreadable, tally.pixels) == (0, ("a.png",), 0)
    assert dict(tally.scores()) == {"miou": 0.0, "pixel_accuracy": 0.0}
    assert tally.per_class() == [None, None]


def test_an_image_of_ignored_pixels_does_not_count():
    counts = pixel_counts(torch.full((3, 4), 255).byte(), torch.zeros(3, 4).short(), 3)
    assert counts.shape == (3, 4)
    assert counts.sum() == 0
    assert PixelTally(counts).per_class() == [None] * 3


def _process(folder: str) -> None:
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    samples = list(images(5))
    tally = count_pixels(labels_of(samples), batches(samples[rank::world]), K)
    torch.save([tally.counts, torch.tensor(tally.images)], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_several_processes_count_as_one(tmp_path):
    processes.together(_process, str(tmp_path), folder=tmp_path)
    samples = list(images(5))
    alone = count_pixels(labels_of(samples), batches(samples), K)
    for rank in range(2):
        counts, number = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(counts, alone.counts), "in every process"
        assert number == 5
