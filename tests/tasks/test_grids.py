"""The size of a step as a function of (seed, step), and what the images become."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from resmlp.config import Augment, Data, ImageRecipe, Model, Run
from resmlp.config.tasks import Dino, Distill, Supervised
from resmlp.data import normalize
from resmlp.models.any_size import AnySizeTrunk
from resmlp.tasks import make_task
from resmlp.tasks.grids import Grids, resized
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError


def data(*grids: str, order: str = "random") -> Data:
    return Data("digits", img_size=(8,), batch_size=8, workers=0, crop_ratio=1.0, grids=grids, grid_order=order)


def test_a_step_has_the_same_size_whatever_came_before():
    grids = Grids(data("2", "4", "3x5"), 2, 7, 100)
    forward = [grids.size(step) for step in range(300)]
    assert [grids.size(step) for step in reversed(range(300))] == forward[::-1]
    counts = Counter(forward)
    assert set(counts) == {(4, 4), (8, 8), (6, 10)}
    assert min(counts.values()) > 70  # 100 on average
    assert [Grids(data("2", "4", "3x5"), 2, 8, 100).size(step) for step in range(300)] != forward
    assert grids.largest == (8, 10)


def test_rising_gives_each_grid_an_equal_part():
    grids = Grids(data("2", "3", "4", order="rising"), 2, 0, 10)
    assert [grids.size(step)[0] // 2 for step in range(10)] == [2, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_one_size_without_grids():
    grids = Grids(data(), 2, 0, 10)
    assert {grids.size(step) for step in range(10)} == {(8, 8)}
    images = torch.randn(2, 3, 8, 8)
    assert grids.resized(images, 3) is images


def test_a_rectangle_is_cut_from_the_middle_and_not_squeezed():
    images = torch.randn(1, 3, 8, 12)
    assert torch.equal(resized(images, (8, 8)), images[..., 2:10])
    half = F.interpolate(images[..., 2:10], (4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(resized(images, (4, 4)), half)


def task(consistency: float = 0.0, **options):
    recipe = ImageRecipe(
        "toy",
        task=Supervised(0.1, consistency),
        model=Model("resmlp_digits", init="fan-in"),
        data=data("2", "4", "6"),
        augment=Augment("center", flip=0),
        run=Run(epochs=1, device="cpu"),
    )
    return make_task(recipe, Process())


def test_the_loss_is_that_of_the_resized_images():
    found = task()
    assert isinstance(found.model, AnySizeTrunk)
    batch = next(iter(found.batches(0, 0)))
    assert batch["image"].shape[-2:] == (12, 12)
    images = normalize(batch["image"], found.preprocessing.mean, found.preprocessing.std)
    for step in range(4):
        small = resized(images, found.grids.size(step))
        wanted = F.cross_entropy(found.model(small), batch["label"], label_smoothing=0.1)
        torch.testing.assert_close(found.loss(found.model, batch, step)["loss"], wanted)


def test_consistency_adds_the_divergence_from_the_largest_grid():
    plain, consistent = task(), task(consistency=0.5)
    consistent.model.load_state_dict(plain.model.state_dict())
    batch = next(iter(plain.batches(0, 0)))
    images = normalize(batch["image"], plain.preprocessing.mean, plain.preprocessing.std)
    largest = plain.model(images).softmax(1)
    for step in range(6):
        own = plain.model(resized(images, plain.grids.size(step))).log_softmax(1)
        divergence = (largest * (largest.log() - own)).sum(1).mean()
        added = consistent.loss(consistent.model, batch, step)["loss"] - plain.loss(plain.model, batch, step)["loss"]
        torch.testing.assert_close(added, 0.5 * divergence, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("grid", ["0", "2x", "x", "-3", "2x3x4", "a", "9999"])
def test_a_grid_that_is_none(grid):
    with pytest.raises(UserError, match=f"--data.grids {grid}"):
        data(grid)


def test_only_classifiers_have_grids():
    assert ImageRecipe("toy", task=Distill(), model=Model("resmlp_digits"), data=data("2"))
    with pytest.raises(UserError, match="--data.grids is for classification"):
        ImageRecipe("toy", task=Dino(), model=Model("resmlp_digits"), data=data("2"))
