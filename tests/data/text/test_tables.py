"""One table for all splits, TSV or Parquet: columns, splits, locations, and one-line errors."""

import gzip
from contextlib import suppress
from pathlib import Path

import pytest

from resmlp.config import Text
from resmlp.data import open_pairs, open_val
from resmlp.data.text import files
from resmlp.data.text.header import named_columns
from resmlp.data.text.parquet import other_columns, text_columns
from resmlp.utils.errors import UserError

ROWS = [("one", "eins"), ("two", "zwei"), ("three", "drei"), ("four", "vier"), ("five", "fünf"), ("six", "sechs")]


@pytest.fixture
def table(tmp_path):
    """`table(rows, name)`: a file with these rows, the first of which may be a header; the settings that read it."""

    def write(rows, name="pairs.tsv", **settings) -> Text:
        if name.endswith(".parquet"):
            write_parquet(tmp_path / name, {cells[0]: list(cells[1:]) for cells in zip(*rows)})
        else:
            raw = "".join("\t".join(row) + "\n" for row in rows).encode()
            (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return Text(root=str(tmp_path / name), **settings)

    return write


def write_parquet(path: Path, columns: dict) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path)


def error(data: Text) -> str:
    with pytest.raises(UserError) as caught:
        open_pairs(data)
    assert str(caught.value).isprintable()
    return str(caught.value)


def pairs(data: Text) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    return tuple(list(zip(part.sources, part.targets)) for part in open_pairs(data))


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt", "pairs.tsv.gz", "pairs.parquet", "pairs"])
@pytest.mark.parametrize(
    "header",
    [("en", "de"), ("source", "target"), ("src", "tgt"), ("English", "German"), ("eng", "deu"), ("en-US", "de_DE")],
)
def test_a_header_names_the_columns(table, name, header):
    train, val = pairs(table([header, *ROWS], name, val_fraction=0.3, source_language="en", target_language="de"))
    assert sorted(train + val) == sorted(ROWS)
    assert val


def test_columns_in_another_order_and_among_others(table):
    rows = [(str(i), target, "x", source) for i, (source, target) in enumerate(ROWS)]
    for header in (("id", "de", "note", "en"), ("id", "Target", "note", "SOURCE")):
        train, val = pairs(table([header, *rows]))
        assert sorted(train + val) == sorted(ROWS)


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
def test_columns_by_name(table, name):
    data = table([("a", "b"), *ROWS], name, columns=("source=b", "target=a"))
    train, val = pairs(data)
    assert sorted(train + val) == sorted((target, source) for source, target in ROWS)


def test_without_a_header_the_first_line_is_a_pair(table):
    train, val = pairs(table(ROWS))
    assert sorted(train + val) == sorted(ROWS)


def test_two_unknown_columns_of_parquet_are_in_order(table):
    train, val = pairs(table([("a", "b"), *ROWS], "x.parquet"))
    assert sorted(train + val) == sorted(ROWS)


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
@pytest.mark.parametrize(
    "words", [("train", "val", "test"), ("training", "validation", "test"), ("Train", "dev", "test")]
)
def test_a_column_names_the_split(table, name, words):
    parts = [words[i] for i in (0, 0, 1, 2, 1, 0)]
    rows = [(split, *row) for split, row in zip(parts, ROWS)]
    train, val = pairs(table([("split", "en", "de"), *rows], name))
    assert train == [ROWS[i] for i in (0, 1, 5)]
    assert val == [ROWS[i] for i in (2, 4)]
    assert pairs(table([("split", "en", "de"), *rows], name, val="test"))[1] == [ROWS[3]]


def test_locations_count_the_header_and_the_rows_of_other_splits(table):
    rows = [("a", "b", "val"), ("", "x", "train"), ("c", "d", "val"), ("e", "f", "train"), ("g", "h", "train")]
    train, val = open_pairs(table([("en", "de", "split"), *rows]))
    assert [train.location(i).rpartition(", ")[2] for i in range(2)] == ["line 5", "line 6"]
    assert [val.location(i).rpartition(", ")[2] for i in range(2)] == ["line 2", "line 4"]
    assert train.empty_lines == (0,)


def test_equal_sources_are_on_one_side_and_lines_may_come_and_go(table):
    rows = [(f"sentence {i % 40}", f"Satz {i}") for i in range(120)]
    _, val = pairs(table(rows, val_fraction=0.2))
    held = {source for source, _ in val}
    assert 2 <= len(held) <= 16
    assert all((source in held) == ((source, target) in val) for source, target in rows)
    train, fewer = pairs(table(rows[10:100], val_fraction=0.2))
    assert {source for source, _ in fewer} == held
    assert not held & {source for source, _ in train}


def test_evaluation_of_all_pairs(table):
    assert len(open_val(table(ROWS, val_fraction=1.0))) == len(ROWS)
    assert "no training pairs" in error(table(ROWS, val_fraction=1.0))


def test_tables_in_a_folder(table, tmp_path):
    for name, rows in (("train.parquet", ROWS), ("val.tsv", ROWS[:2])):
        table([("en", "de"), *rows], name)
    train, val = pairs(Text(root=str(tmp_path)))
    assert (train, val) == (ROWS, ROWS[:2])


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([("en", "de"), ("a", "b", "c")], {}, "line 2, has 2 tabs"),
        ([("1", "b", "c")], {}, "line 1, has 2 tabs (a line is a sentence, a tab and its translation; of more columns"),
        ([("a", "b"), ("c",)], {}, "line 2, has 0 tabs"),
        ([("a", "b"), *ROWS], {"columns": ("source=a", "target=z")}, "no column 'z'"),
        ([("a", "b", "c"), ("x", "y", "z")], {"columns": ("source=a",)}, "--data.columns source=NAME target=NAME"),
        ([("en", "de", "split"), ("a", "b", "train"), ("c", "d", "other")], {}, "row 3: the split 'other' is neither"),
        ([("en", "de", "split"), ("a", "b", "train")], {}, "no validation pairs"),
        ([("en", "de", "split"), ("a", "b", "test")], {}, "no training pairs"),
        ([("en", "de")], {}, "has no pairs"),
        ([("a", "b")], {}, "no training pairs|no validation pairs"),
        ([("a\0", "b")], {}, "line 1, has a NUL byte"),
    ],
)
def test_errors(table, rows, settings, message):
    found = error(table(rows, **settings))
    assert any(part in found for part in message.split("|")), found


@pytest.mark.parametrize("text", ["source", "sauce=a", "source=", "=a"])
def test_columns_that_say_nothing(text):
    with pytest.raises(UserError, match="--data.columns"):
        Text(columns=(text,))


@pytest.mark.parametrize("keep", [4, 30, 0.5, -1, -9])
def test_damaged_parquet_is_one_line(table, tmp_path, keep):
    data = table([("en", "de"), *(ROWS * 50)], "x.parquet")
    raw = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(raw[: round(len(raw) * keep) if keep == 0.5 else keep])
    assert "x.parquet is a damaged Parquet file" in error(data)


def test_flipped_bytes_of_parquet_are_one_line_or_text(table, tmp_path):
    data = table([("en", "de"), *(ROWS * 50)], "x.parquet")
    raw = (tmp_path / "x.parquet").read_bytes()
    for place in range(4, len(raw), 7):
        (tmp_path / "x.parquet").write_bytes(raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :])
        with suppress(UserError):  # any other error fails
            open_pairs(data)


def test_a_small_parquet_file_does_not_become_large(tmp_path, monkeypatch):
    monkeypatch.setattr("resmlp.data.text.parquet.FREE", 2**16)
    write_parquet(tmp_path / "x.parquet", {"en": ["word " * 1000] * 5000, "de": ["Wort"] * 5000})
    assert (tmp_path / "x.parquet").stat().st_size < 2**15
    assert "too large when unpacked" in error(Text(root=str(tmp_path / "x.parquet")))


def test_long_texts_of_parquet_are_one_line(tmp_path):
    write_parquet(tmp_path / "x.parquet", {"en": ["a", "b" * (files.MAX_LINE + 1)], "de": ["x", "y"]})
    assert "text of more than" in error(Text(root=str(tmp_path / "x.parquet")))


def test_parquet_of_other_types(tmp_path):
    write_parquet(tmp_path / "x.parquet", {"en": [1, 2], "de": ["x", "y"]})
    assert "which columns have the sentences" in error(Text(root=str(tmp_path / "x.parquet")))
    write_parquet(tmp_path / "x.parquet", {"en": ["a", None, "c"], "de": ["x", "y", "z"], "id": [1, 2, 3]})
    train, val = open_pairs(Text(root=str(tmp_path / "x.parquet")))
    assert len(train) + len(train.empty_lines) + len(val) == 3


def test_parquet_of_hugging_face(tmp_path):
    """The translations in one column; a null is an empty pair."""
    rows = [{"en": en, "de": de, "score": 1.0} for en, de in ROWS]
    write_parquet(tmp_path / "x.parquet", {"id": ["1"] * 7, "translation": [*rows, None]})
    assert not other_columns(tmp_path / "x.parquet")
    train, val = pairs(Text(root=str(tmp_path / "x.parquet"), val_fraction=0.2))
    assert sorted(pair for pair in train + val if pair[0]) == sorted(ROWS)
    write_parquet(tmp_path / "x.parquet", {"translation": rows, "de": ["x"] * 6})
    assert text_columns(tmp_path / "x.parquet") == {
        "de": "de",
        "en": "translation.en",
        "translation.de": "translation.de",
    }
    write_parquet(tmp_path / "x.parquet", {"image": [{"bytes": b"x", "path": "y"}], "n": [1]})
    assert other_columns(tmp_path / "x.parquet") == ["image"]
    assert "it has no column of text" in error(Text(root=str(tmp_path / "x.parquet")))


def test_parquet_without_pyarrow(table, monkeypatch):
    import sys

    data = table([("en", "de"), *ROWS], "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pyarrow is not installed (run pip install '.[parquet]'" in error(data)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"source": "foo"}, "t has no column 'foo', which --data.columns source=foo names (choose from de, en, id)"),
        (
            {"source": "e"},
            "t has no column 'e', which --data.columns source=e names (did you mean en or de?; it has de, en, id)",
        ),
        ({"source": "en", "target": "en"}, "--data.columns names en as source and as target (it has de, en, id)"),
    ],
)
def test_columns_that_cannot_be_name_those_there_are_once(chosen, message):
    with pytest.raises(UserError) as caught:
        named_columns(["id", "en", "de"], ("en", "de"), chosen, "t")
    assert str(caught.value) == message
