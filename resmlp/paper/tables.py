"""What a table of the paper is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of numbers."""

    name: str
    """the number's name in a run's summary, or in what is measured after it"""
    title: str
    """the heading, with the unit of the printed numbers"""
    factor: float = 1.0
    """what a printed number is multiplied by to be in our units: 0.01 for per cent"""


@dataclass(frozen=True)
class Row:
    """A row: what the paper calls it, and what it reports."""

    name: str
    """as a person types it"""
    what: str
    values: tuple[float | None, ...]
    """as printed, in the order of the table's columns; None where the paper has none"""
    model: str = ""
    """the paper's own network: a key of `ARCHITECTURES`, or timm:NAME; empty where we have none"""
    baseline: str = ""
    """the row that it is compared with; empty: it is one itself, or comes from elsewhere"""


@dataclass(frozen=True)
class Table:
    """A table or a figure: its rows, and the column that decides."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    main: str
    """name of the column by which rows are compared"""

    def row(self, name: str) -> Row:
        """The row of that name; KeyError where there is none."""
        return {row.name: row for row in self.rows}[name]

    def reported(self, row: Row) -> dict[str, float]:
        """What the paper reports of `row` in our units (fractions, counts), by the columns' names."""
        pairs = zip(self.columns, row.values)
        return {column.name: round(value * column.factor, 9) for column, value in pairs if value is not None}


PERCENT = 0.01
TOP1 = Column("top1", "top-1 (%)", PERCENT)
PARAMETERS = Column("parameters", "parameters (10⁶)", 1e6)
MACS = Column("macs", "MACs (10⁹)", 1e9)
"""the paper's "FLOPs" are multiply-adds"""
