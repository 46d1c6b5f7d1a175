"""The folders of splits by their usual names, classes that are called like splits, and class names in two forms."""

import io
import tarfile
from pathlib import Path

import pytest

from resmlp.config import Data
from resmlp.data import open_eval, open_splits
from resmlp.data.checking.check import check_data
from resmlp.data.images.split_names import split_role
from resmlp.utils.errors import UserError

CLASSES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
NFC, NFD = "th\u00e9", "the\u0301"

SPLITS = {
    ("Training", "Testing"),
    ("training", "validation"),
    ("seg_train/seg_train", "seg_test/seg_test"),
    ("train_set", "test_set"),
    ("TRAIN", "dev"),
    ("train", "valid"),
    ("trainset", "testset"),
    ("train2017", "val2017"),
    ("train-images", "test-images"),
    ("01_train", "02_test"),
    ("data_train", "data_holdout"),
    ("train/images", "val/images"),
    ("brain/brain/Training", "brain/brain/Testing"),
    ("archive/dataset/train", "archive/dataset/test"),
}


@pytest.mark.parametrize(("train", "val"), sorted(SPLITS))
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_splits_of_usual_names(plant, pack, train, val, packed):
    paths = [f"{part}/{path}" for part in (train, val) for path in CLASSES]
    root = pack("a.tar", *paths) if packed else plant(*paths)
    splits = open_splits(Data(root=root))
    assert splits.train.classes == splits.val.classes == ("cat", "dog")
    assert (len(splits.train), len(splits.val), len(open_eval(Data(root=root)))) == (4, 4, 4)
    assert all(f"{val}/" in splits.val.name(i) for i in range(4))
    assert check_data(root).classes == {name: {"train": 2, "val": 2} for name in ("cat", "dog")}


@pytest.mark.parametrize(
    "name", ["train station", "test tube", "cat", "devil", "validator", "bullet train", "set", "12"]
)
def test_other_names_are_not_those_of_splits(name):
    assert split_role(name) is None


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["bus/1.png", "bus/2.png", "train/1.png", "train/2.png"], ("bus", "train")),
        (["bus/a/1.png", "bus/b/2.png", "train/c/1.png", "train/d/2.png"], ("bus", "train")),
        (["bus/a/1.png", "bus/2.png", "car/a/1.png", "car/2.png", "test/a/1.png", "test/b/1.png"], None),
    ],
)
def test_a_class_may_be_called_like_a_split(plant, paths, classes):
    assert open_splits(Data(root=plant(*paths))).train.classes == (classes or ("bus", "car", "test"))


@pytest.mark.parametrize(
    ("known", "unknown", "fix"), [("train", "learned", "rename it to val/"), ("test", "learn", "rename it to train/")]
)
def test_a_split_of_an_unknown_name_is_an_error_with_a_way_out(plant, known, unknown, fix):
    root = plant(*(f"{part}/{path}" for part in (known, unknown) for path in CLASSES))
    for read in (lambda: open_splits(Data(root=root)), lambda: check_data(root)):
        with pytest.raises(UserError, match=f"{unknown} has the same folders as .*{known}.*{fix}") as error:
            read()
        assert "\n" not in str(error.value)


def test_the_usual_name_is_preferred(plant):
    root = plant(*(f"{part}/{path}" for part in ("train", "train_old", "val", "test", "dev") for path in CLASSES))
    train, val = open_splits(Data(root=root))
    assert "/train/" in train.name(0)
    assert "/val/" in val.name(0)
    assert "12 images outside the class folders" in train.notes[0]


def test_two_unicode_forms_of_a_name_are_one_class(plant, pack):
    paths = [f"{part}/{name}/{i}.png" for part, name in (("train", NFC), ("val", NFD)) for i in range(2)]
    paths += [f"{part}/tea/{i}.png" for part in ("train", "val") for i in range(2)]
    for root in (plant(*paths), pack("a.tar", *paths)):
        train, val = open_splits(Data(root=root))
        assert train.classes == val.classes == ("tea", NFC)
        assert (len(train), len(val)) == (4, 4)
        assert check_data(root).errors == []


def test_both_forms_in_one_tree_are_one_class(plant, pack):
    paths = [f"{name}/{i}.png" for name in (NFC, NFD, "tea") for i in range(2)]
    for root in (plant(*paths), pack("a.tar", *paths)):
        images = open_eval(Data(root=root))
        assert (images.classes, images.labels) == (("tea", NFC), [0, 0, 1, 1, 1, 1])
        assert len({images.read(i).getpixel((0, 0)) for i in range(6)}) == 6, "each is read from its own file"


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_hard_links_in_archives_are_images(tmp_path, pack, ending):
    link = tarfile.TarInfo("dog/1.png")
    link.type, link.linkname = tarfile.LNKTYPE, "./cat/1.png"
    dead = tarfile.TarInfo("dog/2.png")
    dead.type, dead.linkname = tarfile.LNKTYPE, "/etc/passwd"
    images = open_eval(Data(root=pack("a" + ending, "cat/1.png", link, dead)))
    assert (images.classes, images.labels) == (("cat", "dog"), [0, 1])
    assert images.read(0).tobytes() == images.read(1).tobytes()
    assert "1 file in no image format that is read (.png 1; dog/2.png)" in images.notes[0]


def test_archives_with_a_run_and_thumbnails(pack):
    junk = ["run/recipe.json", "run/metrics.jsonl", "run/figures/1.png", "__MACOSX/cat/1.png", "dog/@eaDir/1.png"]
    images = open_eval(Data(root=pack("a.tar", "cat/1.png", "dog/1.png", *junk)))
    assert (images.classes, len(images)) == (("cat", "dog"), 2)
    assert "folders that are no data: __MACOSX/, dog/@eaDir/, run/" in images.notes[0]


def test_a_folder_of_archives_may_have_a_run_in_it(pack, tmp_path):
    for name in ("train.tar", "val.tar"):
        pack(f"all/{name}", *CLASSES)
    before = open_splits(Data(root=str(tmp_path / "all"))).train.paths
    (tmp_path / "all/runs/x/figures").mkdir(parents=True)
    (tmp_path / "all/runs/x/recipe.json").write_text("{}")
    assert open_splits(Data(root=str(tmp_path / "all"))).train.paths == before


def test_the_note_of_what_is_left_out_is_one_line(plant):
    root = Path(plant(*(f"{name}/{i}.png" for name in ("a", "b") for i in range(3)), "a/x.jxl", "b/y.jxl", "readme.md"))
    (root / "outside.png").write_bytes((root / "a/0.png").read_bytes())
    (root / "Thumbs.db").write_bytes(b"x")
    (note,) = open_splits(Data(root=str(root))).train.notes
    assert note == (
        f"left out of {root}: 3 files in no image format that is read (.jxl 2, .md 1; a/x.jxl); "
        "1 image outside the class folders (outside.png)"
    )
    assert open_splits(Data(root=plant(*CLASSES, root="clean"))).train.notes == ()


def test_members_of_an_archive_are_images_by_their_content(tmp_path):
    from PIL import Image

    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        for name, kind in (("a/1.jfif", "JPEG"), ("a/noending", "PNG"), ("b/2.avif", "AVIF"), ("b/3.JP2", "JPEG2000")):
            file = io.BytesIO()
            Image.new("RGB", (16, 16), "red").save(file, kind)
            info = tarfile.TarInfo(name)
            info.size = file.tell()
            file.seek(0)
            tar.addfile(info, file)
    images = open_eval(Data(root=str(tmp_path / "a.tgz")))
    assert images.labels == [0, 0, 1, 1]
    assert all(images.read(i).size == (16, 16) for i in range(4))
