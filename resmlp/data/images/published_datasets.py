"""Published sets of images as their authors pack them; nothing is downloaded. Table 4's, but for ImageNet.

Each is also taken as a tree with train/ and val/ or test/. The files that say which image is of which class may be
hostile: nothing in them leads out of the set's own folder, and nothing is unpickled before its checksum is compared.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, Splits, folder_eval, folder_splits, same_classes
from resmlp.imaging.decode import printable
from resmlp.imaging.image_file import File, ImageSource, Pixels
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json

TREE = "or train/ and test/ with a sub-folder a class"


@dataclass(frozen=True)
class Known:
    """A published set: what it holds, and where its files are looked for."""

    title: str
    counts: tuple[int, int, int]
    """images to train on, images held out, classes"""
    place: str
    """what --data.root should be"""
    marks: tuple[str, ...]
    """paths below the root, one of which is there if the set is; a folder's ends in '/'"""
    read: Callable[[Path, bool], ImageSet]
    """(root, train) -> those images"""

    def splits(self, data: Data) -> Splits:
        """The published splits, or those of a tree of class folders."""
        root = self._found(data)
        if root is None:
            return self._tree(folder_splits, data)
        train, val = self._read(root, True), self._read(root, False)
        same_classes("train", set(train.classes), "val", set(val.classes))
        return Splits(train, val)

    def held_out(self, data: Data) -> ImageSet:
        """The published images to test on, or those of a tree of class folders."""
        root = self._found(data)
        return self._tree(folder_eval, data) if root is None else self._read(root, False)

    def _found(self, data: Data) -> Path | None:
        root = Path(str(data.root))
        found = ((root / mark).is_dir() if mark.endswith("/") else (root / mark).is_file() for mark in self.marks)
        return root if any(found) else None

    def _read(self, root: Path, train: bool) -> ImageSet:
        images = self.read(root, train)
        demand(len(images) > 0, f"{root} lists no images for {'training' if train else 'testing'}", self.place)
        first = images.images[0]
        if isinstance(first, File) and not Path(first.name).is_file():
            raise UserError(f"{self.title}: there is no image {printable(first.name)}", f"--data.root: {self.place}")
        return images

    def _tree(self, read: Callable[[Data], Any], data: Data) -> Any:
        try:
            return read(data)
        except UserError as error:
            raise UserError(error.what, f"{error.hint}; for {self.title}: {self.place}") from None


def _cifar(name: str, root: Path, train: bool) -> ImageSet:
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        dataset = kind(root, train=train)  # compares checksums before it unpickles
    except RuntimeError as error:
        what = f"{root}/{kind.base_folder} is incomplete or damaged (its checksums differ)"
        raise UserError(what, f"unpack {kind.filename} there again") from error
    part = "train" if train else "test"
    images: list[ImageSource] = [Pixels(f"{name} {part} image {i}", array) for i, array in enumerate(dataset.data)]
    return ImageSet(tuple(dataset.classes), list(dataset.targets), images)


def _flowers(root: Path, train: bool) -> ImageSet:
    """jpg/image_00001.jpg on; imagelabels.mat has the class of each, setid.mat the splits: train is train + val."""
    from torchvision import datasets

    base = _folder(root, "flowers-102")
    labels = _table(base / "imagelabels.mat", "labels")
    splits = ("trnid", "valid") if train else ("tstid",)
    numbers = np.concatenate([_table(base / "setid.mat", split) for split in splits])
    with _as_published(base / "setid.mat"):
        demand(numbers.min() >= 1 and labels.min() >= 1, f"{base}/setid.mat: numbers start at 1", "fetch it again")
        own = [int(label) - 1 for label in labels[numbers - 1]]
        images: list[ImageSource] = [File(str(base / "jpg" / f"image_{number:05d}.jpg")) for number in numbers]
        classes = tuple(str(number) for number in range(1, int(labels.max()) + 1))
    names = tuple(getattr(datasets.Flowers102, "classes", ()))  # the files have none
    return ImageSet(names if len(names) == len(classes) else classes, own, images)


def _cars(root: Path, train: bool) -> ImageSet:
    """cars_train/ and cars_test/; devkit/*.mat have the class of each image, and the classes' names."""
    base = _folder(root, "stanford_cars")
    test = "cars_test_annos_withlabels.mat"
    beside = (base / test, base / "devkit" / test)
    file = base / "devkit" / "cars_train_annos.mat" if train else next((f for f in beside if f.is_file()), beside[0])
    folder = base / ("cars_train" if train else "cars_test")
    classes = tuple(map(str, _table(base / "devkit" / "cars_meta.mat", "class_names")))
    rows = _table(file, "annotations")
    with _as_published(file):
        labels = [int(row["class"]) - 1 for row in rows]
        names = [str(row["fname"]) for row in rows]
        demand(all(0 <= label < len(classes) for label in labels), f"{file}: a class without a name", "fetch it again")
    return ImageSet(classes, labels, [_inside(folder, name, file) for name in names])


def _inat(year: int, root: Path, train: bool) -> ImageSet:
    """train_val2018/; the official train2018.json and val2018.json have the splits and the classes."""
    file = root / f"{'train' if train else 'val'}{year}.json"
    found = read_json(file)
    with _as_published(file):
        names = {int(category["id"]): str(category["name"]) for category in found["categories"]}
        order = {number: label for label, number in enumerate(sorted(names))}
        paths = {image["id"]: str(image["file_name"]) for image in found["images"]}
        rows = [(paths[note["image_id"]], order[note["category_id"]]) for note in found["annotations"]]
    words = [printable(names[number]) for number in order]
    classes = tuple(words if len(set(words)) == len(words) else map(str, order))
    return ImageSet(classes, [label for _, label in rows], [_inside(root, path, file) for path, _ in rows])


def _folder(root: Path, name: str) -> Path:
    """`root/name`, as torchvision has it, or the root where there is no such folder."""
    return root / name if (root / name).is_dir() else root


def _table(file: Path, key: str) -> np.ndarray:
    """One variable of a MATLAB file, as a flat array."""
    from scipy.io import loadmat

    demand(file.is_file(), f"no file {file}", "it belongs to the set: fetch it, and put it there")
    with _as_published(file):
        return np.atleast_1d(loadmat(file, squeeze_me=True)[key])


def _inside(folder: Path, name: str, file: Path) -> ImageSource:
    """An image that `file` names, below `folder`."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\0" not in name
    demand(inside, f"{file} names an image outside {folder}: {printable(name)}", "it is not as published")
    return File(str(folder / path))


@contextmanager
def _as_published(file: Path) -> Iterator[None]:
    """Say in one line that a file is not what its authors published."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what a broken .mat raises has no common class
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{file} is damaged, or not as published: {reason}", "fetch it again") from error


INAT = "a folder with train_val{0}/, train{0}.json and val{0}.json (train_val{0}.tar.gz and both .json.tar.gz), "

KNOWN: dict[str, Known] = {
    "cifar10": Known(
        "CIFAR-10",
        (50_000, 10_000, 10),
        f"a folder that holds cifar-10-batches-py, {TREE}",
        ("cifar-10-batches-py/",),
        partial(_cifar, "CIFAR10"),
    ),
    "cifar100": Known(
        "CIFAR-100",
        (50_000, 10_000, 100),
        f"a folder that holds cifar-100-python, {TREE}",
        ("cifar-100-python/",),
        partial(_cifar, "CIFAR100"),
    ),
    "flowers": Known(
        "Flowers-102",
        (2_040, 6_149, 102),
        f"a folder that holds flowers-102/jpg (of 102flowers.tgz), flowers-102/imagelabels.mat and setid.mat, {TREE}",
        ("flowers-102/", "setid.mat", "imagelabels.mat"),
        _flowers,
    ),
    "cars": Known(
        "Stanford Cars",
        (8_144, 8_041, 196),
        "a folder that holds stanford_cars/ with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat "
        f"(its download is dead: from a copy), {TREE}",
        ("stanford_cars/", "devkit/"),
        _cars,
    ),
    **{
        f"inat{year - 2000}": Known(
            f"iNaturalist {year}",
            counts,
            INAT.format(year) + TREE,
            (f"train{year}.json", f"val{year}.json"),
            partial(_inat, year),
        )
        for year, counts in ((2018, (437_513, 24_426, 8_142)), (2019, (265_213, 3_030, 1_010)))
    },
}
"""--data.source -> the set"""
