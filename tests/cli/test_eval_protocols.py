"""The protocols of `resmlp eval` against loops over plain lists.

Each image is of one gray, its number; what is said of it is a row of a table. So the right score is known beforehand.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

import resmlp as package
from resmlp.config import Preprocessing
from resmlp.metrics import bootstrap
from resmlp.models import save_model
from resmlp.utils.files import write_json

EIGHT = Preprocessing((8, 8), crop_ratio=1.0)
KINDS = ("confusion", "predictions", "reliability")


def gray(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(path)


def make_model(folder: Path, num_classes: int, classes: Iterable[str] = (), seed: int = 0) -> Path:
    """A tiny untrained network, as a run folder's two files."""
    torch.manual_seed(seed)
    network = package.create_model("resmlp_s12", dim=8, depth=1, patch_size=4, img_size=8, num_classes=num_classes)
    torch.nn.init.normal_(network.head.weight)
    save_model(folder, network, tuple(classes), EIGHT)
    return folder / "model.safetensors"


def whole(answers):
    """As many entries as real.json has."""
    return answers + [[]] * (50_000 - len(answers))


@pytest.fixture
def table(monkeypatch):
    """`table(logits)`: of image i, every network says `logits[i]`."""

    def say(logits: torch.Tensor) -> torch.Tensor:
        method = "resmlp.inference.TorchPredictor.logits"
        monkeypatch.setattr(method, lambda self, images: logits[images[:, 0, 4, 4].long()])
        return logits

    return say


@pytest.fixture
def evaluate(resmlp):
    """`evaluate(model, ...)`: the object that `resmlp eval --json` prints."""

    def run(model: Path, *flags: object) -> dict:
        ended = resmlp("eval", model, "--json", "--data.workers", 0, *flags)
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


@pytest.fixture
def mistake(resmlp):
    """`mistake(model, ...)`: the one line that `resmlp eval` says of it."""

    def run(*args: object) -> str:
        ended = resmlp("eval", *args, "--data.workers", 0)
        assert ended.code == 2, ended.err
        assert ended.out == ""
        return ended.error

    return run


# ReaL


@pytest.fixture
def val(tmp_path) -> tuple[Path, list[int]]:
    """Sixty images of twelve classes with validation numbers in no order; the number of image i at i."""
    numbers = random.Random(3).sample(range(1, 81), 60)
    for i, number in enumerate(numbers):
        gray(tmp_path / "val" / f"n{i % 12:08}" / f"ILSVRC2012_val_{number:08}.png", i)
    return tmp_path / "val", numbers


def test_real_is_what_a_loop_counts(evaluate, table, val, tmp_path):
    root, numbers = val
    answers = [random.Random(i).sample(range(12), (i * 7) % 4) for i in range(80)]
    write_json(tmp_path / "real.json", whole(answers))
    logits, model = table(torch.randn(256, 12)), make_model(tmp_path / "model", 12)
    flags = ("--data.root", root, "--real", tmp_path / "real.json", "--data.batch-size", 7)
    both = evaluate(model, *flags, "--protocol", "top1", "real")

    right = counted = 0
    for i, number in enumerate(numbers):
        if answers[number - 1]:
            counted += 1
            right += int(logits[i].argmax()) in answers[number - 1]
    assert 0 < right < counted < 60
    assert (both["real"], both["real_images"], both["images"]) == (right / counted, counted, 60)
    assert both["real_interval"] == list(bootstrap(right, counted))
    assert both["top1"] == sum(int(logits[i].argmax()) == i % 12 for i in range(60)) / 60
    assert both["top5"] == sum(i % 12 in logits[i].topk(5).indices for i in range(60)) / 60

    flat = tmp_path / "flat" / "all"
    flat.mkdir(parents=True)
    for file in root.rglob("*.png"):
        shutil.copy(file, flat)
    alone = evaluate(model, "--data.root", flat.parent, "--real", tmp_path / "real.json", "--protocol", "real")
    assert alone == {key: both[key] for key in ("real", "real_interval", "real_images", "images", "unreadable")}


def test_flip_is_top1_by_the_mean_of_two_views(evaluate, tmp_path, monkeypatch):
    """The left half of image i is of gray 2i and the right half of 2i + 1; a network sees the left column alone."""
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    method = "resmlp.inference.TorchPredictor.logits"
    monkeypatch.setattr(method, lambda self, images: logits[images[:, 0, 4, 0].long()])
    classes, right = ("a", "b", "c"), {"top1": 0, "flip": 0}
    for i in range(30):
        path = tmp_path / "images" / classes[i % 3] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(np.uint8([[2 * i, 2 * i + 1]]), 4, 1).repeat(8, 0)).save(path)
        both = (logits[2 * i] + logits[2 * i + 1]) / 2
        right["top1"] += int(logits[2 * i].argmax()) == i % 3
        right["flip"] += int(both.argmax()) == i % 3
    flags = ("--data.root", tmp_path / "images", "--protocol", "top1", "flip")
    found = evaluate(make_model(tmp_path / "model", 3, classes), *flags)
    assert right["top1"] != right["flip"]
    assert {name: found[name] for name in right} == {name: count / 30 for name, count in right.items()}
    assert found["flip_interval"] == list(bootstrap(right["flip"], 30))


def test_what_ran_is_named_where_a_precision_is_asked_for(evaluate, resmlp, val, tmp_path):
    model, flags = make_model(tmp_path / "model", 12), ("--data.root", val[0])
    assert "ran_by" not in evaluate(model, *flags)
    ran = evaluate(model, *flags, "--precision", "fp32")["ran_by"]
    assert (ran["backend"], ran["precision"]) == ("torch", "fp32")
    ended = resmlp("eval", model, "--data.workers", 0, *flags, "--precision", "fp32")
    assert f"\n  ran by torch, fp32 ({ran['instruction_set']})\n" in ended.out


def test_the_network_runs_once_for_two_protocols(evaluate, table, val, tmp_path, monkeypatch):
    from resmlp.inference import TorchPredictor

    write_json(tmp_path / "real.json", whole([[0]] * 80))
    logits, seen = torch.randn(256, 12), []
    table(logits)
    real = TorchPredictor.logits

    def counted(self, images):
        seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(TorchPredictor, "logits", counted)
    flags = ("--data.root", val[0], "--real", tmp_path / "real.json", "--protocol", "top1", "real")
    evaluate(make_model(tmp_path / "model", 12), *flags)
    assert sum(seen) == 60 + 1, "and a blank image, to count its classes"


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([[1]] * 79, "has labels of 79 images, not 50,000"),
        ([[1]] * 50_001, "has labels of 50,001 images, not 50,000"),
        (whole([[1]] * 79 + [[12]]), "image 80 holds 12"),
        (whole([["1"]] * 80), "image 1 holds '1'"),
        ([], "is not a list of labels"),
        (whole([[]] * 80), "has no answer to any of the images"),
        (None, "no file"),
    ],
    ids=["too short", "too long", "a class too many", "strings", "empty", "no answers", "no file"],
)
def test_a_real_json_that_does_not_fit(mistake, table, val, tmp_path, entries, says):
    root, _ = val
    table(torch.randn(256, 12))
    if entries is not None:
        write_json(tmp_path / "real.json", entries)
    model = make_model(tmp_path / "model", 12)
    flags = ("--data.root", root, "--protocol", "real", "--real", tmp_path / "real.json")
    assert says in mistake(model, *flags)


def test_a_image_without_a_number(mistake, val, tmp_path):
    write_json(tmp_path / "real.json", whole([[0]] * 80))
    gray(val[0] / "n00000003" / "n00000003_17.png", 0)
    flags = ("--data.root", val[0], "--protocol", "top1", "real", "--real", tmp_path / "real.json")
    assert "n00000003_17.png has no number" in mistake(make_model(tmp_path / "model", 12), *flags)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--protocol", "real"], "--protocol real needs --real"),
        (["--real", "real.json"], "--real is given, and nothing reads it (add --protocol real)"),
        (["--indices", "a.txt", "--protocol", "v2"], "add --protocol a or r"),
        (["--protocol", "rael"], "unknown protocol 'rael' (did you mean real"),
        (["--protocol"], "--protocol names nothing"),
        (["--protocol", "a"], "--indices is not given"),
        (["--weights", "average"], "--weights"),
    ],
    ids=str,
)
def test_a_protocol_that_cannot_be(mistake, val, tmp_path, flags, says):
    assert says in mistake(make_model(tmp_path / "model", 12), "--data.root", val[0], *flags)


# ImageNet-V2


@pytest.mark.parametrize("folders", [range(12), range(1, 12), (2, 10, 11), (0,)], ids=str)
@pytest.mark.parametrize("named", [True, False])
def test_a_folders_number_is_the_class_index(evaluate, table, tmp_path, folders, named):
    """As strings 10 comes before 2: of the folders 1 to 11 not one would be where it belongs."""
    for k in folders:
        for i in range(3):
            gray(tmp_path / "v2" / str(k) / f"{i}.png", k)
    table(torch.cat([torch.eye(12), torch.zeros(244, 12)]))
    model = make_model(tmp_path / "model", 12, [f"n{k:08}" for k in range(12)] if named else ())
    result = evaluate(model, "--data.root", tmp_path / "v2", "--protocol", "v2")
    n = 3 * len(folders)
    assert result == {
        **{"v2": 1.0, "v2_interval": [1.0, 1.0], "v2_top5": 1.0, "v2_top5_interval": [1.0, 1.0]},
        **{"images": n, "unreadable": []},
    }


def test_v2_counts_as_a_loop(evaluate, table, tmp_path):
    for i in range(40):
        gray(tmp_path / "v2" / str(i % 10) / f"{i}.png", i)
    logits = table(torch.randn(256, 12))
    result = evaluate(make_model(tmp_path / "model", 12), "--data.root", tmp_path / "v2", "--protocol", "v2")
    ranked = [sorted(range(12), key=lambda k: -row[k]) for row in logits.tolist()]
    assert result["v2"] == sum(ranked[i][0] == i % 10 for i in range(40)) / 40
    assert result["v2_top5"] == sum(i % 10 in ranked[i][:5] for i in range(40)) / 40


@pytest.mark.parametrize("name", ["12", "n01440764", "-1", "1.5", "٣"])
def test_a_folder_that_is_no_class_number(mistake, tmp_path, name):
    for folder in ("0", "1", name):
        gray(tmp_path / "v2" / folder / "a.png", 0)
    line = mistake(make_model(tmp_path / "model", 12), "--data.root", tmp_path / "v2", "--protocol", "v2")
    assert f"a folder is called {name}" in line


@pytest.mark.parametrize("protocol", ["real", "v2", "a"])
def test_a_model_whose_classes_are_not_those_of_imagenet(mistake, val, tmp_path, protocol):
    """Its answers would be compared with indices of other classes, and all be wrong without a word."""
    write_json(tmp_path / "answers", [[0]] * 80)
    file = {"real": ["--real", tmp_path / "answers"], "v2": [], "a": ["--indices", tmp_path / "answers"]}[protocol]
    flags = ("--data.root", val[0], "--protocol", protocol, *file)
    assert "the model has 1,001 classes" in mistake(make_model(tmp_path / "large", 1001), *flags)
    turned = make_model(tmp_path / "turned", 12, WNIDS[::-1])
    assert "wnids are in another order" in mistake(turned, *flags)


# ImageNet-A and -R

SOME = [1, 2, 5, 6, 8, 11]
WNIDS = [f"n{k:08}" for k in range(12)]


@pytest.fixture
def subset(tmp_path) -> Path:
    """Thirty images of six of the twelve classes, and `indices.txt` beside them."""
    for i in range(30):
        gray(tmp_path / "a" / WNIDS[SOME[i % 6]] / f"{i}.png", i)
    (tmp_path / "indices.txt").write_text("".join(f"{k}\n" for k in SOME))
    return tmp_path / "a"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("key", ["a", "r"])
def test_only_some_classes_can_be_said(evaluate, table, subset, tmp_path, key, named):
    logits = table(torch.randn(256, 12))
    model = make_model(tmp_path / "model", 12, WNIDS if named else ())
    result = evaluate(model, "--data.root", subset, "--protocol", key, "--indices", tmp_path / "indices.txt")
    right = unrestricted = 0
    for i in range(30):
        right += max(SOME, key=lambda k: float(logits[i, k])) == SOME[i % 6]
        unrestricted += int(logits[i].argmax()) == SOME[i % 6]
    assert right > unrestricted
    expected = {key: right / 30, f"{key}_interval": list(bootstrap(right, 30)), "images": 30, "unreadable": []}
    assert result == expected


def test_with_names_the_folders_may_be_fewer_but_the_classes_are_not(evaluate, table, subset, tmp_path):
    logits = table(torch.randn(256, 12))
    shutil.rmtree(subset / WNIDS[SOME[0]])
    flags = ("--data.root", subset, "--protocol", "a", "--indices", tmp_path / "indices.txt")
    own = [i for i in range(30) if i % 6]
    right = sum(max(SOME, key=lambda k: float(logits[i, k])) == SOME[i % 6] for i in own)
    assert evaluate(make_model(tmp_path / "model", 12, WNIDS), *flags)["a"] == right / 25


def test_the_two_hundred_classes_are_known_by_their_names(evaluate, table, tmp_path):
    """Without an index list, where the model knows the names: a class outside the folders' is never said."""
    names = [f"n{k:08}" for k in range(210)]
    for k in range(5, 205):
        gray(tmp_path / "a" / names[k] / "0.png", k)
    logits = torch.eye(256)[:, :210]
    logits[:, 209] = 2.0
    table(logits)
    model = make_model(tmp_path / "model", 210, names)
    result = evaluate(model, "--data.root", tmp_path / "a", "--protocol", "a")
    assert (result["a"], result["images"]) == (1.0, 200)


def test_what_does_not_fit_a_subset(mistake, subset, tmp_path):
    named, nameless = make_model(tmp_path / "named", 12, WNIDS), make_model(tmp_path / "nameless", 12)
    flags = ("--data.root", subset, "--protocol", "a")
    listed = tmp_path / "indices.txt"
    assert "6 class folders, of 200" in mistake(named, *flags)
    listed.write_text("1 2 5 6 8")
    assert f"{listed} lacks the index of n00000011" in mistake(named, *flags, "--indices", listed)
    assert "6 class folders, 5 indices" in mistake(nameless, *flags, "--indices", listed)
    listed.write_text("1 2 5 6 8 12")
    assert f"{listed} holds 12 (the model has 12 classes" in mistake(nameless, *flags, "--indices", listed)


# what all of them share


def test_with_few_classes_top5_is_of_all_of_them(evaluate, table, tmp_path):
    for i in range(12):
        gray(tmp_path / "data" / str(i % 3) / f"{i}.png", i)
    table(torch.randn(256, 3))
    result = evaluate(make_model(tmp_path / "model", 3), "--data.root", tmp_path / "data")
    assert (result["top5"], result["top5_interval"]) == (1.0, [1.0, 1.0])


def test_several_crops_are_what_each_is_alone(evaluate, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(16):
        (tmp_path / "data" / str(i % 4)).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(256, size=(30, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / str(i % 4) / f"{i}.png")
    model = make_model(tmp_path / "model", 4)
    flags = ("--data.root", tmp_path / "data", "--data.crop-ratio")
    alone = {crop: evaluate(model, *flags, crop) for crop in ("0.3", "0.875")}
    assert alone["0.3"]["top1"] != alone["0.875"]["top1"], "or the crop does nothing"
    together = evaluate(model, *flags, *alone, "--out", tmp_path / "out")
    drawn = {Path(figure).name for result in together["crops"].values() for figure in result.pop("figures")}
    assert together == {"crops": alone}
    assert drawn == {f"{kind}-data-crop{crop}.png" for kind in KINDS for crop in alone}


def test_people_see_the_interval_and_the_crop(resmlp, table, tmp_path):
    for i in range(20):
        gray(tmp_path / "data" / str(i % 2) / f"{i}.png", i)
    logits = torch.eye(2).repeat(128, 1)
    logits[:5] = logits[:5].flip(1)
    logits[7] = float("nan")
    table(logits)
    model = make_model(tmp_path / "model", 2)
    ended = resmlp("eval", model, "--data.root", tmp_path / "data", "--data.crop-ratio", 1.0, 0.9)
    low, high = bootstrap(14, 20)
    assert f"top1 0.7000 ({low:.3f} to {high:.3f})" in ended.out
    assert "on 20 images at crop ratio 1.0" in ended.out
    assert "on 20 images at crop ratio 0.9" in ended.out
    assert "1 images gave outputs that are not finite" in ended.out
    (line,) = (line for line in ended.out.splitlines() if line.endswith("at crop ratio 1.0"))
    assert "  balanced_accuracy 0.7000  ece 0." in line
    assert "macro_f1" not in line


def test_scores_by_class_and_calibration(evaluate, table, tmp_path):
    """Five classes of unequal size, against scikit-learn and a loop over the images."""
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 120, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    for i, label in enumerate(labels):
        gray(tmp_path / "data" / "abcde"[label] / f"{i}.png", i)
    logits = table(torch.randn(256, 5) + 2 * torch.eye(5)[torch.from_numpy(np.resize(labels, 256))])
    found = evaluate(make_model(tmp_path / "model", 5, "abcde"), "--data.root", tmp_path / "data")
    probability, said = (part.numpy() for part in logits[:120].double().softmax(1).max(1))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, said))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    columns = zip(*precision_recall_fscore_support(labels, said))
    for row, expected in zip(found["class_scores"].values(), columns, strict=True):
        assert list(row.values()) == pytest.approx(expected)
    error = 0.0
    for low in range(15):
        own = (probability > low / 15) & (probability <= (low + 1) / 15)
        error += abs((said == labels)[own].sum() - probability[own].sum()) / 120
    assert found["ece"] == pytest.approx(error, abs=1e-6)
    assert sum(found["reliability"]["images"]) == 120


def test_a_set_of_which_nothing_can_be_read_has_no_score(mistake, tmp_path):
    for name in ("0", "1"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(b"no image")
    assert "none of the 2 images can be read" in mistake(
        make_model(tmp_path / "m", 2), "--data.root", tmp_path / "data"
    )


# weights


@pytest.fixture
def run(tmp_path, evaluate) -> Path:
    """A run folder whose three kinds of weights are different, and the score of each as a model of its own."""
    rng = np.random.default_rng(0)
    for i in range(40):
        (tmp_path / "data" / f"c{i % 4}").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"c{i % 4}" / f"{i}.png")
    classes = [f"c{k}" for k in range(4)]
    make_model(tmp_path / "run", 4, classes)
    for step, seeds in {3: (1, 2), 20: (3, 4)}.items():
        for kind, seed in zip(("raw", "ema"), seeds):
            model = make_model(tmp_path / f"{kind}{step}", 4, classes, seed)
            (tmp_path / "run" / "checkpoints" / f"step-{step:08}").mkdir(parents=True, exist_ok=True)
            shutil.copy(model, tmp_path / "run" / "checkpoints" / f"step-{step:08}" / f"{kind}.safetensors")
    return tmp_path / "run"


def test_weights_are_those_of_the_last_checkpoint(evaluate, run, tmp_path):
    data = ("--data.root", tmp_path / "data")
    alone = {kind: evaluate(tmp_path / f"{kind}20" / "model.safetensors", *data) for kind in ("raw", "ema")}
    alone["best"] = evaluate(run / "model.safetensors", *data)
    assert len({tuple(result["per_class"].values()) for result in alone.values()}) == 3, "or it says nothing"
    for kind, result in alone.items():
        found = evaluate(run, *data, "--weights", kind)
        drawn = found.pop("figures")
        assert found == result
        assert all(kind in Path(figure).stem or kind == "best" for figure in drawn)


def test_weights_that_are_not_there(mistake, run, tmp_path):
    data = ("--data.root", tmp_path / "data")
    for model in (run / "model.safetensors", tmp_path / "raw3"):
        assert "has no checkpoints" in mistake(model, *data, "--weights", "raw")
    last = run / "checkpoints" / "step-00000020"
    (last / "ema.safetensors").unlink()
    for kind, field in {"ema": "--run.ema", "avg": "--run.average"}.items():
        said = mistake(run, *data, "--weights", kind)
        assert f"was trained without {field} (its last checkpoint has raw;" in said
    (last / "raw.safetensors").write_bytes(b"cut")
    assert "is not a weight file" in mistake(run, *data, "--weights", "raw")
    save_file({"other": torch.zeros(1)}, last / "raw.safetensors")
    assert "raw.safetensors" in mistake(run, *data, "--weights", "raw")
    (last / "raw.safetensors").unlink()
    assert "no weights at" in mistake(run, *data, "--weights", "raw")


def test_a_real_run_keeps_each_kind(train, evaluate, tmp_path):
    """Of a run that `train` wrote, each kind scores as its last evaluation did."""
    assert train("--run.ema", 0.9, "--run.average", 2, "--run.epochs", 3).code == 0
    last = json.loads((tmp_path / "run" / "summary.json").read_text())["last"]
    assert {*last} == {"raw", "ema", "avg"}
    for kind in last:
        assert evaluate(tmp_path / "run", "--weights", kind)["top1"] == last[kind]["top1"]


# several processes


@pytest.mark.slow
def test_two_processes_count_what_one_does(evaluate, tmp_path):
    """Exactly, though the images do not divide and one cannot be read; and one of the processes prints."""
    rng = np.random.default_rng(0)
    folders = [tmp_path / "data" / f"c{k}" for k in range(7)]
    for i in range(17):
        folders[i % 7].mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(256, size=(12, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folders[i % 7] / f"ILSVRC2012_val_{i + 1:08}.png")
    broken = folders[2] / "ILSVRC2012_val_00000020.png"
    broken.write_bytes(b"no image")
    write_json(tmp_path / "real.json", whole([[i % 7, (i + 3) % 7] if i % 5 else [] for i in range(1, 21)]))
    model = make_model(tmp_path / "model", 7, [f"c{k}" for k in range(7)])
    flags = ["--data.root", tmp_path / "data", "--data.batch-size", 4, "--data.crop-ratio", 0.7, 0.9]
    flags += ["--protocol", "top1", "real", "--real", tmp_path / "real.json", "--device", "cpu"]
    alone = evaluate(model, *flags)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "resmlp"]
    command = [*launch, "eval", model, *flags, "--data.workers", 0, "--json"]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("\n") == 1
    together = json.loads(ended.stdout)
    for crop, result in alone["crops"].items():  # batches of other sizes round the probabilities otherwise
        other = together["crops"][crop]
        assert other.pop("ece") == pytest.approx(result.pop("ece"), abs=1e-6)
        bins, others = result.pop("reliability"), other.pop("reliability")
        assert others["images"] == bins["images"]
        assert [p or 0 for p in others["probability"]] == pytest.approx([p or 0 for p in bins["probability"]], abs=1e-6)
    assert together == alone
    assert alone["crops"]["0.7"] != alone["crops"]["0.9"]
    for result in alone["crops"].values():
        assert (result["images"], result["unreadable"]) == (17, [str(broken)])


@pytest.mark.parametrize(("classes", "shown"), [(3, False), (5, False), (6, True)])
def test_top5_is_not_shown_where_it_says_nothing(classes, shown):
    from resmlp.evaluation.evaluate import lines

    scores = {"top1": 0.5, "top5": 1.0, "images": 8, "per_class": dict.fromkeys(map(str, range(classes)), 0.5)}
    assert ("top5" in "\n".join(lines(scores))) == shown
