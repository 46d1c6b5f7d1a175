"""Tables of labels on disk: what their cells say, and one line for everything that is no table."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest

from resmlp.data.images.label_table import Record, read_records, sort_labels
from resmlp.utils.errors import UserError

ROWS = [("a.png", "cat"), ("b, c.png", 'the "dog"'), ("日本.png", "cat|dog")]
needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="no pyarrow")


def delimited(delimiter: str, end: str = "\r\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows([("file", "label"), *ROWS])
    return text.getvalue().encode()


def records(path: Path, content: bytes | str, *columns: str) -> list[Record]:
    path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    return read_records(path, columns)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", delimited(",")),
        ("t.CSV", b"\xef\xbb\xbf" + delimited(",")),
        ("t.csv", delimited(",", "\n")),
        ("t.csv", delimited(",", "\r")),
        ("t.tsv", delimited("\t")),
        (
            "t.jsonl",
            "".join(json.dumps({"file": a, "label": b, "more": {"x": [1]}}) + "\n\n" for a, b in ROWS).encode(),
        ),
    ],
)
def test_every_kind_says_the_same(tmp_path, name, content):
    found = records(tmp_path / name, content)
    assert [(record.file, record.classes) for record in found] == [
        ("a.png", ("cat",)),
        ("b, c.png", ('the "dog"',)),
        ("日本.png", ("cat", "dog")),
    ]


@needs_pyarrow
def test_a_parquet_table_says_the_same(tmp_path):
    import pyarrow
    from pyarrow import parquet

    files, labels = zip(*ROWS)
    columns = {"file": files, "label": labels, "weight": [1, 2.5, 0], "bytes": [b"\0"] * 3, "nested": [[1]] * 3}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = read_records(tmp_path / "t.parquet", ())
    assert [record.classes for record in found] == [("cat",), ('the "dog"',), ("cat", "dog")]
    assert [(record.line, record.weight) for record in found] == [(1, 1), (2, 2.5), (3, 0)]
    with pytest.raises(UserError, match="t.parquet line 1: 'nested' is"):
        read_records(tmp_path / "t.parquet", ("label=nested",))
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-5])
    with pytest.raises(UserError, match="no complete Parquet file"):
        read_records(tmp_path / "t.parquet", ())


def test_lines_are_counted_where_a_cell_has_several(tmp_path):
    found = records(tmp_path / "t.csv", 'file,label,note\na,x,"1\n2\n3"\n\nb,y,""\n')
    assert [(record.line, record.file) for record in found] == [(2, "a"), (6, "b")]


def test_columns_may_have_other_names_and_classes_may_be_columns(tmp_path):
    table = "id,healthy,rust,scab\na,1,0,0\nb,0,1.0,true\nc,0,0,False\n"
    found = records(tmp_path / "t.csv", table, "file=id", "label=healthy,rust,scab")
    assert [record.classes for record in found] == [("healthy",), ("rust", "scab"), ()]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ({"10", "9", "-1", "2.5"}, ("-1", "2.5", "9", "10")),
        ({"b", "10", "9"}, ("10", "9", "b")),
        ({"nan", "1"}, ("1", "nan")),
        (set(), ()),
    ],
)
def test_numbers_are_in_numeric_order(names, order):
    assert sort_labels(names) == order


HEAD = "file,label\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "t.csv has no header"),
        ("t.csv", HEAD, "t.csv has no rows"),
        ("t.csv", "name,label\na,b\n", "t.csv has no column 'file' \\(it has name, label; .*--data.columns file=NAME"),
        ("t.csv", "file;label\na;b\n", "semicolons between its columns: 'file;label' .*the separator is commas"),
        ("t.csv", "file\tlabel\na\tb\n", "tabs between its columns"),
        ("t.csv", "file|label\na|b\n", "vertical bars between"),
        ("t.csv", "file label\na b\n", "spaces between"),
        ("t.tsv", "file,label\na,b\n", "commas between its columns: 'file,label' .*in .tsv the separator is tabs"),
        ("t.tsv", "file;label\na;b\n", "semicolons between"),
        ("t.csv", "image path\na b\n", "has no column 'file'"),
        ("t.csv", "file,label,label\na,b,c\n", "line 1: two columns are called label"),
        ("t.csv", HEAD + "a,b,c\n", "line 2: 3 cells, and the header has 2"),
        ("t.csv", HEAD + "a\n", "line 2: 1 cells"),
        ("t.csv", HEAD + 'a,"b\n', "line 2: not a row of a table: unexpected end"),
        ("t.csv", HEAD + 'x,y\na,"b"c\n', "line 3: not a row of a table"),
        ("t.csv", HEAD + "a,b\0\n", "line 2: a NUL byte"),
        ("t.csv", "file,label\n".encode("utf-16"), "line 1: a NUL byte"),
        ("t.csv", HEAD.encode() + b"a,b\nc,\xff\n", "line 3: bytes that are not UTF-8"),
        ("t.csv", HEAD + "a," + "b" * 5_000 + "\n", "line 2: 'label' has 5,000 characters"),
        ("t.csv", HEAD + 'a,"' + "b" * 200_000 + "\n", "line 2: not a row of a table: field larger"),
        ("t.csv", "x" * 3_000_000, "line 1: over 1,048,576 characters"),
        ("t.csv", HEAD + ",b\n", "line 2: no file"),
        ("t.csv", "file,label,split\na,b,train\nc,b,holdon\n", "line 3: the split 'holdon' is not known"),
        ("t.csv", "file,label,split\na,b,train\nc,b,\n", "line 3: no split, as in 1 row"),
        ("t.csv", "file,label,weight\na,b,nan\n", "line 2: the weight 'nan'"),
        ("t.csv", "file,label,weight\na,b,-0.5\n", "line 2: the weight '-0.5'"),
        ("t.csv", "file,label,weight\na,b,inf\n", "line 2: the weight 'inf'"),
        ("t.csv", "file,label,weight\na,b,heavy\n", "line 2: the weight 'heavy'"),
        ("t.csv", "file,label,weight\na,b,1\nc,b,\n", "line 3: no weight"),
        ("t.csv", "file,label,group\na,b,1\nc,b,\n", "line 3: no group"),
        ("t.jsonl", '{"file": "a", "label": "b"}\n{"file": \n', "line 2: not JSON"),
        ("t.jsonl", "[1]\n", r"line 1: \[1\] is not an object"),
        ("t.jsonl", "[" * 100_000 + "\n", "line 1: not JSON: nested too deeply"),
        ("t.jsonl", '{"file": "a", "label": ' + "9" * 5_000 + "}\n", "line 1: not JSON"),
        ("t.jsonl", '{"file": "a", "label": {"b": 1}}\n', "line 1: 'label' is {'b': 1}"),
        ("t.jsonl", '{"file": "a", "label": ["b"]}\n', r"line 1: 'label' is \['b'\]"),
        ("t.jsonl", '{"file": "a", "label": NaN}\n', "line 1: 'label' is nan, no text .*null"),
        ("t.jsonl", '{"file": "a", "label": -Infinity}\n', "line 1: 'label' is -inf"),
        ("t.jsonl", '{"file": NaN, "label": "b"}\n', "line 1: 'file' is nan"),
        ("t.jsonl", '{"file": "a"}\n', "line 1: no 'label'"),
        ("t.xlsx", "PK", "t.xlsx is no table that is read"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message) as caught:
        records(tmp_path / name, content)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("label=A,B",), "has no column 'A'"),
        (("split=part",), "has no column 'part'"),
        (("label=label,cat|dog",), "name columns without"),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        records(tmp_path / "t.csv", HEAD + "a,b\n", *columns)


def test_a_column_of_a_class_has_0_and_1(tmp_path):
    with pytest.raises(UserError, match="line 3: '2' in the column 'B' of a class"):
        records(tmp_path / "t.csv", "file,A,B\na,1,0\nb,1,2\n", "label=A,B")
