"""Published data sets, those of the paper's Table 4 but ImageNet and others, in their authors' formats. No downloads.

Each data set may also be a tree with train/ and val/ or test/. Its files are not trusted: paths in them cannot leave
the data set's own folder, and a pickle is loaded only after its checksum is verified.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from resmlp.config import Data
from resmlp.data.images.binary_datasets import EMNIST, emnist, mnist_like, stl10, svhn
from resmlp.data.images.imageset import ImageSet, Splits, check_same_classes, folder_eval, folder_splits
from resmlp.imaging.image_file import File, ImageSource, Pixels
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable
from resmlp.utils.files import read_json

TREE = "or train/ and test/ with one sub-folder for each class"


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set: its contents, and where its files must be."""

    title: str
    counts: tuple[int, int, int]
    """numbers of training images, test images and classes"""
    root_hint: str
    """what --data.root must be"""
    markers: tuple[str, ...]
    """paths below the root, at least one of which exists in a copy of the data set; a folder ends in '/'"""
    read: Callable[[Path, bool], ImageSet]
    """(root, train) -> the training images, or the test images if `train` is False"""

    def splits(self, data: Data) -> Splits:
        """The published splits, or those of a tree of class folders."""
        root = self.find_root(data)
        if root is None:
            return self._tree(folder_splits, data)
        train, val = self._read(root, True), self._read(root, False)
        check_same_classes("train", set(train.classes), "val", set(val.classes))
        return Splits(train, val)

    def val(self, data: Data) -> ImageSet:
        """The published test images, or the validation images of a tree of class folders."""
        root = self.find_root(data)
        return self._tree(folder_eval, data) if root is None else self._read(root, False)

    def find_root(self, data: Data) -> Path | None:
        """The root, if it contains the published files; None for a tree of class folders."""
        root = Path(str(data.root))
        exists = ((root / path).is_dir() if path.endswith("/") else (root / path).is_file() for path in self.markers)
        return root if any(exists) else None

    def _read(self, root: Path, train: bool) -> ImageSet:
        images = self.read(root, train)
        demand(len(images) > 0, f"{root} lists no images for {'training' if train else 'testing'}", self.root_hint)
        first = images.images[0]
        if isinstance(first, File) and not Path(first.name).is_file():
            raise UserError(f"{self.title}: no image {printable(first.name)}", f"--data.root must be {self.root_hint}")
        return images

    def _tree(self, read: Callable[[Data], Any], data: Data) -> Any:
        try:
            return read(data)
        except UserError as error:
            raise UserError(error.what, f"{error.hint}; for {self.title}: {self.root_hint}") from None


def _cifar(name: str, root: Path, train: bool) -> ImageSet:
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        dataset = kind(root, train=train)  # verifies the checksums before it unpickles
    except RuntimeError as error:
        what = f"{root}/{kind.base_folder} is incomplete or damaged: wrong checksum"
        raise UserError(what, f"unpack {kind.filename} there again") from error
    part = "train" if train else "test"
    images: list[ImageSource] = [Pixels(f"{name} {part} image {i}", array) for i, array in enumerate(dataset.data)]
    return ImageSet(tuple(dataset.classes), list(dataset.targets), images)


def _flowers(root: Path, train: bool) -> ImageSet:
    """Flowers-102: jpg/image_00001.jpg and so on; imagelabels.mat has the classes, setid.mat the splits.

    The training set is the published train + val.
    """
    from torchvision import datasets

    base = _folder(root, "flowers-102")
    labels = _table(base / "imagelabels.mat", "labels")
    splits = ("trnid", "valid") if train else ("tstid",)
    numbers = np.concatenate([_table(base / "setid.mat", split) for split in splits])
    with _as_published(base / "setid.mat"):
        demand(numbers.min() >= 1 and labels.min() >= 1, f"{base}/setid.mat has a number below 1", "download it again")
        image_labels = [int(label) - 1 for label in labels[numbers - 1]]
        images: list[ImageSource] = [File(str(base / "jpg" / f"image_{number:05d}.jpg")) for number in numbers]
        classes = tuple(str(number) for number in range(1, int(labels.max()) + 1))
    names = tuple(getattr(datasets.Flowers102, "classes", ()))  # the files have no names
    return ImageSet(names if len(names) == len(classes) else classes, image_labels, images)


def _cars(root: Path, train: bool) -> ImageSet:
    """Stanford Cars: cars_train/ and cars_test/; devkit/*.mat have the class of each image and the class names."""
    base = _folder(root, "stanford_cars")
    test = "cars_test_annos_withlabels.mat"
    candidates = (base / test, base / "devkit" / test)
    if train:
        file = base / "devkit" / "cars_train_annos.mat"
    else:
        file = next((path for path in candidates if path.is_file()), candidates[0])
    folder = base / ("cars_train" if train else "cars_test")
    classes = tuple(map(str, _table(base / "devkit" / "cars_meta.mat", "class_names")))
    rows = _table(file, "annotations")
    with _as_published(file):
        labels = [int(row["class"]) - 1 for row in rows]
        names = [str(row["fname"]) for row in rows]
        in_range = all(0 <= label < len(classes) for label in labels)
        demand(in_range, f"{file} has a class without a name", "download it again")
    return ImageSet(classes, labels, [_image_below(folder, name, file) for name in names])


def _inat(year: int, root: Path, train: bool) -> ImageSet:
    """iNaturalist: train_val2018/; the official train2018.json and val2018.json have the splits and the classes."""
    file = root / f"{'train' if train else 'val'}{year}.json"
    annotations = read_json(file)
    with _as_published(file):
        names = {int(category["id"]): str(category["name"]) for category in annotations["categories"]}
        order = {number: label for label, number in enumerate(sorted(names))}
        paths = {image["id"]: str(image["file_name"]) for image in annotations["images"]}
        rows = [(paths[row["image_id"]], order[row["category_id"]]) for row in annotations["annotations"]]
    titles = [printable(names[number]) for number in order]
    classes = tuple(titles if len(set(titles)) == len(titles) else map(str, order))
    return ImageSet(classes, [label for _, label in rows], [_image_below(root, path, file) for path, _ in rows])


def _folder(root: Path, name: str) -> Path:
    """`root/name`, as in torchvision, or the root if there is no such folder."""
    return root / name if (root / name).is_dir() else root


def _table(file: Path, key: str) -> np.ndarray:
    """One variable of a MATLAB file, as a flat array."""
    from scipy.io import loadmat

    demand(file.is_file(), f"no file {file}", "it is part of the data set: download it to this path")
    with _as_published(file):
        return np.atleast_1d(loadmat(file, squeeze_me=True)[key])


def _image_below(folder: Path, name: str, file: Path) -> ImageSource:
    """The image `folder`/`name`; raises `UserError` that names `file` if the path leaves the folder."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\0" not in name
    demand(inside, f"{file} names an image outside {folder}: {printable(name)}", "download it again")
    return File(str(folder / path))


@contextmanager
def _as_published(file: Path) -> Iterator[None]:
    """Turn any failure to read `file` into one line: the file differs from the published one."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # scipy raises exceptions without a common class for a damaged .mat
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"{file} is damaged, or differs from the published file: {reason}", "download it again"
        ) from error


DIGITS = tuple("0123456789")
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
INAT = "a folder with train_val{0}/, train{0}.json and val{0}.json (train_val{0}.tar.gz and both .json.tar.gz), "

PUBLISHED_DATASETS: dict[str, PublishedDataset] = {
    "cifar10": PublishedDataset(
        "CIFAR-10",
        (50_000, 10_000, 10),
        f"a folder with cifar-10-batches-py, {TREE}",
        ("cifar-10-batches-py/",),
        partial(_cifar, "CIFAR10"),
    ),
    "cifar100": PublishedDataset(
        "CIFAR-100",
        (50_000, 10_000, 100),
        f"a folder with cifar-100-python, {TREE}",
        ("cifar-100-python/",),
        partial(_cifar, "CIFAR100"),
    ),
    "flowers": PublishedDataset(
        "Flowers-102",
        (2_040, 6_149, 102),
        f"a folder with flowers-102/jpg (from 102flowers.tgz), flowers-102/imagelabels.mat and setid.mat, {TREE}",
        ("flowers-102/", "setid.mat", "imagelabels.mat"),
        _flowers,
    ),
    "cars": PublishedDataset(
        "Stanford Cars",
        (8_144, 8_041, 196),
        "a folder with stanford_cars/ with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat "
        f"(its download page is gone: use a copy), {TREE}",
        ("stanford_cars/", "devkit/"),
        _cars,
    ),
    **{
        f"inat{year - 2000}": PublishedDataset(
            f"iNaturalist {year}",
            counts,
            INAT.format(year) + TREE,
            (f"train{year}.json", f"val{year}.json"),
            partial(_inat, year),
        )
        for year, counts in ((2018, (437_513, 24_426, 8_142)), (2019, (265_213, 3_030, 1_010)))
    },
    **{
        name.lower(): PublishedDataset(
            name,
            (60_000, 10_000, 10),
            f"a folder with {name}/raw/train-images-idx3-ubyte(.gz), its labels and those of t10k, {TREE}",
            (f"{name}/", "raw/", "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"),
            partial(mnist_like, name, classes),
        )
        for name, classes in (("MNIST", DIGITS), ("FashionMNIST", FASHION))
    },
    **{
        f"emnist-{split}" if i else "emnist": PublishedDataset(
            f"EMNIST {split}",
            counts,
            f"a folder with EMNIST/raw/emnist-{split}-train-images-idx3-ubyte(.gz) and the rest, {TREE}",
            (
                "EMNIST/",
                "raw/",
                f"emnist-{split}-train-images-idx3-ubyte",
                f"emnist-{split}-train-images-idx3-ubyte.gz",
            ),
            partial(emnist, split),
        )
        for i, (split, counts) in enumerate(EMNIST.items())
    },
    "svhn": PublishedDataset(
        "SVHN",
        (73_257, 26_032, 10),
        f"a folder with train_32x32.mat and test_32x32.mat, {TREE}",
        ("train_32x32.mat", "test_32x32.mat"),
        svhn,
    ),
    "stl10": PublishedDataset(
        "STL-10",
        (5_000, 8_000, 10),
        f"a folder with stl10_binary/ (from stl10_binary.tar.gz), {TREE}",
        ("stl10_binary/", "train_X.bin"),
        stl10,
    ),
}
"""from a --data.source to the data set"""
