"""Files of annotations that are of no layout by their content: each is named, and none is dropped without a word."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.data.masks.conversion.convert import convert_masks
from resmlp.utils.errors import UserError

OUTLINE = {"label": "cat", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}
GOOD = {"imageWidth": 12, "imageHeight": 10, "shapes": [OUTLINE]}


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(path)
    return path


def labelme(root: Path, name: str, content) -> None:
    picture(root / f"{name}.jpg")
    (root / f"{name}.json").write_text(json.dumps(content))


def error_of(root: Path) -> str:
    out = root.parent / "out"
    with pytest.raises(UserError) as caught:
        convert_masks(root, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ([], "its content is []"),
        (None, "its content is None"),
        ("x", "its content is x"),
        ({}, "shapes is None"),
        ({"shapes": {"a": 1}}, "shapes is {'a': 1}"),
        ({**GOOD, "imagePath": "a.jpg", "shapes": None}, "shapes is None"),
        (GOOD, "imagePath is None"),
    ],
)
def test_a_wrong_labelme_file_beside_its_image_is_named(tmp_path, content, wrong, alone):
    labelme(tmp_path / "set", "a", content)
    if not alone:
        labelme(tmp_path / "set", "b", GOOD | {"imagePath": "b.jpg"})
    error = error_of(tmp_path / "set")
    assert f"a.json: {wrong}" in error


def test_json_of_another_program_is_left_out(tmp_path):
    labelme(tmp_path / "set", "b", GOOD | {"imagePath": "b.jpg"})
    (tmp_path / "set" / "package.json").write_text('{"shapes": 1}')
    assert convert_masks(tmp_path / "set", tmp_path / "out").images == {"": 1}


@pytest.mark.parametrize("notes", [[{}], [{}, {"segmentation": [[1, 1, 5, 1, 5, 5]]}], [{"bbox": [1, 1, 2, 2]}]])
def test_an_annotation_without_segmentation_is_named(tmp_path, notes):
    picture(tmp_path / "set" / "1.jpg")
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 12, "height": 10}],
        "annotations": [{"image_id": 1, "category_id": 3, **note} for note in notes],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (tmp_path / "set" / "train.json").write_text(json.dumps(content))
    assert "train.json: annotations[0].segmentation is None" in error_of(tmp_path / "set")


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("given", [None, {}, 1])
@pytest.mark.parametrize("as_root", [True, False])
def test_a_missing_list_of_coco_is_named(tmp_path, key, given, as_root):
    row = {"id": 1, "name": "cat", "file_name": "1.jpg", "width": 12, "height": 10}
    lists = {name: [row] for name in ("images", "annotations", "categories")}
    file = tmp_path / "set" / "train.json"
    file.parent.mkdir()
    file.write_text(json.dumps(lists | {key: given}))
    assert f"train.json: {key} is {given}, not a list" in error_of(file if as_root else file.parent)


@pytest.mark.parametrize("wrong", [np.zeros((9, 12), np.uint8), np.full((10, 12), 35, np.uint8)])
def test_a_refused_mask_leaves_nothing(tmp_path, wrong):
    """A mask of another size, and one with an unknown label: also the images before it are removed."""
    root = tmp_path / "set"
    (root / "SegmentationClass").mkdir(parents=True)
    for name, mask in (("a", np.ones((10, 12), np.uint8)), ("b", wrong)):
        picture(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")
    assert "/b." in error_of(root)
    (tmp_path / "out").mkdir()
    for name in (".keep", "own"):
        (tmp_path / "out" / name).write_text("x")
        with pytest.raises(UserError):
            convert_masks(root, tmp_path / "out")
        assert (tmp_path / "out" / name).is_file()
        assert not (tmp_path / "out" / ".lock").exists()
