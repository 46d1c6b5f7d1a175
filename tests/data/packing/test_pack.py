"""`pack`: the packed set is the data set of its source, its shards are WebDataset's, and faults are named."""

import contextlib
import io
import re
import shutil
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.data import open_eval, open_splits
from resmlp.data.checking.check import check_data
from resmlp.data.images import pinned
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.images.imageset import ImageSet, Splits
from resmlp.data.images.sources import open_images
from resmlp.data.images.unlabeled import open_collection
from resmlp.data.loading.train import TrainBatches
from resmlp.data.packing import source
from resmlp.data.packing.pack import BEGUN, Packed, pack
from resmlp.data.packing.shard import ShardWriter
from resmlp.data.shards.index import INDEX, Index
from resmlp.imaging.decode import UnreadableArchive
from resmlp.imaging.image_file import Pixels
from resmlp.utils.errors import UserError

CLASSES = ("cat", "2 dogs.small", "Größe")
WEBDATASET_KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
"""the rule that webdataset publishes: the path up to the first dot of its last part is the key"""


def jpeg(seed: int, size: tuple[int, int] = (24, 16), orientation: int = 1) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    return file.getvalue()


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def plant(root: Path, parts: tuple[str, ...] = ("train", "val"), count: int = 4) -> Path:
    """Classes and images with names that a tar or a key of WebDataset could confuse."""
    seed = 0
    for part in parts:
        for name in CLASSES:
            for i in range(count):
                seed += 1
                path = root / part / name / ("a.b.JPG", "a_b.png", "deep/er/x.y/1.jpg", "no-ending")[i % 4]
                path = path.with_name(path.name.replace("1", str(1 + i)) if i < 4 else f"{i}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg(seed) if path.suffix.lower() == ".jpg" else png(seed))
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return plant(tmp_path_factory.mktemp("source") / "tree")


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory) -> Path:
    """The tree in several shards of each split. Not to be written to."""
    folder = tmp_path_factory.mktemp("packed") / "out"
    packed_in_parts(tree, folder, 3)
    return folder


def packed_in_parts(tree: Path, folder: Path, images: int, **settings) -> Packed:
    """Pack into shards of at most so many images."""
    from resmlp.data.packing import plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCKS", 2**20 // images - 2**10)
        return pack(Data(root=str(tree)), folder, shard_size=1, workers=1, **settings)


def raw(image) -> bytes:
    with image.open() as file:
        return file.read()


def described(images: ImageSet) -> list[tuple]:
    """All that a training knows of each image."""
    return [
        (images.path(i), images.labels[i], images.class_names(i), images.content(i), images.read(i).tobytes())
        for i in range(len(images))
    ]


def test_splits_are_those_of_the_tree(tree, packed):
    for ours, theirs in zip(open_splits(Data(root=str(packed))), open_splits(Data(root=str(tree)))):
        assert ours.classes == theirs.classes == tuple(sorted(CLASSES))
        assert described(ours) == described(theirs)
    assert described(open_eval(Data(root=str(packed)))) == described(open_eval(Data(root=str(tree))))
    assert sorted(described(open_images(Data(root=str(packed))))) == sorted(
        described(open_images(Data(root=str(tree))))
    )


@pytest.mark.parametrize("fields", [{}, {"val_fraction": 0.4, "fraction": 0.5}, {"group_by": "([^/]+)$"}], ids=str)
def test_an_undivided_tree_is_divided_as_before(tmp_path, fields):
    tree = plant(tmp_path / "tree", parts=("",), count=8)
    packed_in_parts(tree, tmp_path / "out", 7)
    assert (tmp_path / "out" / "images-00003.tar").is_file()
    ours, theirs = (open_splits(Data(root=str(tmp_path / name), **fields)) for name in ("out", "tree"))
    assert [described(part) for part in ours] == [described(part) for part in theirs]
    assert [[*part.unused] for part in ours] == [[*part.unused] for part in theirs]


def test_batches_are_those_of_the_tree(tree, packed):
    def batches(root: Path, workers: int) -> list[tuple]:
        data = Data(root=str(root), img_size=(8,), batch_size=4, workers=workers, resample=0.5)
        images = TrainBatches(open_splits(data).train, data, Augment(), seed=3).epoch(1)
        return [
            (batch["image"].numpy().tobytes(), batch["label"].tolist(), batch["index"].tolist()) for batch in images
        ]

    assert batches(packed, 0) == batches(tree, 0) == batches(packed, 2)


def test_images_without_labels_are_those_of_the_tree(tree, packed):
    ours, theirs = (open_collection(Data(root=str(root)), labels=False) for root in (packed, tree))
    assert ours.train.classes == ()
    assert sorted(described(ours.train)) == sorted(described(theirs.train))
    assert ours.why == theirs.why.replace(str(tree), str(packed))


def test_the_check_finds_what_it_finds_in_the_tree(tree, packed):
    ours, theirs = (check_data(root, decode=True).to_dict() for root in (packed, tree))
    for report in (ours, theirs):
        del report["seconds"], report["path"]
    assert ours == theirs


def samples(folder: Path, split: str) -> dict[str, dict[str, bytes]]:
    """The samples of a split as webdataset groups them, by its published rule."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for shard in sorted(folder.glob(f"{split}-*.tar")):
        previous = None
        with tarfile.open(shard) as tar:
            for info in tar:
                key, ending = WEBDATASET_KEY.match(info.name).groups()
                assert ending not in found[key], "a new sample"
                assert previous in (None, key) or set(found[previous]) > {"cls"}, "the files of a sample are together"
                found[key][ending], previous = tar.extractfile(info).read(), key
                assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644)
    return found


@pytest.mark.parametrize("split", ["train", "val"])
def test_shards_are_in_the_format_of_webdataset(tree, packed, split):
    found = samples(packed, split)
    images = getattr(open_splits(Data(root=str(tree))), split)
    expected = sorted((raw(images.images[i]), str(images.labels[i]).encode()) for i in range(len(images)))
    pairs = []
    for key, files in found.items():
        label = files.pop("cls")
        ((ending, data),) = files.items()
        assert ending == ("jpg" if data.startswith(b"\xff\xd8") else "png")
        assert images.classes[int(label)] == key.partition("/")[0]
        pairs.append((data, label))
    assert sorted(pairs) == expected


def test_shards_without_the_index_are_a_tree_of_archives(tree, packed, tmp_path):
    for shard in packed.glob("*.tar"):
        shutil.copy(shard, tmp_path)
    for ours, theirs in zip(open_splits(Data(root=str(tmp_path))), open_splits(Data(root=str(tree)))):
        assert ours.classes == theirs.classes
        assert sorted(row[1:] for row in described(ours)) == sorted(row[1:] for row in described(theirs))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


def test_the_same_input_gives_the_same_bytes(tree, packed, tmp_path):
    shutil.copytree(tree, tmp_path / "moved")
    packed_in_parts(tmp_path / "moved", tmp_path / "out", 3)
    assert contents(tmp_path / "out") == contents(packed)
    assert set(contents(packed)) == {INDEX, *(f"{name}-0000{i}.tar" for name in ("train", "val") for i in range(4))}


def test_an_interrupted_packing_continues(tree, packed, tmp_path, monkeypatch):
    out, write, left = tmp_path / "out", ShardWriter._write, [3]

    def interrupted(self, path, job):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return write(self, path, job)

    monkeypatch.setattr(ShardWriter, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packed_in_parts(tree, out, 3)
    assert sorted(path.name for path in out.glob("[!.]*")) == [BEGUN, *(f"train-0000{i}.tar" for i in range(3))]
    with pytest.raises(UserError, match="is not packed to the end"):
        open_splits(Data(root=str(out)))
    (out / "train-00001.tar").write_bytes(b"cut")
    left[0] = 100
    assert packed_in_parts(tree, out, 3).written == 6
    assert contents(out) == contents(packed)
    assert packed_in_parts(tree, out, 3).written == 0
    with pytest.raises(UserError, match="has other images, or was packed with other settings"):
        packed_in_parts(tree, out, 3, max_side=100)


def test_a_shard_that_is_damaged_while_it_is_written_is_found(tree, tmp_path, monkeypatch):
    write = ShardWriter._write

    def damaging(self, path, job):
        record = write(self, path, job)
        data = bytearray(path.read_bytes())
        data[record.rows[-1].offset + 30] ^= 1
        path.write_bytes(data)
        return record

    monkeypatch.setattr(ShardWriter, "_write", damaging)
    with pytest.raises(UserError, match="train-00000.tar is not as it was written: .* other bytes than its source"):
        pack(Data(root=str(tree)), tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / INDEX).exists()


def test_unreadable_images_are_named_and_left_out(tmp_path):
    tree = plant(tmp_path / "tree")
    cut = tree / "train/cat/a.b.JPG"
    cut.write_bytes(cut.read_bytes()[:-40])
    (tree / "val/cat/empty.png").touch()
    (tree / "train/notes.txt").write_text("x")
    result = pack(Data(root=str(tree)), tmp_path / "out", workers=1)
    assert [path for path, _ in result.unreadable] == ["train/cat/a.b.JPG", "val/cat/empty.png"]
    assert "left out: 2 images that cannot be read\n  train/cat/a.b.JPG: " in str(result)
    assert "1 file in no image format that is read" in result.notes[0]
    assert result.images == {"train": 11, "val": 12}
    assert len(Index(tmp_path / "out" / INDEX)) == 23


@pytest.mark.parametrize("orientation", [1, 6])
def test_large_images_are_resized_and_others_copied(tmp_path, orientation):
    tree = tmp_path / "tree"
    for name, data in (("a/large.jpg", jpeg(1, (80, 40), orientation)), ("b/small.jpg", jpeg(2))):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes(data)
    Image.fromarray(np.full((40, 10), 4000, np.uint16)).save(tree / "b/deep.png")
    result = pack(Data(root=str(tree)), tmp_path / "out", max_side=32, workers=1)
    assert result.resized == 1
    images = open_eval(Data(root=str(tmp_path / "out")))
    assert [images.read(i).size for i in range(3)] == [(32, 16) if orientation == 1 else (16, 32), (10, 40), (24, 16)]
    assert raw(images.images[2]) == (tree / "b/small.jpg").read_bytes()
    assert raw(images.images[0]).startswith(b"\xff\xd8")
    with Image.open(tree / "a/large.jpg") as large, Image.open(io.BytesIO(raw(images.images[0]))) as small:
        difference = np.asarray(large.resize((32, 16)), float) - np.asarray(small, float)
    assert np.abs(difference).mean() < 20, "of noise of 0 to 255, whose colors JPEG keeps at half the resolution"


def test_decoded_images_are_packed(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    images = [Pixels(f"digit {i}", array) for i, array in enumerate(pixels)]
    whole = ImageSet(("T-shirt/top", ".b"), [i % 2 for i in range(12)], images, tuple(image.name for image in images))
    splits = Splits(whole.subset(range(8)), whole.subset(range(8, 12)))
    monkeypatch.setattr(source, "open_splits", lambda data: splits)
    result = pack(Data(source="digits"), tmp_path / "out", workers=1)
    assert result.images == {"train": 8, "val": 4}
    for ours, theirs in zip(open_splits(Data(root=str(tmp_path / "out"))), splits):
        assert ours.classes == theirs.classes
        assert list(ours.labels) == theirs.labels
        assert all(ours.read(i).tobytes() == theirs.read(i).tobytes() for i in range(len(theirs)))
    assert [ours.path(0), ours.path(1)] == ["val/T-shirt_top/digit 8", "val/_b/digit 9"]


def test_an_archive_is_packed(tree, tmp_path):
    shutil.make_archive(str(tmp_path / "tree"), "gztar", tree)
    pack(Data(root=str(tmp_path / "tree.tar.gz")), tmp_path / "archive", workers=1)
    for ours, theirs in zip(open_splits(Data(root=str(tmp_path / "archive"))), open_splits(Data(root=str(tree)))):
        assert described(ours) == described(theirs)


def test_a_table_is_packed(tree, tmp_path):
    table = tmp_path / "labels.csv"
    rows = [("train/cat/a_b.png", ".x/y", "train"), ("train/cat/deep/er/x.y/3.jpg", "z", "train")]
    rows += [("val/cat/a_b.png", "z", "val"), ("val/cat/a.b.JPG", ".x/y", "val"), ("val/cat/no-ending", "z", "test")]
    table.write_text("file,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    data = Data(root=str(tree), labels=str(table))
    result = pack(data, tmp_path / "out", workers=1)
    assert result.images == {"train": 2, "val": 2}
    assert "left out: 1 images of further splits" in result.notes[-1]
    for ours, theirs in zip(open_splits(Data(root=str(tmp_path / "out"))), open_splits(data)):
        assert ours.classes == theirs.classes == (".x/y", "z")
        assert [row[1:] for row in described(ours)] == [row[1:] for row in described(theirs)]
    table.write_text("file,label,weight\n" + "".join(f"{file},{label},2\n" for file, label, _ in rows))
    with pytest.raises(UserError, match="has weights, which a packed data set cannot hold"):
        pack(data, tmp_path / "other", workers=1)


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def grow(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes() + bytes(512))


def flip(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[-1025] ^= 1  # of the zeros after the last class
    shard.write_bytes(data)


@pytest.mark.parametrize(("damage", "lost"), [(cut, 1), (grow, 0), (Path.unlink, 3)], ids=["cut", "grown", "missing"])
def test_a_shard_that_is_not_as_it_was_is_named(packed, tmp_path, damage, lost):
    shutil.copytree(packed, tmp_path / "out")
    shard = tmp_path / "out" / "train-00002.tar"
    damage(shard)
    data = Data(root=str(tmp_path / "out"), img_size=(8,), batch_size=4, workers=0)
    train = open_splits(data).train
    (note,) = train.notes
    assert str(shard) in note
    readable = set[int]()
    for i in range(len(train)):
        with contextlib.suppress(UnreadableArchive):
            train.read(i)
            readable.add(i)
    assert len(readable) == 12 - lost
    batches = list(TrainBatches(train, data, Augment(), seed=0).epoch(0))
    assert {i for batch in batches for i in batch["index"].tolist()} <= readable
    names = [name for batch in batches for name in batch["unreadable"]]
    assert len(names) == lost
    assert all(name.startswith(f"{shard} (") for name in names)
    with pytest.raises(UserError) as caught:
        open_splits(replace(data, strict=True))
    assert str(shard) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [cut, grow, flip, Path.unlink], ids=["cut", "grown", "flipped", "missing"])
def test_the_check_names_damaged_shards(packed, tmp_path, damage):
    shutil.copytree(packed, tmp_path / "out")
    shard = tmp_path / "out" / "train-00002.tar"
    damage(shard)
    report = check_data(tmp_path / "out", workers=2)
    assert [issue.names for issue in report.errors if issue.kind == "damaged-shard"] == [[str(shard)]]
    unreadable = [issue.names for issue in report.errors if issue.kind == "unreadable"]
    assert len(unreadable) == (damage is cut), "of a missing shard the images are not named"
    with pytest.raises(UserError, match="damaged"):
        report.raise_for_errors()


def test_an_index_that_belongs_to_other_shards_is_named(tree, packed, tmp_path):
    shutil.copytree(packed, tmp_path / "out")
    packed_in_parts(tree, tmp_path / "other", 12)
    shutil.copy(tmp_path / "other" / INDEX, tmp_path / "out" / INDEX)
    with pytest.raises(UserError, match=r"the shard .*out/train-0000..tar has .* bytes, and .* when it was packed"):
        open_splits(Data(root=str(tmp_path / "out")))


def test_bytes_that_are_no_image_are_an_unreadable_image_of_the_shard(packed, tmp_path):
    shutil.copytree(packed, tmp_path / "out")
    images = open_splits(Data(root=str(tmp_path / "out"))).train
    member = images.images[5]
    with Path(member.archive).open("r+b") as file:
        file.seek(member.offset)
        file.write(b"x" * member.size)
    with pytest.raises(UserError, match=f"cannot read .*{Path(member.archive).name}:{re.escape(member.path)}"):
        images.read(5)
    unreadable = [issue for issue in check_data(tmp_path / "out").issues if issue.kind == "unreadable"]
    assert [list(issue.names) for issue in unreadable] == [[member.path]]


@pytest.mark.parametrize(
    ("data", "out", "error"),
    [
        ({"root": "tree"}, "tree/out", "one within the other"),
        ({"root": "tree"}, ".", "one within the other"),
        ({"root": "tree"}, "full", "is not empty"),
        ({"root": "gone"}, "out", "no such file"),
        ({"root": "tree", "source": "masks"}, "out", "PATH tree has no folder images/"),
        ({"source": "scenes"}, "out", "scenes has no files: it is drawn"),
        ({"root": "tree", "source": "cifra10"}, "out", "did you mean cifar10"),
    ],
)
def test_what_cannot_be_packed(tmp_path, monkeypatch, data, out, error):
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "tree", count=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("")
    with pytest.raises(UserError, match=error):
        pack(Data(**data), out, workers=1)


def test_a_large_run_is_pinned_to_the_index(tree, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(pinned, "LARGE", 10)
    data = Data(root=str(packed), val_fraction=0.3)
    splits = open_splits(data)
    make_image_list(*splits).write(tmp_path)
    assert (tmp_path / "images.tsv").read_text().splitlines()[:2] == [
        "index\ttrain\tval\tunused",
        f"{Index(packed / INDEX).digest}\t12\t12\t0",
    ]
    kept = read_image_list(tmp_path)
    shutil.copytree(packed, tmp_path / "moved")
    again = open_splits(Data(root=str(tmp_path / "moved")), kept)
    assert [described(part) for part in again] == [described(part) for part in splits]
    for root in (tree, tmp_path / "other"):
        if root != tree:
            packed_in_parts(tree, root, 2)
        with pytest.raises(UserError, match="is not the data set of the run"):
            open_splits(Data(root=str(root)), kept)
    text = (tmp_path / "images.tsv").read_text()
    (tmp_path / "images.tsv").write_text(text.replace("\t12\t", "\t13\t", 1))
    with pytest.raises(UserError, match="images.tsv is damaged"):
        read_image_list(tmp_path)
