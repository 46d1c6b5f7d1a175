"""Parallel text in one table: TSV or Parquet, with two columns of text and perhaps one that names the split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resmlp.config import Text
from resmlp.data.images.dividing import position
from resmlp.data.images.split_names import split_role
from resmlp.data.text.files import Pairs, read_lines
from resmlp.data.text.header import find_header, named_columns
from resmlp.data.text.parquet import is_parquet, read_columns, text_columns
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

SEED = 0  # of the split by the source sentence


@dataclass(frozen=True)
class Table:
    """The rows of a table."""

    sources: list[str]
    targets: list[str]
    splits: list[str] | None
    """the split of each row; None if no column names it"""
    first: int
    """the number of the first row in the file: 2 after a header"""

    def pairs(self, rows: Iterable[int], name: str) -> Pairs:
        """The pairs of these rows, from 0."""
        rows = list(rows)
        sources, targets = ([side[i] for i in rows] for side in (self.sources, self.targets))
        return Pairs(sources, targets, ((name, len(rows)),), numbers=tuple(self.first + i for i in rows))


def read_table(path: Path, languages: tuple[str, str], chosen: Mapping[str, str]) -> Table:
    """Read a table; `chosen` names its columns, by role (source, target, split).

    A Parquet file has names. The first row of a TSV file is a header if columns are chosen or if it names both
    languages, or source and target; without a header it has two columns. Raises `UserError`.
    """
    if is_parquet(path):
        known = text_columns(path)
        columns = named_columns([*known], languages, chosen, str(path))
        wanted = [[*known.values()][i] for i in columns if i is not None]
        sources, targets, *splits = read_columns(path, wanted)
        return Table(sources, targets, splits[0] if splits else None, 1)
    rows = [line.split("\t") for line in read_lines(path)]
    header = bool(rows) and (bool(chosen) or find_header(rows[0], languages) is not None)
    width = len(rows[0]) if header else 2
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            hint = "a line is a sentence, a tab and its translation"
            if len(row) > width:
                hint += "; of more columns, add a first line with their names, such as en and de, or see --data.columns"
            hint = f"its header has {width - 1}" if header else hint
            raise UserError(f"{path}, line {number}, has {len(row) - 1} tabs", hint)
    if not header:
        return Table([row[0] for row in rows], [row[1] for row in rows], None, 1)
    columns = named_columns(rows[0], languages, chosen, str(path))
    sources, targets = ([row[i] for row in rows[1:]] for i in columns[:2])
    split = None if columns.split is None else [row[columns.split].strip() for row in rows[1:]]
    return Table(sources, targets, split, 2)


def table_pairs(data: Text) -> tuple[Pairs, Pairs]:
    """The training pairs and the validation pairs of the table `data.root`, each with its empty lines.

    The rows of a split are those that its column names: --data.train and --data.val, or the usual names. Without this
    column, --data.val-fraction of the source sentences are the validation set; whether a sentence is one of them
    depends on it alone, so that equal sentences are on one side.
    """
    path = Path(str(data.root))
    table = read_table(path, (data.source_language, data.target_language), data.column_names)
    demand(bool(table.sources), f"{path} has no pairs", "a line is a sentence, a tab and its translation")
    roles = _named_roles(table, data) if table.splits else _hashed_roles(table, data)
    rows: dict[str, list[int]] = {"train": [], "val": [], "": []}
    for i, role in enumerate(roles):
        rows[role].append(i)
    return table.pairs(rows["train"], str(path)), table.pairs(rows["val"], str(path))


def _named_roles(table: Table, data: Text) -> list[str]:
    """ "train", "val" or "" (in neither) for each row, by the column of the split."""
    assert table.splits is not None
    values = {value: i for i, value in reversed(list(enumerate(table.splits)))}  # the first row of each
    usual = {value: split_role(value) for value in values}
    own = {*data.train, data.val}
    for value, i in values.items():
        what = f"{data.root}, row {table.first + i}: the split {value!r} is neither training nor validation"
        demand(value in own or usual[value] is not None, what, "--data.train and --data.val name the splits")
    train = [value for value in data.train if value in values] or _of_role("train", usual)
    val = [data.val] if data.val in values else _of_role("val", usual)
    return ["train" if value in train else "val" if value in val else "" for value in table.splits]


def _of_role(role: str, usual: Mapping[str, tuple[str, int, int] | None]) -> list[str]:
    """The value with the preferred name of this role."""
    found = sorted((place[1:], value) for value, place in usual.items() if place and place[0] == role)
    return [value for _, value in found[:1]]


def _hashed_roles(table: Table, data: Text) -> list[str]:
    """ "train" or "val" for each row, by its source sentence: at least one sentence is in each, if there are two."""
    if data.val_fraction == 1:
        return ["val"] * len(table.sources)
    places = {text: position(SEED, text, "split") for text in set(map(str.strip, table.sources))}
    order = sorted(places, key=lambda text: (places[text], text))
    count = sum(place < data.val_fraction for place in places.values())
    val = set(order[: min(max(1, count), len(order) - 1)])
    return ["val" if text.strip() in val else "train" for text in table.sources]
