"""`resmlp train probe`, and training on a fraction of the images."""

import json

import pytest
import torch
from safetensors.torch import load_file

from resmlp import create_model
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import save_model
from resmlp.recipes import RECIPES

FAST = ["--data.workers", "0", "--run.device", "cpu", "--run.log"]
DIGITS = ["--data.source", "digits", "--augment.flip", "0", "--augment.scale", "0.5", "1"]
MEAN, STD = (0.3,) * 3, (0.38,) * 3


@pytest.fixture
def frozen(tmp_path):
    """A run folder of self-supervision: a trunk without a classifier, with random weights, for 8x8 images."""
    torch.manual_seed(0)
    trunk = create_model("resmlp_digits", num_classes=0, img_size=8, depth=2, init="fan-in", layer_scale=1.0)
    (tmp_path / "dino").mkdir()
    save_model(tmp_path / "dino", trunk, (), Preprocessing((8, 8), crop_ratio=1.0, mean=MEAN, std=STD))
    return tmp_path / "dino"


def test_the_head_is_trained_and_the_trunk_does_not_change(resmlp, frozen, tmp_path):
    flags = ["--model.checkpoint", frozen, *DIGITS, *FAST, "--run.epochs", "6", "--out", tmp_path / "probe", "--json"]
    flags += ["--data.fraction", "0.4", "--data.batch-size", "32"]
    ended = resmlp("train", "probe", *flags)
    assert ended.code == 0, ended.err
    assert "a new head for 10 classes" in ended.err
    assert "only the head for 6 of 6 epochs" in ended.err
    assert json.loads(ended.out)["top1"] > 0.4, "chance is 0.1"
    before, after = (load_file(folder / "model.safetensors") for folder in (frozen, tmp_path / "probe"))
    assert after.keys() - before.keys() == {"head.weight", "head.bias"}
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    card = json.loads((tmp_path / "probe" / "model.json").read_text())
    assert card["preprocessing"]["size"] == [8, 8], "as the checkpoint's"
    assert card["preprocessing"]["mean"] == [0.3] * 3


def test_a_probe_needs_a_checkpoint(resmlp, tree, tmp_path):
    ended = resmlp("train", "probe", *FAST, "--data.root", tree, "--out", tmp_path / "probe")
    assert ended.code == 2
    assert "give --model.checkpoint" in ended.error


def test_a_probe_is_a_linear_classifier():
    recipe = RECIPES["probe"]
    assert (recipe.optim.weight_decay, recipe.task.label_smoothing, recipe.run.ema) == (0, 0, None)
    assert recipe.optim.freeze_epochs > 10_000 >= recipe.run.epochs
    assert (recipe.augment.crop, recipe.augment.flip, recipe.augment.policy) == ("resized", 0.5, "none")
    assert (recipe.data.img_size, recipe.data.mean) == (None, None), "as the checkpoint's"


def test_a_fraction_is_shown_and_recorded(resmlp, frozen, tmp_path):
    flags = ["--model.checkpoint", frozen, *DIGITS, *FAST, "--run.epochs", "1", "--out", tmp_path / "few"]
    ended = resmlp("train", "probe", *flags, "--data.fraction", "1e-9", "--data.batch-size", "10")
    assert ended.code == 0, ended.err
    assert "10 for training (1e-09 of each class, at least one), 360 for validation" in " ".join(ended.err.split())
    assert json.loads((tmp_path / "few" / "recipe.json").read_text())["data"]["fraction"] == 1e-9
    assert json.loads((tmp_path / "few" / "summary.json").read_text())["images"] == {"train": 10, "val": 360}
    ended = resmlp("train", "probe", *flags, "--data.fraction", "0.5", "--data.batch-size", "10")
    assert ended.code == 2
    assert "data.fraction: 1e-09 -> 0.5" in ended.error
    ended = resmlp("train", "probe", *flags, "--data.fraction", "0.01", "--out", tmp_path / "fitted")
    assert ended.code == 0, ended.err
    fitted = "--data.batch-size 64 exceeds the 10 training images: training with batch size 10 and learning rate 0.0156"
    assert f"note: {fitted}\n" in ended.err


def test_a_network_without_a_classifier_is_an_error_with_the_protocols(resmlp, frozen, tree):
    ended = resmlp("eval", frozen, "--data.root", tree, "--protocol", "top1")
    assert ended.code == 2
    assert "has no classifier (resmlp eval --protocol knn or linear measures its features; " in ended.error
