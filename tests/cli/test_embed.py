"""`resmlp embed`, and `resmlp eval` by the protocols on frozen features."""

import importlib.util
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from colored import COLORS, color, plant
from PIL import Image

from resmlp.inference import load
from resmlp.metrics import knn


@pytest.fixture
def divided(tmp_path) -> Path:
    """Twelve images a color to learn from and five held out."""
    plant(tmp_path / "divided" / "train", count=12)
    return plant(tmp_path / "divided" / "val", count=5, seed=100).parent


@pytest.fixture
def embed(resmlp):
    """`embed(model, path, ...)`: the object that `--json` prints."""

    def run(*args: object) -> dict:
        ended = resmlp("embed", *args, "--json", "--workers", 0, "--batch-size", 7, "--device", "cpu")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


def features_of(model: Path, files: list[Path]) -> np.ndarray:
    """What the classifier of the network is given, one image at a time."""
    predictor, seen = load(model, "cpu"), []
    predictor.model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for file in files:
        predictor.logits([Image.open(file)])
    return torch.cat(seen).numpy()


def test_rows_are_what_the_head_sees_in_order_of_path(embed, trained, divided, tmp_path):
    color("red", 7, (40, 9)).save(divided / "alone.png")
    result = embed(trained, divided, "--out", tmp_path / "out" / "f.npy")
    rows, about = np.load(tmp_path / "out" / "f.npy"), json.loads((tmp_path / "out" / "f.json").read_text())
    files = sorted(divided.rglob("*.png"), key=lambda file: file.relative_to(divided).as_posix())
    paths = [file.relative_to(divided).as_posix() for file in files]
    assert about["paths"] == paths
    assert about["labels"] == [None if name == "alone.png" else name.split("/")[1] for name in paths]
    assert rows.dtype == np.float32
    assert np.allclose(rows, features_of(trained, files), atol=1e-4)
    assert (result["images"], result["dim"], result["unreadable"]) == (52, rows.shape[1], [])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"f.npy", "f.json"}


def test_an_archive_and_a_flat_folder(embed, trained, tree, tmp_path):
    (tmp_path / "flat").mkdir()
    for file in (tree / "red").iterdir():
        shutil.copy(file, tmp_path / "flat")
    with tarfile.open(tmp_path / "tree.tar", "w") as tar:
        tar.add(tree, "")
    for root in (tmp_path / "flat", tmp_path / "tree.tar", tree):
        embed(trained, root, "--out", tmp_path / f"{root.name}.npy")
    rows, about = ({n: read(tmp_path / f"{n}.{e}") for n in ("flat", "tree.tar", "colors")} for read, e in READ)
    assert np.array_equal(rows["tree.tar"], rows["colors"])
    for key in ("paths", "labels"):
        assert about["tree.tar"][key] == about["colors"][key]
    assert about["colors"]["labels"] == [name for name in sorted(COLORS) for _ in range(12)]
    assert about["flat"]["labels"] == [None] * 12
    assert np.allclose(rows["flat"], rows["colors"][24:], atol=1e-4)


READ = [(np.load, "npy"), (lambda path: json.loads(path.read_text()), "json")]


def test_what_cannot_be_read_is_named(embed, trained, divided, tmp_path):
    (divided / "train" / "red" / "03.png").write_bytes(b"no image")
    result = embed(trained, divided, "--out", tmp_path / "f.npy")
    about = json.loads((tmp_path / "f.json").read_text())
    assert [Path(name).name for name in result["unreadable"]] == ["03.png"]
    assert "train/red/03.png" not in about["paths"]
    assert len(np.load(tmp_path / "f.npy")) == len(about["paths"]) == 50


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="no pyarrow")
def test_parquet(embed, trained, divided, tmp_path):
    from pyarrow import parquet

    color("red", 7).save(divided / "alone.png")
    embed(trained, divided, "--out", tmp_path / "f.npy")
    embed(trained, divided, "--out", tmp_path / "f.parquet")
    table, about = parquet.read_table(tmp_path / "f.parquet"), json.loads((tmp_path / "f.json").read_text())
    assert table.column_names == ["path", "label", "feature", "error"]
    assert table["path"].to_pylist() == about["paths"]
    assert table["label"].to_pylist() == about["labels"]
    assert np.array_equal(np.array(table["feature"].to_pylist(), np.float32), np.load(tmp_path / "f.npy"))


def test_parquet_without_pyarrow_is_one_line(resmlp, trained, divided, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: find(name, *rest) if name != "pyarrow" else None
    )
    ended = resmlp("embed", trained, divided, "--out", tmp_path / "f.parquet")
    assert ended.code == 2
    assert "pip install '.[parquet]'" in ended.error
    assert not (tmp_path / "f.parquet").exists()


@pytest.mark.usefixtures("whole_figures")
def test_a_map(embed, trained, divided, tmp_path):
    result = embed(trained, divided, "--map", tmp_path / "m.png")
    assert result["mapped"] == 51
    pixels = np.asarray(Image.open(tmp_path / "m.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10, "something is drawn"
    again = embed(trained, divided, "--map", tmp_path / "n.png")
    assert again["mapped"] == 51
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "n.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "nowhere to write the features"),
        (["--out", "f.csv"], "--out f.csv (give a file name that ends in .npy or .parquet)"),
        (["--out", "f"], "--out f (give a file name that ends in"),
        (["--map", "m.svg"], "--map m.svg (give a file name that ends in .png)"),
        (["--out", "taken.npy"], "taken.npy is a folder"),
        (["--out", "file/f.npy"], "cannot write --out file/f.npy: "),
        (["--map", "file/m.png"], "cannot write --map file/m.png: "),
        (["--out", "held.npy"], "held.json, beside --out held.npy is a folder"),
        (["--out", "f.npy", "--batch-size", "0"], "--batch-size 0"),
    ],
    ids=str,
)
def test_where_features_cannot_go(resmlp, trained, tree, tmp_path, flags, says):
    (tmp_path / "taken.npy").mkdir()
    (tmp_path / "held.json").mkdir()
    (tmp_path / "file").write_text("")
    ended = resmlp("embed", trained, tree, *flags)
    assert ended.code == 2
    assert says in ended.error
    assert {file.name for file in tmp_path.iterdir()} == {"taken.npy", "held.json", "file"}


@pytest.mark.parametrize("text", ['{"model": 1}', "[1, 2]", "no json", ""])
def test_a_json_of_another_program_is_not_replaced(resmlp, embed, trained, tree, tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    ended = resmlp("embed", "no-such-model", tree, "--out", tmp_path / "model.npy")
    assert ended.code == 2
    assert f"would replace {tmp_path / 'model.json'}, which embed did not write" in ended.error
    assert (tmp_path / "model.json").read_text() == text
    assert {file.name for file in tmp_path.iterdir()} == {"model.json"}


def test_what_was_there_stays_until_both_files_are_whole(resmlp, embed, tree, tmp_path, monkeypatch):
    embed("pixels", tree, "--out", tmp_path / "f.npy")  # its own .json it may replace
    embed("pixels", tree / "red", "--out", tmp_path / "f.npy")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert before.keys() == {"f.npy", "f.json"}

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    ended = resmlp("embed", "pixels", tree, "--out", tmp_path / "f.npy", "--workers", 0, "--device", "cpu")
    assert (ended.code, "No space left" in ended.error) == (2, True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_cannot_be_embedded(resmlp, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    plant(tmp_path / "few", count=3)
    out = ("--out", tmp_path / "f.npy")
    for args, says in (
        ((trained, "nowhere", *out), "error: PATH nowhere: no such file or folder"),
        ((trained, tmp_path / "empty", *out), "no images in"),
        (("resmlp_s99", tmp_path / "few", *out), "unknown model"),
        ((trained, tmp_path / "few", "--map", "m.png"), "9 images: too few for a map (at least 10)"),
    ):
        ended = resmlp("embed", *args)
        assert ended.code == 2
        assert says in ended.error
    for file in (tmp_path / "few").rglob("*.png"):
        file.write_bytes(b"")
    assert "none of the 9 images can be read" in resmlp("embed", trained, tmp_path / "few", *out).error
    assert not (tmp_path / "f.npy").exists()


# knn and linear


@pytest.fixture
def evaluate(resmlp):
    """`evaluate(model, ...)`: the object that `resmlp eval --json` prints."""

    def run(model: object, *flags: object) -> dict:
        ended = resmlp("eval", model, "--json", "--data.workers", 0, *flags)
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


def test_knn_is_that_of_the_features(evaluate, embed, divided, tmp_path):
    """Of an untrained network, whose features do not tell all colors apart."""
    for i, file in enumerate(sorted(divided.rglob("*.png"))):
        pixels = np.random.default_rng(i).integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    result = evaluate("pixels", "--data.root", divided, "--protocol", "knn", "--knn.k", 3, 20)
    parts = {}
    for part in ("train", "val"):
        embed("pixels", divided / part, "--out", tmp_path / f"{part}.npy")
        labels = json.loads((tmp_path / f"{part}.json").read_text())["labels"]
        parts[part] = (
            torch.from_numpy(np.load(tmp_path / f"{part}.npy")),
            torch.tensor([sorted(COLORS).index(n) for n in labels]),
        )
    expected = dict(knn(*parts["train"], *parts["val"], (3, 20)))
    assert {name: result[name] for name in expected} == expected
    assert 0 < result["knn@3"] < 1
    assert (result["images"], result["train_images"], result["knn"]) == (15, 36, result["knn@20"])
    apart = ("--data.root", divided / "val", "--train", divided / "train", "--protocol", "knn", "--knn.k", 3, 20)
    assert evaluate("pixels", *apart) == result


def test_a_run_learns_from_its_own_split(evaluate, trained):
    result = evaluate(trained, "--protocol", "knn", "linear", "--linear.epochs", 20, "--linear.lr", 0.1, 0.01)
    assert (result["knn"], result["linear"]) == (1.0, 1.0)
    assert result["images"] + result["train_images"] == 36
    assert [(m["layers"], m["lr"]) for m in result["linear_grid"]] == [(1, 0.1), (1, 0.01)], "of a network of one layer"
    chosen = max(result["linear_grid"], key=lambda member: member["held_out_top1"])
    assert (result["linear_lr"], result["linear"]) == (chosen["lr"], chosen["top1"])
    assert result["linear_upper_bound"] == max(member["top1"] for member in result["linear_grid"])
    assert result["linear_lr"] == 0.1


def test_classes_are_matched_by_name(evaluate, trained, divided, tmp_path):
    shutil.copytree(divided / "val" / "red", tmp_path / "some" / "red")
    result = evaluate(trained, "--data.root", tmp_path / "some", "--train", divided, "--protocol", "knn", "linear")
    assert (result["knn"], result["linear"], result["images"]) == (1.0, 1.0, 5)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--knn.k", "37"], "k = 37, but only 36 training images"),
        (["--knn.k", "0"], "--knn.k 0"),
        (["--knn.temperature", "0"], "--knn.temperature 0"),
        (["--linear.layers", "2", "--protocol", "linear"], "2 layers of a network with 1"),
        (["--linear.epochs", "0"], "--linear.epochs 0"),
        (["--data.root", "undivided"], "36 images are to be learned from and evaluated on"),
        (["--train", "nowhere"], "nowhere: no such file or folder"),
        (["--train", "bare"], "lie directly in"),
        (["--train", "one"], "the training images are of one class, red"),
        (["--train", "two"], "no training image is of class green"),
        (["--train", "two", "--protocol", "top1"], "add --protocol knn or linear"),
    ],
    ids=str,
)
def test_what_cannot_be_measured(resmlp, trained, divided, tmp_path, flags, says):
    plant(tmp_path / "undivided", seed=50)  # other images than those of the run
    plant(tmp_path / "one", ["red"])
    plant(tmp_path / "two", ["red", "blue"])
    plant(tmp_path / "bare_", ["red"])
    (tmp_path / "bare_" / "red").rename(tmp_path / "bare")
    root = [] if "--data.root" in flags else ["--data.root", divided]
    protocol = [] if "--protocol" in flags else ["--protocol", "knn"]
    ended = resmlp("eval", trained, "--data.workers", 0, *root, *protocol, *flags)
    assert ended.code == 2
    assert says in ended.error
    assert ended.out == ""


def test_pixels_have_no_classifier(resmlp, divided):
    ended = resmlp("eval", "pixels", "--data.root", divided, "--data.workers", 0, "--protocol", "top1")
    assert ended.code == 2
    assert "pixels has no classifier (resmlp eval --protocol knn or linear" in ended.error


def test_people_see_the_grid(resmlp, trained):
    ended = resmlp("eval", trained, "--data.workers", 0, "--protocol", "linear", "--linear.lr", 0.1)
    assert "linear 1.0000" in ended.out
    assert "last 1 layers, lr 0.1: top1 1.0000" in ended.out
