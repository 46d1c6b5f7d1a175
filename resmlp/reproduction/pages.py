"""What `resmlp reproduce` writes for people: one page a table, as Markdown and as HTML, of the same record."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resmlp.analysis.page import code, duration, element, image, page, section, table
from resmlp.analysis.style import printable
from resmlp.reproduction.record import LOCAL

Record = dict[str, Any]


def title(record: Record) -> str:
    """`Table 3 at small scale`"""
    name = record["table"]
    return f"{name[:-1].capitalize()} {name[-1]} at {record['scale']} scale"


def heading(record: Record) -> list[str]:
    """The columns: of each number the paper's and, where there is any, ours."""
    head = ["row", "what"]
    for column in record["columns"]:
        head += [f"{column['title']}: paper"] + ["ours"] * _measured(record, column["name"])
    return [*head, *(["difference: paper", "ours"] if _compared(record) else []), "seeds", "time of a seed"]


def lines(record: Record) -> Iterator[list[str]]:
    """The cells, row by row."""
    for row in record["rows"]:
        cells = [row["row"], row["what"]]
        for column in record["columns"]:
            name, factor = column["name"], column["factor"]
            cells.append(row["printed"].get(name, ""))
            if _measured(record, name):
                cells.append(spread(row["ours"].get(name), factor))
        if _compared(record):
            factor = next(column["factor"] for column in record["columns"] if column["name"] == record["main"])
            found = row["difference"] or {}
            cells += [signed(found.get("paper"), factor), spread(found.get("ours"), factor, "+")]
        time = "" if row["seconds"] is None else duration(row["seconds"])
        yield [*cells, " ".join(map(str, row["seeds"])), time]


def signed(value: float | None, factor: float) -> str:
    """A difference of the paper's in the table's unit, with as many digits as its numbers have."""
    return "" if value is None else f"{value / factor:+.1f}"


def spread(found: dict[str, Any] | None, factor: float, sign: str = "") -> str:
    """A mean in the table's unit, with the standard deviation over the seeds where there are several."""
    if found is None:
        return ""
    mean = found["mean"] / factor
    digits = 2 if abs(mean) < 1000 else 0
    deviation = "" if found["spread"] is None else f" ± {found['spread'] / factor:.{digits}f}"
    return f"{mean:{sign},.{digits}f}{deviation}"


def remarks(record: Record) -> Iterator[str]:
    """What to know of the table, a sentence or two each."""
    if record["scale"] != "paper":
        yield "Accuracies of ours are of small networks on small data: compare differences, not numbers."
    if record["scale"] == "smoke":
        yield "This scale shows that every step works; after one epoch its numbers mean nothing."
    if {"macs", "parameters"} & {column["name"] for column in record["columns"]}:
        yield "Parameters and MACs are counted of the paper's own networks (the paper calls MACs FLOPs)."
    if record["table"] == "table1":
        yield "Speed and memory are of the paper's own networks in fp32 on this machine (on a CPU: resident memory)."
    if record["table"] == "figure4":
        yield "The other networks' points are as timm measured its copies of their weights: the paper's text has none."
    if record["table"] in ("figure2", "figure3") and any(LOCAL in row["run"] for row in record["rows"]):
        yield f"In these runs {LOCAL}: that weights lie near their patch was given, and not found by training."
    if record.get("not_drawn"):
        yield f"Too low to be drawn: {', '.join(record['not_drawn'])}."
    if record.get("not_named"):
        yield f"Drawn without their names, for want of room: {', '.join(record['not_named'])}."
    if record["spearman"] is not None:
        yield (
            f"Rank correlation (Spearman) of our differences with the paper's, {record['compared']} rows: "
            f"{record['spearman']:.2f}."
        )
    if record["compared"]:
        other = record["other_signs"]
        yield f"Differences of the other sign than the paper's: {', '.join(other) or 'none'}."
    for row in record["rows"]:
        if row["failed"]:
            yield f"{row['row']} failed: {row['failed']}"


def left_out(record: Record) -> list[tuple[str, str]]:
    """(why, the rows that are not run for it)"""
    found: dict[str, list[str]] = {}
    for row in record["rows"]:
        if row["why_not"]:
            found.setdefault(row["why_not"], []).append(row["row"])
    return [(why, ", ".join(names)) for why, names in found.items()]


def machine(record: Record) -> str:
    """Where and with what it was measured."""
    versions = " · ".join(f"{name} {of}" for name, of in record["versions"].items())
    total = f"{duration(record['seconds'])} in all" if record["seconds"] else ""
    return " · ".join(part for part in (record["machine"], total, versions) if part)


def figures(record: Record) -> list[tuple[str, str]]:
    """(file, in words)"""
    own = [(file, f"{record['what']}: {row['what']}") for row in record["rows"] for file in row["figures"]]
    return own + [(file, record["what"]) for file in record.get("figures", ())]


def markdown(record: Record) -> str:
    """The page as Markdown."""
    rows = [[_cell(cell) for cell in row] for row in lines(record)]
    head = heading(record)
    parts = [
        f"# {title(record)}",
        record["what"].partition(": ")[2] + ".",
        "\n".join([_joined(head), _joined(["---"] * len(head)), *map(_joined, rows)]),
        "\n".join(f"- {_cell(remark)}" for remark in remarks(record)),
        *(f"![{_cell(words)}]({file})" for file, words in figures(record)),
        "\n".join(f"- `{row['row']}`: {_cell(row['run'])}. `{row['command']}`" for row in record["rows"] if row["run"]),
        "\n".join(f"- not run, {_cell(why)}: {names}" for why, names in left_out(record)),
        _cell(machine(record)),
        f"```sh\n{record['command']}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def html(record: Record, out: Path) -> str:
    """The page as HTML; the figures in `out` are put into it."""
    runs = [[row["row"], row["run"], row["command"]] for row in record["rows"] if row["run"]]
    drawn = [image(out / file, words, words) for file, words in figures(record) if (out / file).is_file()]
    parts = [
        element("h1", title(record)),
        element("p", record["what"].partition(": ")[2] + "."),
        section("The paper's numbers and ours", table(heading(record), list(lines(record)))),
        *(element("p", remark) for remark in remarks(record)),
        section("Figures", *drawn),
        section("What was run", table(["row", "run", "command"], runs)),
        section("What was not", table(["why", "rows"], left_out(record))),
        section("All of it again", code([record["command"]]), element("p", machine(record), "faint")),
    ]
    return page(title(record), parts, STYLE)


STYLE = "main { max-width: 80rem; }\ntable { overflow-wrap: normal; }\n"


def _measured(record: Record, column: str) -> bool:
    return any(column in row["ours"] for row in record["rows"])


def _compared(record: Record) -> bool:
    return any(row["difference"] for row in record["rows"])


def _cell(text: str) -> str:
    """`text` as Markdown that says just that: no HTML, no link, no emphasis, no other cell."""
    plain = re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", printable(text))
    return re.sub(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", r"\\", plain)  # what becomes a link by itself


def _joined(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
