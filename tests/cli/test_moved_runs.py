"""A finished run stands on its own: without its starting weights, its teacher and the hub, elsewhere on the disk."""

import json
import shutil
from pathlib import Path

import pytest

FAST = [
    *("--data.batch-size", "8", "--data.workers", "0", "--run.epochs", "1", "--run.device", "cpu"),
    *("--augment.policy", "none", "--augment.jitter", "0", "--model.drop-path", "0", "--run.log"),
]


@pytest.fixture(params=["checkpoint", "hub", "teacher"])
def moved(request, resmlp, trained, tree, tmp_path, monkeypatch) -> Path:
    """The folder of a run whose starting weights, teacher and hub are gone, moved; the working directory is another."""
    start = shutil.copytree(trained, tmp_path / "start")
    flags = ["finetune", "--model.checkpoint", "start", "--data.img-size", "8"]
    if request.param == "hub":
        hub = request.getfixturevalue("upload_hub")
        assert resmlp("push", start, "me/colors", "--license", "mit", "--out", tmp_path / "pushed").code == 0
        files = {path.name: path.read_bytes() for path in (tmp_path / "pushed").iterdir() if path.is_file()}
        hub.add("me/colors", files)
        flags = ["finetune", "--model", "hf-hub:me/colors", "--data.img-size", "8"]
    if request.param == "teacher":
        small = ["--model", "resmlp_digits", "--model.depth", "1", "--data.img-size", "8"]
        flags = ["distill", "--task.teacher", "start", *small, "--optim.name", "adamw", "--run.precision", "fp32"]
        flags += ["--augment.mixup", "0", "--augment.cutmix", "0", "--augment.repeats", "1"]
    ended = resmlp("train", *flags, *FAST, "--data.root", tree, "--out", "run")
    assert ended.code == 0, ended.err
    if request.param == "hub":
        hub.fault = 500
        shutil.rmtree(tmp_path / "hf")
    shutil.rmtree(start)
    elsewhere = tmp_path / "another machine"
    elsewhere.mkdir()
    (tmp_path / "run").rename(elsewhere / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return elsewhere / "run"


def test_seven_verbs_work_on_a_moved_run(moved, resmlp, tree, tmp_path):
    image = next(tree.glob("*/*.png"))
    summary = json.loads((moved / "summary.json").read_text())
    evaluated = resmlp("eval", moved, "--device", "cpu", "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["top1"] == pytest.approx(summary["last"][summary["weights"]]["top1"])
    for command in (
        ["predict", moved, image, "--device", "cpu"],
        ["export", moved, "--to", "onnx"],
        ["embed", moved, tree, "--out", "features.npy", "--device", "cpu"],
        ["inspect", moved, "--device", "cpu"],
        ["compress", moved, "--to", "int4", "--images", "4", "--device", "cpu"],
        ["push", moved, "me/again", "--license", "mit", "--out", "pushed"],
    ):
        ended = resmlp(*command)
        assert ended.code == 0, ended.err
    assert (moved / "export" / "model.onnx").is_file()
    assert (tmp_path / "here" / "pushed" / "config.json").is_file()


def test_the_recipe_of_a_run_names_its_network_and_absolute_paths(moved, tree):
    recipe = json.loads((moved / "recipe.json").read_text())
    assert recipe["model"]["name"] == "resmlp_digits"
    assert recipe["model"]["depth"] == 1
    assert recipe["data"]["root"] == str(tree)
    assert recipe["data"]["img_size"] == [8]
    for path in (recipe["model"]["checkpoint"], recipe["task"].get("teacher")):
        assert path is None or path.startswith("hf-hub:") or Path(path).is_absolute()
