"""Folders of images and masks: names of splits, what is left out, and the list of a run."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import MaskSet, open_eval_masks, open_masks
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.masks.sources import open_run_val
from resmlp.data.masks.trees import is_mask_tree
from resmlp.utils.errors import UserError

TASK, CLASSES = Segment(empty_classes=True), ("sky", "grass", "road")


def plant(root: Path, images: str, masks: str, count: int, ending: str = ".png") -> None:
    """`count` images in a folder, and their masks in another one."""
    for folder in (images, masks):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng([count, i]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / images / f"{i:02}{ending}", "PNG")
        Image.fromarray(np.full((6, 8), i % 3, np.uint8)).save(root / masks / f"{i:02}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES))


def data(root: Path, **fields) -> Data:
    return Data(source="masks", root=str(root), img_size=(8,), **fields)


def paths(masks: MaskSet) -> list[str]:
    return [masks.path(i) for i in range(len(masks))]


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Training", "Testing"),
        ("seg_train", "seg_test"),
        ("train_set", "test_set"),
        ("training", "validation"),
        ("train2017", "dev"),
    ],
)
@pytest.mark.parametrize("pattern", ["{}/{}", "{1}/{0}"], ids=["images/train", "train/images"])
def test_splits_of_usual_names(tmp_path, train, val, pattern):
    for part, count in ((train, 3), (val, 4)):
        plant(tmp_path, pattern.format("images", part), pattern.format("labels", part), count)
    splits = open_masks(data(tmp_path), TASK)
    assert (len(splits.train), len(splits.val)) == (3, 4)
    assert len(open_eval_masks(data(tmp_path), TASK, val)) == 4
    assert is_mask_tree(str(tmp_path))


def test_images_by_content_and_what_is_left_out(tmp_path):
    plant(tmp_path, "images/train", "labels/train", 3, ending="")
    plant(tmp_path, "images/val", "labels/val", 2)
    os.mkfifo(tmp_path / "images/train/x.jpg")
    (tmp_path / "images/train/notes.txt").write_text("x")
    (tmp_path / "images/@eaDir").mkdir()
    train, _ = open_masks(data(tmp_path), TASK)
    assert len(train) == 3
    assert [note.partition(": ")[2] for note in train.notes if note.startswith("left out of")] == [
        "2 files that are not images or masks that are read (notes.txt, x.jpg)"
    ]


@pytest.fixture
def undivided(tmp_path: Path) -> Path:
    """Thirty pairs without splits."""
    plant(tmp_path / "set", "images", "masks", 30)
    return tmp_path / "set"


def remove(root: Path, path: str) -> None:
    (root / path).unlink()
    (root / path.replace("images", "masks")).unlink()


def test_a_pair_that_goes_moves_no_other_across_the_split(undivided):
    before = open_masks(data(undivided), TASK)
    for path in (paths(before.train)[0], paths(before.val)[0], paths(before.train)[5]):
        remove(undivided, path)
    after = open_masks(data(undivided), TASK)
    assert set(paths(after.train)) == set(paths(before.train)) & set(paths(after.train))
    assert set(paths(after.val)) < set(paths(before.val))


def test_the_list_of_a_run_restores_its_splits(undivided, tmp_path):
    before = open_masks(data(undivided, fraction=0.5), TASK)
    make_image_list(*before).write(tmp_path)
    kept = read_image_list(tmp_path)
    gone = paths(before.val)[0]
    remove(undivided, gone)
    Image.new("RGB", (8, 6)).save(undivided / "images/new.png")
    Image.new("L", (8, 6)).save(undivided / "masks/new.png")
    undivided.rename(tmp_path / "moved")
    moved = data(tmp_path / "moved", fraction=0.5)
    after = open_masks(moved, TASK, kept)
    assert [paths(part) for part in after] == [paths(part) for part in before]
    notes = [note for note in after.train.notes if "the run" in note]
    assert [note.partition(": ")[0] for note in notes] == [
        "images of the run are gone",
        "1 image not in the list of the run, left out",
    ]
    with pytest.raises(UserError, match="it is gone"):
        after.val.read(0)
    val = open_run_val(moved, TASK, kept, CLASSES, moved=True)
    assert paths(val) == paths(before.val)
    plant(tmp_path / "other", "images", "masks", 20)
    assert open_run_val(data(tmp_path / "other"), TASK, kept, CLASSES, moved=True) is None


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_run_does_not_continue_on_other_images_or_masks(undivided, tmp_path, folder):
    splits = open_masks(data(undivided), TASK)
    make_image_list(*splits).write(tmp_path)
    mode = "RGB" if folder == "images" else "L"
    other = Image.new(mode, (8, 6), 1)
    other.putpixel((0, 0), 2)  # unlike any mask of `plant`
    other.save(undivided / splits.train.path(1).replace("images", folder))
    with pytest.raises(UserError, match="1 of 30 images in .* are not those of the run"):
        open_masks(data(undivided), TASK, read_image_list(tmp_path))
