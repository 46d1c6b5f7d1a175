"""Membership in the validation set is a property of an image, and a run keeps the list of its images."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.data import open_splits
from resmlp.data.images.image_list import Entry, ImageList, make_image_list, read_image_list, restore
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.sources import open_images
from resmlp.utils.errors import UserError
from resmlp.utils.run_folder import IMAGES


def noise(seed: int) -> bytes:
    """A PNG of noise: all of these have the same number of bytes."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 20 images of noise."""
    for i, path in enumerate(f"{name}/{i:02}.png" for name in "ab" for i in range(20)):
        file = tmp_path / "tree" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise(i))
    return tmp_path / "tree"


def paths(images: ImageSet) -> set[str]:
    return {images.path(i) for i in range(len(images))}


def sides(root: Path | str, **fields) -> dict[str, bool]:
    """Path -> whether the image is in the validation set."""
    splits = open_splits(Data(root=str(root), **fields))
    return {path: part is splits.val for part in splits for path in paths(part)}


def delete(root: Path) -> None:
    for name in ("a/00.png", "a/07.png", "b/11.png", "b/19.png"):
        (root / name).unlink()


def add(root: Path) -> None:
    for i in range(9):
        (root / f"a/new{i}.png").write_bytes(noise(100 + i))


def rename(root: Path) -> None:
    (root / "a/03.png").rename(root / "a/zebra.png")


@pytest.mark.parametrize("change", [delete, add, rename])
@pytest.mark.parametrize("seed", range(4))
def test_a_change_of_one_file_moves_no_other_across_the_split(root, change, seed):
    before = sides(root, split_seed=seed)
    change(root)
    after = sides(root, split_seed=seed)
    common = before.keys() & after.keys()
    assert len(common) >= 36
    assert {path: before[path] for path in common} == {path: after[path] for path in common}


def test_the_split_is_that_of_the_same_images_elsewhere(root, tmp_path):
    shutil.copytree(root, tmp_path / "moved")
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        for name in "ba":
            tar.add(root / name, name)
    assert sides(root) == sides(tmp_path / "moved") == sides(tmp_path / "packed.tar")


def test_the_fraction_of_the_validation_set_is_that_of_the_settings(tmp_path):
    """300 images of each class; the standard deviation of a binomial count is at most 8.7."""
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(300):
            (tmp_path / name / f"{i}.png").touch()
    for fraction in (0.1, 0.5):
        counts = np.bincount(open_splits(Data(root=str(tmp_path), val_fraction=fraction)).val.labels)
        assert abs(counts - 300 * fraction).max() < 4 * 8.7


@pytest.fixture
def kept(root: Path, tmp_path: Path) -> ImageList:
    """The list of a run with the images of `root`, read from its folder."""
    make_image_list(*open_splits(Data(root=str(root)))).write(tmp_path)
    return read_image_list(tmp_path)


def test_the_list_has_every_image_with_its_part_and_class(root, kept):
    assert {entry.path: entry.part == "val" for entry in kept.entries} == sides(root)
    assert {entry.label for entry in kept.entries if entry.path.startswith("a/")} == {"a"}


def test_with_the_list_the_splits_are_the_same_after_changes(root, kept):
    data = Data(root=str(root))
    before = open_splits(data)
    rename(root)
    add(root)
    (root / "new class").mkdir()
    (root / "new class" / "1.png").write_bytes(noise(99))
    after = open_splits(data, kept)
    assert [(part.classes, part.labels, part.paths) for part in after] == [
        (part.classes, part.labels, part.paths) for part in before
    ]
    gone, new = after.train.notes
    assert gone.startswith("images of the run are gone: 1 of")
    assert "a/03.png" in gone
    assert new.startswith("11 images not in the list of the run, left out: a/new0.png")
    (part,) = [part for part in after if "a/03.png" in part.paths]
    with pytest.raises(UserError, match="it is gone"):
        part.read(part.paths.index("a/03.png"))


def test_images_at_another_path_are_the_same(root, kept, tmp_path):
    root.rename(tmp_path / "moved")
    data = Data(root=str(tmp_path / "moved"))
    assert open_splits(data, kept).val.paths == tuple(entry.path for entry in kept.val)


def replace_content(root: Path) -> None:
    (root / "a/05.png").write_bytes(noise(500))


def swap(root: Path) -> None:
    for name in "ab":
        (root / name).rename(root / f"{name}{name}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_content, "1 of 40 images in .* are not those of the run: a/05.png"),
        (swap, "40 of 40 images of the run are not in"),
        (lambda root: [path.unlink() for path in (root / "a").glob("0*.png")], "10 of 40 images of the run are not in"),
    ],
    ids=["another image of the same size", "other classes", "many are gone"],
)
def test_a_run_does_not_continue_on_other_images(root, kept, change, message):
    change(root)
    with pytest.raises(UserError, match=message) as error:
        open_splits(Data(root=str(root)), kept)
    assert "\n" not in str(error.value)


def test_an_evaluation_leaves_changed_images_out(root, kept):
    changed = kept.val[0].path
    (root / changed).write_bytes(noise(500))
    data = Data(root=str(root))
    val = restore(kept, open_images(data), data, training=False).val
    assert len(val) == len(kept.val)
    with pytest.raises(UserError, match="it has changed since the training"):
        val.read(0)
    val.read(1)


def test_images_that_a_fraction_leaves_out_are_not_new(root, tmp_path):
    data = Data(root=str(root), fraction=0.25)
    splits = open_splits(data)
    make_image_list(*splits).write(tmp_path)
    again = open_splits(data, read_image_list(tmp_path))
    assert again.train.notes == ()
    assert (again.train.paths, again.val.paths) == (splits.train.paths, splits.val.paths)
    assert len(splits.train) + len(splits.train.unused) + len(splits.val) == 40


def test_published_and_packed_images_have_a_list(shared, tmp_path):
    data = Data(source="cifar10", root=str(shared / "cifar10"), fraction=0.01)
    train, val = open_splits(data)
    assert (np.bincount(train.labels).tolist(), len(val)) == ([50] * 10, 10_000)
    make_image_list(train, val).write(tmp_path)
    kept = read_image_list(tmp_path)
    assert (len(kept.train), len(kept.val), len(list(kept.entries))) == (500, 10_000, 60_000)
    assert kept.train[0].label == "airplane"


@pytest.mark.parametrize("text", ["", "no header\n", "part\tcontent\tclass\tpath\nval\n"])
def test_a_damaged_list_is_an_error(tmp_path, text):
    (tmp_path / IMAGES).write_text(text)
    with pytest.raises(UserError, match=r"images.tsv is damaged"):
        read_image_list(tmp_path)


def test_names_of_any_characters_are_kept(tmp_path):
    for name in ("plain", "tab\there", "line\nhere", "\udcff"):
        (tmp_path / "t" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "t" / name / f"{i}\x85.png").write_bytes(noise(i))
    data = Data(root=str(tmp_path / "t"))
    splits = open_splits(data)
    make_image_list(*splits).write(tmp_path)
    again = open_splits(data, read_image_list(tmp_path))
    assert [part.paths for part in again] == [part.paths for part in splits]
    assert again.train.notes == ()


def test_no_more_is_read_than_needed(monkeypatch, root):
    monkeypatch.setattr("resmlp.data.images.pinned.MARKED", 10)
    kept = make_image_list(*open_splits(Data(root=str(root))))
    entries = list(kept.entries)
    assert sum(bool(entry.content) for entry in entries) == 10
    assert not kept.compare([entry.path for entry in entries], lambda i: entries[i].content).changed


def test_an_image_of_a_list_is_gone_if_its_name_now_is_a_pipe(root, kept):
    (root / "a/05.png").unlink()
    os.mkfifo(root / "a/05.png")
    assert any("gone" in note for note in open_splits(Data(root=str(root)), kept).train.notes)


def test_the_same_set_is_recognized_by_most_of_its_images():
    kept = ImageList([Entry("val", "1:a", "x", f"x/{i}.png") for i in range(4)])
    there = [entry.path for entry in kept.entries]
    assert kept.is_at(kept.compare(there[:3], lambda i: "1:a"))
    assert not kept.is_at(kept.compare(there, lambda i: "1:b"))
    assert not kept.is_at(kept.compare(there[:2], lambda i: "1:a"))
