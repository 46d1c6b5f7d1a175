"""No group is on two sides of a split, and each image is in exactly one fold: by brute force over many divisions."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resmlp.config import Data
from resmlp.data import ImageSet, open_splits
from resmlp.data.images.dividing import Items, choose_held
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.images.imageset import Splits, divided, split
from resmlp.data.images.unlabeled import open_collection
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError

VIDEO = r"(video\d+)"
FRAMES = [f"{'car' if video % 2 else 'bus'}/video{video}-{frame:02}.png" for video in range(10) for frame in range(6)]


def paths(images: ImageSet) -> set[str]:
    return {images.path(i) for i in range(len(images))}


def videos(images: ImageSet) -> set[str]:
    return {path.partition("/")[2].partition("-")[0] for path in paths(images)}


def error_of(root: str, **fields) -> str:
    with pytest.raises(UserError) as caught:
        open_splits(Data(root=root, **fields))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def frames(plant: Callable[..., str]) -> str:
    """Ten videos of six frames, five of each class."""
    return plant(*FRAMES)


@pytest.mark.parametrize("expression", [VIDEO, r"video\d+", r"/(\w+)-", "video(?P<number>[0-9]+)"])
@pytest.mark.parametrize("seed", range(4))
def test_frames_of_a_video_are_on_one_side(frames, expression, seed):
    train, val = open_splits(Data(root=frames, group_by=expression, split_seed=seed))
    assert not videos(train) & videos(val)
    assert paths(train) | paths(val) == set(FRAMES)
    assert set(train.labels) == set(val.labels) == {0, 1}
    plain = open_splits(Data(root=frames, split_seed=seed))
    assert videos(plain.train) & videos(plain.val)  # without groups they are not


@pytest.mark.parametrize("classes", [(), ("a", "b", "c", "d")])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.99])
def test_images_without_groups_are_divided_as_groups_of_one(classes, fraction):
    rng = random.Random(0)
    names = [f"x/{i}.png" for i in range(60)]
    labels = [rng.choice((0, 1, 3)) for _ in names] if classes else []
    for seed in range(5):
        data = Data(val_fraction=fraction, split_seed=seed)
        assert choose_held(Items(names, (), labels, classes), data) == choose_held(
            Items(names, tuple(names), labels, classes), data
        )


def test_another_video_moves_none(frames, plant):
    before = open_splits(Data(root=frames, group_by=VIDEO)).val
    after = open_splits(Data(root=plant("car/video77-1.png", "car/video78-1.png"), group_by=VIDEO)).val
    assert paths(before) <= paths(after)


@pytest.mark.parametrize(
    "fields", [{"fraction": 0.3}, {"folds": 3, "fold": 1}, {"folds": 3, "fold": 2, "fraction": 0.3}]
)
def test_fractions_and_folds_keep_videos_apart(frames, fields):
    data = Data(root=frames, group_by=VIDEO, **fields)
    train, val = open_splits(data)
    assert not videos(train) & videos(val)
    assert min(len(train), len(val)) > 0
    assert paths(train) | paths(val) | set(train.unused) == set(FRAMES)


def test_dino_validates_on_other_videos(frames, plant):
    train, val, _ = open_collection(Data(root=frames, group_by=VIDEO))
    assert val is not None
    assert not videos(train) & videos(val)
    for fields, words in (
        ({"group_by": "x(y)"}, "does not match"),
        ({"folds": 9, "fold": 0}, "no class has more than"),
    ):
        with pytest.raises(UserError, match=words):  # it is not a reason to train without labels
            open_collection(Data(root=frames, **({"group_by": VIDEO} | fields)))
    with pytest.raises(UserError, match="needs labels"):
        open_collection(Data(root=frames, group_by=VIDEO), labels=False)


def test_groups_on_both_sides_of_given_folders(plant):
    tree = plant(*(f"train/{path}" for path in FRAMES[:12]), *(f"val/{path}" for path in FRAMES[6:24]))
    assert "1 group with images in train and in val: video1 (" in error_of(tree, group_by=VIDEO)
    apart = plant(
        *(f"{part}/{path}" for part, chosen in (("train", FRAMES[:12]), ("test", FRAMES[12:])) for path in chosen),
        root="apart",
    )
    assert len(open_splits(Data(root=apart, group_by=VIDEO)).val) == 48


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(bus/video)", "does not match 30 of 60 paths: car/video1-00.png, car/video1-01.png and 28 more"),
        ("(zzz)?", "does not match 60 of 60 paths"),  # its group takes no part
        ("x*", "does not match 60 of 60 paths"),  # it matches nothing
        (r"(\w+)/", "a class with one group cannot be split: bus (bus), car (car)"),
        ("(video)", "a class with one group cannot be split: bus (video), car (video)"),
    ],
)  # fmt: skip
def test_expressions_that_do_not_divide(frames, expression, words):
    assert words in error_of(frames, group_by=expression)


@pytest.mark.parametrize("expression", ["(", "[a", "*", "(?P<1>x)", "a{99999999999999}", ""])
def test_wrong_expressions_are_one_line(expression):
    with pytest.raises(UserError, match=r"^--data\.group-by"):
        Data(group_by=expression)


@pytest.mark.parametrize(
    "fields", [{"folds": 1}, {"folds": -2}, {"fold": 0}, {"folds": 3, "fold": 3}, {"folds": 3, "fold": -1}]
)
def test_folds_that_do_not_exist(fields):
    with pytest.raises(UserError, match=r"^--data\.folds? "):
        Data(**fields)


def random_set(seed: int, shared: bool) -> ImageSet:
    """Images of a few classes, in groups of one class each, or of any."""
    rng = random.Random(seed)
    classes = tuple("abcde"[: rng.randint(2, 5)])
    labels, groups = [], []
    for label in range(len(classes)):
        for group in range(rng.randint(3, 9)):
            size = rng.randint(1, 9)
            labels += [label] * size
            groups += [f"g{rng.randint(0, 25)}" if shared else f"{label}-{group}"] * size
    names = [f"{i:03}.png" for i in range(len(labels))]
    rng.shuffle(names)
    return ImageSet(classes, labels, [File(name) for name in names], tuple(names), groups=tuple(groups))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_each_image_is_in_exactly_one_fold(grouped, shared):
    for seed in range(12):
        images = random_set(seed, shared)
        images = images if grouped else replace(images, groups=())
        whole, folds = Counter(images.labels), 2 + seed % 2
        held: Counter[str] = Counter()
        for fold in range(folds):
            data = Data(folds=folds, fold=fold, split_seed=seed)
            train, val = divided(split(images, data), data)
            assert paths(train) | paths(val) == set(images.paths)
            assert not paths(train) & paths(val)
            assert not set(train.groups) & set(val.groups)
            assert set(train.labels) == set(images.labels)
            if not grouped:  # strata of equal size, but for one image
                assert all(abs(Counter(val.labels)[label] - whole[label] / folds) < 1 for label in whole)
            held.update(val.paths)
        assert held == Counter(images.paths)


def test_groups_of_several_classes_leave_no_class_on_one_side():
    for seed in range(200):
        images = random_set(seed, shared=True)
        train, val = split(images, Data(val_fraction=(0.02, 0.2, 0.9)[seed % 3], split_seed=seed))
        assert not set(train.groups) & set(val.groups)
        assert set(train.labels) == set(val.labels) == set(images.labels)


def test_groups_that_no_division_can_part():
    """Three classes, each in two of three groups: one side has two groups, and with them all of a class."""
    items = Items("123456", ("x", "y", "y", "z", "x", "z"), (0, 0, 1, 1, 2, 2), "abc")
    with pytest.raises(UserError, match="no division by groups was found that has [abc] in train and in val"):
        choose_held(items, Data())


def test_folds_do_not_depend_on_the_order_of_the_files():
    images = random_set(0, shared=False)
    data = Data(folds=3, fold=1)
    mixed = images.subset(random.Random(1).sample(range(len(images)), len(images)))
    assert paths(divided(split(images, data), data).val) == paths(divided(split(mixed, data), data).val)


def test_a_given_validation_set_is_left_out_of_the_folds(plant, tmp_path):
    tree = plant(*(f"train/{path}" for path in FRAMES), *(f"test/{name}/x.png" for name in ("bus", "car")))
    held = []
    for fold in range(3):
        train, val = open_splits(Data(root=tree, folds=3, fold=fold))
        assert train.notes == ("--data.folds divides the 60 training images; the 2 of val are left out",)
        held += val.paths
    assert Counter(held) == Counter(f"train/{path}" for path in FRAMES)
    make_image_list(train, val).write(tmp_path)
    again = open_splits(Data(root=tree, folds=3, fold=2), read_image_list(tmp_path))
    assert again.val.paths == val.paths
    assert again.train.notes == ()  # the images of test/ are not new


@pytest.mark.parametrize("grouped", [False, True])
def test_digits_have_folds_too(grouped):
    groups = {"group_by": r"(\d)$"} if grouped else {}
    held = [open_splits(Data(source="digits", folds=4, fold=fold, **groups)).val for fold in range(4)]
    assert sorted(path for val in held for path in paths(val)) == sorted(f"digit {i}" for i in range(1797))
    if grouped:
        assert not any({p[-1] for p in paths(a)} & {p[-1] for p in paths(b)} for a in held for b in held if a is not b)


@pytest.mark.parametrize(
    ("count", "fields", "words"),
    [
        (4, {}, "--data.folds 5, but no class has more than 4 images (at most --data.folds 4)"),
        (9, {"group_by": "/(.)"}, "--data.folds 5, but no class has more than 3 groups"),
    ],
)
def test_more_folds_than_images_or_groups(plant, count, fields, words):
    tree = plant(*(f"{name}/{i % 3}{i}.png" for name in "ab" for i in range(count)))
    assert words in error_of(tree, folds=5, fold=0, **fields)


def test_a_class_that_some_folds_lack_is_noted(plant):
    tree = plant(*(f"a/{i}.png" for i in range(12)), "b/1.png", "b/2.png")
    notes = [open_splits(Data(root=tree, folds=3, fold=fold)).train.notes for fold in range(3)]
    assert sorted(map(len, notes)) == [0, 0, 1]
    assert "no validation image of b" in next(filter(None, notes))[0]


def test_groups_of_a_table_are_kept_as_they_are():
    images = random_set(3, shared=False)
    assert divided(Splits(images, images.subset(())), Data()).train.groups == images.groups
    with pytest.raises(UserError, match="with images in train and in val"):
        divided(Splits(images.subset(range(0, len(images), 2)), images.subset(range(1, len(images), 2))), Data())


@pytest.mark.parametrize("grouped", [False, True])
def test_images_of_several_labels_are_in_exactly_one_fold(grouped):
    """Also the only image of a label: its fold has none of it to train on."""
    images = random_set(4, shared=False)
    images = images if grouped else replace(images, groups=())
    sets = tuple((0, 1) if i == 5 else (0,) for i in range(len(images)))
    images = replace(images, classes=("a", "b"), labels=[0] * len(images), label_sets=sets)
    held: Counter[str] = Counter()
    for fold in range(3):
        data = Data(folds=3, fold=fold)
        train, val = divided(split(images, data), data)
        assert not set(train.groups) & set(val.groups)
        held.update(val.paths)
    assert held == Counter(images.paths)


def test_a_table_with_groups_has_folds(plant, tmp_path):
    root = plant(*(f"{i:02}.png" for i in range(30)))
    rows = [f"{i:02}.png,{'ab'[i % 2]},patient{i % 15}" for i in range(30)]  # two images of a person, of both classes
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *rows]))
    held: Counter[str] = Counter()
    for fold in range(3):
        train, val = open_splits(Data(root=root, labels=str(tmp_path / "labels.csv"), folds=3, fold=fold))
        assert not set(train.groups) & set(val.groups)
        held.update(val.paths)
    assert held == Counter(f"{i:02}.png" for i in range(30))


def test_files_of_a_real_tree(shared: Path):
    train, val = open_splits(Data(root=str(shared / "caltech20"), folds=5, fold=4))
    assert (len(train) + len(val), len(train.unused)) == (1371, 589)
