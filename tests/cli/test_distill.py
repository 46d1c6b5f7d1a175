"""`resmlp train distill`: training, errors in one line, and a kill while the cache is written."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
import torch

FAST = [
    *("--model", "resmlp_digits", "--model.depth", "1", "--model.init", "fan-in", "--model.drop-path", "0.1"),
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0", "--augment.policy", "none"),
    *("--optim.name", "adamw", "--optim.lr", "0.003", "--optim.warmup-epochs", "0", "--run.epochs", "1"),
    *("--run.precision", "fp32", "--run.device", "cpu", "--run.accumulate", "2", "--run.log"),
]
"""of `resmlp train distill`, with its mixup, CutMix, erasing, repeats and weight average"""


@pytest.fixture
def distill(resmlp, trained, tree, tmp_path) -> Callable:
    """`distill("--task.alpha", 1, ...)`: a small `resmlp train distill` into `tmp_path/run`; TRAINED is the teacher."""

    def run(*flags: object):
        torch.manual_seed(0)
        given = [str(trained) if flag == "TRAINED" else flag for flag in flags]
        for name, value in (("--out", tmp_path / "run"), ("--data.root", tree), ("--task.teacher", trained)):
            given += () if name in given else (name, value)
        return resmlp("train", "distill", *FAST, *given)

    return run


def weights(folder: Path) -> dict[str, bytes]:
    """The weights of a student as bytes."""
    files = [folder / "model.safetensors", *folder.glob("checkpoints/step-*/*.safetensors")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_student_learns_and_its_teacher_is_shown(distill, resmlp, trained, tree, tmp_path, kind):
    ended = distill("--task.kind", kind, "--task.temperature", 3, "--json")
    assert ended.code == 0, ended.err
    assert 0 <= json.loads(ended.out)["top1"] <= 1
    words = " ".join(ended.err.split())
    assert f"teacher {trained}" in words
    assert "parameters, at 8x8, fp32" in words
    assert f"0.5 labels, 0.5 teacher ({kind}" in words
    settings = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert settings["task"]["kind"] == "distill"
    assert settings["task"]["targets"] == kind
    assert resmlp("train", tmp_path / "run" / "recipe.json", "--out", tmp_path / "run").code == 0, "it continues"
    assert resmlp("eval", tmp_path / "run", "--data.root", tree).code == 0


@pytest.mark.parametrize(("name", "batch", "lr"), [("distill", 2048, 5e-3), ("distill-folder", 64, 5e-4)])
def test_a_batch_follows_a_small_folder_and_the_run_continues(
    resmlp, trained, tree, tmp_path, monkeypatch, name, batch, lr
):
    from resmlp.tasks import Distill

    tiny = ["--model", "resmlp_digits", "--model.depth", "1", "--data.img-size", "8", "--data.workers", "0"]
    tiny += ["--run.epochs", "2", "--run.eval-every", "1", "--run.precision", "fp32", "--run.log"]
    command = ["train", name, "--data.root", tree, "--task.teacher", trained, "--run.device", "cpu", *tiny, "--out"]
    torch.manual_seed(0)
    ended = resmlp(*command, tmp_path / "run")
    assert ended.code == 0, ended.err
    settings = json.loads((tmp_path / "run" / "recipe.json").read_text())
    images = json.loads((tmp_path / "run" / "summary.json").read_text())["images"]["train"]
    size = images - images % 2
    assert (settings["data"]["batch_size"], settings["optim"]["lr"]) == (size, lr * (size / batch))
    fitted = f"training with batch size {size} and learning rate {lr * size / batch:.3g}"
    assert f"note: --data.batch-size {batch} exceeds the {images} training images: {fitted}\n" in ended.err

    def interrupt(self, model, step, before=Distill.before_step):
        if step == 1:
            raise KeyboardInterrupt
        before(self, model, step)

    with monkeypatch.context() as patch:
        patch.setattr(Distill, "before_step", interrupt)
        assert resmlp(*command, tmp_path / "again").code == 130
    assert resmlp(*command, tmp_path / "again", "--optim.lr", 1e-2).error.startswith(
        f"error: {tmp_path / 'again'} holds"
    )
    ended = resmlp(*command, tmp_path / "again")
    assert ended.code == 0, ended.err
    assert "continuing after step 1 of 2" in ended.err
    assert weights(tmp_path / "again") == weights(tmp_path / "run")


def test_a_teacher_of_another_size_is_shown_resized_images(distill, tmp_path):
    ended = distill("--data.img-size", "16")
    assert ended.code == 0, ended.err
    assert "at 8x8" in ended.err


def test_a_second_student_needs_no_forward_pass_of_the_teacher(distill, tmp_path, monkeypatch):
    from resmlp.tasks.teacher import TeacherNetwork

    forward, asked = TeacherNetwork.forward, []

    def counted(self, images):
        asked.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(TeacherNetwork, "forward", counted)
    counts = []
    for name in ("first", "second"):
        ended = distill("--out", tmp_path / name, "--task.cache", tmp_path / "cache")
        assert ended.code == 0, ended.err
        assert f"outputs cached in {tmp_path / 'cache'}" in " ".join(ended.err.split())
        counts.append(sum(asked))
        asked.clear()
    assert counts == [1 + 24, 1], "a single image, before training starts"
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_a_run_may_use_a_cache_later(distill, tmp_path):
    assert distill().code == 0
    assert distill("--task.cache", tmp_path / "cache").code == 0
    changed = distill("--task.alpha", 0.1)
    assert changed.code == 2
    assert "task.alpha: 0.5 -> 0.1" in changed.error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task.teacher", "mixer_s32"], "mixer_s32 has no trained weights"),
        (["--task.teacher", "timm:resnet18"], "timm:resnet18 has no trained weights"),
        (["--task.teacher", "timm:resnet18.nowhere"], "Invalid pretrained tag"),
        (["--task.teacher", "timm:resnet1"], "timm has no model 'resnet1'"),
        (["--task.teacher", "runs/nowhere"], "no model at runs/nowhere"),
        (["--task.teacher", "EMPTY"], "no model.safetensors in"),
        (["--task.teacher-size", "16"], "cannot be run at 16x16: resmlp_digits was built for images of 8x8"),
        (["--task.teacher-size", "0"], "--task.teacher-size 0"),
        (["--task.teacher-size", "1", "2", "3"], "give one number, or height and width"),
        (["--task.cache", "FILE"], "is a file (give a folder)"),
        (["--task.cache", "FILE/below"], "Not a directory"),
        (["--task.cache", "x" * 300], "File name too long"),
        (["--task.kind", "soft", "--task.top-k", "9"], "--task.top-k 9 exceeds the 3 classes"),
        (["--task.alpha", "1.5"], "--task.alpha 1.5"),
        (["--task.temperature", "0"], "--task.temperature 0"),
        (["--task.kind", "firm"], "firm"),
    ],
)
def test_an_unsuitable_teacher_is_an_error_in_one_line(distill, tmp_path, flags, message):
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    paths = {"EMPTY": str(tmp_path / "empty"), "FILE": str(tmp_path / "file"), "FILE/below": str(tmp_path / "file/b")}
    ended = distill(*(paths.get(flag, flag) for flag in flags))
    assert ended.code == 2
    assert message in ended.error
    assert not (tmp_path / "run").exists(), "before training starts"


@pytest.mark.parametrize(
    ("change", "message"), [("fewer", "has 3 classes, and the data has 2"), ("renamed", "has no class crimson")]
)
def test_a_teacher_of_other_classes_is_refused(distill, tree, tmp_path, change, message):
    root = tmp_path / "data"
    shutil.copytree(tree, root)
    if change == "fewer":
        shutil.rmtree(root / "red")
    else:
        (root / "red").rename(root / "crimson")
    ended = distill("--data.root", root)
    assert ended.code == 2
    assert message in ended.error


def test_the_classes_of_a_file_without_names_are_counted(distill, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "teacher")
    path = tmp_path / "teacher" / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"classes": []}))
    assert distill("--task.teacher", tmp_path / "teacher").code == 0


@pytest.fixture
def cache(distill, tmp_path) -> Path:
    """A full cache."""
    assert distill("--out", tmp_path / "first", "--task.cache", tmp_path / "cache").code == 0
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task.teacher", "OTHER"], "teacher.sha256"),
        (["--run.seed", "7"], "seed: 0 -> 7"),
        (["--task.teacher-precision", "bf16"], "teacher.precision: fp32 -> bf16"),
        (["--augment.erasing", "0"], "augment.erasing: 0.25 -> 0.0"),
    ],
)
def test_a_cache_of_other_settings_is_an_error_with_the_field(distill, cache, tmp_path, flags, message):
    ended = distill("--task.cache", cache, *(str(tmp_path / "first") if flag == "OTHER" else flag for flag in flags))
    assert ended.code == 2
    assert message in ended.error


@pytest.mark.parametrize("name", ["cache.json", "epoch-00000-rank-000.bin"])
def test_a_corrupt_cache_is_named_in_a_line(distill, cache, name):
    whole = (cache / name).read_bytes()
    at = len(whole) // 2 if name == "cache.json" else 40  # of the first record, behind its mark and the images' digest
    (cache / name).write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    ended = distill("--task.cache", cache)
    assert ended.code == 2
    assert name in ended.error
    (cache / name).unlink()
    assert distill("--task.cache", cache).code == 0, "without it, the outputs are computed again"


def test_a_run_killed_while_it_fills_the_cache_continues_to_the_same_student(trained, tree, tmp_path, distill):
    assert distill("--out", tmp_path / "whole", "--run.epochs", 2).code == 0
    cache = tmp_path / "cache"
    flags = ["--task.teacher", trained, "--data.root", tree, "--out", tmp_path / "run", "--task.cache", cache]
    flags += ["--run.epochs", 2]
    process = processes.resmlp("train", "distill", *FAST, *flags, log=tmp_path / "log")
    end = time.monotonic() + 60
    while not list(cache.glob("*.bin")):
        assert process.exitcode is None, (tmp_path / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    assert processes.end(process) == -signal.SIGKILL
    assert distill("--task.cache", cache, "--run.epochs", 2).code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
