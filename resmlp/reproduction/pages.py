"""The pages of `resmlp reproduce`: a record as Markdown and as HTML."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.analysis.page import code, duration, element, image, page, section, table
from resmlp.reproduction.plan import LOCAL
from resmlp.reproduction.statistics import Stat
from resmlp.utils.errors import printable

if TYPE_CHECKING:
    from resmlp.reproduction.record import Record

STYLE = "main { max-width: 80rem; }\ntable { overflow-wrap: normal; }\n"


def title(record: "Record") -> str:
    """`Table 3 at small scale`"""
    return f"{record.table[:-1].capitalize()} {record.table[-1]} at {record.scale} scale"


def heading(record: "Record") -> list[str]:
    """Headings of the columns: for each number the paper's, and ours if there is any."""
    head = ["row", "what"]
    for column in record.columns:
        head += [f"{column.title}: paper"] + ["ours"] * _measured(record, column.name)
    return [*head, *(["difference: paper", "ours"] if _compared(record) else []), "seeds", "time per seed"]


def lines(record: "Record") -> Iterator[list[str]]:
    """The cells of the table, row by row."""
    for row in record.rows:
        cells = [row.row, row.what]
        for column in record.columns:
            cells.append(row.printed.get(column.name, ""))
            if _measured(record, column.name):
                cells.append(mean_and_std(row.ours.get(column.name), column.factor))
        if _compared(record):
            factor = next(column.factor for column in record.columns if column.name == record.main)
            difference = row.difference
            cells += [
                "" if difference is None else f"{difference.paper / factor:+.1f}",
                mean_and_std(difference.ours if difference else None, factor, "+"),
            ]
        time = "" if row.seconds is None else duration(row.seconds)
        yield [*cells, " ".join(map(str, row.seeds)), time]


def mean_and_std(stat: Stat | None, factor: float, sign: str = "") -> str:
    """A mean in the unit of the table, with the standard deviation for several seeds; "" for None."""
    if stat is None:
        return ""
    mean = stat.mean / factor
    digits = 2 if abs(mean) < 1000 else 0
    deviation = "" if stat.std is None else f" ± {stat.std / factor:.{digits}f}"
    return f"{mean:{sign},.{digits}f}{deviation}"


def remarks(record: "Record") -> Iterator[str]:
    """Remarks on the table, one or two sentences each."""
    if record.scale != "paper":
        yield "Our accuracies are of small networks on small data: compare differences, not numbers."
    if record.scale == "smoke":
        yield "This scale shows that every step works; its numbers mean nothing after one epoch."
    if {"macs", "parameters"} & {column.name for column in record.columns}:
        yield "Parameters and MACs are those of the paper's networks (the paper calls MACs FLOPs)."
    if record.table == "table1":
        yield "Speed and memory are those of the paper's networks in fp32 on this machine (on a CPU: resident memory)."
    if record.table == "figure4":
        yield "The points of other networks are timm's measurements; the text of the paper has no numbers for them."
    if record.table in ("figure2", "figure3") and any(LOCAL in row.run for row in record.rows):
        yield f"In these runs {LOCAL}: the weights near a patch were large from the beginning."
    if record.not_drawn:
        yield f"Below the range of the figure: {', '.join(record.not_drawn)}."
    if record.not_labeled:
        yield f"No room for the labels of: {', '.join(record.not_labeled)}."
    if record.spearman is not None:
        yield (
            f"Rank correlation (Spearman) of our differences with the paper's, {record.compared} rows: "
            f"{record.spearman:.2f}."
        )
    if record.compared:
        yield f"Differences with the opposite sign of the paper's: {', '.join(record.opposite_sign) or 'none'}."
    for row in record.rows:
        if row.failed:
            yield f"{row.row} failed: {row.failed}"


def left_out(record: "Record") -> list[tuple[str, str]]:
    """(reason, names of the rows that are not run for this reason)."""
    names: dict[str, list[str]] = {}
    for row in record.rows:
        if row.not_run:
            names.setdefault(row.not_run, []).append(row.row)
    return [(reason, ", ".join(rows)) for reason, rows in names.items()]


def machine(record: "Record") -> str:
    """Machine, total time and versions."""
    versions = " · ".join(f"{name} {version}" for name, version in record.versions.items())
    total = f"{duration(record.seconds)} in total" if record.seconds else ""
    return " · ".join(part for part in (record.machine, total, versions) if part)


def figures(record: "Record") -> list[tuple[str, str]]:
    """(file, alternative text) of each figure."""
    pairs = [(file, f"{record.what}: {row.what}") for row in record.rows for file in row.figures]
    return pairs + [(file, record.what) for file in record.figures]


def markdown(record: "Record") -> str:
    """The record as a page of Markdown."""
    rows = [[_cell(cell) for cell in row] for row in lines(record)]
    head = heading(record)
    parts = [
        f"# {title(record)}",
        record.what.partition(": ")[2] + ".",
        "\n".join([_joined(head), _joined(["---"] * len(head)), *map(_joined, rows)]),
        "\n".join(f"- {_cell(remark)}" for remark in remarks(record)),
        *(f"![{_cell(text)}]({file})" for file, text in figures(record)),
        "\n".join(f"- `{row.row}`: {_cell(row.run)}. `{row.command}`" for row in record.rows if row.run),
        "\n".join(f"- not run, {_cell(reason)}: {names}" for reason, names in left_out(record)),
        _cell(machine(record)),
        f"```sh\n{record.command}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def html(record: "Record", out: Path) -> str:
    """The record as a page of HTML, with the figures in the folder `out` embedded."""
    runs = [[row.row, row.run, row.command] for row in record.rows if row.run]
    drawn = [image(out / file, text, text) for file, text in figures(record) if (out / file).is_file()]
    parts = [
        element("h1", title(record)),
        element("p", record.what.partition(": ")[2] + "."),
        section("The paper's numbers and ours", table(heading(record), list(lines(record)))),
        *(element("p", remark) for remark in remarks(record)),
        section("Figures", *drawn),
        section("Runs", table(["row", "run", "command"], runs)),
        section("Rows not run", table(["reason", "rows"], left_out(record))),
        section("Command", code([record.command]), element("p", machine(record), "faint")),
    ]
    return page(title(record), parts, STYLE)


def _measured(record: "Record", column: str) -> bool:
    return any(column in row.ours for row in record.rows)


def _compared(record: "Record") -> bool:
    return any(row.difference for row in record.rows)


def _cell(text: str) -> str:
    """Escape `text` for Markdown: no HTML, link, emphasis, or end of a cell."""
    plain = re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", printable(text))
    return re.sub(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", r"\\", plain)  # prevents automatic links


def _joined(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
