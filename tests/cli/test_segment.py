"""Segmentation from the command line: train, evaluate, predict."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from PIL import Image

from resmlp.analysis.segmentation_files import output_names
from resmlp.cli.main import main
from resmlp.exporters.formats import FORMATS

sys.path.insert(0, str(Path(__file__).parent))  # for `painted`

from painted import CLASSES, COLORS, IGNORED, PARTS, plant

FLAGS = [
    *("--data.source", "masks", "--data.img-size", "24", "32", "--data.batch-size", "4", "--data.workers", "0"),
    *("--model", "resmlp_digits", "--model.patch-size", "4", "--model.dim", "16", "--model.depth", "2"),
    *(
        "--task.width",
        "16",
        "--task.jitter",
        "0",
        "--model.layer-scale",
        "0.1",
        "--optim.lr",
        "0.01",
        "--optim.warmup-epochs",
        "0",
    ),
    *("--run.epochs", "24", "--run.eval-every", "24", "--run.device", "cpu", "--run.precision", "fp32"),
    *("--run.ema", "None", "--run.log"),
]


@pytest.fixture(scope="session")
def masks(tmp_path_factory) -> Path:
    """Images with labels, in the parts train, val and test. Not to be written to."""
    return plant(tmp_path_factory.mktemp("masks") / "painted")


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory, masks) -> Path:
    """The run folder of a network that tells the colors apart. Not to be written to, but by `eval`."""
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    assert main(["train", "scenes", *FLAGS, "--data.root", str(masks), "--out", str(folder)]) == 0
    torch.set_num_threads(threads)
    return folder


def numbers(ended) -> dict:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


def test_a_run_holds_a_model_its_colors_and_a_sheet_in_the_report(segmenter):
    summary = json.loads((segmenter / "summary.json").read_text())
    assert summary["miou"] > 0.75
    assert summary["pixel_accuracy"] > 0.9
    card = json.loads((segmenter / "model.json").read_text())
    assert (card["kind"], tuple(card["classes"])) == ("segmenter", CLASSES)
    assert len(card["palette"]) == len(CLASSES)
    with Image.open(segmenter / "figures" / "labeled.png") as sheet:
        drawn = {color for _, color in sheet.convert("RGB").getcolors(2**24)}
    assert {tuple(color) for color in card["palette"]} <= drawn, "the legend has the classes' very colors"
    report = (segmenter / "report.html").read_text()
    assert "the ground truth of their pixels" in report
    assert report.count("<img") == 2, "the curves and the sheet"


def test_eval_says_what_training_said(resmlp, segmenter):
    found = numbers(resmlp("eval", segmenter, "--json", "--data.workers", 0))
    summary = json.loads((segmenter / "summary.json").read_text())
    for name in ("miou", "pixel_accuracy"):
        assert found[name] == pytest.approx(summary["last"]["raw"][name], abs=1e-6)
    assert list(found["per_class"]) == list(CLASSES)
    assert found["miou"] == pytest.approx(np.mean(list(found["per_class"].values())))
    assert found["images"] == PARTS["val"]
    assert all(Path(figure).is_file() for figure in found["figures"])


def test_two_processes_report_what_the_saved_network_gives(resmlp, masks, tmp_path):
    """What is evaluated in training is what is saved."""
    flags = ["--run.epochs", "3", "--run.eval-every", "3", "--data.root", str(masks), "--out", str(tmp_path / "run")]
    processes.together(main, ["train", "scenes", *FLAGS, *flags], folder=tmp_path)
    found = numbers(resmlp("eval", tmp_path / "run", "--json", "--data.workers", 0))
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["last"]["raw"]
    for name in ("miou", "pixel_accuracy"):
        assert found[name] == pytest.approx(told[name], abs=1e-6)


def test_eval_takes_another_part_and_counts_its_pixels(resmlp, segmenter, masks, tmp_path):
    found = numbers(resmlp("eval", segmenter, "--json", "--data.split", "test", "--data.workers", 0))
    assert found["images"] == PARTS["test"]
    files = sorted((masks / "images" / "test").iterdir())
    numbers(resmlp("predict", segmenter, *files, "--out", tmp_path / "out", "--json"))
    right = counted = 0
    for file in files:
        truth = np.asarray(Image.open(masks / "labels" / "test" / file.name))
        said = labels_of(tmp_path / "out" / f"{file.stem}-labels.png")
        right += int(((truth == said) & (truth != IGNORED)).sum())
        counted += int((truth != IGNORED).sum())
    assert found["pixel_accuracy"] == pytest.approx(right / counted), "what predict writes is what eval counts"


@pytest.mark.slow
def test_an_exported_run_labels_as_the_run_does(resmlp, segmenter, masks, tmp_path):
    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package)
    assert numbers(resmlp("export", segmenter, "--out", tmp_path / "onnx", "--json"))["difference"] < 1e-4
    files = sorted((masks / "images" / "test").iterdir())
    found = {}
    for model in (segmenter, tmp_path / "onnx"):
        flags = ("--json", "--data.root", masks, "--data.split", "test", "--data.workers", 0, "--out", tmp_path / "f")
        scores = numbers(resmlp("eval", model, *flags))
        out = tmp_path / model.name / "labels"
        numbers(resmlp("predict", model, *files, "--out", out, "--json"))
        drawn = [labels_of(path).ravel() for path in sorted(out.glob("*-labels.png"))]
        found[model] = scores["miou"], np.concatenate(drawn)
    (own, labels), (theirs, exported) = found.values()
    assert theirs == pytest.approx(own, abs=1e-3)
    assert len(set(labels)) == len(CLASSES)
    assert (labels == exported).mean() >= 0.999


def test_eval_on_another_root(resmlp, segmenter, masks, tmp_path):
    own = numbers(resmlp("eval", segmenter, "--json", "--data.workers", 0))
    (tmp_path / "again").symlink_to(masks)
    again = numbers(resmlp("eval", segmenter, "--json", "--data.root", tmp_path / "again", "--data.workers", 0))
    assert again["miou"] == own["miou"]
    lone = tmp_path / "model.safetensors"
    lone.write_bytes((segmenter / "model.safetensors").read_bytes())
    (tmp_path / "model.json").write_bytes((segmenter / "model.json").read_bytes())
    alone = numbers(resmlp("eval", lone, "--json", "--data.root", masks, "--data.workers", 0))
    assert alone["miou"] == own["miou"], "a file of weights and its .json are enough"
    assert "nothing to evaluate" in resmlp("eval", lone).error


def test_a_class_that_training_images_have_lost_stops_no_evaluation(resmlp, masks, tmp_path):
    shutil.copytree(masks, tmp_path / "set")
    assert (
        resmlp("train", "scenes", *FLAGS, "--run.epochs", 1, "--data.root", tmp_path / "set", "--out", "run").code == 0
    )
    own = numbers(resmlp("eval", "run", "--json", "--data.workers", 0))
    for file in (tmp_path / "set" / "labels" / "train").iterdir():
        Image.fromarray(np.minimum(np.asarray(Image.open(file)), 1)).save(file)
    assert numbers(resmlp("eval", "run", "--json", "--data.workers", 0))["miou"] == own["miou"]


def test_eval_knows_its_own_images_however_they_are_spelled(resmlp, masks, tmp_path):
    """A set without parts was divided by training, so that all of it is not what was held out."""
    flat = tmp_path / "flat"
    shutil.copytree(masks / "images" / "train", flat / "images")
    shutil.copytree(masks / "labels" / "train", flat / "labels")
    shutil.copy(masks / "classes.txt", flat)
    assert resmlp("train", "scenes", *FLAGS, "--run.epochs", 1, "--data.root", flat, "--out", "run").code == 0
    own = numbers(resmlp("eval", "run", "--json", "--data.workers", 0))
    assert own["images"] < PARTS["train"]
    (tmp_path / "link").symlink_to(flat)
    for root in (flat, f"{flat}/", f"../{tmp_path.name}/flat", "link"):
        again = numbers(resmlp("eval", "run", "--json", "--data.root", root, "--data.workers", 0))
        assert (again["images"], again["miou"]) == (own["images"], own["miou"])


def test_eval_refuses_other_classes(resmlp, segmenter, tmp_path):
    other = plant(tmp_path / "other", ("ground", "blue", "red"))
    ended = resmlp("eval", segmenter, "--data.root", other)
    assert ended.code == 2
    assert "classes are" in ended.error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.split", "tests"], "did you mean test?"),
        (["--data.crop-ratio", "0.9"], ""),
        (["--protocol", "top1"], "segmenter"),
        (["--protocol", "top1", "--data.split", "test"], "is a segmenter"),
        (["--weights", "ema"], "was trained without --run.ema"),
    ],
)
def test_eval_says_what_is_amiss(resmlp, segmenter, flags, said):
    ended = resmlp("eval", segmenter, *flags)
    assert ended.code == 2
    assert said in ended.error


def test_predict_draws_and_numbers(resmlp, segmenter, masks, tmp_path):
    image, out = masks / "images" / "val" / "0.png", tmp_path / "out"
    [found] = numbers(resmlp("predict", segmenter, image, "--out", out, "--json"))["predictions"]
    assert found["file"] == str(image)
    assert sum(found["shares"].values()) == pytest.approx(1)
    labels = labels_of(found["labels"])
    assert labels.shape == np.asarray(Image.open(image)).shape[:2]
    counts = {name: float((labels == i).mean()) for i, name in enumerate(CLASSES)}
    assert found["shares"] == pytest.approx({name: share for name, share in counts.items() if share})
    shown = np.asarray(Image.open(found["overlay"]).convert("RGB")).astype(int)
    height, width = labels.shape
    assert shown.shape[0] > height, "a legend lies below"
    palette = np.array(json.loads((segmenter / "model.json").read_text())["palette"])
    wanted = 0.45 * np.asarray(Image.open(image).convert("RGB")) + 0.55 * palette[labels]
    assert np.abs(shown[:height, :width] - wanted).max() <= 1.5
    ended = resmlp("predict", segmenter, image, "--out", out)
    assert ended.out.startswith(f"{found['overlay']}: ground 0.")
    assert sorted(path.name for path in out.iterdir()) == ["0-labels.png", "0-overlay.png"]


def test_images_of_one_name_keep_apart(resmlp, segmenter, masks, tmp_path):
    files = [masks / "images" / part / "0.png" for part in ("val", "test")]
    found = numbers(resmlp("predict", segmenter, *files, files[0], "--json", "--out", tmp_path))["predictions"]
    assert [Path(each["overlay"]).name for each in found] == ["val-0-overlay.png", "test-0-overlay.png"]
    first, second = (labels_of(each["labels"]) for each in found)
    alone = numbers(resmlp("predict", segmenter, files[1], "--json", "--out", tmp_path))["predictions"][0]
    assert np.array_equal(labels_of(alone["labels"]), second)
    assert not np.array_equal(first, second)


def test_names_of_outputs_are_never_alike(tmp_path):
    files = ["a/x.png", "b/X.jpg", "c/a-x.png", "d/a/x.webp", "d/a/x.png", "y.png", "y.png"]
    names = output_names(files, tmp_path)
    assert list(names) == files[:-1]
    assert len({name.casefold() for name in names.values()}) == len(names)
    assert names["y.png"] == "y"


def test_outputs_keep_the_tree_of_a_folder(resmlp, segmenter, tmp_path):
    for name in ("a/b/x.png", "a/x.jpg", "y.png", "c/b/x.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), COLORS[1]).save(tmp_path / "in" / name)
    found = numbers(resmlp("predict", segmenter, "in", "--json", "--out", "out"))["predictions"]
    assert sorted(each["labels"] for each in found) == [f"out/{n}-labels.png" for n in ("a/b/x", "a/x", "c/b/x", "y")]
    assert all(Path(each["overlay"]).is_file() for each in found)
    names = output_names(["in/a/x.jpg", "in/a/x.png", "other/a/x.png", "z.png"], tmp_path, ["in", "z.png"])
    assert len({name.casefold() for name in names.values()}) == 4
    assert names["z.png"] == "z"
    ended = resmlp("predict", segmenter, "out", "--json", "--out", "out")
    assert "no images in out" in ended.error or "all the images are predictions" in ended.error


def test_a_packed_set_gives_what_its_folder_gives(resmlp, segmenter, masks, tmp_path):
    assert resmlp("data", "pack", masks, "--out", "packed").code == 0
    scores = [numbers(resmlp("eval", segmenter, "--data.root", root, "--json")) for root in (masks, "packed")]
    assert scores[0]["miou"] == scores[1]["miou"]
    ours, theirs = (
        numbers(resmlp("predict", segmenter, root, "--json", "--out", f"out-{number}"))["predictions"]
        for number, root in enumerate(("packed", masks / "images"))
    )
    assert len(ours) == len({each["labels"] for each in ours}) == len(theirs)
    pixels = [sorted(labels_of(each["labels"]).tobytes() for each in found) for found in (ours, theirs)]
    assert pixels[0] == pixels[1]
    assert all(Path(each["overlay"]).is_file() and ":" not in each["overlay"] for each in ours)


def test_predict_twice_in_a_folder_takes_no_prediction_for_a_image(resmlp, segmenter, tmp_path):
    Image.new("RGB", (40, 30), COLORS[1]).save(tmp_path / "x.png")
    for _ in range(2):
        found = numbers(resmlp("predict", segmenter, ".", "--out", ".", "--json"))["predictions"]
        assert [each["file"] for each in found] == ["x.png"]
    assert "all the images are predictions" in resmlp("predict", segmenter, "x-overlay.png", "--out", ".").error


def test_predict_passes_over_what_is_hidden_and_names_what_leads_nowhere(resmlp, segmenter, tmp_path):
    folder = tmp_path / "in"
    (folder / "folder.png").mkdir(parents=True)
    for name in ("a.png", ".hidden.png"):
        Image.new("RGB", (40, 30), COLORS[1]).save(folder / name)
    (folder / "circle.png").symlink_to("circle.png")
    ended = resmlp("predict", segmenter, folder, "--json")
    assert ended.code == 2
    assert "circle.png" in ended.error
    assert [Path(each["file"]).name for each in json.loads(ended.out)["predictions"]] == ["a.png"]


def test_predict_never_replaces_a_image(resmlp, segmenter, tmp_path):
    for name in ("x.png", "x-overlay.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "in" / name)
    (tmp_path / "y.png").symlink_to(tmp_path / "in" / "x-overlay.png")
    ended = resmlp("predict", segmenter, tmp_path / "in" / "x.png", tmp_path / "y.png", "--out", tmp_path / "in")
    assert ended.code == 2
    assert "would be replaced" in ended.error


def test_unreadable_images_are_named_at_the_end(resmlp, segmenter, masks, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = masks / "images" / "val" / "0.png"
    ended = resmlp("predict", segmenter, tmp_path / "bad.png", good, "--json")
    assert ended.code == 2
    assert "bad.png" in ended.error
    found = json.loads(ended.out)
    assert found["unreadable"] == [str(tmp_path / "bad.png")]
    assert Path(found["predictions"][0]["overlay"]).is_file(), "predictions/ of the working folder"


def test_flags_of_the_other_kind_are_refused(resmlp, segmenter, trained, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    assert "--top 3 is for classifiers" in resmlp("predict", segmenter, "x.png", "--top", 3).error
    assert "--out o is for segmenters" in resmlp("predict", trained, "x.png", "--out", "o").error
    (tmp_path / "file").touch()
    assert "is a file" in resmlp("predict", segmenter, "x.png", "--out", "file").error
    assert not (tmp_path / "predictions").exists()


def test_a_disk_that_refuses_is_said_in_a_line(resmlp, segmenter, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    (tmp_path / "out" / "x-labels.png").mkdir(parents=True)
    ended = resmlp("predict", segmenter, "x.png", "--out", "out")
    assert ended.code == 2
    assert "cannot write" in ended.error
    assert not list(tmp_path.rglob("*.part"))


def out_of_range(root: Path) -> None:
    Image.new("L", (40, 24), 9).save(root / "labels/train/0.png")


def of_another_size(root: Path) -> None:
    Image.new("L", (40, 23)).save(root / "labels/train/0.png")


def missing(root: Path) -> None:
    (root / "labels/val/1.png").unlink()


def a_image(root: Path) -> None:
    shutil.copy(root / "images/train/0.png", root / "labels/train/0.png")


def an_empty_class(root: Path) -> None:
    with (root / "classes.txt").open("a") as file:
        file.write("moon\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (out_of_range, "labels/train/0.png has label 9"),
        (of_another_size, "labels/train/0.png is 40x23"),
        (missing, "labels/val/1.png"),
        (a_image, "labels/train/0.png has colors"),
        (an_empty_class, "no training mask has a pixel of moon"),
    ],
)
def test_what_is_amiss_with_masks_ends_a_training_before_it_begins(resmlp, masks, tmp_path, spoil, said):
    shutil.copytree(masks, tmp_path / "set")
    spoil(tmp_path / "set")
    ended = resmlp("train", "scenes", *FLAGS, "--data.root", tmp_path / "set", "--out", "run")
    assert ended.code == 2
    assert said in ended.error
    assert ended.error.count("\n") == 0
    assert not Path("run").exists()


def test_settings_that_nothing_reads_are_refused(resmlp, masks):
    start = ("train", "scenes", *FLAGS, "--data.root", masks)
    assert "--augment.*" in resmlp(*start, "--augment.erasing", 0.5).error
    assert "--optim.freeze-epochs 1" in resmlp(*start, "--optim.freeze-epochs", 1).error
