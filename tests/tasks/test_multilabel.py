"""Several labels for each image, and weights of images: the losses by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from timm.loss import AsymmetricLossMultiLabel

from resmlp.config import Augment, Data, ImageRecipe, Model, Run
from resmlp.config import tasks as settings
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.label_sets import multi_hot, relative_weights, require_one_label
from resmlp.tasks import make_task
from resmlp.tasks.multilabel import MultiLabel, asymmetric_loss
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError
from resmlp.utils.seeding import seed_all

MIX = Augment("center", flip=0, mixup=0.8, cutmix=1.0)
PLAIN = Augment("center", flip=0)


@pytest.fixture
def make(tmp_path) -> Callable:
    """A task on 24 images of noise; `label(i)` and `weight(i)` say what the table says of image i."""

    def make(task: settings.Task, augment: Augment, label: Callable, weight: Callable | None = None):
        rng = np.random.default_rng(0)
        rows = []
        for i in range(24):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{i:02}.png")
            rows.append([f"{i:02}", label(i), "train" if i < 16 else "val", *([str(weight(i))] if weight else [])])
        head = ["file", "label", "split", "weight"][: 3 + bool(weight)]
        (tmp_path / "t.csv").write_text("\n".join(map(",".join, [head, *rows])))
        data = Data(
            root=str(tmp_path), labels=str(tmp_path / "t.csv"), img_size=(8,), batch_size=8, workers=0, crop_ratio=1.0
        )
        model = Model("resmlp_digits", init="fan-in")
        return make_task(ImageRecipe("toy", task, model, data, augment=augment, run=Run(epochs=1)), Process())

    return make


def several(i: int) -> str:
    return "|".join(name for name, every in (("a", 2), ("b", 3), ("c", 5)) if i % every == 0)


def shares(batch: dict) -> np.ndarray:
    """How images 0..B-1 of a batch are mixed: B B, by the mixing of one-hot targets, which timm's own tests check."""
    from resmlp.data import BatchAugment

    size = len(batch["image"])
    mix = BatchAugment(MIX, Data(img_size=(8,)), size)
    return mix(batch["image"], torch.arange(size), batch["key"])[1].double().numpy()


@pytest.mark.parametrize("augment", [PLAIN, MIX], ids=["plain", "mixed"])
@pytest.mark.parametrize("weight", [None, lambda i: i / 2], ids=["equal", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_binary_cross_entropy_is_that_of_the_mixed_images(make, augment, weight, smoothing):
    task = make(settings.MultiLabel(label_smoothing=smoothing), augment, several, weight)
    (batch, *_) = task.batches(0, 0)
    seen = []
    seed_all(3)
    model = task.model.eval()
    task.model.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().double().numpy()))
    loss = task.loss(model, batch, 0)["loss"].item()
    seed_all(3)
    mixed = shares(batch) if augment is MIX else np.eye(8)
    index = batch["index"].tolist()
    weights = np.array([weight(i) if weight else 1 for i in range(16)], float)
    weights /= weights.mean()
    (z,) = seen
    expected = 0.0
    for i in range(8):
        for j, image in enumerate(index):
            y = np.array([image % every == 0 for every in (2, 3, 5)]) * (1 - smoothing) + smoothing / 2
            entropy = -(y * -np.log1p(np.exp(-z[i])) + (1 - y) * -np.log1p(np.exp(z[i])))
            expected += mixed[i, j] * weights[image] * entropy.mean() / 8
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("augment", [PLAIN, MIX], ids=["plain", "mixed"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_weight_multiplies_the_loss_of_its_image(make, augment, smoothing):
    task = make(settings.Supervised(smoothing), augment, lambda i: "abc"[i % 3], lambda i: 1 + i % 4)
    (batch, *_) = task.batches(0, 0)
    seen = []
    seed_all(3)
    model = task.model.eval()
    task.model.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().double().numpy()))
    loss = task.loss(model, batch, 0)["loss"].item()
    seed_all(3)
    mixed = shares(batch) if augment is MIX else np.eye(8)
    log_p = seen[0] - np.log(np.exp(seen[0]).sum(1, keepdims=True))
    weights = np.array([1 + i % 4 for i in batch["index"].tolist()]) / 2.5  # the mean of 1, 2, 3, 4
    target = np.eye(3)[batch["label"]] * (1 - smoothing) + smoothing / 3
    entropy = -(log_p @ target.T)  # of image i with the label of image j
    assert loss == pytest.approx((mixed * weights * entropy).sum() / 8, rel=1e-5)


def test_weights_of_equal_size_change_nothing(make):
    losses = []
    for weight in (None, lambda i: 7):
        torch.manual_seed(0)
        task = make(settings.Supervised(0.1), PLAIN, lambda i: "ab"[i % 2], weight)
        losses.append(task.loss(task.model.eval(), next(task.batches(0, 0)), 0)["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_weight_multiplies_the_part_of_a_teacher(make, kind, monkeypatch):
    def teacher(images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) * 9

    tables = {}
    for name, weight in (("equal", None), ("weighted", lambda i: 0 if i % 2 else 2)):
        torch.manual_seed(0)
        monkeypatch.setattr("resmlp.tasks.distill.open_teacher", lambda *_: teacher)
        task = make(settings.Distill(targets=kind, alpha=1.0), PLAIN, lambda i: "abc"[i % 3], weight)
        batch = next(task.batches(0, 0))
        tables[name] = (task.loss(task.model.eval(), batch, 0)["distill"].item(), task, batch)
    _, task, batch = tables["equal"]
    even = [i for i, index in enumerate(batch["index"].tolist()) if index % 2 == 0]
    part = {key: value[even] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    mean = task.loss(task.model.eval(), part, 0)["distill"].item()
    assert tables["weighted"][0] == pytest.approx(2 * mean * len(even) / 8, rel=1e-5)


@pytest.mark.parametrize(("gamma_neg", "gamma_pos", "clip"), [(4, 1, 0.05), (2, 0, 0.2), (0, 0, 0)])
def test_the_asymmetric_loss_is_that_of_timm(gamma_neg, gamma_pos, clip):
    logits = torch.randn(6, 4) * 3
    targets = (torch.rand(6, 4) < 0.4).float()
    expected = AsymmetricLossMultiLabel(gamma_neg, gamma_pos, clip)(logits, targets)
    own = asymmetric_loss(logits, targets, gamma_neg, gamma_pos, clip)
    torch.testing.assert_close(own.sum(1).mean(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_the_asymmetric_loss_of_extreme_logits_is_finite(clip, gamma):
    logits = torch.tensor([[-200.0, -30.0, 30.0, 200.0]], requires_grad=True)
    for targets in (torch.zeros(1, 4), torch.ones(1, 4)):
        loss = asymmetric_loss(logits, targets, gamma, gamma, clip).sum()
        assert loss.isfinite()
        assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_without_exponents_and_clip_it_is_the_binary_cross_entropy():
    logits, targets = torch.randn(5, 3), torch.rand(5, 3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(asymmetric_loss(logits, targets, 0, 0, 0), expected, rtol=1e-5, atol=1e-6)


def test_evaluation_and_the_saved_threshold(make, tmp_path):
    from resmlp.utils.files import read_json

    task = make(settings.MultiLabel(), PLAIN, several)
    assert isinstance(task, MultiLabel)
    scores = dict(task.evaluate(task.model.eval()))
    assert set(scores) == {"map", "f1", "threshold"}
    task.save(tmp_path, task.model, scores)
    assert read_json(tmp_path / "model.json")["threshold"] == scores["threshold"]


def test_one_label_is_needed_by_classification(make):
    with pytest.raises(UserError, match=r"00.png has 3 labels, a and b and c; one is needed \(resmlp train multilabel"):
        make(settings.Supervised(), PLAIN, several)


def images(**fields) -> ImageSet:
    return ImageSet(("a", "b"), [0, 1, 0], [], ("x", "y", "z"), **fields)


def test_multi_hot_rows():
    sets = ImageSet(("a", "b"), [0, 0, 1], [None] * 3, ("x", "y", "z"), label_sets=((0, 1), (), (1,)))
    assert multi_hot(sets).tolist() == [[True, True], [False, False], [False, True]]
    single = ImageSet(("a", "b"), [1, 0], [None] * 2)
    assert multi_hot(single).tolist() == [[False, True], [True, False]]
    with pytest.raises(UserError, match="y has 0 labels; one is needed"):
        require_one_label(ImageSet(("a", "b"), [0, 0], [None] * 2, ("x", "y"), label_sets=((0,), ())))


def test_weights_have_mean_1():
    assert relative_weights(images()) is None
    assert relative_weights(images(weights=(1.0, 2.0, 3.0))).tolist() == [0.5, 1.0, 1.5]
    assert relative_weights(images(weights=(1e308, 1e308, 1e308))).tolist() == [1, 1, 1]
    with pytest.raises(UserError, match="the weights of all training images are 0"):
        relative_weights(images(weights=(0.0, 0.0, 0.0)))
