"""A cross-validation: one run for each fold, skipped when finished, continued when interrupted, and their spread."""

import json
import statistics
from pathlib import Path

import pytest
from PIL import Image

from resmlp.cli.main import main
from resmlp.utils.files import read_json
from resmlp.utils.run_folder import checkpoint_steps

FOLDS = ["--data.folds", "3"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of 12 images, one dark and one light."""
    for label, name in enumerate(("dark", "light")):
        for i in range(12):
            path = tmp_path / "tree" / name / f"video{i // 2}-{i % 2}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i + 200 * label,) * 3).save(path)
    return tmp_path / "tree"


def folder_flags(tree: Path) -> list[str]:
    small = ("--model", "resmlp_digits", "--model.depth", "1", "--data.img-size", "8", "--data.batch-size", "8")
    return ["--data.source", "folder", "--data.root", str(tree), *small, "--data.workers", "0"]


def held(folder: Path) -> list[str]:
    lines = (folder / "images.tsv").read_text().splitlines()
    return [line.rpartition("\t")[2] for line in lines if line.startswith("val\t")]


@pytest.mark.slow
def test_all_folds_one_after_the_other(tmp_path, tree, digits, capsys):
    out = tmp_path / "cv"
    flags = [*folder_flags(tree), *FOLDS, "--data.group-by", r"(\w+/video\d)", "--json"]
    assert digits(out, *flags) == 0
    shown = capsys.readouterr()
    report = read_json(out / "folds.json")
    assert json.loads(shown.out) == report
    scores = [read_json(out / f"fold-{fold}" / "summary.json") for fold in range(3)]
    for key in ("top1", "top5"):
        best = [summary[key] for summary in scores]
        assert report["mean"][key] == pytest.approx(sum(best) / 3)
        assert report["std"][key] == pytest.approx(statistics.stdev(best))
        last = [summary["last"][summary["weights"]][key] for summary in scores]
        assert report["last"]["mean"][key] == pytest.approx(statistics.fmean(last))
    assert "fold 2" in shown.err
    assert "±" in shown.err
    files = {str(path.relative_to(tree)) for path in tree.rglob("*.png")}
    parts = [held(out / f"fold-{fold}") for fold in range(3)]
    assert sorted(sum(parts, [])) == sorted(files)
    videos = [{path.partition("-")[0] for path in part} for part in parts]
    assert sum(map(len, videos)) == len(set().union(*videos)) == 12
    for fold in range(3):  # a run is evaluated on its own fold
        assert main(["eval", str(out / f"fold-{fold}"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["top1"] == pytest.approx(
            scores[fold]["last"][scores[fold]["weights"]]["top1"]
        )

    before = {path: path.stat().st_mtime_ns for path in out.rglob("summary.json")}
    assert digits(out, *flags) == 0  # nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in out.rglob("summary.json")} == before
    assert digits(out, *flags, "--run.epochs", "3") == 2
    assert "fold-0 holds a run of another recipe: run.epochs: 2 -> 3" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_cross_validation_continues_where_it_stopped(
    tmp_path, digits, interrupt_at, monkeypatch, capsys
):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    few = [*FOLDS, "--data.fraction", "0.3"]
    assert digits(whole, *few) == 0
    assert digits(torn / "fold-0", *few, "--data.fold", "0") == 0  # one fold alone is a fold of all
    interrupt_at(1)
    assert digits(torn, *few) == 130
    assert (torn / "fold-0" / "summary.json").is_file()
    assert checkpoint_steps(torn / "fold-1")
    assert not (torn / "fold-2").exists()
    assert read_json(torn / "folds.json")["finished"] == 1
    assert digits(torn, *few) == 0
    assert "continuing after step 2" in capsys.readouterr().err
    assert read_json(torn / "folds.json") == read_json(whole / "folds.json")
    for fold in range(3):
        weights = [folder / f"fold-{fold}" / "model.safetensors" for folder in (whole, torn)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_images_that_change_between_folds_are_named(tmp_path, tree, digits, capsys):
    out, flags = tmp_path / "cv", [*folder_flags(tree), *FOLDS]
    assert digits(out / "fold-0", *flags, "--data.fold", "0") == 0
    (tree / "dark" / "new.png").write_bytes((tree / "dark" / "video0-0.png").read_bytes())
    assert digits(out, *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: the images of {out / 'fold-1'} are not those of {out / 'fold-0'}")
    assert "dark/new.png" in error


def test_where_folds_cannot_be(tmp_path, digits, whole, capsys):
    assert digits(whole, *FOLDS) == 2
    assert f"{whole} is a run, not a folder for the runs of all folds" in capsys.readouterr().err
    assert digits(tmp_path / "a", "--data.fold", "1") == 2
    assert "--data.fold 1 is not one of --data.folds 0" in capsys.readouterr().err
    assert digits(tmp_path / "b", "--data.folds", "200") == 2
    assert "no class has more than 183 images" in capsys.readouterr().err


def test_a_fold_has_a_folder_of_its_own_by_default(tmp_path, monkeypatch):
    from resmlp.recipes import RECIPES
    from resmlp.training.train import default_folder
    from resmlp.utils.serialization import from_dict, to_dict

    values = to_dict(RECIPES["folder"])
    assert default_folder(from_dict(type(RECIPES["folder"]), values)) == Path("runs/folder")
    values["data"] |= {"folds": 5, "fold": 3}
    assert default_folder(from_dict(type(RECIPES["folder"]), values)) == Path("runs/folder/fold-3")
