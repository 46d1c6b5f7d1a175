"""Data sets whose images are one binary file: MNIST and its kin (idx), SVHN (.mat) and STL-10, as torchvision has them.

Every file has the size that its header, or its format, claims; none is unpickled.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from resmlp.data.images.imageset import ImageSet
from resmlp.imaging.archive_limits import max_buffered
from resmlp.imaging.image_file import ImageSource, Pixels
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

AGAIN = "download it again"
UNSIGNED_BYTES = 8
"""the third byte of an idx file: its type of number"""
GZIP = b"\x1f\x8b"
STL_SHAPE = (3, 96, 96)
EMNIST = {
    "balanced": (112_800, 18_800, 47),
    "byclass": (697_932, 116_323, 62),
    "bymerge": (697_932, 116_323, 47),
    "letters": (124_800, 20_800, 26),
    "digits": (240_000, 40_000, 10),
    "mnist": (60_000, 10_000, 10),
}
"""the splits of EMNIST, with their numbers of training images, test images and classes; --data.source emnist is the
first one"""


def read_idx(file: Path) -> np.ndarray:
    """The uint8 array in an idx file, perhaps compressed by gzip. Raises `UserError`."""
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == GZIP
        with gzip.open(file) if packed else file.open("rb") as opened:
            magic = opened.read(4)
            known = len(magic) == 4 and magic[:3] == bytes([0, 0, UNSIGNED_BYTES]) and 1 <= magic[3] <= 4
            demand(known, f"{file} is not an idx file of bytes", AGAIN)
            header = opened.read(4 * magic[3])
            demand(len(header) == 4 * magic[3], f"{file} ends in its header", AGAIN)
            shape = np.frombuffer(header, ">u4").tolist()
            count, limit = math.prod(shape), max_buffered(file) if packed else file.stat().st_size
            demand(count <= limit, f"{file} claims the shape {shape}", AGAIN)
            data = opened.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {file}: {reason}", AGAIN) from error
    demand(len(data) == count, f"{file} has another size than its shape {shape}", AGAIN)
    return np.frombuffer(data, np.uint8).reshape(shape)


def mnist_like(name: str, classes: tuple[str, ...], root: Path, train: bool) -> ImageSet:
    """The images of MNIST or FashionMNIST, which `name` is: gray, 28 x 28."""
    part = "train" if train else "t10k"
    images, labels = (_idx(root, name, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1"))
    return _image_set(name, train, classes, images, labels)


def emnist(split: str, root: Path, train: bool) -> ImageSet:
    """A split of EMNIST. Its files, and torchvision, have each image mirrored and turned: here they are upright."""
    from torchvision import datasets

    front = f"emnist-{split}-{'train' if train else 'test'}"
    images, labels = (_idx(root, "EMNIST", f"{front}-{kind}") for kind in ("images-idx3", "labels-idx1"))
    classes = datasets.EMNIST.classes_split_dict[split]
    if split == "letters":  # from 1 on
        classes, labels = classes[1:], labels - np.uint8(1)  # a label of 0 becomes 255, which is refused
    upright = images.transpose(0, 2, 1) if images.ndim == 3 else images
    return _image_set(f"EMNIST {split}", train, tuple(classes), upright, labels)


def svhn(root: Path, train: bool) -> ImageSet:
    """SVHN's cropped digits: train_32x32.mat and test_32x32.mat; the class of 0 has the label 10 there."""
    from scipy.io import loadmat

    file = root / f"{'train' if train else 'test'}_32x32.mat"
    demand(file.is_file(), f"no file {file}", "it is part of the data set: download it to this path")
    try:
        content = loadmat(file, variable_names=("X", "y"))
        images, labels = content["X"].transpose(3, 0, 1, 2), content["y"].reshape(-1)
    except Exception as error:  # scipy raises exceptions without a common class for a damaged .mat
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:150]
        raise UserError(f"{file} is damaged, or differs from the published file: {reason}", AGAIN) from error
    whole = images.dtype == np.uint8 and labels.dtype.kind in "ui"
    demand(whole, f"{file} has pixels of {images.dtype} and labels of {labels.dtype}", AGAIN)
    return _image_set("SVHN", train, tuple("0123456789"), images, np.where(labels == 10, 0, labels))


def stl10(root: Path, train: bool) -> ImageSet:
    """STL-10: stl10_binary/train_X.bin and test_X.bin, with labels from 1 on; its unlabeled images are not read."""
    base = root / "stl10_binary" if (root / "stl10_binary").is_dir() else root
    part = "train" if train else "test"
    labels = _bytes(base / f"{part}_y.bin") - np.uint8(1)
    pixels, each = _bytes(base / f"{part}_X.bin"), math.prod(STL_SHAPE)
    what = f"{base}/{part}_X.bin has {len(pixels):,} bytes, not {each:,} for each of {len(labels):,} labels"
    demand(len(pixels) == each * len(labels), what, AGAIN)
    names = base / "class_names.txt"
    demand(names.is_file(), f"no file {names}", "it is part of the data set: download it to this path")
    classes = tuple(names.read_text("utf-8", errors="replace").split())
    images = pixels.reshape(-1, *STL_SHAPE).transpose(0, 3, 2, 1)  # column by column in the file
    return _image_set("STL-10", train, classes, images, labels)


def _idx(root: Path, name: str, stem: str) -> np.ndarray:
    """The array in STEM-ubyte or STEM-ubyte.gz, in the folders that torchvision makes or in the root."""
    folders = (root / name / "raw", root / "raw", root / name, root)
    candidates = [folder / f"{stem}-ubyte{ending}" for folder in folders for ending in ("", ".gz")]
    file = next((path for path in candidates if path.is_file()), None)
    demand(file is not None, f"no {stem}-ubyte or {stem}-ubyte.gz in {root}", f"download it to {folders[0]}")
    assert file is not None
    return read_idx(file)


def _bytes(file: Path) -> np.ndarray:
    try:
        return np.fromfile(file, np.uint8)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", AGAIN) from error


def _image_set(name: str, train: bool, classes: tuple[str, ...], images: np.ndarray, labels: np.ndarray) -> ImageSet:
    """Images N H W or N H W 3 with labels N. Raises `UserError` where these do not belong together."""
    part = "train" if train else "test"
    pixels = images.ndim == 3 or images.ndim == 4 and images.shape[-1] == 3
    fits = pixels and labels.ndim == 1 and len(images) == len(labels) and 0 not in images.shape
    demand(fits, f"{name}: {part} images of shape {images.shape} and labels of shape {labels.shape}", AGAIN)
    valid = labels.min() >= 0 and labels.max() < len(classes)
    demand(bool(valid), f"{name}: {part} has a label that is none of its {len(classes)} classes", AGAIN)
    sources: list[ImageSource] = [Pixels(f"{name} {part} image {i}", image) for i, image in enumerate(images)]
    return ImageSet(classes, labels.astype(int).tolist(), sources)
