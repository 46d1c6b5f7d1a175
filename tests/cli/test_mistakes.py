"""`resmlp mistakes`: the files it writes for a tree with labels that were made wrong."""

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resmlp
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import create_model, save_model
from resmlp.utils.errors import UserError

SHADES = {"<b>dark": 40, "light": 215}


@pytest.fixture
def tree(tmp_path):
    """Ten dark and ten light images, two of each in the other's folder."""
    rng = np.random.default_rng(0)
    for name, shade in SHADES.items():
        other = next(one for one in SHADES if one != name)
        for i in range(10):
            folder = tmp_path / "data" / (other if i < 2 else name)
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (shade + rng.integers(-20, 20, (8, 8, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{shade}-{i}.png")
    return tmp_path / "data"


@pytest.fixture
def network(tmp_path):
    """A network that tells dark from light by the mean of the pixels."""
    model = create_model("resmlp_digits", img_size=8, num_classes=2, depth=1).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    model.embed.patches.proj.weight.data[0] = 1 / 12
    for key, parameter in model.named_parameters():
        if key in ("norm.alpha",):
            parameter.data.fill_(1)
    model.head.weight.data[0, 0], model.head.weight.data[1, 0] = -8, 8
    folder = tmp_path / "network"
    folder.mkdir()
    save_model(folder, model, tuple(SHADES), Preprocessing((8, 8), crop_ratio=1.0, mean=(0.5,) * 3, std=(0.5,) * 3))
    return folder


def test_wrong_labels_are_named_and_shown(tree, network, tmp_path):
    found = resmlp.mistakes(network, tree, tmp_path / "out")
    wrong = {f"{folder}/{shade}-{i}.png" for folder, shade in (("light", 40), ("<b>dark", 215)) for i in range(2)}
    assert {one.path for one in found.errors} == wrong
    assert {one.path for one in found.wrong_labels} == wrong
    assert all(one.suggested == one.predicted != one.label for one in found.wrong_labels)
    assert (found.images, found.wrong, found.suspicious) == (20, 4, 4)
    written = json.loads((tmp_path / "out" / "mistakes.json").read_text())
    assert {one["path"] for one in written["wrong_labels"]} == wrong
    with (tmp_path / "out" / "mistakes.csv").open() as file:
        assert {row["path"] for row in csv.DictReader(file)} == wrong
    page = (tmp_path / "out" / "mistakes.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8
    assert "<b>dark" not in page
    assert "&lt;b&gt;dark" in page


def test_count_bounds_the_page_alone(tree, network, tmp_path):
    found = resmlp.mistakes(network, tree, tmp_path / "out", count=1)
    assert (len(found.errors), len(found.wrong_labels), found.wrong) == (1, 1, 4)
    assert len(json.loads((tmp_path / "out" / "mistakes.json").read_text())["errors"]) == 4
    assert (tmp_path / "out" / "mistakes.html").read_text().count("data:image/jpeg;base64,") == 2


def imported(path) -> dict:
    """What fiftyone.types.FiftyOneImageClassificationDataset reads, by its documentation: {image: its label}."""
    content = json.loads(path.read_text())
    assert set(content) == {"labels"}  # no "classes": labels are strings
    for image, label in content["labels"].items():
        assert Path(image).is_absolute()
        assert Path(image).is_file()
        assert isinstance(label["label"], str)
        assert 0 <= label.get("confidence", 0) <= 1
        assert set(label) <= {"label", "confidence", "attributes"}
    return content["labels"]


def test_fiftyone(tree, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = resmlp.mistakes(network, "data", tmp_path / "out", count=1, fiftyone=Path("found"))
    truth, predictions = (imported(tmp_path / "found" / f"{name}.json") for name in ("ground_truth", "predictions"))
    wrong = {f"{tree}/{folder}/{shade}-{i}.png" for folder, shade in (("light", 40), ("<b>dark", 215)) for i in (0, 1)}
    assert set(truth) == set(predictions) == wrong
    (first,) = found.wrong_labels
    key = str(tree / first.path)
    assert truth[key] == {
        "label": first.label,
        "attributes": {"wrong_label": True, "suggested": first.predicted, "margin": first.margin},
    }
    doubts = {"label_probability": first.label_probability, "loss": first.loss}
    assert predictions[key] == {"label": first.predicted, "confidence": first.probability, "attributes": doubts}


def test_fiftyone_needs_image_files(tree, network, tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tree, "images")
    with pytest.raises(UserError, match=r"--fiftyone: .*\.tar:.* is no image file"):
        resmlp.mistakes(network, tmp_path / "images.tar", tmp_path / "out", fiftyone=tmp_path / "found")
    assert not (tmp_path / "out" / "mistakes.html").exists()


def test_nowhere_to_write(tree, network):
    with pytest.raises(UserError, match="nowhere to write"):
        resmlp.mistakes("resmlp_digits", tree)
