"""A run is evaluated and continued on its own images, and names what it leaves out."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from resmlp.tasks import Supervised


@pytest.fixture
def colors(tree, tmp_path) -> Path:
    """A copy of the undivided tree, to change."""
    return shutil.copytree(tree, tmp_path / "colors")


def rows(run: Path, part: str) -> list[str]:
    """The paths in one part of a run's list."""
    lines = (line.split("\t") for line in (run / "images.tsv").read_text().splitlines()[1:-1])
    return [path for name, _, _, path in lines if name == part]


def top1(ended) -> dict:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.fixture
def stopped(train, colors, tmp_path, monkeypatch) -> Path:
    """A run on `colors` that was interrupted after its second step."""
    loss = Supervised.loss

    def interrupted(self, model, batch, step):
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, batch, step)

    monkeypatch.setattr(Supervised, "loss", interrupted)
    assert train("--data.root", colors).code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.mark.slow
def test_eval_takes_the_images_that_the_run_held_out(train, resmlp, colors, tmp_path):
    assert train("--data.root", colors).code == 0
    run = tmp_path / "run"
    val, trained = rows(run, "val"), rows(run, "train")
    assert len(val) + len(trained) == 36
    (colors / val[0]).unlink()
    (colors / trained[0]).unlink()
    (colors / trained[1]).rename(colors / trained[1].replace(".png", "x.png"))
    for arguments in ((), ("--data.root", colors)):
        ended = resmlp("eval", run, *arguments, "--json", "--device", "cpu")
        assert top1(ended)["images"] == len(val) - 1
        assert top1(ended)["unreadable"] == [str(colors / val[0])]
        assert f"gone: 2 of {len(trained)} for training, 1 of {len(val)} for validation" in ended.err
        assert "1 image not in the list of the run, left out: " in ended.err
    colors.rename(tmp_path / "moved")
    ended = resmlp("eval", run, "--data.root", tmp_path / "moved", "--json", "--device", "cpu")
    assert top1(ended)["images"] == len(val) - 1


def test_eval_on_other_images_takes_all_of_them(trained, resmlp, tree, tmp_path):
    classes = [path.name for path in tree.iterdir()]
    for name in classes:
        for i in range(2):
            (tmp_path / "other" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9)).save(tmp_path / "other" / name / f"{i:02}.png")
    assert top1(resmlp("eval", trained, "--data.root", tmp_path / "other", "--json"))["images"] == 2 * len(classes)


def test_a_run_continues_where_its_data_moved(stopped, train, colors, tmp_path):
    listed = (stopped / "images.tsv").read_bytes()
    colors.rename(tmp_path / "elsewhere")
    ended = train("--data.root", tmp_path / "elsewhere")
    assert ended.code == 0, ended.err
    assert "continuing after step 2" in ended.err
    assert (stopped / "images.tsv").read_bytes() == listed
    assert json.loads((stopped / "recipe.json").read_text())["data"]["root"] == str(tmp_path / "elsewhere")


@pytest.mark.parametrize("moved", [False, True], ids=["the same path", "another path"])
def test_a_run_does_not_continue_on_other_images(stopped, train, colors, tmp_path, moved):
    path = rows(stopped, "train")[0]
    Image.new("RGB", (8, 8), "white").save(colors / path)
    if moved:
        colors.rename(tmp_path / "elsewhere")
    ended = train("--data.root", tmp_path / "elsewhere" if moved else colors)
    assert ended.code == 2
    assert f"are not those of the run: {path}" in ended.error


@pytest.mark.slow
def test_a_run_continues_without_an_image_that_is_gone(stopped, train, colors):
    path = rows(stopped, "train")[0]
    (colors / path).unlink()
    ended = train("--data.root", colors)
    assert ended.code == 0, ended.err
    assert f"images of the run are gone: 1 of {len(rows(stopped, 'train'))} for training ({path})" in ended.err


@pytest.mark.slow
def test_working_inside_the_data_folder_twice(train, resmlp, colors, monkeypatch):
    monkeypatch.chdir(colors)
    for _ in range(2):
        ended = train("--data.root", ".", "--out", "runs/x")
        assert ended.code == 0, ended.err
    assert resmlp("inspect", "runs/x", "--out", "inspected", "--device", "cpu").code == 0
    ended = train("--data.root", ".", "--out", "runs/second")
    assert ended.err.count("left out of") == 1
    assert "folders that are no data: inspected/, runs/" in ended.err
    assert len(json.loads((colors / "runs/second/model.json").read_text())["classes"]) == 3


def test_training_names_what_it_leaves_out_and_waits_for_no_pipe(train, colors):
    folder = next(path for path in colors.iterdir() if path.is_dir())
    os.mkfifo(folder / "x.jpg")
    (folder / "y.jxl").write_bytes(b"\xff\x0a")
    ended = train("--data.root", colors)
    assert ended.code == 0, ended.err
    (note,) = [line for line in ended.err.splitlines() if "left out of" in line]
    assert f"(.jxl 1; {folder.name}/y.jxl)" in note
    assert f"pipes, sockets or devices: {folder.name}/x.jpg" in note
