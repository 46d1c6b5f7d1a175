"""Packed images with masks: the pairs of their folders, in samples that other programs read."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shardserver import Server

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import MaskSet, open_eval_masks, open_masks, open_splits
from resmlp.data.checking.check import check_data
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.images.unlabeled import open_collection
from resmlp.data.packing.pack import pack
from resmlp.data.packing.shard import ShardWriter
from resmlp.data.shards.index import INDEX, MASKS, Index
from resmlp.evaluation.batch_inference.inputs import open_inputs
from resmlp.utils.errors import UserError

CLASSES, TASK = ("sky", "grass", "road"), Segment(empty_classes=True)


def plant(
    root: Path, splits: tuple[str, ...] = ("train", "val", "test"), pattern: str = "{}/{}", count: int = 4
) -> Path:
    """Pairs of each split; JPEG and PNG images, and masks in the colors of a palette."""
    for number, split in enumerate(splits):
        for i in range(count):
            rng = np.random.default_rng([number, i])
            image, mask = (root / pattern.format(kind, split) for kind in ("images", "labels"))
            image.mkdir(parents=True, exist_ok=True)
            mask.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(
                image / (f"a.b{i}.jpg" if i % 2 else f"{i}.png")
            )
            Image.fromarray(rng.integers(0, 3, (6, 8), dtype=np.uint8)).save(
                mask / (f"a.b{i}.png" if i % 2 else f"{i}.png")
            )
    (root / "classes.txt").write_text("# from 0\n" + "\n".join(CLASSES))
    (root / "palette.txt").write_text("1 2 3\n4 5 6\n7 8 9\n")
    return root


def data(root: object, **fields) -> Data:
    return Data(source="masks", root=str(root), img_size=(8,), **fields)


def described(masks: MaskSet) -> list[tuple]:
    pairs = [masks.read(i) for i in range(len(masks))]
    return [
        (masks.path(i), masks.content(i), image.tobytes(), labels.tobytes()) for i, (image, labels) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return plant(tmp_path_factory.mktemp("source") / "tree")


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory) -> Path:
    """Not to be written to."""
    out = tmp_path_factory.mktemp("packed") / "out"
    pack(Data(root=str(tree)), out, workers=1)
    return out


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RESMLP_CACHE", str(tmp_path / "cache"))


def test_pairs_classes_and_splits_are_those_of_the_tree(tree, packed):
    with Server(packed).running() as server:
        for ours, theirs in zip(open_masks(data(packed), TASK), open_masks(data(tree), TASK)):
            assert ours.classes == theirs.classes == CLASSES
            assert ours.palette == theirs.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
            assert described(ours) == described(theirs)
        far = open_eval_masks(data(server.address), TASK, "test", CLASSES)
        near = open_eval_masks(data(tree), TASK, "test")
        assert [row[::2] for row in described(far)] == [row[::2] for row in described(near)]
        assert {far.content(i) for i in range(len(far))} == {"far"}
    with pytest.raises(UserError, match="has no split 'tets' .did you mean test"):
        open_eval_masks(data(packed), TASK, "tets")


@pytest.mark.parametrize("pattern", ["{}/{}", "{1}/{0}"], ids=["images/training", "training/images"])
def test_splits_of_other_names(tmp_path, pattern):
    tree = plant(tmp_path / "tree", ("training", "testing"), pattern)
    result = pack(data(tree), tmp_path / "out", workers=1)
    assert result.images == {"training": 4, "testing": 4} or result.images == {"testing": 4, "training": 4}
    for ours, theirs in zip(open_masks(data(tmp_path / "out"), TASK), open_masks(data(tree), TASK)):
        assert described(ours) == described(theirs)


def test_an_undivided_set_is_divided_as_before_and_a_run_continues_on_it(tmp_path):
    tree = plant(tmp_path / "tree", ("",), count=9)
    pack(data(tree), tmp_path / "out", workers=1)
    theirs = open_masks(data(tree, val_fraction=0.4, fraction=0.5), TASK)
    make_image_list(*theirs).write(tmp_path)
    for kept in (None, read_image_list(tmp_path)):
        ours = open_masks(data(tmp_path / "out", val_fraction=0.4, fraction=0.5), TASK, kept)
        assert [described(part) for part in ours] == [described(part) for part in theirs]


def test_a_sample_is_an_image_and_its_mask(tree, packed):
    files = {}
    for shard in sorted(packed.glob("*.tar")):
        with tarfile.open(shard) as tar:
            files |= {(shard.name.partition("-")[0], info.name): tar.extractfile(info).read() for info in tar}
    expected = {}
    for split in ("train", "val", "test"):
        for i in range(4):
            name, key = (f"a.b{i}", f"a_b{i}") if i % 2 else (str(i), str(i))
            ending = "jpg" if i % 2 else "png"
            expected[split, f"{key}.{ending}"] = (tree / "images" / split / f"{name}.{ending}").read_bytes()
            expected[split, f"{key}.mask.png"] = (tree / "labels" / split / f"{name}.png").read_bytes()
    assert files == expected


def test_other_verbs_see_the_images_alone(packed):
    assert len(open_inputs(str(packed))) == 12
    assert set(open_inputs(str(packed)).labels) == {None}
    collection = open_collection(Data(root=str(packed)))
    assert (len(collection.train), collection.train.classes, collection.val) == (4, (), None)
    with pytest.raises(UserError, match="was packed without classes .it is for segmentation"):
        open_splits(Data(root=str(packed)))


@pytest.mark.parametrize("at", [100, -1100], ids=["in the first image", "after the last mask"])
def test_the_check_compares_shards_and_reads_images(packed, tmp_path, at):
    report = check_data(packed)
    assert report.splits == {"train": 4, "val": 4, "test": 4}
    assert not report.errors
    shutil.copytree(packed, tmp_path / "out")
    content = bytearray((tmp_path / "out/val-00000.tar").read_bytes())
    content[at] ^= 1
    (tmp_path / "out/val-00000.tar").write_bytes(content)
    (issue,) = check_data(tmp_path / "out").errors
    assert (issue.kind, issue.names) == ("damaged-shard", [str(tmp_path / "out/val-00000.tar")])


def test_an_interrupted_packing_continues_and_damage_is_found(tree, packed, tmp_path, monkeypatch):
    out, write, jobs = tmp_path / "out", ShardWriter._write, []

    def interrupted(self, path, job):
        jobs.append(job.name)
        if len(jobs) == 2:
            raise KeyboardInterrupt
        return write(self, path, job)

    def damaging(self, path, job):
        record = write(self, path, job)
        content = bytearray(path.read_bytes())
        content[record.rows[0].mask_offset + 30] ^= 1
        path.write_bytes(content)
        return record

    monkeypatch.setattr(ShardWriter, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(data(tree), out, workers=1)
    monkeypatch.setattr(ShardWriter, "_write", damaging)
    with pytest.raises(UserError, match=r"tar is not as it was written: 0 has another mask"):
        pack(data(tree), tmp_path / "other", workers=1)
    monkeypatch.setattr(ShardWriter, "_write", write)
    assert pack(data(tree), out, workers=1).written == 2
    assert {path.name: path.read_bytes() for path in out.glob("[!.]*")} == {
        path.name: path.read_bytes() for path in packed.glob("[!.]*")
    }
    with pytest.raises(UserError, match="masks are not resized"):
        pack(data(tree), out, workers=1, max_side=4)
    (tree / "classes.txt").write_text("# from 0\nsky\ngrass\nsea")
    with pytest.raises(UserError, match="has other images, or was packed with other settings"):
        pack(data(tree), out, workers=1)
    (tree / "classes.txt").write_text("# from 0\n" + "\n".join(CLASSES))


def no_mask(root: Path) -> None:
    (root / "labels/train/0.png").unlink()


def other_size(root: Path) -> None:
    Image.new("L", (7, 6)).save(root / "labels/train/0.png")


def lossy(root: Path) -> None:
    Image.new("L", (8, 6)).save(root / "labels/train/0.jpg")
    no_mask(root)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (no_mask, r"1 of 4 images in .*images/train have no mask: 0.png"),
        (other_size, r"the mask .*0.png is 7x6 .width x height., but its image .*0.png is 8x6"),
        (lossy, "the mask .*0.jpg is a JPEG file"),
    ],
)
def test_pairs_that_do_not_match_are_one_line(tmp_path, damage, error):
    damage(plant(tmp_path / "tree"))
    with pytest.raises(UserError, match=error) as caught:
        pack(data(tmp_path / "tree"), tmp_path / "out", workers=1)
    assert "\n" not in str(caught.value)


def test_a_mask_without_an_image_and_a_damaged_one_are_left_out(tmp_path):
    tree = plant(tmp_path / "tree")
    (tree / "images/train/0.png").unlink()
    (tree / "labels/train/2.png").write_bytes(b"\x89PNG")
    result = pack(data(tree), tmp_path / "out", workers=1)
    assert result.notes == ("skipped masks without an image: 0.png",)
    assert [path for path, _ in result.unreadable] == ["images/train/2.png"]
    assert result.images == {"test": 4, "train": 2, "val": 4}


def test_a_lost_shard_and_a_set_without_masks_are_one_line(packed, tmp_path):
    shutil.copytree(packed, tmp_path / "out")
    (tmp_path / "out/train-00000.tar").unlink()
    with pytest.raises(UserError, match="no shard .*train-00000.tar"):
        open_masks(data(tmp_path / "out"), TASK)
    (tmp_path / "flat").mkdir()
    for i in range(2):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "flat" / f"{i}.png")
    pack(Data(root=str(tmp_path / "flat")), tmp_path / "without", workers=1)
    with pytest.raises(UserError, match="was packed without masks"):
        open_masks(data(tmp_path / "without"), TASK)
    assert Index(tmp_path / "without" / INDEX).masks is None
    assert set(MASKS) == {"mask_offset", "mask_size"}


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 1, 2)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("paths", "images"),
    [
        (["b.png", "a.x.png", "a_x.png"], {"all": 3}),
        (["train/a.png", "train/b.png", "val/c.png"], {"train": 2, "val": 1}),
        (["Training/a.png", "testing/c.png"], {"train": 1, "val": 1}),
    ],
    ids=["flat", "splits", "other names"],
)
def test_images_without_classes(tmp_path, paths, images):
    for i, path in enumerate(paths):
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_bytes(png(i))
    result = pack(Data(root=str(tmp_path / "tree")), tmp_path / "out", workers=1)
    assert (result.images, result.classes) == (images, 0)
    assert "without classes" in str(result)
    assert result.notes == ()
    assert "resmlp train dino-folder" in str(result)
    with Server(tmp_path / "out").running() as server:
        collections = [
            open_collection(Data(root=str(root))) for root in (tmp_path / "tree", tmp_path / "out", server.address)
        ]
        described = [
            [(part.path(i), part.read(i).tobytes(), part.labels[i]) for i in range(len(part))]
            for part, *_ in collections
        ]
    assert described[0] == described[1] == described[2]
    ours, theirs = (open_inputs(str(tmp_path / name)) for name in ("out", "tree"))
    assert [ours.path(i) for i in range(len(ours))] == sorted(paths) == [theirs.path(i) for i in range(len(theirs))]
    assert list(ours.labels[0:9]) == [None] * len(paths)
    ours, theirs = (check_data(tmp_path / name).to_dict() for name in ("out", "tree"))
    assert [issue["kind"] for issue in ours["issues"]] == [issue["kind"] for issue in theirs["issues"]]
    members = []
    for shard in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(shard) as tar:
            members += [info.name for info in tar]
    assert len(set(members)) == len(paths)
    assert all(name.endswith(".png") for name in members)
    with pytest.raises(UserError, match="was packed without classes"):
        open_splits(Data(root=str(tmp_path / "out")))
