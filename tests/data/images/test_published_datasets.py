"""Published data sets, from small copies of their file formats; torchvision's readers are the reference."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from resmlp.config import Data
from resmlp.data import ImageSet, count_mismatch, open_eval, open_splits
from resmlp.data.images.published_datasets import PUBLISHED_DATASETS
from resmlp.utils.errors import UserError

SETS = ["flowers", "cars", "inat18", "inat19"]


def paint(path: Path, color: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 7), (color, 40, 90)).save(path, quality=100)


def flowers(root: Path) -> Path:
    """Images 1 to 12 of classes 1, 2, 3, 1, ...: the first five to train, four to validate, three to test."""
    base = root / "flowers-102"
    for i in range(1, 13):
        paint(base / "jpg" / f"image_{i:05d}.jpg", 20 * i)
    savemat(base / "imagelabels.mat", {"labels": np.array([[(i % 3) + 1 for i in range(12)]], np.uint8)})
    ids = {"trnid": [12, 2, 3, 4, 5], "valid": [6, 7, 8, 9], "tstid": [10, 11, 1]}
    savemat(base / "setid.mat", {key: np.array([value], np.uint16) for key, value in ids.items()})
    return base


def cars(root: Path) -> Path:
    base, rows = root / "stanford_cars", {}
    (base / "devkit").mkdir(parents=True)
    for part, count in (("train", 5), ("test", 4)):
        kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
        rows[part] = np.array([(1, i % 3 + 1, f"{i + 1:05d}.jpg") for i in range(count)], kind)
        for i in range(count):
            paint(base / f"cars_{part}" / f"{i + 1:05d}.jpg", 20 * i + (part == "test"))
    savemat(base / "devkit" / "cars_train_annos.mat", {"annotations": rows["train"]})
    savemat(base / "cars_test_annos_withlabels.mat", {"annotations": rows["test"]})
    names = np.array(["AM General Hummer SUV 2000", "Ram C/V Cargo Van", "smart fortwo"], object)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": names})
    return base


def inat(root: Path, year: int) -> Path:
    """Classes 3, 10 and 20 in this order; sorted as strings, 10 would be the first."""
    categories = [{"id": i, "name": f"species {i}", "supercategory": "Aves"} for i in (20, 3, 10)]
    for part, count in (("train", 7), ("val", 3)):
        images, notes = [], []
        for i in range(count):
            category = (3, 10, 20)[i % 3]
            name = f"train_val{year}/Aves/{category}/{part}{i}.jpg"
            paint(root / name, 30 * i)
            images.append({"id": 100 + i, "file_name": name})
            notes.insert(0, {"id": i, "image_id": 100 + i, "category_id": category})
        file = {"images": images, "annotations": notes, "categories": categories}
        (root / f"{part}{year}.json").write_text(json.dumps(file))
    return root


MAKE = {"flowers": flowers, "cars": cars, "inat18": lambda root: inat(root, 2018), "inat19": lambda r: inat(r, 2019)}


def pairs(images: ImageSet) -> list[tuple[str, str]]:
    """(file, class) of each image; checks that each is readable."""
    assert all(images.read(i).size == (9, 7) for i in range(len(images)))
    return [(Path(images.name(i)).name, images.classes[images.labels[i]]) for i in range(len(images))]


def test_flowers(tmp_path, monkeypatch):
    flowers(tmp_path)
    data = Data(source="flowers", root=str(tmp_path))
    train, val = open_splits(data)
    assert train.classes == val.classes == ("1", "2", "3")
    assert pairs(train)[:2] == [("image_00012.jpg", "3"), ("image_00002.jpg", "2")]
    monkeypatch.setattr(datasets.Flowers102, "_check_integrity", lambda self: True)
    reference = {part: datasets.Flowers102(tmp_path, part) for part in ("train", "val", "test")}
    for images, parts in ((train, ("train", "val")), (val, ("test",)), (open_eval(data), ("test",))):
        assert images.labels == [label for part in parts for label in reference[part]._labels]
        files = [str(file) for part in parts for file in reference[part]._image_files]
        assert [images.name(i) for i in range(len(images))] == files


def test_flowers_have_class_names(tmp_path):
    base = flowers(tmp_path)
    savemat(base / "imagelabels.mat", {"labels": np.array([[*range(1, 12), 102]], np.uint8)})
    classes = open_eval(Data(source="flowers", root=str(tmp_path))).classes
    assert len(classes) == 102
    assert classes[76] == "passion flower"


@pytest.mark.parametrize("layout", ["torchvision", "devkit"])
def test_cars(tmp_path, layout):
    base = cars(tmp_path)
    reference = {part: datasets.StanfordCars(tmp_path, part) for part in ("train", "test")}
    if layout == "devkit":
        (base / "cars_test_annos_withlabels.mat").rename(base / "devkit" / "cars_test_annos_withlabels.mat")
    train, val = open_splits(Data(source="cars", root=str(tmp_path)))
    for images, part in ((train, "train"), (val, "test")):
        assert images.classes == tuple(reference[part].classes)
        assert [(images.name(i), images.labels[i]) for i in range(len(images))] == reference[part]._samples
        pairs(images)


@pytest.mark.parametrize("year", [2018, 2019])
def test_inaturalist(tmp_path, year):
    inat(tmp_path, year)
    data = Data(source=f"inat{year - 2000}", root=str(tmp_path))
    train, val = open_splits(data)
    assert (len(train), len(val)) == (7, 3)
    assert train.classes == val.classes == ("species 3", "species 10", "species 20")
    for images in (train, val, open_eval(data)):
        for i in range(len(images)):  # the folder names the class
            assert images.classes[images.labels[i]] == f"species {Path(images.name(i)).parent.name}"
            assert images.read(i).size == (9, 7)


@pytest.mark.parametrize("source", SETS)
def test_root_may_be_the_folder_of_the_data_set(tmp_path, source):
    base = MAKE[source](tmp_path)
    outer, inner = (open_splits(Data(source=source, root=str(root))) for root in (tmp_path, base))
    assert pairs(outer.train) == pairs(inner.train)


@pytest.mark.parametrize("source", PUBLISHED_DATASETS)
def test_tree_of_class_folders(tmp_path, source):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            paint(tmp_path / part / name / "1.jpg", 3)
    train, val = open_splits(Data(source=source, root=str(tmp_path)))
    assert train.classes == ("cat", "dog")
    assert val.labels == open_eval(Data(source=source, root=str(tmp_path))).labels == [0, 1]


@pytest.mark.parametrize("source", PUBLISHED_DATASETS)
def test_count_mismatch(tmp_path, source):
    if source in MAKE:
        MAKE[source](tmp_path)
        splits = open_splits(Data(source=source, root=str(tmp_path)))
        assert f"{PUBLISHED_DATASETS[source].title} was published with" in count_mismatch(source, splits)
    train, val, classes = PUBLISHED_DATASETS[source].counts
    full = [ImageSet(("x",) * classes, [0] * count, [None] * count) for count in (train, val)]
    assert count_mismatch(source, type("Splits", (), {"train": full[0], "val": full[1]})) == ""


PUBLISHED = {  # Nilsback and Zisserman 2008 (train + val); Krause et al. 2013; pages of the iNaturalist competitions
    "cifar10": (50000, 10000, 10),
    "cifar100": (50000, 10000, 100),
    "flowers": (1020 + 1020, 6149, 102),
    "cars": (8144, 8041, 196),
    "inat18": (437513, 24426, 8142),
    "inat19": (265213, 3030, 1010),
    "mnist": (60000, 10000, 10),  # LeCun et al. 1998; Xiao et al. 2017; Cohen et al. 2017, Table II
    "fashionmnist": (60000, 10000, 10),
    "emnist": (112800, 18800, 47),
    "emnist-byclass": (697932, 116323, 62),
    "emnist-bymerge": (697932, 116323, 47),
    "emnist-letters": (124800, 20800, 26),
    "emnist-digits": (240000, 40000, 10),
    "emnist-mnist": (60000, 10000, 10),
    "svhn": (73257, 26032, 10),  # Netzer et al. 2011
    "stl10": (5000, 8000, 10),  # Coates et al. 2011
}


def test_published_counts():
    assert {name: known.counts for name, known in PUBLISHED_DATASETS.items()} == PUBLISHED
    assert count_mismatch("folder", open_splits(Data(source="digits"))) == ""


@pytest.mark.parametrize("opener", [open_splits, open_eval])
@pytest.mark.parametrize("source", PUBLISHED_DATASETS)
@pytest.mark.parametrize("root", [None, "nowhere", "empty"])
def test_error_explains_the_root_in_one_line(tmp_path, opener, source, root):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        opener(Data(source=source, root=root and str(tmp_path / root)))
    line = str(error.value)
    assert PUBLISHED_DATASETS[source].root_hint in line
    assert "\n" not in line


FILES = {
    "flowers": ["flowers-102/setid.mat", "flowers-102/imagelabels.mat"],
    "cars": [
        "stanford_cars/devkit/cars_train_annos.mat",
        "stanford_cars/devkit/cars_meta.mat",
        "stanford_cars/cars_test_annos_withlabels.mat",
    ],
    "inat18": ["train2018.json", "val2018.json"],
}
BROKEN = [None, b"", b"[]", b"null", b"{}", b"MATLAB 5.0 MAT-file" + bytes(200), b'{"images": [], "annotations": [3]}']


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize(("source", "file"), [(source, file) for source, files in FILES.items() for file in files])
def test_missing_or_damaged_file_is_named(tmp_path, source, file, content):
    MAKE[source](tmp_path)
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        open_splits(Data(source=source, root=str(tmp_path)))
    assert str(tmp_path / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret.jpg", "train_val2018/../../x.jpg", "a\0b.jpg"])
def test_paths_cannot_leave_the_folder_of_the_data_set(tmp_path, name):
    inat(tmp_path, 2018)
    file = tmp_path / "train2018.json"
    annotations = json.loads(file.read_text())
    annotations["images"][0]["file_name"] = name
    file.write_text(json.dumps(annotations))
    with pytest.raises(UserError, match="outside"):
        open_splits(Data(source="inat18", root=str(tmp_path)))


def test_missing_images_are_reported_before_training(tmp_path):
    base = flowers(tmp_path)
    for file in (base / "jpg").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"no image .*image_00012\.jpg"):
        open_splits(Data(source="flowers", root=str(tmp_path)))


@pytest.mark.parametrize("labels", [[0] * 12, [1] * 5, [-4] * 12])
def test_labels_out_of_range(tmp_path, labels):
    base = flowers(tmp_path)
    savemat(base / "imagelabels.mat", {"labels": np.array([labels])})
    with pytest.raises(UserError, match="flowers-102"):
        open_splits(Data(source="flowers", root=str(tmp_path)))
