"""Images by a table: which file a row means, on which side it is, and what a run keeps of it."""

from pathlib import Path

import pytest

from resmlp.config import Data
from resmlp.data import open_eval, open_splits
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.path_index import PathIndex
from resmlp.data.images.table_sets import table_eval
from resmlp.utils.errors import UserError

TREE = ["a.png", "a.b.png", "x/c.png", "y/c.png", "x/d.png", "y/d.jpg", "z/e.png", "e.png"]


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("a.png", ["a.png"]),
        ("./a.png", ["a.png"]),
        ("/set/a.png", ["a.png"]),
        ("a", ["a.png"]),
        ("a.b", ["a.b.png"]),
        ("x/c", ["x/c.png"]),
        ("x\\c.png", ["x/c.png"]),
        ("c.png", ["x/c.png", "y/c.png"]),
        ("d.png", ["x/d.png"]),
        ("d", ["x/d.png", "y/d.jpg"]),
        ("e.png", ["e.png"]),
        ("w/a.png", []),
        ("../a.png", []),
        ("nothing", []),
    ],
)
def test_a_name_means_the_image_that_its_path_decides(name, paths):
    assert [TREE[i] for i in PathIndex("/set", TREE).find(name)] == paths


@pytest.fixture
def root(plant) -> str:
    """40 images in two folders."""
    return plant(*(f"{'uv'[i % 2]}/{i:02}.png" for i in range(40)))


def write(tmp_path: Path, *rows: str, head: str = "file,label") -> str:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return str(path)


def described(images: ImageSet) -> dict[str, str]:
    return {images.path(i): images.class_names(i) for i in range(len(images))}


def test_rows_without_splits_are_divided_as_folders_are(root, tmp_path):
    labels = write(tmp_path, *(f"{i:02},{i % 2}" for i in range(40)))
    train, val = open_splits(Data(root=root, labels=labels))
    as_folders = open_splits(Data(root=root))
    assert train.classes == ("0", "1")
    assert sorted(described(val)) == sorted(as_folders.val.paths)
    assert {path: "01"["uv".index(path[0])] for path in described(train)} == described(train)
    shuffled = write(tmp_path, *(f"{i:02},{i % 2}" for i in reversed(range(40))))
    assert described(open_splits(Data(root=root, labels=shuffled)).val) == described(val)


def test_splits_of_the_table_and_its_test_rows(root, tmp_path):
    parts = {0: "Train", 1: "valid", 2: "Test"}
    rows = [f"{i:02},{'ab'[i // 3 % 2]},{parts[i % 3]}" for i in range(40)]
    data = Data(root=root, labels=write(tmp_path, *rows, head="file,label,split"))
    train, val = open_splits(data)
    names = [{int(path[2:4]) for path in paths} for paths in (train.paths, val.paths, train.unused)]
    assert names == [set(range(first, 40, 3)) for first in range(3)]
    assert {int(path[2:4]) for path in open_eval(data).paths} == names[1]
    assert {int(path[2:4]) for path in table_eval(data, "test").paths} == names[2]
    with pytest.raises(UserError, match="--data.split blue: no row"):
        table_eval(data, "blue")


def test_a_group_is_on_one_side_and_every_class_is_trained_on(root, tmp_path):
    rows = [f"{i:02},{'ab'[i % 2] if i < 32 else 'c'},g{i // 4}" for i in range(40)]
    data = Data(root=root, labels=write(tmp_path, *rows, head="file,label,group"), val_fraction=0.4)
    for seed in range(6):
        train, val = open_splits(Data(**{**vars(data), "split_seed": seed}))
        assert not set(train.groups) & set(val.groups)
        assert val.groups
        for part in (train, val):
            assert {part.classes[label] for label in part.labels} == {"a", "b", "c"}
    fewer = write(tmp_path, *(row for row in rows if not row.startswith("03")), head="file,label,group")
    kept = set(open_splits(data).val.groups)
    assert set(open_splits(Data(**{**vars(data), "labels": fewer})).val.groups) == kept


def test_a_run_keeps_labels_and_weights(root, tmp_path):
    rows = [f"{i:02},{'a|b' if i % 3 == 0 else 'b' if i % 3 == 1 else ''},{i / 7}" for i in range(40)]
    data = Data(root=root, labels=write(tmp_path, *rows, head="file,label,weight"))
    before = open_splits(data)
    make_image_list(*before).write(tmp_path)
    again = open_splits(data, read_image_list(tmp_path))
    for old, new in zip(before, again):
        assert (new.classes, new.label_sets, new.weights, new.paths) == (
            *(old.classes, old.label_sets, old.weights),
            old.paths,
        )
    changed = write(tmp_path, *(row.replace("b,", "a,") for row in rows[:-1]), head="file,label,weight")
    later = open_splits(Data(root=root, labels=changed), read_image_list(tmp_path))
    assert later.train.label_sets == before.train.label_sets
    assert "another label than in the run" in " ".join(later.train.notes)
    assert later.train.weights == before.train.weights


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("file,label", ["00,a", "nix,b"], "line 3: no image nix below --data.root"),
        ("file,label", ["00,a", "00.png,b"], "line 3: 00.png is b, and a in line 2"),
        ("file,label,split", ["00,a,train", "00,a,val"], "line 3: 00 has another split, group or weight in line 2"),
        ("file,label,split", ["00,a,train", "01,b,train", "02,c,val"], "line 4: the class c is in val"),
        ("file,label,split", ["00,a,val", "01,b,test"], "has no row to train on"),
        (
            "file,label,split,group",
            ["00,a,train,g", "01,b,train,h", "02,a,test,g"],
            "line 4: the group g is in test, and in train in line 2",
        ),
        ("file,label", ["00,a", "01,a"], "training needs two classes, and .* has a"),
        ("file,label", ["00,", "01,"], "training needs two classes, and .* has none"),
        ("file,label", ["00,a", "01,a", "02,b"], "a class with one image cannot be split: b"),
        ("file,label,group", ["00,a,g", "01,b,g"], r"a class with one group cannot be split: a \(g\), b \(g\)"),
        ("file,label,group", ["00,a,g", "01,b,h"], r"a class with one group cannot be split: a \(g\), b \(h\)"),
    ],
)
def test_rows_that_are_wrong_are_one_line(root, tmp_path, head, rows, message):
    with pytest.raises(UserError, match=message):
        open_splits(Data(root=root, labels=write(tmp_path, *rows, head=head)))


def test_an_unclear_name_is_an_error(plant, tmp_path):
    root = plant("u/a.png", "v/a.png", "b.png")
    with pytest.raises(UserError, match="line 2: a may be u/a.png, v/a.png"):
        open_splits(Data(root=root, labels=write(tmp_path, "a,x", "b,y")))


def test_images_of_an_archive_and_images_without_a_row(pack, tmp_path):
    root = pack("a.tar", *(f"in/{i}.png" for i in range(9)))
    train, val = open_splits(Data(root=root, labels=write(tmp_path, *(f"{i}.png,{i % 2}" for i in range(8)))))
    assert len(train) + len(val) == 8
    assert any("1 image without a row" in note and "in/8.png" in note for note in train.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": ("file=x",)}, "--data.columns is given without --data.labels"),
        ({"labels": "t.csv", "columns": ("file",)}, "--data.columns file"),
        ({"labels": "t.csv", "columns": ("fil=x",)}, "did you mean file"),
        ({"labels": "t.csv", "columns": ("file=x", "file=y")}, "name each field once"),
        ({"labels": "t.csv", "source": "cifar10"}, "--data.labels is for --data.source folder, not cifar10"),
    ],
)
def test_settings_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        Data(**fields)


@pytest.mark.parametrize(
    "columns", [("label=red,red",), ("label=red,blue,red",), ("label=file",), ("file=red", "label=red")]
)
def test_a_column_is_named_once(root, tmp_path, columns):
    labels = write(tmp_path, "01,1,0", "02,0,1", head="file,red,blue")
    with pytest.raises(UserError, match=r"--data\.columns .*: (red|file) twice \(name each column once\)"):
        open_splits(Data(root=root, labels=labels, columns=columns))


def test_a_table_needs_images():
    with pytest.raises(UserError, match="--data.root is not given, and --data.labels t.csv needs it"):
        open_splits(Data(labels="t.csv"))
