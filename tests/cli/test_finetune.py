"""Fine-tuning: the trunk is the checkpoint's, tensor by tensor; the head is new where the classes are."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

FAST = [
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0", "--run.epochs", "1"),
    *("--optim.lr", "1e-12", "--optim.warmup-epochs", "0", "--optim.min-lr", "0", "--run.device", "cpu"),
    *("--augment.policy", "none", "--augment.jitter", "0", "--model.drop-path", "0", "--run.no-tensorboard"),
]
"""a rate so small that the trunk stays what it was"""


@pytest.fixture
def two_classes(tree, tmp_path):
    """The tree of three colours without one."""
    for folder in sorted(tree.iterdir())[:2]:
        shutil.copytree(folder, tmp_path / "two" / folder.name)
    return tmp_path / "two"


@pytest.mark.parametrize("given", ["run folder", "file"])
def test_the_network_is_the_checkpoints(resmlp, trained, two_classes, tmp_path, given):
    checkpoint = trained if given == "run folder" else trained / "model.safetensors"
    out = tmp_path / "tuned"
    flags = ["--model.checkpoint", str(checkpoint), "--data.root", str(two_classes), "--out", str(out)]
    ended = resmlp("train", "finetune", *FAST, *flags)
    assert ended.code == 0, ended.err
    assert "a new head for 2 classes" in " ".join(ended.err.split())
    before, after = load_file(trained / "model.safetensors"), load_file(out / "model.safetensors")
    assert after["head.weight"].shape == (2, before["head.weight"].shape[1])
    for key in before.keys() - {"head.weight", "head.bias"}:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-6, msg=key)
    was, card = (json.loads((folder / "model.json").read_text()) for folder in (trained, out))
    assert card["model"]["architecture"] == was["model"]["architecture"]


def test_the_head_is_kept_where_the_classes_are_as_many(resmlp, trained, tree, tmp_path):
    flags = ["--model.checkpoint", str(trained), "--data.root", str(tree), "--out", str(tmp_path / "tuned")]
    ended = resmlp("train", "finetune", *FAST, *flags)
    assert ended.code == 0, ended.err
    assert "new head" not in ended.err
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path / "tuned"))
    torch.testing.assert_close(after["head.weight"], before["head.weight"], rtol=0, atol=1e-6)


def test_the_head_is_new_where_as_many_classes_are_others(resmlp, trained, tree, tmp_path):
    shutil.copytree(tree, tmp_path / "renamed")
    (tmp_path / "renamed" / "red").rename(tmp_path / "renamed" / "crimson")
    flags = ["--model.checkpoint", str(trained), "--data.root", str(tmp_path / "renamed"), "--out", str(tmp_path / "x")]
    ended = resmlp("train", "finetune", *FAST, *flags)
    assert ended.code == 0, ended.err
    assert "a new head for 3 classes" in ended.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "give --model.checkpoint"),
        (["--model.checkpoint", "nowhere"], "nowhere has no model.json"),
        (["--model.checkpoint", "TRAINED", "--model", "resmlp_s12", "--data.img-size", "16"], "another model"),
        (["--model.checkpoint", "TRAINED", "--data.img-size", "16"], "another img_size"),
        (["--model.checkpoint", "TRAINED", "--data.img-size", "9"], "patches of 2"),
    ],
)
def test_what_cannot_be_fine_tuned_is_said_in_a_line(resmlp, trained, tree, tmp_path, flags, says):
    flags = [str(trained) if flag == "TRAINED" else flag for flag in flags]
    ended = resmlp("train", "finetune", *FAST, "--data.root", str(tree), "--out", str(tmp_path / "x"), *flags)
    assert ended.code == 2
    assert says in ended.error
    assert not (tmp_path / "x").exists()
