"""Classification as a task: its loss by hand, unreadable images, and checkpoints."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from resmlp import create_model
from resmlp.config import Augment, Data, ImageRecipe, Model, Run
from resmlp.config.tasks import Supervised
from resmlp.models import save_model
from resmlp.tasks import TASKS, make_task
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError

COLORS = {"blue": (30, 40, 200), "green": (20, 180, 60), "red": (210, 30, 30)}


@pytest.fixture
def tree(tmp_path) -> Path:
    """train/ of 8 and val/ of 4 images for each of three colors."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for name, color in COLORS.items():
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = (np.array(color) + rng.integers(-20, 20, (16, 16, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def make(tree) -> Callable:
    def make(augment: Augment | None = None, smoothing: float = 0.1, model: Model | None = None, **data):
        options = {"root": str(tree), "img_size": (8,), "batch_size": 8, "workers": 0, "crop_ratio": 1.0} | data
        recipe = ImageRecipe(
            "toy",
            task=Supervised(smoothing),
            model=model or Model("resmlp_digits", init="fan-in"),
            data=Data(**options),
            augment=augment or Augment("center", flip=0),
            run=Run(epochs=1, device="cpu"),
        )
        return make_task(recipe, Process())

    return make


def test_dead_processes_of_the_loader_are_counted_over_all_starts(make):
    task = make()
    assert task.notes()["worker_deaths"] == 0
    task.recall({"worker_deaths": 2})
    assert task.notes()["worker_deaths"] == 2


def normalized(images: Tensor, data: Data = Data()) -> Tensor:  # noqa: B008 (frozen)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (data.mean, data.std))
    return (images.double() / 255 - mean) / std


@pytest.mark.isa
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_loss_is_smoothed_cross_entropy_of_the_normalized_images(make, smoothing):
    task = make(smoothing=smoothing)
    batch = next(task.batches(0, 0))
    model = task.model.double()
    found = task.loss(lambda x: model(x.double()), batch, 0)["loss"]
    log_p = model(normalized(batch["image"])).log_softmax(1)
    targets = torch.full((8, 3), smoothing / 3, dtype=torch.float64)
    targets[torch.arange(8), batch["label"]] += 1 - smoothing
    torch.testing.assert_close(found.double(), -(targets * log_p).sum(1).mean(), rtol=1e-5, atol=1e-6)


def test_mixed_images_have_mixed_targets(make):
    """The loss of a mixed batch is linear in the targets: with one logit much larger, it gives the mixing weights."""
    task = make(Augment("center", flip=0, mixup=1.0), smoothing=0.0)
    batch = next(task.batches(0, 0))
    seen = []

    def model(images):
        seen.append(images)
        return torch.zeros(len(images), 3)

    loss = task.loss(model, batch, 0)["loss"]
    assert loss.item() == pytest.approx(np.log(3))
    assert not torch.allclose(seen[0].double(), normalized(batch["image"]), atol=1e-3)


def test_evaluation_is_the_fraction_of_correct_predictions(make):
    task = make()
    images, labels = zip(*((batch["image"], batch["label"]) for batch in task.val))
    right = task.model.eval()(normalized(torch.cat(images)).float()).argmax(1) == torch.cat(labels)
    with torch.no_grad():
        scores = dict(task.evaluate(task.model))
    assert scores == {"top1": right.double().mean().item(), "top5": 1.0}


def test_steps_cover_the_images_that_fill_whole_batches(make):
    task = make(batch_size=10)
    assert (task.steps_per_epoch, task.samples_per_step) == (2, 10)
    assert len(list(task.batches(0, 0))) == 2
    assert len(list(task.batches(0, 1))) == 1


def test_unreadable_images_are_counted_by_name(make, tree):
    (tree / "train" / "red" / "3.png").write_bytes(b"no image")
    task = make(batch_size=24)
    for epoch in range(3):
        list(task.batches(epoch, 0))
    assert task.notes()["unreadable"] == {str(tree / "train" / "red" / "3.png"): 3}


def test_unreadable_validation_images_are_counted_by_name(make, tree):
    (tree / "val" / "red" / "3.png").write_bytes(b"no image")
    task = make()
    with torch.no_grad():
        list(task.evaluate(task.model.eval()))
    assert str(tree / "val" / "red" / "3.png") in str(task.notes())


def test_strict_stops_at_the_first_unreadable_image(make, tree):
    (tree / "train" / "red" / "3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"red/3\.png"):
        list(make(batch_size=24, strict=True).batches(0, 0))


def test_a_checkpoint_of_other_classes_keeps_the_new_head(make, tmp_path):
    old = create_model("resmlp_digits", img_size=8, num_classes=7)
    save_model(tmp_path / "old", old, tuple("abcdefg"), Data(img_size=(8,)).preprocessing())
    model = make(model=Model("resmlp_digits", checkpoint=str(tmp_path / "old"))).model
    assert model.head.weight.shape == (3, 64)
    for key, tensor in model.state_dict().items():
        assert key.startswith("head.") or torch.equal(tensor, old.state_dict()[key])


def test_a_checkpoint_of_the_same_classes_keeps_its_head(make, tmp_path):
    old = create_model("resmlp_digits", img_size=8, num_classes=3)
    save_model(tmp_path / "old", old, ("blue", "green", "red"), Data(img_size=(8,)).preprocessing())
    model = make(model=Model("resmlp_digits", checkpoint=str(tmp_path / "old"))).model
    assert all(torch.equal(tensor, old.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_every_configured_task_has_a_class():
    from resmlp.config import tasks as settings

    assert set(TASKS) == {kind for kind in settings.Task.__subclasses__() if kind.__module__ == settings.__name__}
