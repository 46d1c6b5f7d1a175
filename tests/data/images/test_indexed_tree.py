"""A large folder, whose images are in an index in a cache: the same images as without one, and never an old list."""

import os
import pickle
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.data import ImageSet, TrainBatches, open_eval, open_splits
from resmlp.data.images import file_index, index_cache, indexed_tree, pinned
from resmlp.data.images.file_index import Listing
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.images.index_cache import keep_index
from resmlp.data.images.indexed_tree import list_folder
from resmlp.data.images.sources import open_images
from resmlp.data.images.trees import open_tree
from resmlp.data.images.unlabeled import open_collection
from resmlp.data.shards.rows import Rows, Steps
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError

PAIR = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
SPLITS = [f"{part}/{path}" for part in ("train", "val") for path in PAIR]
OPENERS = {
    "splits": lambda data: open_splits(data),
    "fraction": lambda data: open_splits(Data(root=data.root, fraction=0.5, val_fraction=0.4)),
    "val": lambda data: (open_eval(data),),
    "all": lambda data: (open_images(data),),
    "unlabeled": lambda data: (open_collection(data, labels=False).train,),
    "folds": lambda data: open_splits(Data(root=data.root, folds=2, fold=1)),
}
TREES = {
    "splits": SPLITS,
    "splits in a folder": [f"a/b/{path}" for path in SPLITS],
    "undivided": [f"{name}/{i}.png" for name in ("b", "a", "c") for i in range(6)],
    "numbers": [f"train/{i}/{n}.png" for i in (*range(12), 100) for n in "xy"] + [f"val/{i}/x.png" for i in range(13)],
    "order of '-' and '/'": [f"{name}/{i}.png" for name in ("cat-2", "cat", "cat.3", "cat0") for i in range(3)],
    "nested": [*SPLITS, "train/cat/x/deep/7.png", "train/cat/1-x.png", "train/cat/1/x.png", "train/dog/x-y/2.png"],
    "images beside": [*SPLITS, "0.png", "train/loose.png", "train/cat.png", "other/x/1.png", "val/zz.png"],
    "other files": [*SPLITS, "notes.txt", "train/cat/1.xml", ".hidden.png", "x.zip", "train/.git/x.png", "Thumbs.db"],
    "a run inside": [*SPLITS, "train/run/recipe.json", "train/run/.lock", "train/run/1.png"],
    "any characters": [
        f"train/{name}/{i}{end}.png" for name in ("n\nl", "t\tb", "é🐈", "\udcff") for i, end in enumerate("x\n\udcfeé")
    ],
    "flat": ["1.png", "2.png", "10.png"],
    "one class": ["cat/1.png", "cat/2.png"],
    "an empty class": [*PAIR, "bird/x.txt"],
    "classes differ": [*SPLITS, "val/bird/1.png"],
    "val alone": ["val/a/1.png", "val/b/1.png", "c/a/1.png", "c/b/2.png"],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a test, in which folders of any number of images have an index, at once."""
    monkeypatch.setenv("RESMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(indexed_tree, "LARGE", 1)
    monkeypatch.setattr(file_index, "SETTLED", 0)
    return tmp_path / "cache" / "folders"


def described(images: ImageSet) -> tuple:
    numbers = range(len(images))
    labels = np.asarray(images.labels).tolist()
    assert labels == [images.labels[i] for i in numbers]
    names = [(images.path(i), images.name(i), images.content(i), labels[i]) for i in numbers]
    return images.classes, names, images.notes, list(images.unused)


def found(opener: Callable, root: str) -> list | str:
    try:
        return [described(part) for part in opener(Data(root=root))]
    except UserError as error:
        return str(error)


def lists(monkeypatch: pytest.MonkeyPatch, opener: Callable, root: str) -> list | str:
    """What a folder without an index gives."""
    with monkeypatch.context() as patch:
        patch.setenv("RESMLP_CACHE", "/dev/null/none")
        patch.setattr(indexed_tree, "LARGE", 10**9)
        return found(opener, root)


def no_walk(*args: object) -> None:
    raise AssertionError("the folder is listed again")


def wait_for_another_time(root: str) -> None:
    """Wait until the clock of the file system has moved on."""
    probe = Path(root).parent / "probe"
    probe.write_text("")
    first = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == first:
        probe.write_text("")


@pytest.mark.parametrize("name", TREES)
def test_an_index_gives_the_same_images_as_lists(plant, monkeypatch, name):
    root = plant(*TREES[name])
    for opener in OPENERS.values():
        expected = lists(monkeypatch, opener, root)
        assert found(opener, root) == expected
        assert found(opener, root) == expected  # from the cache


def test_the_order_is_that_of_the_paths(plant):
    root = plant(*TREES["nested"], *TREES["order of '-' and '/'"])
    walked = [os.path.relpath(f"{folder}/{name}", root) for folder, _, names in os.walk(root) for name in names]
    tree = open_tree(root).whole
    assert isinstance(tree.images, Rows)
    assert [path for path, _ in tree.images] == sorted(walked)
    assert [image for _, image in tree.images] == [File(f"{root}/{path}") for path in sorted(walked)]
    assert tree.folders() == sorted({path.partition("/")[0] for path in walked})


def test_folders_whose_names_differ_in_their_unicode_form_are_one(plant, monkeypatch):
    names = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    root = plant(*(f"{name}/{i}.png" for name, own in zip(names, ("024", "135")) for i in own), "b/1.png", "b/2.png")
    for opener in OPENERS.values():
        assert found(opener, root) == lists(monkeypatch, opener, root)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_batches_are_those_of_lists(many, monkeypatch, workers):
    data = Data(root=many, img_size=(8,), batch_size=8, workers=workers)

    def batches() -> list:
        return list(TrainBatches(open_splits(data).train, data, Augment(), seed=3).epoch(1))

    ours = batches()
    monkeypatch.setattr(indexed_tree, "LARGE", 10**9)
    monkeypatch.setenv("RESMLP_CACHE", "/dev/null/none")
    for one, other in zip(ours, batches(), strict=True):
        for key in ("image", "label", "index", "key"):
            assert torch.equal(one[key], other[key])


def replace_folder(root: Path) -> None:
    (root / "train/cat").rename(root.parent / "old")
    (root / "train/cat").mkdir()
    (root / "train/cat/9.png").write_bytes((root / "train/dog/1.png").read_bytes())


def keep_times(root: Path) -> None:
    """A file comes, and its folder gets its old times back, as from rsync."""
    before = (root / "val/dog").stat()
    (root / "val/dog/7.png").write_bytes((root / "train/dog/1.png").read_bytes())
    os.utime(root / "val/dog", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "a file more": lambda root: (root / "train/cat/0.png").write_bytes(b"x"),
    "a file less": lambda root: (root / "train/cat/1.png").unlink(),
    "a file with another name": lambda root: (root / "train/dog/2.png").rename(root / "train/dog/3.png"),
    "a file in another folder": lambda root: (root / "train/dog/2.png").rename(root / "train/cat/3.png"),
    "a class more": lambda root: [(root / part / "ape").mkdir() for part in ("train", "val")],
    "a class with another name": lambda root: [(root / part / "cat").rename(root / part / "rat") for part in SIDES],
    "a folder in place of another": replace_folder,
    "a folder with its old times": keep_times,
    "a file without an ending": lambda root: (root / "train/cat/image").write_text("text"),
    "a folder becomes a run": lambda root: [(root / "train/dog" / name).touch() for name in ("recipe.json", ".lock")],
    "the root is another": lambda root: [root.rename(root.parent / "before"), (root / "x").mkdir(parents=True)],
}
SIDES = ("train", "val")


@pytest.mark.parametrize("change", CHANGES)
def test_an_old_index_is_not_used(plant, monkeypatch, change):
    root = plant(*SPLITS)
    (Path(root) / "train/cat/image").write_bytes((Path(root) / "val/dog/1.png").read_bytes())
    before = found(OPENERS["splits"], root)
    with monkeypatch.context() as patch:
        patch.setattr(indexed_tree, "walk", no_walk)
        assert found(OPENERS["splits"], root) == before
    wait_for_another_time(root)
    CHANGES[change](Path(root))
    after = lists(monkeypatch, OPENERS["splits"], root)
    assert found(OPENERS["splits"], root) == after != before


def test_a_folder_that_has_just_changed_is_listed_again(plant, monkeypatch):
    monkeypatch.setattr(file_index, "SETTLED", 3600 * 10**9)
    root = plant(*SPLITS)
    list_folder(Path(root), print)
    monkeypatch.setattr(indexed_tree, "walk", no_walk)
    with pytest.raises(AssertionError, match="listed again"):
        list_folder(Path(root), print)


def test_other_rules_of_what_is_an_image_list_again(plant, monkeypatch):
    root = plant(*SPLITS)
    list_folder(Path(root), print)
    monkeypatch.setattr(index_cache, "_rules", lambda: "others")
    monkeypatch.setattr(indexed_tree, "walk", no_walk)
    with pytest.raises(AssertionError, match="listed again"):
        list_folder(Path(root), print)


def flipped(place: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        i = int(place * len(data))
        return data[:i] + bytes([data[i] ^ 0x11]) + data[i + 1 :]

    return flip


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"x",
    "other": lambda data: b"x" * len(data),
    **{f"a bit at {place}": flipped(place) for place in (0, 0.01, 0.2, 0.5, 0.7, 0.8, 0.9, 0.999)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(plant, cache, capsys, damage):
    root = plant(*TREES["other files"])
    before = found(OPENERS["splits"], root)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    assert found(OPENERS["splits"], root) == before
    (file,) = cache.iterdir()
    assert file.read_bytes() == whole
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])
def test_without_a_cache_it_works_as_well(plant, monkeypatch, capsys, place):
    monkeypatch.setenv("RESMLP_CACHE", place)
    root = plant(*SPLITS)
    assert found(OPENERS["splits"], root) == lists(monkeypatch, OPENERS["splits"], root)
    assert found(OPENERS["splits"], root)
    note = capsys.readouterr().err
    assert note.count("\n") == 1
    assert note.startswith(f"note: no index of {root} is kept: ")
    train = open_splits(Data(root=root)).train
    assert described(pickle.loads(pickle.dumps(train))) == described(train)


def test_a_pickled_set_is_the_path_of_its_index(plant, cache):
    root = plant(*(f"{name}/{i:060}.png" for name in "ab" for i in range(50)))
    train = open_splits(Data(root=root)).train
    whole = open_eval(Data(root=root))
    text = pickle.dumps(whole)
    assert len(text) < 2000 + 2 * len(str(cache))
    assert described(pickle.loads(text)) == described(whole)
    assert described(pickle.loads(pickle.dumps(train))) == described(train)
    wait_for_another_time(root)
    (Path(root) / "a/new.png").write_bytes(b"x")
    open_eval(Data(root=root))
    with pytest.raises(UserError, match="has changed since it was opened"):
        pickle.loads(text)


def test_another_process_may_write_the_same_index(plant, monkeypatch, cache):
    root = plant(*SPLITS)
    write = index_cache.write_whole

    def slowly(path: Path, fill: Callable[[Path], None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(index_cache, "write_whole", write)
            patch.setattr(os, "getpid", lambda: 1)
            list_folder(Path(root), print)
        write(path, fill)

    monkeypatch.setattr(index_cache, "write_whole", slowly)
    assert len(list_folder(Path(root), print).images) == len(SPLITS)
    assert len(list(cache.iterdir())) == 1


def test_indexes_that_nobody_uses_are_deleted(plant, cache):
    list_folder(Path(plant(*SPLITS, root="first")), print)
    (old,) = cache.iterdir()
    os.utime(old, (0, 0))
    list_folder(Path(plant(*SPLITS, root="second")), print)
    (kept,) = cache.iterdir()
    assert kept != old


def test_images_need_no_memory_each(tmp_path):
    root, count = tmp_path / "tree", 40_000
    folders = ("", *(f"{part}{name}" for part in ("/train", "/val") for name in ("", "/a", "/b")))
    for folder in folders:
        (root / folder[1:]).mkdir(parents=True, exist_ok=True)
    listing = Listing(root)
    for folder in folders:
        listing.depends_on(f"{root}{folder}", is_folder=True)
    for path in ("train/a", "train/b", "val/a", "val/b"):
        for i in range(count // 4):
            listing.add(f"{path}/{i:06}.JPEG", f"{root}/{path}/{i:06}.JPEG")
    listing._newest = 0
    keep_index(root, listing, [])
    open_splits(Data(root=str(root)))  # imports
    tracemalloc.start()
    train, val = open_splits(Data(root=str(root)))
    make_image_list(train, val)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(train), len(val), train.path(3), val.labels[-1]) == (count // 2, count // 2, "train/a/000003.JPEG", 1)
    assert held < 2 * count
    assert peak < 64 * count


def test_a_large_run_is_pinned_to_the_index(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(pinned, "LARGE", 10)
    root = Path(plant(*(f"{name}/{i}.png" for name in "ab" for i in range(10))))
    splits = open_splits(Data(root=str(root)))
    make_image_list(*splits).write(tmp_path)
    kept = read_image_list(tmp_path)
    assert kept is not None
    assert (kept.pinned or ())[1:] == (len(splits.train), len(splits.val), 0)
    root.rename(tmp_path / "moved")
    again = open_splits(Data(root=str(tmp_path / "moved")), kept)
    assert [[*part.paths] for part in again] == [[*part.paths] for part in splits]
    wait_for_another_time(str(root))
    image = tmp_path / "moved/a/1.png"
    data = image.read_bytes()
    for change in (lambda: Image.new("L", (9, 9)).save(image), image.unlink):
        change()
        with pytest.raises(UserError, match="is not the data set of the run, or it has changed"):
            open_splits(Data(root=str(tmp_path / "moved")), kept)
    image.write_bytes(data)
    assert open_splits(Data(root=str(tmp_path / "moved")), kept)


def test_steps_are_the_number_of_the_run_of_each_row():
    runs = [(range(8, 10), 5), (range(3), 7), (range(3, 3), 1), (range(3, 8), 0)]
    expected = [7] * 3 + [0] * 5 + [5] * 2
    steps = Steps.of(runs)
    assert steps[0:10].tolist() == steps[np.arange(10)].tolist() == [steps[i] for i in range(10)] == expected
    both = Steps.of(runs[:2]) | Steps.of(runs[1:])
    assert both[2:10].tolist() == expected[2:]
