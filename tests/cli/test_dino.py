"""`resmlp train dino-folder`: with and without labels, errors, and fine-tuning of its result."""

import json
import math
from collections.abc import Callable

import pytest
import torch
from colored import plant

FAST = [
    *("--model", "resmlp_digits", "--model.depth", "1", "--model.dim", "16", "--model.init", "fan-in"),
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0", "--data.crop-ratio", "1"),
    *("--task.local-views", "2", "--task.local-size", "4", "--task.out-dim", "16", "--task.hidden", "16"),
    *("--task.bottleneck", "8", "--optim.warmup-epochs", "0", "--run.epochs", "1", "--run.device", "cpu"),
    "--run.log",
]
"""flags of a fast `resmlp train dino-folder`"""


@pytest.fixture
def dino(resmlp, tree, tmp_path) -> Callable:
    """`dino("--task.local-crops", "pad", ...)`: a small `resmlp train dino-folder` on `tree` into `tmp_path/run`."""

    def run(*flags: object):
        torch.manual_seed(0)
        root = () if "--data.root" in flags else ("--data.root", tree)
        return resmlp("train", "dino-folder", *FAST, "--out", tmp_path / "run", *root, *flags)

    return run


def test_with_labels_it_reports_the_knn_accuracy_and_finetune_continues(dino, resmlp, tree, tmp_path):
    ended = dino("--task.local-crops", "interpolate", "--json")
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    assert 0 <= summary["knn"] <= 1
    assert "2 of 8x8, 2 of 4 (interpolate)" in ended.err
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["task"]["local_crops"] == "interpolate"
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert (card["model"]["num_classes"], card["classes"]) == (0, [])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    logged = {"loss", "teacher_entropy", "mean_entropy", "kl", "center_norm", "feature_rank"}
    assert logged <= next(line for line in lines if line["kind"] == "train").keys()
    again = resmlp("train", tmp_path / "run" / "recipe.json", "--out", tmp_path / "run", "--task.stop-on-collapse")
    assert again.code == 0, "fields that only monitor may change"
    tuned = [*("--model.checkpoint", tmp_path / "run", "--data.root", tree, "--data.img-size", "12")]
    tuned += ["--data.batch-size", "8", "--data.workers", "0", "--run.epochs", "1", "--run.device", "cpu"]
    ended = resmlp("train", "finetune", *tuned, "--out", tmp_path / "tuned", "--run.log")
    assert ended.code == 0, ended.err
    assert "a new head for 3 classes" in ended.err
    ended = resmlp("train", "dino-folder", *FAST, "--model.checkpoint", tmp_path / "run", "--out", tmp_path / "more",
                   "--data.root", tree)  # fmt: skip
    assert ended.code == 0, ended.err


def test_batch_and_views_follow_a_small_folder_of_small_images(resmlp, tree, tmp_path):
    tiny = ["--model.depth", "1", "--model.dim", "16", "--task.out-dim", "16", "--task.hidden", "16"]
    tiny += ["--task.bottleneck", "8", "--task.local-views", "2", "--data.workers", "0", "--run.epochs", "1"]
    command = ["train", "dino-folder", "--data.root", tree, "--data.img-size", "64", *tiny, "--out", tmp_path / "run"]
    ended = resmlp(*command, "--run.device", "cpu", "--run.log")
    assert ended.code == 0, ended.err
    settings = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert settings["task"]["local_size"] == [32], "96/224 of 64 are 27: two patches of 16"
    batch, lr = settings["data"]["batch_size"], settings["optim"]["lr"]
    assert batch == json.loads((tmp_path / "run" / "summary.json").read_text())["images"]["train"]
    assert lr == 2.5e-4 * (batch / 64)
    fitted = f"training with batch size {batch} and learning rate {lr:.3g}"
    assert f"note: --data.batch-size 64 exceeds the {batch} training images: {fitted}\n" in ended.err
    assert "2 of 64x64, 2 of 32 (resize)" in " ".join(ended.err.split())


def test_without_labels_no_class_folders_are_needed(dino, tree, tmp_path):
    flat = plant(tmp_path / "flat" / "deep", classes=("red",))
    ended = dino("--data.root", flat.parent, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["feature_rank"] >= 1
    assert "12 for training, no labels" in ended.err
    assert "knn" not in json.loads(ended.out)


def test_an_unreadable_image_is_reported(dino, tmp_path):
    root = plant(tmp_path / "data")
    (root / "red" / "00.png").write_bytes(b"no image")
    ended = dino("--data.root", root, "--task.labels", "none", "--data.batch-size", "36")
    assert ended.code == 0, ended.err
    assert "red/00.png" in ended.err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["unreadable"]


def test_a_collapse_stops_the_run_on_request(dino, tmp_path):
    flags = ["--task.teacher-temp", "100", "--task.warmup-teacher-temp", "100", "--run.epochs", "3"]
    flags += ["--run.eval-every", "1"]
    ended = dino(*flags, "--task.stop-on-collapse")
    assert ended.code == 2
    assert "the teacher has collapsed at step 5: its outputs are uniform over all dimensions" in ended.error
    assert ended.error.count("(") == ended.error.count(")") == 1
    assert f"(the last checkpoint is {tmp_path / 'run'}/checkpoints/step-00000003; try another --out" in ended.error
    assert ended.err.count("the teacher has collapsed") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    proof = [line["teacher_entropy"] for line in lines if line["kind"] == "train" and line["step"] == 6]
    assert proof == [pytest.approx(math.log(16), rel=1e-3)], "the entropy of the collapse is logged"
    ended = dino(*flags)  # continues from there with a warning
    assert ended.code == 0, ended.err
    assert ended.err.count("the teacher has collapsed") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.batch-size", "1"], "--data.batch-size 1: DINO's center needs more than one image"),
        (["--task.local-crops", "interpolate", "--task.local-size", "5"], "--task.local-size 5x5 does not divide"),
        (["--task.local-crops", "pad", "--task.local-size", "9"], "does not fit into --data.img-size 8x8"),
        (["--task.local-size", "9"], "--task.local-size 9x9 does not fit into --data.img-size 8x8"),
        (
            ["--task.local-crops", "none"],
            "--task.local-views, --task.local-size: there are no small views with --task.local-crops none",
        ),
        (["--augment.mixup", "0.5"], "--augment.mixup: 0.0 -> 0.5"),
        (["--run.ema", "0.9"], "--run.ema 0.9"),
        (["--task.local-crops", "shrink"], "shrink"),
        (["--data.root", "nowhere"], "no such file or folder"),
        (["--data.root", "empty"], "is empty"),
        (["--data.img-size", "9"], "--data.img-size 9x9 does not divide"),
    ],
)
def test_mistakes_are_errors_in_one_line(dino, tmp_path, flags, message):
    (tmp_path / "empty").mkdir()
    ended = dino(*flags)
    assert ended.code == 2
    assert message in ended.error
    assert not (tmp_path / "run").exists()
