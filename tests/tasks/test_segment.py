"""The loss against a loop, the label of an image against the network itself, and what a run keeps."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import processes
import pytest
import steps
import torch
import torch.nn.functional as F
from PIL import Image

from resmlp.config import Augment, ImageRecipe, Model, Optim
from resmlp.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resmlp.config.tasks import Segment as Settings
from resmlp.data import normalize
from resmlp.inference.segmenter import TorchSegmentationPredictor
from resmlp.models import Segmenter as Network
from resmlp.models import backbones, create_model, save_model
from resmlp.models.segmenter_files import open_segmenter
from resmlp.recipes import RECIPES
from resmlp.tasks import Segment, complete, make_task
from resmlp.tasks.class_balance import class_weights
from resmlp.tasks.pixel_losses import PIXEL_LOSSES, cross_entropy, dice, focal
from resmlp.tasks.segment import check_no_trunk
from resmlp.utils.devices import Process, this_process
from resmlp.utils.errors import UserError
from resmlp.utils.serialization import from_dict, to_dict

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))  # for `painted`

from painted import CLASSES, PARTS, plant


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    base = RECIPES["scenes"]
    root = plant(tmp_path_factory.mktemp("task") / "painted")
    return replace(
        base,
        task=Settings(width=8),
        model=Model("resmlp_digits", patch_size=4, dim=8, depth=2),
        data=replace(base.data, source="masks", root=str(root), img_size=(16, 24), batch_size=2),
    )


@pytest.fixture
def task(recipe) -> Segment:
    return make_task(recipe, Process())


@pytest.mark.isa
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 1.0, 7.0)])
def test_the_loss_counts_each_labeled_pixel_by_the_weight_of_its_class(weights):
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5)).byte()
    labels[torch.rand(labels.shape) < 0.4] = 255
    total = weight = 0.0
    for b, y, x in np.ndindex(2, 4, 5):
        if (label := int(labels[b, y, x])) != 255:
            total -= weights[label] * logits[b, :, y, x].double().log_softmax(0)[label].item()
            weight += weights[label]
    assert cross_entropy(logits, labels, torch.tensor(weights)).item() == pytest.approx(total / weight, rel=1e-4)


def test_the_focal_loss_is_that_of_lin():
    logits, labels, weights = unequal()
    total = weight = 0.0
    for b, y, x in np.ndindex(6, 4, 5):
        if (label := int(labels[b, y, x])) != 255:
            p = logits[b, :, y, x].double().softmax(0)[label].item()
            total -= weights[label].item() * (1 - p) ** 2 * np.log(p)
            weight += weights[label].item()
    assert focal(logits, labels, weights).item() == pytest.approx(total / weight, rel=1e-5)


def test_the_dice_loss_is_that_of_milletari():
    """A class without a label counts for nothing, and ignored pixels neither."""
    logits, labels, weights = unequal()
    labels[labels == 1] = 0
    coefficients = []
    for k in (0, 2):
        both = squares = 0.0
        for b, y, x in np.ndindex(6, 4, 5):
            if (label := int(labels[b, y, x])) != 255:
                p, g = logits[b, :, y, x].double().softmax(0)[k].item(), float(label == k)
                both, squares = both + p * g, squares + p * p + g * g
        coefficients.append(2 * both / squares)
    assert dice(logits, labels, weights).item() == pytest.approx(1 - np.mean(coefficients), rel=1e-5)
    perfect = 50 * F.one_hot(labels.long().clamp(max=2), 3).movedim(-1, 1).float()
    assert dice(perfect, labels, weights).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_a_batch_that_counts_for_nothing_moves_nothing(name):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = PIXEL_LOSSES[name](logits, torch.full((1, 4, 4), 255).byte(), torch.ones(3))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_classes_are_balanced_by_their_share_of_the_labels(recipe):
    assert class_weights(np.array([0.64, 0.32, 0.04]), 0.5).tolist() == pytest.approx([1, 2**0.5, 4])
    assert class_weights(np.array([0.8, 0.2, 0]), 1).tolist() == pytest.approx([1, 4, 4])
    assert make_task(recipe, Process()).class_weights.tolist() == [1] * len(CLASSES)
    balanced = make_task(replace(recipe, task=replace(recipe.task, balance=1.0)), Process())
    files = sorted(Path(recipe.data.root, "labels", "train").glob("*.png"))
    labels = np.concatenate([np.asarray(Image.open(file)).ravel() for file in files])
    counts = np.bincount(labels[labels != 255], minlength=len(CLASSES))
    assert balanced.class_weights.tolist() == pytest.approx((counts.max() / counts).tolist())
    assert "balance" in dict(balanced.describe())


def test_the_auxiliary_decoder_has_its_weight(task, recipe):
    batch = next(iter(task.batches(0, 0)))
    losses = task.loss(task.model.train(), batch, 0)
    assert losses["loss"].item() == pytest.approx((losses["main"] + 0.4 * losses["auxiliary"]).item())
    alone = make_task(replace(recipe, task=Settings(width=8, auxiliary=0)), Process())
    assert list(alone.loss(alone.model.train(), batch, 0)) == ["loss"]
    assert alone.model.auxiliary is None


@pytest.mark.isa
@pytest.mark.parametrize("size", [(16, 24), (9, 11)])
def test_an_image_of_one_window_is_labeled_by_one_pass(task, size):
    model, pixels = task.model.eval(), torch.randint(0, 256, (3, *size)).byte()
    ours = TorchSegmentationPredictor(model, task.config, torch.device("cpu")).read(
        Image.fromarray(pixels.permute(1, 2, 0).numpy())
    )
    p = task.config.preprocessing
    window = torch.tensor([round(255 * mean) for mean in p.mean]).byte()[:, None, None].repeat(1, 16, 24)
    window[:, : size[0], : size[1]] = pixels
    with torch.no_grad():
        logits = model(normalize(window[None], p.mean, p.std))[0, :, : size[0], : size[1]]
    assert np.array_equal(ours, logits.argmax(0).numpy())


@pytest.mark.isa
@pytest.mark.parametrize(
    ("base_size", "eval_size", "fitted"),
    [(None, None, (30, 41)), ((20, 16), None, (15, 20)), ((20, 16), (60, 80), (60, 80))],
)
def test_the_network_is_resized_to_the_whole_image(recipe, base_size, eval_size, fitted):
    options = replace(recipe.task, whole=True, base_size=base_size, eval_size=eval_size)
    task = make_task(replace(recipe, task=options), Process())
    assert task.config.base_size == (eval_size or base_size)
    size = (30, 40) if base_size else (30, 41)
    image = Image.fromarray(torch.randint(0, 256, (*size, 3)).byte().numpy())
    ours = TorchSegmentationPredictor(task.model.eval(), task.config, torch.device("cpu")).read(image)
    p, tiled = task.config.preprocessing, tuple(-(-side // 4) * 4 for side in fitted)
    canvas = torch.tensor([round(255 * mean) for mean in p.mean]).byte()[:, None, None].repeat(1, *tiled)
    seen = np.array(image.resize(fitted[::-1], Image.Resampling.BILINEAR))
    canvas[:, : fitted[0], : fitted[1]] = torch.from_numpy(seen).permute(2, 0, 1)
    with torch.no_grad():
        logits = task.model.at(tiled)(normalize(canvas[None], p.mean, p.std))[..., : fitted[0], : fitted[1]]
        logits = F.interpolate(logits, size, mode="bilinear")[0]
    chosen = logits.gather(0, torch.from_numpy(ours).long()[None])[0]
    assert torch.allclose(chosen, logits.max(0).values, atol=1e-4)


def test_of_the_windows_own_size_the_whole_image_is_one_window(task):
    image = Image.fromarray(torch.randint(0, 256, (16, 24, 3)).byte().numpy())
    model = task.model.eval()
    one, whole = (
        TorchSegmentationPredictor(model, replace(task.config, whole=whole), torch.device("cpu")).read(image)
        for whole in (False, True)
    )
    assert np.array_equal(one, whole)


def test_images_of_one_size_resize_the_network_once(task, monkeypatch):
    labeller = TorchSegmentationPredictor(task.model.eval(), replace(task.config, whole=True), torch.device("cpu"))
    moved, at = [], Network.at
    monkeypatch.setattr(Network, "at", lambda model, size: moved.append(size) or at(model, size))
    for size in [(32, 20), (31, 19), (32, 20), (16, 24), (29, 18), (8, 8), (1, 1)]:
        assert labeller.read(Image.new("RGB", size[::-1])).shape == size
    assert moved == [(32, 20), (8, 8), (4, 4)]


def test_a_network_that_cannot_be_resized_is_an_error_before_training(recipe, monkeypatch):
    def fixed(model, size):
        raise UserError("fixed to its window", "test it by windows")

    monkeypatch.setattr(Network, "at", fixed)
    make_task(recipe, Process())
    with pytest.raises(UserError, match="fixed to its window"):
        make_task(replace(recipe, task=replace(recipe.task, whole=True)), Process())


def test_ranks_see_every_image_once(recipe):
    recipe = replace(recipe, data=replace(recipe.data, batch_size=4))
    tasks = [make_task(recipe, Process(rank=rank, world=2)) for rank in range(2)]
    seen = [int(i) for task in tasks for batch in task.val for i in batch["index"]]
    assert sorted(seen) == list(range(PARTS["val"]))


@pytest.mark.parametrize("whole", [False, True])
def test_a_saved_segmenter_predicts_as_the_trained_one(recipe, tmp_path, whole):
    task = make_task(replace(recipe, task=replace(recipe.task, whole=whole, eval_size=(28, 21))), Process())
    task.save(tmp_path, task.model, {})
    saved = open_segmenter(tmp_path)
    assert saved.config == task.config
    assert (saved.config.whole, saved.config.base_size) == (whole, (28, 21))
    assert saved.config.classes == CLASSES
    image = Image.fromarray(torch.randint(0, 256, (30, 40, 3)).byte().numpy())
    again = TorchSegmentationPredictor(saved.model, saved.config, torch.device("cpu")).read(image)
    assert np.array_equal(
        again, TorchSegmentationPredictor(task.model.eval(), task.config, torch.device("cpu")).read(image)
    )
    assert json.loads((tmp_path / "model.json").read_text())["kind"] == "segmenter"


def test_the_main_number_comes_first(task):
    with torch.no_grad():
        scores = list(task.evaluate(task.model.eval()))
    assert [name for name, _ in scores] == ["miou", "pixel_accuracy"]
    assert task.metric == scores[0][0]


@pytest.mark.parametrize("changes", [{"mixer": "attention", "norm": "layernorm", "heads": 2}, {"mixer": "dwconv"}])
def test_other_trunks_train(recipe, changes):
    task = make_task(replace(recipe, model=replace(recipe.model, **changes)), Process())
    task.loss(task.model.train(), next(iter(task.batches(0, 0))), 0)["loss"].backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())


def test_a_deit_with_its_class_token_trains(recipe):
    model = Model("deit_s", patch_size=8, dim=12, depth=2, heads=2)
    task = make_task(replace(recipe, model=model), Process())
    loss = task.loss(task.model.train(), next(iter(task.batches(0, 0))), 0)["loss"]
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": Augment(mixup=0.2)}, "--augment"),
        ({"optim": Optim(freeze_epochs=1)}, "--optim.freeze-epochs 1"),
        ({"task": Settings(backbone="resnet18")}, "--model.*--task.backbone replaces the trunk"),
    ],
)
def test_settings_without_effect_are_errors(recipe, changes, message):
    with pytest.raises(UserError, match=message):
        make_task(replace(recipe, **changes), Process())


HALF, THIRD = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)


def starts(recipe, folder, monkeypatch):
    """The recipe from a resmlp checkpoint, and with a pretrained backbone; both were trained with `HALF`."""
    save_model(folder, create_model("resmlp_digits", img_size=8), (), Preprocessing((8, 8), mean=HALF, std=HALF))
    make = backbones.timm_network  # the weights themselves lie on the hub
    monkeypatch.setattr(backbones, "timm_network", lambda name, pretrained=False, **options: make(name, **options))
    yield replace(recipe, model=Model("checkpoint", str(folder)))
    settings = replace(recipe.task, backbone="vit_tiny_patch16_224.augreg_in21k")
    data = replace(recipe.data, img_size=(32, 48))
    yield replace(recipe, model=RECIPES["scenes"].model, task=settings, data=data)


def test_the_normalization_is_that_of_the_weights(recipe, tmp_path, monkeypatch):
    for one in starts(recipe, tmp_path, monkeypatch):
        left_open = replace(one, data=replace(one.data, mean=None, std=None))
        task = make_task(complete(left_open), Process())
        assert (task.config.preprocessing.mean, task.config.preprocessing.std) == (HALF, HALF)
        assert "note" not in dict(task.describe())
        assert from_dict(ImageRecipe, to_dict(left_open)) == left_open
    left_open = replace(recipe, data=replace(recipe.data, mean=None, std=None))
    new = make_task(complete(left_open), Process()).config.preprocessing
    assert (new.mean, new.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_another_normalization_than_the_weights_is_noted(recipe, tmp_path, monkeypatch):
    for one in starts(recipe, tmp_path, monkeypatch):
        task = make_task(complete(replace(one, data=replace(one.data, mean=THIRD, std=THIRD))), Process())
        assert (task.config.preprocessing.mean, task.config.preprocessing.std) == (THIRD, THIRD)
        assert dict(task.describe())["note"].startswith("the weights were trained with mean 0.5 0.5 0.5 and std 0.5")
    assert "note" not in dict(make_task(recipe, Process()).describe())


def test_a_backbone_has_its_own_patch_size(recipe):
    """70 is no multiple of the 8 of the recipe's trunk, but of DINOv2's 14."""
    settings = replace(recipe.task, backbone="vit_small_patch14_dinov2")
    base = replace(recipe, model=RECIPES["scenes"].model, task=settings)
    task = make_task(replace(base, data=replace(base.data, img_size=(70,))), Process())
    assert task.config.model.size == (70, 70)
    with pytest.raises(UserError, match="64x64 does not divide into patches of 14"):
        make_task(replace(base, data=replace(base.data, img_size=(64,))), Process())


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (2, 2)])
def test_a_batch_of_one_image_is_an_error(recipe, batch, parts):
    few = replace(recipe, data=replace(recipe.data, batch_size=batch), run=replace(recipe.run, accumulate=parts))
    with pytest.raises(UserError, match=r"a batch of one image.*--data\.batch-size 2 or more"):
        make_task(few, Process())


def test_a_backbone_allows_the_network_of_the_recipe():
    recipe = RECIPES["ade20k-deit-s"]
    assert recipe.task.backbone == "deit_small_patch16_224.fb_in1k"
    check_no_trunk(recipe)
    with pytest.raises(UserError, match="--model.depth: None -> 4"):
        check_no_trunk(replace(recipe, model=replace(recipe.model, depth=4)))


# several processes


def losses(folder: str) -> None:
    """Write the loss and the gradient of the logits of this process, of images with unequal numbers of labels."""
    with this_process("cpu") as process:
        logits, labels, weights = unequal()
        found = {}
        for name, pixel_loss in PIXEL_LOSSES.items():
            own = logits[process.rank :: process.world].clone().requires_grad_()
            loss = pixel_loss(own, labels[process.rank :: process.world], weights)
            loss.backward()
            found[name] = loss.detach(), own.grad
        torch.save(found, f"{folder}/{process.rank}")


def unequal() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of 6 images, labels of which the first has none and others half, and weights."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (6, 4, 5), generator=generator).byte()
    labels[0] = labels[2, :2] = labels[4] = 255
    return logits, labels, torch.tensor([0.5, 1.0, 7.0])


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_the_loss_of_processes_is_that_of_all_their_pixels(world, tmp_path):
    """Also where one of them has no label at all: the mean over processes, and its gradient, are those of one."""
    processes.together(losses, str(tmp_path), folder=tmp_path, world=world)
    parts = [torch.load(tmp_path / str(rank), weights_only=True) for rank in range(world)]
    for name, pixel_loss in PIXEL_LOSSES.items():
        logits, labels, weights = unequal()
        loss = pixel_loss(logits.requires_grad_(), labels, weights)
        loss.backward()
        assert (sum(part[name][0] for part in parts) / world).item() == pytest.approx(loss.item(), rel=1e-6)
        for rank, part in enumerate(parts):
            torch.testing.assert_close(part[name][1] / world, logits.grad[rank::world])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"norm": "batchnorm"}, {"backbone": "test_resnet"}],
    ids=["affine", "batchnorm", "backbone"],
)
def test_any_number_of_processes_takes_the_same_steps(recipe, changes, tmp_path):
    """With dropout and BatchNorm, in float64, down to one image per process."""
    backbone = changes.get("backbone")
    recipe = replace(
        recipe,
        task=Settings(width=8, backbone=backbone),
        model=RECIPES["scenes"].model if backbone else replace(recipe.model, **changes),
        data=replace(recipe.data, batch_size=4, img_size=(32, 32) if backbone else (16, 24)),
        run=replace(recipe.run, precision="fp32"),
    )
    alone = steps.trained(recipe, [1], 2, tmp_path / "1", double=True)
    for worlds in ([2],) if changes else ([4], [2, 1]):
        found = steps.trained(recipe, worlds, 2 // len(worlds), tmp_path / str(worlds), double=True)
        steps.check_same(found, alone, tolerance=1e-8)
