"""Data sets in one binary file, from small copies of their formats; torchvision's readers are the reference."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from resmlp.config import Data
from resmlp.data import count_mismatch, open_splits
from resmlp.data.images.binary_datasets import read_idx
from resmlp.utils.errors import UserError

RNG = np.random.default_rng(0)
CLASSES = {"mnist": 10, "fashionmnist": 10, "emnist": 47, "emnist-letters": 26, "emnist-byclass": 62}
REFERENCE = {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def plant_idx(root: Path, source: str, compress: bool = False) -> None:
    name, split = REFERENCE.get(source, "EMNIST"), source.partition("-")[2] or "balanced"
    for part, count in (("train", CLASSES[source] + 9), ("t10k" if name != "EMNIST" else "test", CLASSES[source])):
        front = f"emnist-{split}-{part}" if name == "EMNIST" else part
        labels = np.arange(count) % CLASSES[source] + (split == "letters")
        for kind, array in (("images-idx3", RNG.integers(0, 256, (count, 28, 28))), ("labels-idx1", labels)):
            data = idx(array)
            file = root / name / "raw" / f"{front}-{kind}-ubyte{'.gz' * compress}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(data) if compress else data)


def arrays(images) -> np.ndarray:
    return np.stack([np.asarray(images.read(i)) for i in range(len(images))])


def error_of(root: Path, source: str) -> str:
    with pytest.raises(UserError) as caught:
        open_splits(Data(source=source, root=str(root)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("source", CLASSES)
def test_idx(tmp_path, source):
    plant_idx(tmp_path / "plain", source)
    splits = open_splits(Data(source=source, root=str(tmp_path / "plain")))
    for images, train in zip(splits, (True, False)):
        if source in REFERENCE:
            reference = getattr(datasets, REFERENCE[source])(tmp_path / "plain", train=train)
        else:
            split = source.partition("-")[2] or "balanced"
            reference = datasets.EMNIST(tmp_path / "plain", split=split, train=train)
        pixels = reference.data.numpy() if source in REFERENCE else reference.data.numpy().swapaxes(1, 2)
        assert np.array_equal(arrays(images), np.repeat(pixels[..., None], 3, 3))
        names = [name.partition(" - ")[2] or name for name in reference.classes]
        assert [images.classes[label] for label in images.labels] == [names[t] for t in reference.targets.tolist()] or (
            source == "mnist"
        )
    assert splits.train.labels[:12] == [i % CLASSES[source] for i in range(12)]
    assert "was published with" in count_mismatch(source, splits)
    root = tmp_path / "plain" / REFERENCE.get(source, "EMNIST")
    for flat in (root, root / "raw"):
        assert len(open_splits(Data(source=source, root=str(flat))).train) == len(splits.train)


def test_compressed_idx(tmp_path):
    for compress in (False, True):
        global RNG
        RNG = np.random.default_rng(0)
        plant_idx(tmp_path / str(compress), "fashionmnist", compress)
    one, other = (open_splits(Data(source="fashionmnist", root=str(tmp_path / name))) for name in ("False", "True"))
    assert np.array_equal(arrays(one.train), arrays(other.train))
    assert one.train.classes[0] == "T-shirt/top"


def test_svhn(tmp_path):
    for part, count in (("train", 12), ("test", 11)):
        y = (np.arange(count) % 10 + 1)[:, None]
        savemat(tmp_path / f"{part}_32x32.mat", {"X": RNG.integers(0, 256, (32, 32, 3, count), np.uint8), "y": y})
    for images, part in zip(open_splits(Data(source="svhn", root=str(tmp_path))), ("train", "test")):
        reference = datasets.SVHN.__new__(datasets.SVHN)
        reference.split_list = {part: ["", f"{part}_32x32.mat", ""]}
        datasets.SVHN._check_integrity, kept = (lambda self: True), datasets.SVHN._check_integrity
        try:
            reference = datasets.SVHN(tmp_path, part)
        finally:
            datasets.SVHN._check_integrity = kept
        assert np.array_equal(arrays(images), reference.data.transpose(0, 2, 3, 1))
        assert images.labels == reference.labels.tolist()


def test_stl10(tmp_path, monkeypatch):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    (base / "class_names.txt").write_text("".join(f"c{i}\n" for i in range(10)))
    for part, count in (("train", 12), ("test", 10)):
        RNG.integers(0, 256, (count, 3, 96, 96), np.uint8).tofile(base / f"{part}_X.bin")
        (np.arange(count) % 10 + 1).astype(np.uint8).tofile(base / f"{part}_y.bin")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    for images, part in zip(open_splits(Data(source="stl10", root=str(tmp_path))), ("train", "test")):
        reference = datasets.STL10(tmp_path, part)
        assert np.array_equal(arrays(images), reference.data.transpose(0, 2, 3, 1))
        assert images.labels == reference.labels.tolist()
        assert images.classes == tuple(reference.classes)
    with (base / "train_X.bin").open("ab") as file:
        file.write(b"x")
    assert "for each of 12 labels" in error_of(tmp_path, "stl10")
    (base / "train_y.bin").unlink()
    assert "train_y.bin: No such file" in error_of(tmp_path, "stl10")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\x03\0\0",
        idx(np.zeros((3, 2, 2)))[:-1],
        idx(np.zeros((3, 2, 2))) + b"x",
        b"\0\0\x0d" + idx(np.zeros((3, 2, 2)))[3:],
        bytes([0, 0, 8, 3]) + b"\xff" * 12,
        gzip.compress(idx(np.zeros((3, 2, 2))), mtime=0)[:-12],
        gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12, mtime=0),
        b"\x1f\x8bnot gzip at all",
    ],
)
def test_damaged_idx_is_one_line(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_idx(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together(tmp_path):
    plant_idx(tmp_path, "fashionmnist")
    labels = tmp_path / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(3)))
    assert "labels of shape (3,)" in error_of(tmp_path, "fashionmnist")
    labels.write_bytes(idx(np.full(19, 10)))
    assert "none of its 10 classes" in error_of(tmp_path, "fashionmnist")
    labels.unlink()
    assert "no train-labels-idx1-ubyte" in error_of(tmp_path, "fashionmnist")
    (tmp_path / "test_32x32.mat").write_bytes(b"x" * 200)
    (tmp_path / "train_32x32.mat").write_bytes(b"x" * 200)
    assert "is damaged" in error_of(tmp_path, "svhn")
