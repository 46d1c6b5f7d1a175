"""Fine-tuning: the trunk is that of the checkpoint; the head is new if the classes are."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

FAST = [
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0", "--run.epochs", "1"),
    *("--optim.lr", "1e-12", "--optim.warmup-epochs", "0", "--optim.min-lr", "0", "--run.device", "cpu"),
    *("--augment.policy", "none", "--augment.jitter", "0", "--model.drop-path", "0", "--run.log"),
]
"""a learning rate so small that the trunk does not change"""


@pytest.fixture
def two_classes(tree, tmp_path):
    """The tree of three colors without one."""
    for folder in sorted(tree.iterdir())[:2]:
        shutil.copytree(folder, tmp_path / "two" / folder.name)
    return tmp_path / "two"


@pytest.mark.parametrize("given", ["run folder", "file"])
def test_the_network_is_that_of_the_checkpoint(resmlp, trained, two_classes, tmp_path, given):
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


def test_the_head_is_kept_for_an_equal_number_of_classes(resmlp, trained, tree, tmp_path):
    flags = ["--model.checkpoint", str(trained), "--data.root", str(tree), "--out", str(tmp_path / "tuned")]
    ended = resmlp("train", "finetune", *FAST, *flags)
    assert ended.code == 0, ended.err
    assert "a new head for" not in " ".join(ended.err.split())
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path / "tuned"))
    torch.testing.assert_close(after["head.weight"], before["head.weight"], rtol=0, atol=1e-6)


def test_the_head_is_new_for_other_classes_of_equal_number(resmlp, trained, tree, tmp_path):
    shutil.copytree(tree, tmp_path / "renamed")
    (tmp_path / "renamed" / "red").rename(tmp_path / "renamed" / "crimson")
    flags = ["--model.checkpoint", str(trained), "--data.root", str(tmp_path / "renamed"), "--out", str(tmp_path / "x")]
    ended = resmlp("train", "finetune", *FAST, *flags)
    assert ended.code == 0, ended.err
    assert "a new head for 3 classes" in ended.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give --model.checkpoint"),
        (["--model.checkpoint", "nowhere"], "unknown model 'nowhere'"),
        (["--model.checkpoint", "TRAINED", "--model", "resmlp_s12", "--data.img-size", "16"], "another model"),
        (["--model.checkpoint", "TRAINED", "--model.dim", "32"], "another model"),
        (["--model.checkpoint", "TRAINED", "--optim.layer-decay", "1.5"], "--optim.layer-decay 1.5"),
        (["--model.checkpoint", "TRAINED", "--optim.freeze-epochs", "-1"], "--optim.freeze-epochs -1"),
        (["--model.checkpoint", "TRAINED", "--data.img-size", "9"], "patches of 2"),
    ],
)
def test_unsuitable_checkpoints_are_errors_in_one_line(resmlp, trained, tree, tmp_path, flags, message):
    flags = [str(trained) if flag == "TRAINED" else flag for flag in flags]
    ended = resmlp("train", "finetune", *FAST, "--data.root", str(tree), "--out", str(tmp_path / "x"), *flags)
    assert ended.code == 2
    assert message in ended.error
    assert not (tmp_path / "x").exists()


QUICK = [
    *("--data.batch-size", "8", "--data.workers", "0", "--run.device", "cpu", "--run.log"),
    *("--augment.policy", "none", "--augment.jitter", "0", "--optim.lr", "0.01", "--optim.warmup-epochs", "0"),
]


@pytest.fixture
def finetune(resmlp, trained, tree, tmp_path):
    """`finetune("--run.epochs", 2, ...)`: from `trained` on its own tree into `tmp_path/tuned`."""

    def run(*flags):
        checkpoint = () if "--model.checkpoint" in flags else ("--model.checkpoint", trained)
        root = () if "--data.root" in flags else ("--data.root", tree)
        out = () if "--out" in flags else ("--out", tmp_path / "tuned")
        return resmlp("train", "finetune", *QUICK, *checkpoint, *root, *out, *flags)

    return run


def test_another_size_with_layer_decay_and_a_frozen_trunk(finetune, two_classes, tmp_path):
    """All at once; the result predicts and is fine-tuned again."""
    flags = ["--data.img-size", "12", "16", "--optim.layer-decay", "0.75", "--optim.freeze-epochs", "1"]
    ended = finetune(*flags, "--run.epochs", 2, "--data.root", two_classes)
    assert ended.code == 0, ended.err
    output = " ".join(ended.err.split())
    for words in (
        "interpolated from 4x4 to 6x8 tokens, a new head for 2 classes",
        "each layer has 0.75 times the lr of the next, only the head for 1 of 2 epochs",
    ):
        assert words in output
    card = json.loads((tmp_path / "tuned" / "model.json").read_text())
    assert card["model"]["size"] == card["preprocessing"]["size"] == [12, 16]
    again = finetune("--model.checkpoint", tmp_path / "tuned", "--run.epochs", 1, "--out", tmp_path / "again")
    assert again.code == 0, again.err
    assert "at 12x16" in again.err


def test_another_size_keeps_the_accuracy(resmlp, trained, tree, finetune, tmp_path):
    """With almost no learning rate, colors are classified at twice the size."""
    ended = finetune("--data.img-size", "16", "--optim.lr", "1e-12", "--optim.min-lr", "0", "--run.epochs", 1)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "tuned" / "summary.json").read_text())["top1"] == 1.0
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path / "tuned"))
    assert before["blocks.0.tokens.fn.weight"].shape == (16, 16)
    assert after["blocks.0.tokens.fn.weight"].shape == (64, 64)


def test_a_frozen_trunk_does_not_change(finetune, trained, two_classes, tmp_path):
    flags = ["--optim.freeze-epochs", "3", "--run.epochs", "3", "--optim.weight-decay", "0.5"]
    assert finetune(*flags, "--data.root", two_classes).code == 0
    checkpoint = next((tmp_path / "tuned" / "checkpoints").glob("step-*"))
    before, after = load_file(trained / "model.safetensors"), load_file(checkpoint / "raw.safetensors")
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert changed == {"head.weight", "head.bias"}
    optimizer = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    assert len(optimizer["state"]) == 2, "no moments of frozen weights"


def test_after_the_frozen_epochs_every_tensor_is_trained(finetune, trained, tmp_path):
    assert finetune("--optim.freeze-epochs", 1, "--run.epochs", 2, "--optim.layer-decay", 0.5).code == 0
    checkpoint = max((tmp_path / "tuned" / "checkpoints").glob("step-*"))
    before, after = load_file(trained / "model.safetensors"), load_file(checkpoint / "raw.safetensors")
    assert not [key for key, tensor in after.items() if torch.equal(tensor, before[key])]
    groups = torch.load(checkpoint / "optimizer.pt", weights_only=True)["param_groups"]
    lines = (tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()
    rate = [json.loads(line)["lr"] for line in lines if '"train"' in line][-1]
    assert [group["lr"] / rate for group in groups] == pytest.approx([0.25, 0.25, 0.5, 0.5, 1, 1])


DECODING = {"exif": "apply", "value_range": None}
OWN = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "crop_ratio": 0.8, "interpolation": "bilinear"}


@pytest.fixture
def own(trained, tmp_path):
    """The trained network with its own preprocessing."""
    shutil.copytree(trained, tmp_path / "own")
    card = json.loads((trained / "model.json").read_text())
    card["preprocessing"] |= OWN
    (tmp_path / "own" / "model.json").write_text(json.dumps(card))
    return tmp_path / "own"


def test_the_preprocessing_is_that_of_the_checkpoint(finetune, own, tmp_path):
    assert finetune("--model.checkpoint", own, "--run.epochs", 1).code == 0
    card, recipe = (json.loads((tmp_path / "tuned" / name).read_text()) for name in ("model.json", "recipe.json"))
    assert card["preprocessing"] == {"size": [8, 8], **OWN, **DECODING}
    assert {key: recipe["data"][key] for key in OWN} == OWN
    assert recipe["data"]["img_size"] == [8]
    same = finetune("--model.checkpoint", own, "--run.epochs", 1, "--data.img-size", 8)
    assert "all steps are done already" in same.err
    again = finetune("--model.checkpoint", own, "--run.epochs", 1)
    assert again.code == 0, "and the same command continues"


def test_flags_override_the_preprocessing(finetune, own, tmp_path):
    flags = ["--data.mean", "0", "0", "0", "--data.crop-ratio", "1", "--data.interpolation", "nearest"]
    assert finetune("--model.checkpoint", own, "--run.epochs", 1, *flags).code == 0
    found = json.loads((tmp_path / "tuned" / "model.json").read_text())["preprocessing"]
    flagged = {"mean": [0, 0, 0], "crop_ratio": 1, "interpolation": "nearest"}
    assert found == {"size": [8, 8], **OWN, **flagged, **DECODING}


@pytest.mark.parametrize("broken", [{"std": [0, 0, 0]}, {"size": [8]}, {"mean": "x"}, None, {"a\nb": 1}])
def test_a_damaged_preprocessing_is_an_error_in_one_line(finetune, own, tmp_path, broken):
    card = json.loads((own / "model.json").read_text())
    card["preprocessing"] = card["preprocessing"] | broken if broken else None
    (own / "model.json").write_text(json.dumps(card))
    ended = finetune("--model.checkpoint", own, "--run.epochs", 1)
    assert ended.code == 2
    assert str(own / "model.json") in ended.error


def test_a_mixer_with_an_mlp_keeps_its_hidden_width(train, finetune, tmp_path):
    assert train("--model.mixer", "mlp").code == 0
    ended = finetune("--model.checkpoint", tmp_path / "run", "--data.img-size", 12, "--run.epochs", 1)
    assert ended.code == 0, ended.err
    shape = load_file(tmp_path / "tuned" / "model.safetensors")["blocks.0.tokens.fn.fc1.weight"].shape
    assert shape == (64, 36)
    assert json.loads((tmp_path / "tuned" / "model.json").read_text())["model"]["architecture"]["token_hidden"] == 64


@pytest.mark.parametrize("given", ["run folder", "bare name", "file"])
def test_weights_to_start_from_may_be_given_as_the_model(resmlp, trained, tree, tmp_path, given):
    shutil.copytree(trained, tmp_path / "start")
    model = {"run folder": "./start", "bare name": "start", "file": "start/model.safetensors"}[given]
    common = [*FAST, "--data.root", tree]
    ended = resmlp("train", "finetune", *common, "--model", model, "--out", "by-name")
    assert ended.code == 0, ended.err
    assert resmlp("train", "finetune", *common, "--model.checkpoint", model, "--out", "by-checkpoint").code == 0
    one, other = (load_file(tmp_path / out / "model.safetensors") for out in ("by-name", "by-checkpoint"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "runs/nothing"], "--model: no model at runs/nothing"),
        (["--model", "nothing.safetensors"], "--model: no weights at nothing.safetensors"),
        (["--model", "resmlp_s13"], "--model: unknown model 'resmlp_s13' (did you mean"),
        (["--model", "resmlp_s13", "--model.checkpoint", "start"], "unknown model 'resmlp_s13' (did you mean"),
        (["--model", "start", "--model.checkpoint", "start"], "unknown model 'start'"),
        (["--model.checkpoint", "runs/nothing"], "--model.checkpoint: no model at runs/nothing"),
        (["--model.checkpoint", "empty.safetensors"], "empty.safetensors is empty (give"),
        (["--model.checkpoint", "notes.pth"], "notes.pth is not a weight file (give"),
    ],
)
def test_a_model_that_is_nothing_is_named_with_its_flag(resmlp, trained, tree, tmp_path, flags, message):
    shutil.copytree(trained, tmp_path / "start")
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "notes.pth").write_text("some words")
    ended = resmlp("train", "finetune", *FAST, "--data.root", tree, "--out", "x", *flags)
    assert ended.code == 2
    assert message in ended.error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("flag", ["--model", "--model.checkpoint", "--task.teacher"])
def test_a_finished_run_needs_no_starting_weights_and_no_teacher(resmlp, trained, tree, tmp_path, flag):
    shutil.copytree(trained, tmp_path / "start")
    small = ["--model", "resmlp_digits", "--model.depth", "1", "--augment.mixup", "0", "--augment.cutmix", "0"]
    recipe = ["distill-folder", *small, *FAST] if flag == "--task.teacher" else ["finetune", *FAST[2:]]
    command = ["train", *recipe, flag, "start", "--data.root", tree, "--out", "run", "--json"]
    first = resmlp(*command)
    assert first.code == 0, first.err
    shutil.rmtree(tmp_path / "start")
    again = resmlp(*command)
    assert again.code == 0, again.err
    assert "all steps are done already" in again.err
    assert json.loads(again.out) == json.loads(first.out)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert resmlp(*command, "--out", "moved").code == 0
    without = [word for word in command if word not in ("--data.root", tree)]
    assert "--data.root is not given" in resmlp(*without, "--out", "moved").error
    assert "optim.lr: " in resmlp(*command, "--out", "moved", "--optim.lr", "0.5").error
    other = resmlp(*command, "--out", "moved", flag, "elsewhere/start").error
    assert f"{flag}: no model at elsewhere/start" in other
    (tmp_path / "moved" / "summary.json").unlink()
    named = "--model.checkpoint" if flag == "--model" else flag
    assert f"{named} {tmp_path / 'start'} is gone" in resmlp(*command, "--out", "moved").error
