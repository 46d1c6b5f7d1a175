"""The batches of all processes together do not depend on their number, nor on the workers, also after a change."""

import numpy as np
import pytest

from resmlp.config import Augment, Data
from resmlp.data import TrainBatches
from resmlp.data.images.imageset import ImageSet
from resmlp.data.loading.resampling import ResampledOrder
from resmlp.imaging.image_file import Pixels

PLAIN, MIXED = Augment("resized", flip=0.5), Augment("resized", flip=0.5, mixup=0.5)
IMAGES = 96


def loader(batch_size: int, augment: Augment = PLAIN, rank=0, world=1, workers=0, **fields) -> TrainBatches:
    """Noise of 9x9 pixels: each crop of each image is different."""
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, 9, 9), dtype=np.uint8)
    images = ImageSet(("a", "b"), [i % 2 for i in range(IMAGES)], [Pixels(str(i), x) for i, x in enumerate(noise)])
    data = Data(img_size=(4,), batch_size=batch_size, workers=workers, **fields)
    return TrainBatches(images, data, augment, seed=3, rank=rank, world=world)


def joined(ranks: list[TrainBatches], epoch: int, start: int = 0) -> list[list[tuple]]:
    """Each global batch: the index, key, label and pixels of its images, in ascending order."""
    steps = zip(*(batches.epoch(epoch, start) for batches in ranks), strict=True)
    return [sorted(image for part in parts for image in images_of(part)) for parts in steps]


def images_of(batch: dict) -> list[tuple]:
    numbers = (batch[name].tolist() for name in ("index", "key", "label"))
    return list(zip(*numbers, [pixels.tobytes() for pixels in batch["image"].numpy()], strict=True))


@pytest.fixture(scope="module")
def alone() -> list[list[tuple]]:
    return joined([loader(24)], epoch=1)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("workers", [0, 1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_each_image_once_and_in_equal_batches(alone, world, workers):
    found = joined([loader(24, rank=rank, world=world, workers=workers) for rank in range(world)], epoch=1)
    assert sorted(index for batch in found for index, *_ in batch) == list(range(IMAGES))
    assert found == alone


@pytest.mark.parametrize("fields", [{}, {"resample": 0.5}], ids=str)
@pytest.mark.parametrize(("augment", "batch_size"), [(PLAIN, 24), (MIXED, 48)], ids=["plain", "mixup"])
def test_the_number_of_processes_changes_in_the_middle_of_an_epoch(augment, batch_size, fields):
    """From 4 to 3 to 8, one step on each."""
    whole = joined([loader(batch_size, augment, **fields)], epoch=2)
    for start, world in zip(range(len(whole)), (4, 3, 8)):
        ranks = [loader(batch_size, augment, rank=rank, world=world, **fields) for rank in range(world)]
        assert joined(ranks, 2, start) == whole[start:]


def test_resampled_positions_are_found_one_by_one():
    order = ResampledOrder([0] * 50 + [1] * 7 + [3] * 3, 1.0)
    whole = order(np.arange(60), 5).tolist()
    assert [order(np.array([i]), 5).item() for i in range(60)] == whole
    assert order(np.arange(60), 6).tolist() != whole
