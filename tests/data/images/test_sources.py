"""Digits and torchvision's CIFAR files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torchvision import datasets

from resmlp.config import Data
from resmlp.data import open_eval, open_splits
from resmlp.utils.errors import UserError


def test_digits():
    train, val = open_splits(Data(source="digits"))
    assert (len(train), len(val)) == (1437, 360)
    assert train.classes == tuple("0123456789")
    digits = load_digits()
    for images in (train, val):
        for i in (0, 17, len(images) - 1):
            number = int(images.name(i).split()[-1])
            assert images.labels[i] == digits.target[number]
            gray = np.asarray(images.read(i))
            assert gray.shape == (8, 8, 3)
            assert abs(gray[..., 0] - digits.images[number] * 255 / 16).max() <= 0.5
    assert abs(np.bincount(val.labels) - 0.2 * np.bincount(digits.target)).max() <= 1
    assert not {val.name(i) for i in range(360)} & {train.name(i) for i in range(1437)}


def test_digits_split_is_a_function_of_its_seed():
    first, again, other = (open_splits(Data(source="digits", split_seed=seed)).val for seed in (0, 0, 1))
    assert first.labels == again.labels == open_eval(Data(source="digits")).labels
    assert first.labels != other.labels


@pytest.mark.parametrize(("source", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_files_with_a_wrong_checksum_are_not_unpickled(tmp_path, source, folder):
    (tmp_path / folder).mkdir()
    fired = tmp_path / "fired"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (fired,)

    for name in ("data_batch_1", "test_batch", "batches.meta", "train", "test", "meta"):
        (tmp_path / folder / name).write_bytes(pickle.dumps(Bomb()))
    for opener in (open_splits, open_eval):
        with pytest.raises(UserError, match="incomplete or damaged"):
            opener(Data(source=source, root=str(tmp_path)))
    assert not fired.exists()


def test_cifar_files(tmp_path, monkeypatch):
    """A small copy of the real format; the checksums are not compared."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = {part: rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8) for part in ("train", "test")}
    for part, images in pixels.items():
        entry = {"data": images.reshape(6, -1), "fine_labels": [0, 1, 2, 2, 1, 0]}
        (folder / part).write_bytes(pickle.dumps(entry))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bee", "cup"]}))
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    data = Data(source="cifar100", root=str(tmp_path))
    train, val = open_splits(data)
    assert train.classes == val.classes == ("apple", "bee", "cup")
    assert train.labels == [0, 1, 2, 2, 1, 0]
    for images, part in ((train, "train"), (val, "test"), (open_eval(data), "test")):
        for i in range(6):
            assert (np.asarray(images.read(i)) == pixels[part][i].transpose(1, 2, 0)).all()


def test_subset():
    images = open_eval(Data(source="digits"))
    part = images.subset([5, 3])
    assert part.classes == images.classes
    assert part.labels == [images.labels[5], images.labels[3]]
    assert part.name(1) == images.name(3)
