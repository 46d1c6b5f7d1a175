"""A table of labels in every command: train, eval, predict, embed, export, data check."""

import csv
import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

import resmlp as package
from resmlp.cli.main import main

FLAGS = [
    *("--model", "resmlp_digits", "--model.depth", "1", "--model.init", "fan-in", "--model.drop-path", "0"),
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0", "--data.crop-ratio", "1"),
    *("--augment.policy", "none", "--augment.jitter", "0", "--augment.crop", "center", "--run.device", "cpu"),
    *("--optim.lr", "0.01", "--optim.warmup-epochs", "0", "--run.log", "--run.eval-every", "4"),
]
NAMES = ("red", "green", "blue")


def shown(i: int) -> list[str]:
    """The colors of image i: red in every second image, green in every third, blue in every fourth."""
    return [name for name, every in zip(NAMES, (2, 3, 4)) if i % every == 0]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """48 images in one folder, whose channels are bright where the image has the color."""
    root = tmp_path_factory.mktemp("flat")
    rng = np.random.default_rng(0)
    for i in range(48):
        bright = np.array([180 * (name in shown(i)) for name in NAMES])
        Image.fromarray((bright + rng.integers(0, 60, (8, 8, 3))).astype(np.uint8)).save(root / f"im{i:02}.png")
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """The colors of each image, with splits."""
    parts = ["train"] * 28 + ["val"] * 12 + ["test"] * 8
    rows = [(f"im{i:02}", "|".join(shown(i)), part) for i, part in enumerate(parts)]
    return write(tmp_path_factory.mktemp("tables") / "several.csv", ("file", "label", "split"), rows)


def write(path: Path, head: tuple[str, ...], rows: list[tuple]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, images, table) -> Path:
    """A run of `multilabel`. Not to be written to, but by `eval`."""
    folder = tmp_path_factory.mktemp("several") / "run"
    torch.manual_seed(0)
    data = ("--data.root", str(images), "--data.labels", str(table))
    assert main(["train", "multilabel", *FLAGS, *data, "--out", str(folder), "--run.epochs", "8"]) == 0
    return folder


def scores(ended) -> dict:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.mark.slow
def test_eval_is_that_of_scikit_learn(resmlp, run, images):
    found = scores(resmlp("eval", run, "--json", "--data.workers", 0))
    assert found["images"] == 12
    summary = json.loads((run / "summary.json").read_text())
    assert found["map"] == pytest.approx(summary["last"][summary["weights"]]["map"], abs=1e-6)
    predictor = package.load(run)
    held_out = [Image.open(images / f"im{i:02}.png").convert("RGB") for i in range(28, 40)]
    probabilities = predictor.probabilities(held_out)
    targets = np.array([[name in shown(i) for name in predictor.classes] for i in range(28, 40)])
    assert found["map"] == pytest.approx(average_precision_score(targets, probabilities), abs=1e-6)
    above = probabilities >= predictor.threshold
    assert found["f1"] == pytest.approx(f1_score(targets, above, average="macro"), abs=1e-6)
    assert found["map"] > targets.mean() + 0.15
    names = [set(np.array(predictor.classes)[row]) for row in above]
    assert [set(result.labels) for result in predictor.predict(held_out)] == names


@pytest.mark.slow
def test_predict_names_every_class_above_the_threshold(resmlp, run, images):
    threshold = json.loads((run / "model.json").read_text())["threshold"]
    files = [images / f"im{i:02}.png" for i in (0, 1, 2)]
    every = scores(resmlp("predict", run, *files, "--top", 3, "--json"))["predictions"]
    above = scores(resmlp("predict", run, *files, "--json"))["predictions"]
    for entry, full in zip(above, every):
        assert len(full["probabilities"]) == 3
        assert entry["labels"] == full["labels"] == [k for k, p in full["probabilities"].items() if p >= threshold]
        assert list(entry["probabilities"]) == entry["labels"]
    assert {len(entry["labels"]) for entry in above} >= {3, 0}
    assert "im01.png: none" in resmlp("predict", run, files[1]).out


@pytest.mark.slow
def test_other_splits_tables_and_places(resmlp, run, images, table, tmp_path):
    ask = ("--json", "--data.workers", 0)
    assert scores(resmlp("eval", run, *ask, "--data.split", "test"))["images"] == 8
    copy = shutil.copytree(images, tmp_path / "copy")
    own = scores(resmlp("eval", run, *ask))
    assert scores(resmlp("eval", run, *ask, "--data.root", copy)) == own
    assert scores(resmlp("eval", run, *ask, "--data.root", images, "--data.labels", table)) == own
    other = write(tmp_path / "t.csv", ("image", *NAMES), [(f"im{i:02}", i % 2, 1, 0) for i in range(20)])
    columns = ("--data.columns", "file=image", "label=" + ",".join(NAMES))
    found = scores(resmlp("eval", run, *ask, "--data.labels", other, *columns))
    assert (found["images"], found["per_class"]["blue"], found["per_class"]["green"]) == (20, None, 1)
    single = write(tmp_path / "t.csv", ("file", "label"), [(f"im{i:02}", NAMES[i % 2]) for i in range(9)])
    for labels in (table, single):  # it is the model that gives several
        error = resmlp("eval", run, "--protocol", "top1", "--data.root", images, "--data.labels", labels).error
        assert "gives several labels for each image; one is needed" in error
        assert "resmlp eval without --protocol" in error
    assert "evaluated on several" in resmlp("eval", run, "--protocol", "knn").error  # the labels of the run
    other = write(tmp_path / "t.csv", ("file", "label"), [("im00", "pink"), ("im01", "red")])
    assert "the model knows no class pink" in resmlp("eval", run, "--data.labels", other).error
    assert (
        "only resmlp eval --protocol miou"
        in resmlp("eval", "resmlp_s12", "--data.root", images, "--data.split", "val").error
    )


@pytest.mark.slow
def test_mistakes_are_judged_for_each_class(resmlp, run, images, tmp_path):
    """Two labels that were made wrong are named, and the errors are those of the probabilities of `predict`."""
    truth = {f"im{i:02}.png": set(shown(i)) for i in range(48)}
    said = truth | {"im01.png": {"red"}, "im12.png": {"red", "blue"}}  # it is green as well
    labels = write(tmp_path / "t.csv", ("file", "label"), [(name, "|".join(sorted(of))) for name, of in said.items()])
    flags = ("--data.root", images, "--data.labels", labels, "--data.workers", 0, "--out", tmp_path / "out", "--json")
    found = scores(resmlp("mistakes", run, *flags))
    assert (found["images"], found["labels"]) == (48, 48 * 3)
    doubts = {(one["path"], one["class_name"], one["label"], one["suggested"]) for one in found["wrong_labels"]}
    assert {("im01.png", "red", "red", "not red"), ("im12.png", "green", "not green", "green")} <= doubts
    predictor = package.load(run)
    expected = set()
    for name, of in said.items():
        (result,) = predictor.predict([str(images / name)])
        expected |= {(name, k) for k in set(result.labels) ^ of}
    assert {(one["path"], one["class_name"]) for one in found["errors"]} == expected
    assert found["wrong"] == len(expected)
    losses = [one["loss"] for one in found["errors"]]
    assert losses == sorted(losses, reverse=True)
    with (tmp_path / "out" / "mistakes.csv").open() as file:
        rows = {(row["path"], row["class_name"]) for row in csv.DictReader(file)}
    assert rows == expected | {one[:2] for one in doubts}
    text = resmlp("mistakes", run, *flags[:-1]).out
    assert f"{len(expected)} of 144 labels of 48 images are predicted wrong" in text
    assert "im01.png: red, probably not red" in text
    error = resmlp("mistakes", run, *flags, "--fiftyone", tmp_path / "fiftyone").error
    assert "gives several labels to an image" in error
    assert not (tmp_path / "fiftyone").exists()


@pytest.mark.slow
def test_a_run_continues_without_its_lost_images_and_elsewhere(resmlp, run, images, table, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(images, tmp_path / "moved")
    shutil.copy(table, tmp_path / "moved.csv")
    (tmp_path / "moved" / "im03.png").unlink()
    data = ("--data.root", tmp_path / "moved", "--data.labels", tmp_path / "moved.csv", "--run.epochs", 8)
    ended = resmlp("train", "multilabel", *FLAGS, *data, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert "images of the run are gone: 1 of 28 for training (im03.png)" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True])
def test_an_export_gives_the_same_labels(run, images, tmp_path, pixels):
    pytest.importorskip("onnxruntime")
    package.export(run, "onnx", tmp_path / "onnx", with_preprocessing=pixels)
    files = [str(images / f"im{i:02}.png") for i in range(28, 40)]
    exported, own = package.load(tmp_path / "onnx"), package.load(run)
    for here, there in zip(own.predict(files), exported.predict(files)):
        assert here.labels == there.labels
        assert here.probabilities == pytest.approx(there.probabilities, abs=1e-4)
    pictures = [Image.open(file).convert("RGB") for file in files]
    np.testing.assert_allclose(exported.logits(pictures), own.logits(pictures).numpy(), atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["int4", "2:4", "int8"])
def test_compression_is_measured_by_the_average_precision(resmlp, run, images, tmp_path, to):
    if to == "int8":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    ask = ("--json", "--data.workers", 0)
    found = scores(resmlp("compress", run, "--to", to, "--images", 8, "--out", tmp_path / "small", *ask))
    assert set(found["before"]) == {"map", "f1", "bytes"}
    for model, measured in ((run, found["before"]), (tmp_path / "small", found["after"])):
        own = scores(resmlp("eval", model, *ask))
        assert {name: own[name] for name in ("map", "f1")} == pytest.approx(
            {name: measured[name] for name in ("map", "f1")}, abs=1e-6
        )
        assert own["threshold"] == json.loads((run / "model.json").read_text())["threshold"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["folder", "finetune", "probe", "distill"])
def test_a_table_of_single_labels_trains_every_recipe(resmlp, trained, images, tmp_path, recipe):
    rows = [(f"im{i:02}.png", "red" if i % 2 == 0 else "none", 1 + i % 2) for i in range(48)]
    labels = write(tmp_path / "t.csv", ("image", "diagnosis", "weight"), rows)
    flags = [*FLAGS, "--data.root", images, "--data.labels", labels, "--data.columns", "file=image", "label=diagnosis"]
    if recipe in ("finetune", "probe"):
        flags = ["--model", trained, *flags[flags.index("--data.img-size") :]]
    if recipe == "distill":
        teacher = tmp_path / "teacher"
        assert resmlp("train", "folder", *flags, "--run.epochs", 1, "--out", teacher).code == 0
        flags += ["--task.teacher", teacher]
    ended = resmlp("train", recipe, *flags, "--run.epochs", 1, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert "top1" in scores(resmlp("eval", tmp_path / "run", "--json", "--data.workers", 0))


@pytest.mark.slow
def test_several_labels_from_the_weights_of_a_classifier(resmlp, trained, images, table, tmp_path):
    flags = [*FLAGS[FLAGS.index("--data.img-size") :], "--data.root", images, "--data.labels", table]
    ended = resmlp("train", "multilabel", "--model", trained, *flags, "--run.epochs", 1, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert scores(resmlp("eval", tmp_path / "run", "--json", "--data.workers", 0))["images"] == 12


@pytest.mark.slow
def test_embed_has_the_labels_of_the_table(resmlp, run, images, table, tmp_path):
    assert resmlp("embed", run, images, "--data.labels", table, "--out", tmp_path / "x.npy").code == 0
    rows = json.loads((tmp_path / "x.json").read_text())
    expected = {f"im{i:02}.png": "|".join(sorted(shown(i))) for i in range(48)}
    assert dict(zip(rows["paths"], rows["labels"])) == expected


def test_data_check_reports_rows_files_and_classes(resmlp, images, tmp_path):
    rows = [(f"im{i:02}", "ab"[i % 2], "train" if i < 30 else "val", f"g{i}") for i in range(40)]
    wrong = [("nix", "a", "train", "n"), ("im00", "b", "train", "g0"), ("im41", "c", "val", "g1"), rows[5]]
    table = write(tmp_path / "t.csv", ("file", "label", "split", "group"), rows + wrong)
    ended = resmlp("data", "check", images, "--data.labels", table, "--json")
    assert ended.code == 2
    found = {issue["kind"]: issue for issue in json.loads(ended.out)["issues"]}
    assert found["missing-file"]["names"] == ["line 42"]
    assert found["two-labels"]["details"] == ["im00 is b, and a in line 2"]
    assert found["val-only"]["names"] == ["line 44"]
    assert found["group-leak"]["details"] == ["the group g1 is in val, and in train in line 3"]
    assert found["no-row"]["count"] == 7
    assert found["repeated-row"]["severity"] == "note"
    whole = write(tmp_path / "t.csv", ("file", "label", "split", "group"), rows)
    assert resmlp("data", "check", images, "--data.labels", whole).code == 0


def test_data_check_of_a_table_without_any_of_its_images(resmlp, images, tmp_path):
    table = write(tmp_path / "t.csv", ("file", "label"), [(f"x/im{i:02}", "ab"[i % 2]) for i in range(9)])
    ended = resmlp("data", "check", images, "--data.labels", table)
    assert ended.code == 2
    assert "rows of images that are not there (9)" in ended.out


def test_data_check_of_training_rows_without_labels(resmlp, images, tmp_path):
    rows = [(f"im{i:02}", "a" if i > 30 else "", "val" if i > 30 else "train") for i in range(40)]
    table = write(tmp_path / "t.csv", ("file", "label", "split"), rows)
    assert resmlp("data", "check", images, "--data.labels", table).code == 2


@pytest.mark.parametrize(
    ("head", "more", "message"),
    [
        (("file", "label"), lambda i: ("",), "training needs two classes, and .* has none"),
        (("file", "label", "weight"), lambda i: ("ab"[i % 2], 0), "the weights of all training images are 0"),
        (("file", "label", "group"), lambda i: ("ab"[i % 2], i % 2), "a class with one group cannot be split"),
        (("file", "label"), lambda i: ("one" if i == 0 else "ab"[i % 2],), "a class with one image cannot be split"),
        (("file", "label", "group"), lambda i: ("a|b", 1), "one group cannot be split"),
    ],
)
def test_data_check_tells_where_training_stops(resmlp, images, tmp_path, head, more, message):
    table = write(tmp_path / "t.csv", head, [(f"im{i:02}", *more(i)) for i in range(40)])
    ended = resmlp("data", "check", images, "--data.labels", table, "--json")
    assert ended.code == 2
    [issue] = [issue for issue in json.loads(ended.out)["issues"] if issue["severity"] == "error"]
    assert re.search(message, issue["details"][0])
    flags = ("--data.root", images, "--data.labels", table, "--out", tmp_path / "run")
    assert re.search(message, resmlp("train", "multilabel", *FLAGS, *flags).error)  # training says the same
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("absolute", [True, False])
def test_data_check_finds_the_paths_that_train_does(resmlp, images, tmp_path, monkeypatch, absolute):
    monkeypatch.chdir(images.parent)
    start = images if absolute else images.name
    table = write(tmp_path / "t.csv", ("file", "label"), [(f"{start}/im{i:02}.png", "ab"[i % 2]) for i in range(40)])
    for root in (images, images.name):
        found = json.loads(resmlp("data", "check", root, "--data.labels", table, "--json").out)
        assert "missing-file" not in {issue["kind"] for issue in found["issues"]}


def test_data_check_counts_an_image_with_several_labels_once(resmlp, images, table):
    shown = resmlp("data", "check", images, "--data.labels", table).out
    assert [line.split()[:3] for line in shown.splitlines()[1:3]] == [
        ["train", "28", "images"],
        ["val", "20", "images"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="no pyarrow")
def test_without_pyarrow_a_parquet_table_is_one_line(resmlp, images, tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    flags = ("--data.root", images, "--data.labels", tmp_path / "t.parquet", "--out", tmp_path / "run")
    assert "no complete Parquet file" in resmlp("train", "folder", *FLAGS, *flags).error
    find = importlib.util.find_spec
    hidden = lambda name, *rest: find(name, *rest) if name != "pyarrow" else None  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    assert "needs pyarrow" in resmlp("train", "folder", *FLAGS, *flags).error
