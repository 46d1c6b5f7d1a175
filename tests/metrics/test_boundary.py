"""The boundary F1 against every pair of pixels, and cases that are known by hand."""

import numpy as np
import pytest
import torch

from resmlp.metrics.boundary import TOLERANCE, BoundaryTally, boundary_f1


def outline(mask: np.ndarray, ignored: np.ndarray) -> list[tuple[int, int]]:
    """Pixels of the mask beside a pixel that is neither in it nor ignored."""
    height, width = mask.shape
    found = []
    for y, x in zip(*np.nonzero(mask)):
        beside = [(y + dy, x + dx) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        beside = [(a, b) for a, b in beside if 0 <= a < height and 0 <= b < width]
        if any(not mask[place] and not ignored[place] for place in beside):
            found.append((y, x))
    return found


def by_pairs(target: np.ndarray, predicted: np.ndarray) -> dict[int, float]:
    ignored = target == 255
    predicted = np.where(ignored, 255, predicted)
    reach = TOLERANCE * np.sqrt(target.shape[0] ** 2 + target.shape[1] ** 2)
    scores = {}
    for label in sorted({*target.ravel().tolist(), *predicted.ravel().tolist()} - {255, -1}):
        true, found = (np.array(outline(image == label, ignored)).reshape(-1, 2) for image in (target, predicted))
        if len(true) == len(found) == 0:
            continue
        if len(true) == 0 or len(found) == 0:
            scores[label] = 0.0
            continue
        distance = np.sqrt(((true[:, None] - found[None]) ** 2).sum(-1))
        precision, recall = (distance.min(0) <= reach).mean(), (distance.min(1) <= reach).mean()
        scores[label] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


@pytest.mark.parametrize("seed", range(6))
def test_every_pair_of_pixels(seed):
    rng = np.random.default_rng(seed)
    size = (24, 30) if seed % 2 else (140, 150)  # a reach of 0.3 and of 1.5 pixels
    coarse = rng.integers(0, 4, (5, 6))
    target = np.kron(coarse, np.ones((size[0] // 4, size[1] // 5), int))[: size[0], : size[1]].astype(np.uint8)
    predicted = np.roll(target, (rng.integers(3), rng.integers(3)), (0, 1)).astype(np.int16)
    predicted[rng.random(size) < 0.002] = 3
    predicted[0, 0] = -1
    target[rng.random(size) < 0.01] = 255
    assert boundary_f1(target, predicted) == pytest.approx(by_pairs(target, predicted))


def test_known_cases():
    square = np.zeros((40, 40), np.uint8)
    square[10:20, 10:20] = 1
    assert boundary_f1(square, square.astype(np.int16)) == {0: 1.0, 1: 1.0}
    assert boundary_f1(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.int16)) == {}
    assert boundary_f1(np.zeros((8, 8), np.uint8), np.eye(8, dtype=np.int16))[1] == 0.0
    beside = square.copy()
    beside[:10] = 255  # the upper side of the square has no boundary then
    assert boundary_f1(beside, square.astype(np.int16)) == {0: 1.0, 1: 1.0}


def test_mean_over_images_and_classes():
    square = torch.zeros(40, 40, dtype=torch.uint8)
    square[10:20, 10:20] = 1
    tally = BoundaryTally.of(3)
    tally.add(square, square.short())
    tally.add(square, torch.zeros(40, 40, dtype=torch.int16))
    total = tally.gathered()
    assert total.per_class() == [0.5, 0.5, None]
    assert total.mean() == 0.5
