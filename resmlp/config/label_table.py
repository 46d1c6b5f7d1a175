"""Settings of a table of labels, beside a folder or an archive of images."""

from dataclasses import dataclass
from typing import Annotated

from resmlp.config.help import MANY
from resmlp.utils.checks import demand
from resmlp.utils.errors import did_you_mean

FIELDS = ("file", "label", "split", "group", "weight")
"""what a table may say of an image"""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, for the commands that read no other settings of data."""

    labels: str | None = None
    """a .csv, .tsv, .jsonl or .parquet with the columns file and label, and if they are there split, group and weight:
    in place of class folders"""
    columns: Annotated[tuple[str, ...], MANY] = ()
    """other names of its columns: file=image label=diagnosis; label=A,B,C for columns of 0 and 1, one for each class"""

    def __post_init__(self) -> None:
        check_columns(self.labels, self.columns)


def check_columns(labels: str | None, columns: tuple[str, ...]) -> None:
    """Raise `UserError` for `columns` without `labels`, and for one that is not FIELD=COLUMN."""
    unread = "--data.columns is given without --data.labels"
    demand(labels is not None or not columns, unread, "give the table of labels as well")
    for column in columns:
        field, equals, name = column.partition("=")
        how = "give FIELD=COLUMN, for example file=image label=diagnosis"
        demand(bool(equals and name), f"--data.columns {column}", how)
        demand(field in FIELDS, f"--data.columns {column}: unknown field {field!r}", did_you_mean(field, FIELDS))
    fields = [column.partition("=")[0] for column in columns]
    demand(len(set(fields)) == len(fields), f"--data.columns {' '.join(columns)}", "name each field once")


def named_columns(columns: tuple[str, ...]) -> dict[str, str]:
    """From the fields that `--data.columns` names to their columns."""
    return {field: name for field, _, name in (column.partition("=") for column in columns)}
