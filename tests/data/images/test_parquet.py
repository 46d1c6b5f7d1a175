"""Images in Parquet files, written as Hugging Face's `datasets` writes them."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import EvalBatches, open_eval, open_splits
from resmlp.data.checking.check import check_data
from resmlp.data.images.unlabeled import open_collection
from resmlp.imaging import parquet_file
from resmlp.utils.errors import UserError

NAMES = ["cat", "dog", "Ram C/V"]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 255 - value)).save(file, "PNG")
    return file.getvalue()


def write(
    path: Path, labels: list, names: list[str] | None = NAMES, start: int = 0, rows: int = 3, column: str = "image"
) -> Path:
    """Row i has the color `start` + i."""
    values = [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(len(labels))]
    image = pa.array(values, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    features: dict = {column: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    table = pa.table({column: image, "label": pa.array(labels)})
    if names is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


def error_of(root: Path, opener=open_splits) -> str:
    with pytest.raises(UserError) as caught:
        opener(Data(root=str(root)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(images) -> list[tuple[int, str]]:
    return [(images.read(i).getpixel((0, 0))[0], images.classes[images.labels[i]]) for i in range(len(images))]


@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"),
        ("train-0.parquet", "train-1.parquet", "val.parquet"),
    ],
)
def test_splits_of_the_hub(tmp_path, names):
    write(tmp_path / names[0], [0, 1, 2, 0, 1, 2, 0])
    write(tmp_path / names[1], [1, 1], start=7)
    write(tmp_path / names[2], [2, 1, 0, 0], start=100)
    (tmp_path / "README.md").write_text("a card")
    train, val = open_splits(Data(root=str(tmp_path)))
    assert train.classes == val.classes == ("Ram C_V", "cat", "dog")
    classes = ["cat", "dog", "Ram C_V"]
    assert sorted(rows(train)) == [(i, classes[label]) for i, label in enumerate([0, 1, 2, 0, 1, 2, 0, 1, 1])]
    assert sorted(rows(val)) == [(100 + i, classes[label]) for i, label in enumerate([2, 1, 0, 0])]
    assert sorted(rows(open_eval(Data(root=str(tmp_path))))) == sorted(rows(val))
    report = check_data(tmp_path, decode=True)
    assert report.images == 13
    assert not report.errors


def test_one_file_is_split(tmp_path):
    write(tmp_path / "birds.parquet", [0, 1] * 10)
    for root in (tmp_path, tmp_path / "birds.parquet"):
        train, val = open_splits(Data(root=str(root)))
        assert sorted(rows(train) + rows(val)) == [(i, NAMES[i % 2]) for i in range(20)]
        assert 0 < len(val) < len(train)


@pytest.mark.parametrize(("column", "labels"), [("img", ["a", "b"] * 4), ("photo", [3, 11] * 4)])
def test_tables_of_other_programs(tmp_path, column, labels):
    """Bytes without a struct, and no metadata: names or numbers as they are."""
    table = pa.table({column: pa.array([png(i) for i in range(8)]), "label": pa.array(labels)})
    pq.write_table(table, tmp_path / "x.parquet")
    images = open_eval(Data(root=str(tmp_path)))
    assert images.classes == tuple(map(str, labels[:2]))
    assert sorted(rows(images)) == [(i, str(label)) for i, label in enumerate(labels)]


def test_rows_without_a_label_are_left_out(tmp_path):
    write(tmp_path / "x.parquet", [0, None, 1, -1, 0, 1])
    images = open_eval(Data(root=str(tmp_path)))
    assert sorted(rows(images)) == [(0, "cat"), (2, "dog"), (4, "cat"), (5, "dog")]
    table = pq.read_table(tmp_path / "x.parquet").drop_columns("label")
    pq.write_table(table, tmp_path / "x.parquet")
    assert "x.parquet has no column of labels" in error_of(tmp_path)
    assert len(open_collection(Data(root=str(tmp_path), img_size=(8,))).train) == 6


def test_few_row_groups_stay_in_memory(tmp_path, monkeypatch):
    images = open_eval(Data(root=str(write(tmp_path / "x.parquet", [0, 1] * 20, rows=4))))
    reads = []
    original = parquet_file._read
    monkeypatch.setattr(parquet_file, "_read", lambda *key: reads.append(key) or original(*key))
    monkeypatch.setattr(parquet_file, "_row_groups", parquet_file.RowGroups())
    monkeypatch.setattr(parquet_file, "KEPT", 1)
    order = sorted(range(40), key=lambda i: images.images[i].group)
    for i in order:
        images.read(i)
    assert len(reads) == 10, "each group once, in order"
    assert len(parquet_file._row_groups.columns) == 1
    monkeypatch.setattr(parquet_file, "KEPT", 2**20)
    for i in (order * 2)[::7]:
        images.read(i)
    assert len(reads) <= 20


def test_forked_workers_read_the_same(tmp_path):
    images = open_eval(Data(root=str(write(tmp_path / "x.parquet", [0, 1] * 20, rows=4))))
    assert images.read(0) == pickle.loads(pickle.dumps(images)).read(0)
    look = Preprocessing((8, 8), 1.0)
    alone, forked = (np.concatenate([b["image"] for b in EvalBatches(images, look, 4, n)]) for n in (0, 2))
    assert np.array_equal(alone, forked)
    assert sorted(alone[:, 0, 0, 0].tolist()) == list(range(40))


def test_bad_files_are_one_line(tmp_path):
    good = write(tmp_path / "good.parquet", [0, 1] * 10).read_bytes()
    bad = tmp_path / "bad" / "x.parquet"
    bad.parent.mkdir()
    for data in (b"", good[:100], good[:-200], b"PAR1" + bytes(500) + b"PAR1", good[:50] + good[-300:]):
        bad.write_bytes(data)
        assert "cannot read" in error_of(bad.parent)
    assert "label 7 of row 1 is none of its 3 classes" in error_of(write(bad, [0, 7]))
    assert "two classes of one name" in error_of(write(bad, [0, 1], ["a/b", "a_b"]))
    assert "not a list of names" in error_of(write(bad, [0, 1], {"a": 1}))
    pq.write_table(pa.table({"x": [1], "y": ["z"]}), bad)
    assert "no column of image bytes, only x (int64), y (string)" in error_of(bad)
    pq.write_table(pa.table({"front": [png(1)], "back": [png(2)], "label": [1]}), bad)
    assert "more than one column of images: back, front" in error_of(bad)
    for name in ("a/train-0.parquet", "b/train-0.parquet"):
        write(tmp_path / "sets" / name, [0, 1])
    assert "several data sets: a, b" in error_of(tmp_path / "sets")


def test_row_without_bytes_is_unreadable(tmp_path):
    values = pa.array([{"bytes": png(1)}, {"bytes": None}], pa.struct({"bytes": pa.binary()}))
    pq.write_table(pa.table({"image": values, "label": [0, 0]}), tmp_path / "x.parquet")
    images = open_eval(Data(root=str(tmp_path)))
    with pytest.raises(UserError, match="x-1: the row has no bytes"):
        images.read(1)


def test_row_group_of_absurd_size(tmp_path, monkeypatch):
    monkeypatch.setattr("resmlp.data.images.parquet.MAX_GROUP", 50)
    assert "row_group_size=100" in error_of(write(tmp_path / "x.parquet", [0, 1]))


def test_without_pyarrow_one_line_names_the_extra(tmp_path, monkeypatch):
    write(tmp_path / "x.parquet", [0, 1])
    monkeypatch.setattr("resmlp.data.images.parquet.find_spec", lambda name: None)
    assert "needs pyarrow" in (error := error_of(tmp_path))
    assert "'.[parquet]'" in error


@pytest.mark.parametrize("parts", [("train", "test"), ("x",)])
def test_without_labels_the_missing_column_and_those_there_are_named(tmp_path, parts):
    """By the training and by the check, which says nothing of the extensions of rows."""
    for number, part in enumerate(parts):
        path = write(tmp_path / "data" / f"{part}-0.parquet", [0, 1, 2], start=100 * number)
        table = pq.read_table(path)
        table = table.append_column("caption", pa.array(["a", "b", "c"])).drop_columns(["label"])
        pq.write_table(table, path)
    error = error_of(tmp_path / "data")
    assert "has no column of labels: label, labels, fine_label or class" in error
    assert "it has caption (string), image (struct<" in error
    issues = {issue.kind: issue for issue in check_data(tmp_path / "data").issues if issue.severity == "error"}
    assert list(issues) == ["no-label-column"]
    assert "it has caption (string), image (struct<" in issues["no-label-column"].fix


def test_rows_have_no_extension(tmp_path):
    write(tmp_path / "x.parquet", [0, 1, 2] * 4)
    assert "wrong-extension" not in {issue.kind for issue in check_data(tmp_path / "x.parquet").issues}
