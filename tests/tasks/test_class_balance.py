"""Weights of classes in the loss of classifiers, against losses that are written out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from resmlp.config import Augment, Data, ImageRecipe, Model, Run
from resmlp.config.tasks import Distill, Supervised
from resmlp.tasks import make_task
from resmlp.tasks.class_balance import image_weights
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError

CLASSES = 10
MIXED = Augment("center", flip=0, mixup=0.8, cutmix=1.0)


def recipe(task, augment: Augment = MIXED, **data) -> ImageRecipe:
    options = {"source": "digits", "img_size": (8,), "batch_size": 360, "workers": 0, "fraction": 0.5}
    model = Model("resmlp_digits", init="fan-in", depth=1, dim=16)
    return ImageRecipe(
        "toy", task=task, model=model, data=Data(**options | data), augment=augment, run=Run(1, device="cpu")
    )


def teacher(images: Tensor) -> Tensor:
    return 5 * images.flatten(2)[:, 0, 7:17]


def student(images: Tensor) -> Tensor:
    return images.flatten(2)[:, 1, 20:30]


def losses(task, weights: np.ndarray) -> tuple[dict[str, float], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The losses of a batch; its targets B K, the log-probabilities B K of the student, and the weights B of images."""
    task.class_weights = torch.from_numpy(weights).float()
    batch = next(task.batches(0, 0))
    np.random.seed(5)  # noqa: NPY002 (timm's mixup uses the global generator)
    images, targets = task.augmented(batch)
    np.random.seed(5)  # noqa: NPY002
    found = {name: value.item() for name, value in task.loss(student, batch, 0).items()}
    log_p = student(images).double().log_softmax(1).numpy()
    said = task.teacher_logits(batch, images).indices[:, 0].numpy() if hasattr(task, "teacher") else np.zeros(0)
    return found, targets.double().numpy(), log_p, targets.double().numpy() @ weights, said


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_weights_are_a_power_of_the_frequency_with_mean_one(balance):
    counts = np.array([80, 15, 5])
    raw = (counts / 100) ** -balance
    expected = raw / (raw * counts / 100).sum()
    weights = image_weights(counts, balance, None)
    assert weights.tolist() == pytest.approx(expected.tolist())
    assert (weights.numpy() * counts).sum() / 100 == pytest.approx(1)
    assert image_weights(counts, 0.0, None) is None


def test_the_mean_is_over_the_images_that_are_drawn():
    counts = np.array([64, 16])
    weights = image_weights(counts, 0.5, 0.5).numpy()  # drawn 8 : 4, weighted 1 : 2
    assert weights.tolist() == pytest.approx([0.75, 1.5])


def test_a_class_without_images_has_the_weight_of_the_rarest():
    assert image_weights(np.array([6, 2, 0]), 1.0, None).tolist() == pytest.approx([2 / 3, 2, 2])


def test_both_at_full_power_are_refused():
    with pytest.raises(UserError, match=r"--task.balance 1 and --data.resample 0.5 together exceed 1"):
        make_task(recipe(Supervised(balance=1.0), resample=0.5), Process())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("augment", [MIXED, Augment("center", flip=0)], ids=["mixed", "plain"])
def test_loss_is_the_mixture_of_the_weighted_losses(smoothing, augment):
    task = make_task(recipe(Supervised(smoothing, balance=0.5), augment), Process())
    weights = np.random.default_rng(1).uniform(0.2, 3, CLASSES)
    found, targets, log_p, _, _ = losses(task, weights)
    assert ((targets > 0).sum(1).max() > 1) == bool(augment.mixup)
    expected = 0.0
    for target, row in zip(targets, log_p):
        for label, share in enumerate(target):
            expected += share * weights[label] * ((1 - smoothing) * -row[label] + smoothing * -row.mean())
    assert found["loss"] == pytest.approx(expected / len(targets), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_distillation_weights_both_parts(alpha):
    task = make_task(recipe(Distill(alpha=alpha, label_smoothing=0, balance=1.0)), Process(), teacher=teacher)
    weights = np.random.default_rng(2).uniform(0.2, 3, CLASSES)
    found, targets, log_p, image, said = losses(task, weights)
    ce = -(targets * weights * log_p).sum(1).mean()
    distill = -(image * log_p[np.arange(len(said)), said]).mean()
    assert found["ce"] == pytest.approx(ce, rel=1e-5)
    assert found["distill"] == pytest.approx(distill, rel=1e-5)
    assert found["loss"] == pytest.approx((1 - alpha) * ce + alpha * distill, rel=1e-5)


def test_equal_weights_are_the_loss_without_weights():
    plain, balanced = (make_task(recipe(Supervised(0.1, balance=power)), Process()) for power in (0.0, 1.0))
    batch = next(plain.batches(0, 0))
    balanced.class_weights = torch.ones(CLASSES)
    values = []
    for task in (plain, balanced):
        np.random.seed(0)  # noqa: NPY002
        values.append(task.loss(student, batch, 0)["loss"].item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_table_shows_weights_and_probabilities():
    lines = dict(make_task(recipe(Supervised(balance=0.5), resample=0.5), Process()).describe())
    assert lines["balance"].startswith("0 ")
    assert lines["resample"].count(", ") == 9


@pytest.mark.parametrize("task", [Supervised, Distill])
@pytest.mark.parametrize("power", [-0.1, 1.1, float("nan")])
def test_powers_out_of_range(task, power):
    with pytest.raises(UserError, match="--task.balance"):
        task(balance=power)
