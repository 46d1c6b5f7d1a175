"""A table of labels: for each image its classes, and its split, its group and its weight where the table has them."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from resmlp.config.label_table import named_columns
from resmlp.data.images.imageset import SEPARATOR
from resmlp.data.images.split_names import split_role
from resmlp.data.images.tables import Row, Table, check_separator, open_table, row_error
from resmlp.data.images.tree_files import short_list, sort_classes
from resmlp.imaging.walk import path_in_set
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.serialization import shown

OPTIONAL = ("split", "group", "weight")
MARKS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
"""the cells of a column that is a class"""
HEADERS = 20
"""columns that a message names"""


class Record(NamedTuple):
    """A row of a table of labels."""

    line: int
    file: str
    classes: tuple[str, ...]
    """in order of name; none, one or several"""
    split: str = ""
    """a name of a split; empty for all rows if the table has no splits"""
    group: str = ""
    weight: float | None = None


def read_records(path: Path, columns: tuple[str, ...]) -> list[Record]:
    """The rows of a table of labels with these `--data.columns`.

    Raises `UserError` for a missing column or table, for a table without rows, and for a cell that cannot be.
    """
    table = open_table(path)
    reader = _Reader(table, columns)
    records = [reader.record(row) for row in table.rows(reader.wanted)]
    demand(bool(records), f"{path} has no rows", "its first line names the columns, each other line is an image")
    reader.check_optional(records)
    return records


class _Reader:
    """The columns of a table, and what its cells say."""

    def __init__(self, table: Table, columns: tuple[str, ...]):
        self.table, self.path, self.named = table, table.path, named_columns(columns)
        self.names = {field: self.named.get(field, field) for field in ("file", "label", *OPTIONAL)}
        label = self.names["label"]
        whole = "," not in label or label in (table.columns or ())
        self.classes = () if whole else tuple(name.strip() for name in label.split(","))
        """the columns that are classes; empty where one column has the class names"""
        self.required = (self.names["file"], *(self.classes or (label,)))
        self.wanted = {*self.required, *(self.names[field] for field in OPTIONAL)}
        wrong = next((name for name in self.classes if not name or SEPARATOR in name), None)
        demand(wrong is None, f"--data.columns label={label}", f"name columns without {SEPARATOR}, separated by ,")
        double = {name for name in self.required if self.required.count(name) > 1}
        demand(not double, f"--data.columns {' '.join(columns)}: {short_list(double)} twice", "name each column once")
        if table.columns is not None:
            named = [self.names[field] for field in OPTIONAL if field in self.named]
            for name in (*self.required, *named):
                self._check_column(name, table.columns)

    def record(self, row: Row) -> Record:
        """What a row says."""
        for name in self.required:
            if name not in row.cells:
                raise self._error(row, f"no {name!r}", "each object needs it, or name another with --data.columns")
        file = row.cells[self.names["file"]]
        if not file:
            raise self._error(row, "no file", "name an image")
        split, group = (row.cells.get(self.names[field], "") for field in ("split", "group"))
        if split and split_role(split) is None:
            raise self._error(row, f"the split {shown(split)} is not known", "write train, val or test")
        return Record(row.line, file, tuple(sorted(set(self._classes(row)))), split, group, self._weight(row))

    def check_optional(self, records: list[Record]) -> None:
        """Raise `UserError` where some rows have a split, a group or a weight and others have not, or none has it."""
        for field in OPTIONAL:
            lacking = [record.line for record in records if getattr(record, field) in ("", None)]
            if len(lacking) == len(records):
                demand(field not in self.named, f"{self.path} has no {field} in any row", "leave the column out")
            elif lacking:
                hint = f"give every row a {field}, or none"
                raise row_error(self.path, lacking[0], f"no {field}, as in {len(lacking):,} rows", hint)

    def _classes(self, row: Row) -> Iterator[str]:
        if not self.classes:
            cell = row.cells[self.names["label"]]
            yield from filter(None, (path_in_set(part.strip()) for part in cell.split(SEPARATOR)))
        for name in self.classes:
            mark = MARKS.get(row.cells[name].lower())
            if mark is None:
                raise self._error(row, f"{shown(row.cells[name])} in the column {name!r} of a class", "write 0 or 1")
            if mark:
                yield path_in_set(name)

    def _weight(self, row: Row) -> float | None:
        text = row.cells.get(self.names["weight"], "")
        if not text:
            return None
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise self._error(row, f"the weight {shown(text)}", "a weight is a number of 0 or more")
        return weight

    def _check_column(self, name: str, columns: tuple[str, ...]) -> None:
        if name in columns:
            return
        check_separator(self.path, columns, name)
        more = f" and {len(columns) - HEADERS} more" if len(columns) > HEADERS else ""
        field = next((field for field, named in self.names.items() if named == name), "label")
        hint = f"it has {', '.join(columns[:HEADERS])}{more}; name one with --data.columns {field}=NAME"
        raise UserError(f"{self.path} has no column {shown(name)}", hint)

    def _error(self, row: Row, what: str, hint: str) -> UserError:
        return row_error(self.path, row.line, what, hint)


def check_weights(weights: Sequence[float]) -> None:
    """Raise `UserError` if all weights of the images to train on are 0."""
    what = "the weights of all training images are 0"
    demand(not weights or any(weights), what, "give some images a weight above 0")


def sort_labels(names: set[str]) -> tuple[str, ...]:
    """Class names in the order of their labels: by number if all are finite numbers, else as class folders."""
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        numbers = {}
    if numbers and all(map(math.isfinite, numbers.values())):
        return tuple(sorted(names, key=lambda name: (numbers[name], name)))
    return tuple(sort_classes(names))
