"""Against a count of one pixel at a time, and by processes against one process."""

import math

import processes
import pytest
import torch

from resmlp.metrics import PixelTally, count_pixels
from resmlp.metrics.miou import pixel_counts

K = 5


def images(count: int):
    """(image, mask, said) of several sizes; class 4 occurs nowhere, and 3 is said but not there."""
    generator = torch.Generator().manual_seed(3)
    for i in range(count):
        size = (7 + i, 11 - i)
        mask = torch.randint(0, 3, size, generator=generator).byte()
        mask[torch.rand(size, generator=generator) < 0.2] = 255
        said = torch.randint(-1, 4, size, generator=generator).short()
        yield torch.full((3, 2, 2), i, dtype=torch.uint8), mask, said


def batches(found):
    for image, mask, _ in found:
        yield {"image": image[None], "mask": mask[None], "unreadable": []}


def brute_force(found):
    """mIoU, pixel accuracy and each class's IoU, a pixel at a time with sets."""
    truth, said = {k: set() for k in range(K)}, {k: set() for k in range(K)}
    right = counted = 0
    for i, (_, mask, answer) in enumerate(found):
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                true, guess = int(mask[y, x]), int(answer[y, x])
                if true == 255:
                    continue
                counted += 1
                right += true == guess
                truth[true].add((i, y, x))
                if guess >= 0:
                    said[guess].add((i, y, x))
    ious = [len(truth[k] & said[k]) / len(truth[k] | said[k]) if truth[k] | said[k] else None for k in range(K)]
    known = [iou for iou in ious if iou is not None]
    return sum(known) / len(known), right / counted, ious


def labels_of(found):
    answers = [said for _, _, said in found]
    return lambda image, size: answers[int(image[0, 0, 0])]


def test_equals_a_count_of_one_pixel_at_a_time():
    found = list(images(4))
    tally = count_pixels(labels_of(found), batches(found), K)
    miou, accuracy, ious = brute_force(found)
    scores = dict(tally.scores())
    assert list(scores) == ["miou", "pixel_accuracy"], "the main number comes first"
    assert math.isclose(scores["miou"], miou, rel_tol=1e-12)
    assert math.isclose(scores["pixel_accuracy"], accuracy, rel_tol=1e-12)
    assert tally.per_class() == pytest.approx(ious)
    assert ious[4] is None, "neither there nor said: no number"
    assert ious[3] == 0, "said but not there: none of it right"
    assert tally.images == 4
    assert tally.pixels == sum(int((mask != 255).sum()) for _, mask, _ in found)
    assert tally.not_finite == sum(int(((mask != 255) & (said < 0)).sum()) for _, mask, said in found)


def test_the_label_is_asked_for_at_the_size_of_the_mask():
    asked = []

    def label(image, size):
        asked.append((tuple(image.shape), size))
        return torch.zeros(size, dtype=torch.int16)

    mask = torch.zeros(1, 6, 9, dtype=torch.uint8)
    count_pixels(label, [{"image": torch.zeros(1, 3, 4, 8).byte(), "mask": mask, "unreadable": []}], 2)
    assert asked == [((3, 4, 8), (6, 9))]


def test_what_cannot_be_read_is_named_and_not_counted():
    nothing = {"image": torch.empty(0, 3, 1, 1).byte(), "mask": torch.empty(0, 1, 1).byte(), "unreadable": ["a.png"]}
    tally = count_pixels(lambda image, size: torch.zeros(size), [nothing], 2)
    assert (tally.images, tally.unreadable, tally.pixels) == (0, ("a.png",), 0)
    assert dict(tally.scores()) == {"miou": 0.0, "pixel_accuracy": 0.0}
    assert tally.per_class() == [None, None]


def test_a_image_that_is_to_be_ignored_as_a_whole_counts_nothing():
    counts = pixel_counts(torch.full((3, 4), 255).byte(), torch.zeros(3, 4).short(), 3)
    assert counts.shape == (3, 4)
    assert counts.sum() == 0
    assert PixelTally(counts).per_class() == [None] * 3


def _process(folder: str) -> None:
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found = list(images(5))
    tally = count_pixels(labels_of(found), batches(found[rank::world]), K)
    torch.save([tally.counts, torch.tensor(tally.images)], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_count_what_one_counts(tmp_path):
    processes.together(_process, str(tmp_path), folder=tmp_path)
    found = list(images(5))
    alone = count_pixels(labels_of(found), batches(found), K)
    for rank in range(2):
        counts, number = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(counts, alone.counts), "in every process"
        assert number == 5
