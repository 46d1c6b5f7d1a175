"""Tables on disk: .csv and .tsv, .jsonl, and .parquet by pyarrow. Rows are read one by one, and every cell is text."""

import csv
import importlib.util
import json
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from resmlp.data.images.tree_files import short_list
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, install_hint
from resmlp.utils.files import check_file
from resmlp.utils.serialization import shown

MAX_LINE, MAX_CELL = 2**20, 2**12
"""characters of a line, and of a cell that is used: a path and its classes are shorter"""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""between the cells of a line, by the ending of a file"""
SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "vertical bars", " ": "spaces"}
UTF8 = "save the table as UTF-8 text"


class Row(NamedTuple):
    """A row with at least one cell."""

    line: int
    """in the file, from 1; of Parquet, the number of the row"""
    cells: dict[str, str]
    """from a column to its cell, without outer spaces; a row of JSON may lack some"""


class Table(NamedTuple):
    """A table on disk."""

    path: Path
    columns: tuple[str, ...] | None
    """None if each row names its own"""
    rows: Callable[[Collection[str]], Iterator[Row]]
    """the rows with the cells of some columns; raises `UserError` with the number of a line that cannot be read"""


def open_table(path: Path) -> Table:
    """The table in a file, whose ending says how it is written. Raises `UserError`."""
    ending = path.suffix.lower()
    demand(ending in READERS, f"{path} is no table that is read", f"it ends in {' '.join(READERS)}")
    check_file(path)
    return READERS[ending](path)


def row_error(path: Path, line: int, what: str, hint: str) -> UserError:
    """The error of a row of the table `path`."""
    return UserError(f"{path} line {line}: {what}", hint)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line with its end) of a text file in UTF-8, with or without a byte order mark."""
    number = 1
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            while line := file.readline(MAX_LINE):
                _check_line(path, number, line)
                yield number, line
                number += 1
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the file") from None


def _check_line(path: Path, number: int, line: str) -> None:
    if "\0" in line:
        raise row_error(path, number, "a NUL byte", UTF8)
    if not line.isascii() and any("\udc80" <= character <= "\udcff" for character in line):
        raise row_error(path, number, "bytes that are not UTF-8", UTF8)
    if len(line) >= MAX_LINE:
        raise row_error(path, number, f"over {MAX_LINE:,} characters", "is it a table?")


def _open_delimited(path: Path, delimiter: str) -> Table:
    line, header = next(_records(path, delimiter), (0, list[str]()))
    columns = tuple(name.strip() for name in header)
    demand(any(columns), f"{path} has no header", "its first line names the columns: file, label")
    double = {name for name in columns if name and columns.count(name) > 1}
    if double:
        raise row_error(path, line, f"two columns are called {short_list(double)}", "rename one of them")
    return Table(path, tuple(filter(None, columns)), partial(_delimited_rows, path, delimiter, columns))


def check_separator(path: Path, columns: tuple[str, ...], wanted: str) -> None:
    """Raise `UserError` if the header, in which the column `wanted` is missing, is one cell with another separator."""
    ending = path.suffix.lower()
    if len(columns) != 1 or ending not in DELIMITERS:
        return
    mark = next((mark for mark in SEPARATORS if mark in columns[0]), "")
    if mark and (mark != " " or wanted in columns[0].split()):
        what = f"{path}: the header has {SEPARATORS[mark]} between its columns: {shown(columns[0])}"
        raise UserError(what, f"in {ending} the separator is {SEPARATORS[DELIMITERS[ending]]}: save the table so")


def _delimited_rows(path: Path, delimiter: str, columns: tuple[str, ...], wanted: Collection[str]) -> Iterator[Row]:
    records = _records(path, delimiter)
    next(records)  # the header
    places = [(column, i) for i, column in enumerate(columns) if column in wanted]
    for line, cells in records:
        if len(cells) != len(columns):
            what = f"{len(cells)} cells, and the header has {len(columns)}"
            raise row_error(path, line, what, "put a cell that contains the separator in quotes")
        yield Row(line, {column: _text(path, line, column, cells[i]) for column, i in places})


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of each record that is not empty, the header among them."""
    last = 0

    def lines() -> Iterator[str]:
        nonlocal last
        for last, line in _lines(path):  # noqa: B007
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        first = last + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = str(error).partition(" - ")[0]
            raise row_error(path, first, f"not a row of a table: {reason}", "check its quotes") from None
        if cells is None:
            return
        if any(map(str.strip, cells)):
            yield first, cells


def _text(path: Path, line: int, column: str, value: Any) -> str:
    """A value as the text of a cell. Raises `UserError` for a nested or a very long one."""
    if isinstance(value, dict | list | tuple | bytes):
        hint = "a cell is text or a number; separate several labels by |"
        raise row_error(path, line, f"{shown(column)} is {shown(value)}", hint)
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        raise row_error(path, line, f"{shown(column)} is {value}, no text", "write null where a cell is empty")
    if isinstance(value, float) and value.is_integer():  # a column of integers with gaps becomes one of floats
        value = int(value)
    text = str(value).strip()
    if len(text) > MAX_CELL:
        raise row_error(path, line, f"{shown(column)} has {len(text):,} characters", f"a cell has up to {MAX_CELL:,}")
    return text


def _json_rows(path: Path, wanted: Collection[str]) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
            raise row_error(path, number, f"not JSON: {reason}", "write one object in each line") from None
        if not isinstance(value, dict):
            raise row_error(path, number, f"{shown(value)} is not an object", 'write {"file": ..., "label": ...}')
        cells = {key: _text(path, number, key, item) for key, item in value.items() if key in wanted}
        yield Row(number, cells)


def _open_parquet(path: Path) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{path} needs pyarrow, which is not installed", install_hint("parquet"))
    from pyarrow import parquet

    with _as_parquet(path):
        columns = tuple(parquet.read_schema(path).names)
    return Table(path, columns, partial(_parquet_rows, path))


def _parquet_rows(path: Path, wanted: Collection[str]) -> Iterator[Row]:
    from pyarrow import parquet

    number = 0
    with _as_parquet(path):
        file = parquet.ParquetFile(path)
        batches = file.iter_batches(1024, columns=[name for name in file.schema_arrow.names if name in wanted])
    while True:
        with _as_parquet(path):
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        for row in rows:
            number += 1
            yield Row(number, {key: _text(path, number, key, value) for key, value in row.items()})
        if batch is None:
            return


@contextmanager
def _as_parquet(path: Path) -> Iterator[None]:
    """Turn any failure of pyarrow into one line."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(f"{path} is no complete Parquet file: {reason}", "write it again") from None


READERS: dict[str, Callable[[Path], Table]] = {
    **{ending: partial(_open_delimited, delimiter=delimiter) for ending, delimiter in DELIMITERS.items()},
    ".jsonl": lambda path: Table(path, None, partial(_json_rows, path)),
    ".parquet": _open_parquet,
}
"""from the ending of a file to what opens it"""
