"""`resmlp train resize`: the token mixers are trained at another size, and nothing else changes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from resmlp.models import open_model
from resmlp.models.at_size import at_size

FAST = [
    *("--data.batch-size", "8", "--data.workers", "0", "--run.device", "cpu", "--run.log"),
    *("--run.epochs", "2", "--run.ema", "0.5", "--optim.weight-decay", "0.5"),
]


@pytest.fixture
def resize(resmlp, trained, tree, tmp_path):
    def run(*flags):
        root = () if "--data.root" in flags else ("--data.root", tree)
        out = ("--out", tmp_path / "moved")
        return resmlp("train", "resize", *FAST, "--model", trained, *root, *out, *flags)

    return run


def tensors(folder, kind="raw"):
    checkpoint = max((folder / "checkpoints").glob("step-*"))
    return load_file(checkpoint / f"{kind}.safetensors")


@pytest.mark.parametrize("kind", ["raw", "ema"])
def test_only_the_token_mixers_change(resize, trained, tmp_path, kind):
    ended = resize("--data.img-size", "12")
    assert ended.code == 0, ended.err
    assert "only blocks.*.tokens.fn.* (2 tensors)" in " ".join(ended.err.split())
    moved = at_size(open_model(trained), (12, 12)).model.state_dict()
    after = tensors(tmp_path / "moved", kind)
    changed = {key for key, tensor in moved.items() if not torch.equal(after[key], tensor)}
    assert changed == {"blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.bias"}
    assert json.loads((tmp_path / "moved" / "model.json").read_text())["preprocessing"]["size"] == [12, 12]


def test_training_starts_from_the_weights_that_eval_takes_at_this_size(resize, trained, tmp_path):
    assert resize("--data.img-size", "12", "16", "--optim.lr", "1e-30").code == 0
    moved = at_size(open_model(trained), (12, 16)).model.state_dict()
    for key, tensor in tensors(tmp_path / "moved").items():
        assert torch.equal(tensor, moved[key]), key


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("--optim.only", "blocks.*.tokens.*", "blocks.*.mixer.*"),
            "--optim.only blocks.*.mixer.* matches no parameter",
        ),
        (("--optim.only", "Head.weight"), "did you mean head.weight"),
        (("--data.img-size", "9"), "patches of 2"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_written(resize, tmp_path, flags, words):
    ended = resize(*flags)
    assert ended.code == 2
    assert words in ended.error
    assert not (tmp_path / "moved").exists()


def test_a_new_head_must_be_trained(resize, tree, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "other" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "other" / name).symlink_to(sorted(tree.iterdir())[0])
    ended = resize("--data.root", tmp_path / "other")
    assert ended.code == 2
    assert "leaves out the head" in ended.error
    assert resize("--data.root", tmp_path / "other", "--optim.only", "head.*", "blocks.*.tokens.*").code == 0
