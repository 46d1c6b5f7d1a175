"""Folder trees and archives: their images, their splits, and the errors."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from resmlp.config import Data
from resmlp.data import open_eval, open_splits
from resmlp.data.images.unlabeled import open_collection
from resmlp.imaging import archive_limits
from resmlp.utils.errors import UserError

PAIR = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")


def names(images) -> list[str]:
    return [images.name(i) for i in range(len(images))]


def error_of(root: str | None, opener=open_splits, **fields) -> str:
    with pytest.raises(UserError) as caught:
        opener(Data(root=root, **fields))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def split_tree(train: str = "train", val: str = "val") -> list[str]:
    return [f"{part}/{path}" for part in (train, val) for path in PAIR]


@pytest.mark.parametrize("val", ["val", "validation", "valid", "test", "Test"])
def test_tree_with_splits(plant, val):
    root = plant(*split_tree(val=val), "notes.txt", ".hidden.png", "train/.git/x.png", "train/cat/deeper/3.PNG")
    train, val_images = open_splits(Data(root=root))
    assert train.classes == val_images.classes == ("cat", "dog")
    assert train.labels == [0, 0, 0, 1, 1]
    assert [name.removeprefix(root + "/") for name in names(val_images)] == [f"{val}/{path}" for path in PAIR]
    assert names(open_eval(Data(root=root))) == names(val_images)


def test_images_have_the_pixels_of_their_files(plant):
    images = open_eval(Data(root=plant(*PAIR)))
    assert [images.read(i).getpixel((0, 0)) for i in range(4)] == [(i, 0, 255 - i) for i in range(4)]


def test_val_is_preferred_to_test(plant):
    _, val = open_splits(Data(root=plant(*split_tree(), *(f"test/{path}" for path in PAIR))))
    assert "/val/" in val.name(0)


def test_split_takes_the_same_fraction_of_each_class(plant):
    root = plant(*(f"{name}/{i}.png" for name, count in (("a", 40), ("b", 10), ("c", 2)) for i in range(count)))
    train, val = open_splits(Data(root=root, val_fraction=0.2))
    counts = np.bincount(val.labels)
    assert counts[2] == 1, "at least one image, and not all"
    assert abs(counts[0] - 8) <= 3 * (40 * 0.2 * 0.8) ** 0.5, "a binomial count: 3 standard deviations"
    assert sorted(names(train) + names(val)) == sorted(names(open_eval(Data(root=root))))
    assert names(open_splits(Data(root=root)).val) == names(val)
    assert names(open_splits(Data(root=root, split_seed=1)).val) != names(val)
    assert len(open_splits(Data(root=root, val_fraction=0.999)).train) == 3


def test_train_alone_is_split(plant):
    train, val = open_splits(Data(root=plant(*(f"train/{path}" for path in PAIR))))
    assert train.classes == ("cat", "dog")
    assert len(train) == len(val) == 2


def test_a_class_may_be_called_train(plant):
    train, _ = open_splits(Data(root=plant("bus/1.png", "bus/2.png", "train/1.png", "train/2.png")))
    assert train.classes == ("bus", "train")


def test_numeric_classes_are_sorted_as_numbers(plant):
    """ImageNetV2: sorted as strings, class 10 comes before class 2 and the accuracy is 0 %."""
    images = open_eval(Data(root=plant(*(f"{i}/x.png" for i in range(12)))))
    assert images.classes == tuple(map(str, range(12)))


def test_links(plant, tmp_path):
    root = Path(plant(*PAIR))
    (root / "cow").symlink_to(root / "dog")
    (root / "cat" / "loop").symlink_to(root)
    images = open_eval(Data(root=str(root)))
    assert images.classes == ("cat", "cow", "dog")
    assert len(images) == 6


def test_invalid_roots(plant, tmp_path):
    assert "--data.root is not given" in error_of(None)
    assert "cifar-10-batches-py" in error_of(None, source="cifar10")
    plant(*PAIR, root="flowers")
    assert "did you mean flowers?" in error_of(str(tmp_path / "flower"))
    assert "no such file" in error_of("/nowhere/at/all")
    assert "is a file" in error_of(plant(*PAIR) + "/cat/1.png")
    for name in ("pairs.csv", "pairs.JSONL"):
        (tmp_path / name).write_text("en,de")
        assert "parallel text must be .tsv or .parquet" in error_of(str(tmp_path / name))
    assert "did you mean folder" in error_of(None, source="floder")


def test_trees_without_classes(plant):
    assert "is empty" in error_of(plant(root="empty"))
    message = error_of(plant("a/1.txt", "a/2.jxl", "3.md", root="texts"))
    assert "3 other files" in message
    assert ".jpg" in message
    assert "2 images lie directly in" in error_of(plant("1.png", "2.png", root="flat"))
    message = error_of(plant("train/1.png", "train/2.png", "val/1.png", root="flat_parts"))
    assert "flat_parts/train" in message
    assert "single class, cat" in error_of(plant("cat/1.png", "cat/2.png", root="one"))
    assert "one level deeper" in error_of(plant("wrap/cat/1.png", "wrap/dog/1.png", root="wrapped"))
    assert "without images: cow" in error_of(plant(*PAIR, "cow/1.jxl", root="bare"))
    assert len(open_eval(Data(root=plant("cat/1.png", root="single"))).classes) == 1


def test_empty_class_folder(plant):
    root = plant(*split_tree())
    Path(root, "train", "cow").mkdir()
    assert "without images: cow" in error_of(root)


def test_different_classes(plant):
    message = error_of(plant(*split_tree(), "train/cow/1.png", root="more"))
    assert "val lacks cow" in message
    message = error_of(plant(*split_tree(), *(f"val/x{i}/1.png" for i in range(7)), root="less"))
    assert "train lacks x0, x1, x2, x3, x4 and 2 more" in message


def test_missing_splits(plant):
    val = plant(*(f"val/{path}" for path in PAIR), root="val_only")
    assert "no train/" in error_of(val)
    assert len(open_eval(Data(root=val))) == 4
    assert "no val/" in error_of(plant(*(f"train/{path}" for path in PAIR), root="train_only"), open_eval)
    assert "one image cannot be split: dog" in error_of(plant("cat/1.png", "cat/2.png", "dog/1.png", root="few"))


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip"])
def test_archive_equals_its_folder(plant, pack, ending):
    paths = [*split_tree(), "train/readme.txt", "./train/dog/3.png"]
    folder, archive = open_splits(Data(root=plant(*paths))), open_splits(Data(root=pack("a" + ending, *paths)))
    for packed, unpacked in zip(archive, folder):
        assert (packed.classes, packed.labels) == (unpacked.classes, unpacked.labels)
        assert [packed.read(i).tobytes() for i in range(len(packed))] == [
            unpacked.read(i).tobytes() for i in range(len(packed))
        ]


def test_folder_of_archives(pack, tmp_path):
    pack("all/a_train.tar.gz", *(f"train/{path}" for path in PAIR))
    pack("all/a_test.tar", *(f"test/{path}" for path in PAIR))
    (tmp_path / "all" / "index.tsv").write_text("ignored")
    train, val = open_splits(Data(root=str(tmp_path / "all")))
    assert len(train) == len(val) == 4
    pack("all/twice.tar", "test/cat/1.png")
    assert "two archives" in error_of(str(tmp_path / "all"))


def test_archives_named_like_a_split(pack, tmp_path):
    for part in ("train.tar", "val.tgz"):
        pack(f"all/{part}", *PAIR)
    train, val = open_splits(Data(root=str(tmp_path / "all")))
    assert "train.tar:cat/1.png" in train.name(0)
    assert "val.tgz:cat/1.png" in val.name(0)


def test_extra_folder(plant, pack):
    assert len(open_splits(Data(root=plant(*(f"wrap/{path}" for path in split_tree())))).val) == 4
    for paths in (split_tree(), PAIR):
        assert open_splits(Data(root=pack("w.tgz", *(f"wrap/{path}" for path in paths)))).val.classes == ("cat", "dog")
    assert open_eval(Data(root=pack("one.tar", "cat/1.png", "cat/2.png"))).classes == ("cat",)


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("name", ["hostile.tar", "hostile.tgz"])
def test_hostile_archive(pack, tmp_path, name):
    root = pack(
        name,
        *PAIR,
        "../../escape/1.png",
        "/absolute/1.png",
        "cat/../../up/1.png",
        special("dog/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        special("dog/hard.png", tarfile.LNKTYPE, "cat/1.png"),
        special("dog/device.png", tarfile.CHRTYPE),
        special("dog/pipe.png", tarfile.FIFOTYPE),
        "bell\a\n/1.png",
    )
    before = sorted(tmp_path.rglob("*"))
    images = open_eval(Data(root=root))
    assert images.classes == ("absolute", r"bell\x07\n", "cat", "dog")
    assert [images.labels.count(label) for label in range(4)] == [1, 1, 2, 3], "a hard link is its target"
    assert all(images.read(i).size == (8, 8) for i in range(len(images)))
    assert all(name.isprintable() for name in names(images))
    assert sorted(tmp_path.rglob("*")) == before


def test_last_of_two_members_is_used(pack):
    images = open_eval(Data(root=pack("a.tar", "cat/1.png", "dog/1.png", "cat/1.png")))
    assert len(images) == 2
    assert images.read(0).getpixel((0, 0)) == (2, 0, 253)


def test_member_of_absurd_size(tmp_path):
    info = tarfile.TarInfo("cat/1.png")
    info.size = 10**12
    (tmp_path / "a.tar").write_bytes(info.tobuf() + b"\0" * 1024)
    assert "claims 1,000,000,000,000 bytes" in error_of(str(tmp_path / "a.tar"))


def test_compressed_archive_too_large_for_memory(pack, monkeypatch):
    monkeypatch.setattr(archive_limits, "MAX_BUFFERED", 200)
    assert "unpack the archive" in error_of(pack("a.tgz", *PAIR))
    open_splits(Data(root=pack("a.tar", *PAIR)))


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_broken_archives(pack, tmp_path, ending):
    """Includes archives truncated between two members, which the tarfile module accepts."""
    whole = Path(pack("whole.tar", *PAIR)).read_bytes()
    garbled = whole[:2048] + b"x" * 512 + whole[2560:]
    path = tmp_path / f"broken{ending}"
    for data in (b"", b"not an archive" * 99, garbled, *(whole[:cut] for cut in range(256, 4096, 256))):
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
        assert "cannot read the archive" in error_of(str(path))


def test_truncated_compressed_archive(pack):
    path = Path(pack("whole.tgz", *PAIR))
    path.write_bytes(path.read_bytes()[:-50])
    assert "cannot read the archive" in error_of(str(path))


def test_archive_deleted_after_opening(pack):
    root = pack("a.tar", *PAIR)
    images = open_eval(Data(root=root))
    Path(root).unlink()
    with pytest.raises(UserError, match="No such file"):
        images.read(0)


def test_real_archives(shared):
    train, val = open_splits(Data(source="cifar10", root=str(shared / "cifar10")))
    assert train.classes == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(val.labels).tolist() == [1000] * 10
    assert train.read(49999).size == (32, 32)


def test_real_uncompressed_archive(shared):
    images = open_eval(Data(root=str(shared / "imagenet_samples")))
    assert images.labels == list(range(1000))
    with tarfile.open(shared / "imagenet_samples" / "imagenet_samples_256.tar") as tar:
        member = images.name(500).partition(":")[2]
        data = tar.extractfile(member).read()
    assert images.images[500].open().read() == data
    assert images.read(500).mode == "RGB"
    assert isinstance(images.images[500].open(), io.BytesIO)


def test_real_folder(shared):
    train, val = open_splits(Data(root=str(shared / "caltech20")))
    assert (len(train), len(val), len(val.classes)) == (1371, 589, 20)


# --- a fraction of the training images

SHARED = [f"{name}/{i}.png" for name, count in (("a", 40), ("b", 10), ("c", 3)) for i in range(count)]


def test_fraction_of_each_class_of_the_training_set_only(plant):
    root = plant(*SHARED)
    whole, all_val = open_splits(Data(root=root))
    for fraction in (0.25, 0.5, 1e-300, 0.999):
        train, val = open_splits(Data(root=root, fraction=fraction))
        counts = [max(1, round(fraction * count)) for count in np.bincount(whole.labels)]
        assert np.bincount(train.labels).tolist() == counts
        assert names(val) == names(all_val)
        assert train.classes == whole.classes
        places = [names(whole).index(name) for name in names(train)]
        assert places == sorted(places), "in the original order"
        assert [whole.labels[i] for i in places] == train.labels
        assert names(open_splits(Data(root=root, fraction=fraction)).train) == names(train)


def test_smaller_fraction_is_a_subset_and_depends_on_the_seed(plant):
    root = plant(*(f"train/{path}" for path in SHARED), *(f"val/{name}/0.png" for name in "abc"))
    subsets = [set(names(open_splits(Data(root=root, fraction=f / 20)).train)) for f in range(1, 21)]
    assert all(less <= more for less, more in zip(subsets, subsets[1:]))
    assert len(subsets[-1]) == len(SHARED)
    other = open_splits(Data(root=root, fraction=0.25, split_seed=1))
    assert set(names(other.train)) != subsets[4]
    assert len(other.train) == len(subsets[4])


def test_fraction_of_digits():
    train, val = open_splits(Data(source="digits", fraction=0.1))
    whole, _ = open_splits(Data(source="digits"))
    assert len(val) == 360
    assert np.bincount(train.labels).tolist() == [round(0.1 * n) for n in np.bincount(whole.labels)]


def test_fraction_without_labels_is_of_all_images(plant):
    root = plant(*SHARED)
    collection = open_collection(Data(root=root, fraction=0.5), labels=False)
    assert len(collection.train) == round(0.5 * len(SHARED))
    flat = open_collection(Data(root=plant("flat/1.png", "flat/2.png") + "/flat", fraction=0.001))
    assert len(flat.train) == 1


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match="--data.fraction"):
        Data(fraction=fraction)
