"""The record of a table: the paper's numbers and those of this library, row by row. The pages and results/ show it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from resmlp.config import Model
from resmlp.paper import Column, Row, Table
from resmlp.reproduction.commands import command, whole_command
from resmlp.reproduction.measured_json import Runs, read_runs
from resmlp.reproduction.plan import LOCAL, Plan, Training, Weights
from resmlp.reproduction.statistics import Stat, spearman
from resmlp.utils.serialization import to_dict

DIGITS = 9
"""decimals of a difference, so that equal differences are equal in spite of rounding errors"""
Counts = Callable[[str], dict[str, float]]
"""name of a network -> its parameters and multiply-adds"""


@dataclass(frozen=True)
class Difference:
    """The main number of a row minus that of its baseline."""

    baseline: str
    """name of the row"""
    paper: float
    ours: Stat
    """over the seeds that both rows have"""


@dataclass(frozen=True)
class RowRecord:
    """A row of the paper's table, with the measurements of this library."""

    row: str
    what: str
    """the paper's name of the row"""
    paper: dict[str, float]
    """column -> the paper's number; fractions and counts"""
    printed: dict[str, str]
    """column -> the number as printed in the paper"""
    ours: dict[str, Stat]
    """column -> the number over the seeds"""
    difference: Difference | None
    run: str
    """what is run, in words"""
    not_run: str | None
    """why this scale does not run the row"""
    intervals: dict[str, list[float]]
    """95 % intervals"""
    seeds: tuple[int, ...]
    """the finished seeds"""
    seconds: float | None
    """mean over the seeds"""
    machine: str
    command: str
    """the command that runs this row again"""
    figures: tuple[str, ...]
    """files in the output folder"""
    failed: str | None
    """the error that stopped the row"""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return to_dict(self) | {"ours": {name: to_dict(stat) for name, stat in self.ours.items()}}


@dataclass(frozen=True)
class Record:
    """The result of `resmlp.reproduce`: a table at a scale, with all rows that are finished."""

    what: str
    numbers: dict[str, float]
    """row -> mean of the main number; `spearman`"""
    target: dict[str, float]
    """empty: a record has no targets"""
    command: str
    """the command that runs all of it again"""
    seconds: float
    """total over rows and seeds"""
    machine: str
    versions: dict[str, str]
    table: str
    scale: str
    main: str
    """name of the column by which rows are compared"""
    columns: tuple[Column, ...]
    spearman: float | None
    """rank correlation of the differences from the baseline: the paper's and ours"""
    compared: int
    """number of rows in that correlation"""
    opposite_sign: tuple[str, ...]
    """rows with a difference of the opposite sign"""
    rows: tuple[RowRecord, ...]
    figures: tuple[str, ...] = ()
    """figures of the whole table, files in the output folder"""
    not_drawn: tuple[str, ...] = ()
    """points of Figure 4 below its range"""
    not_labeled: tuple[str, ...] = ()
    """points of Figure 4 without room for a label"""

    def to_dict(self) -> dict[str, Any]:
        """What `resmlp reproduce --json` prints, and TABLE-SCALE.json holds."""
        return to_dict(self) | {"rows": [row.to_dict() for row in self.rows]}

    def __str__(self) -> str:
        from resmlp.reproduction.pages import markdown

        return markdown(self)


def make_record(
    name: str, table: Table, plans: dict[str, Plan], scale: str, out: Path, failed: dict[str, str], count: Counts
) -> Record:
    """The record of everything that is finished in `out`; `failed`: row -> its error."""
    runs = {row.name: read_runs(out / name / scale / row.name) for row in table.rows}
    rows = tuple(
        _row(name, table, row, plans[row.name], scale, runs, count, failed.get(row.name)) for row in table.rows
    )
    finished = [run for row_runs in runs.values() for run in row_runs.values()]
    compared = {
        row.row: (row.difference.paper, round(row.difference.ours.mean, DIGITS)) for row in rows if row.difference
    }
    rho = spearman([paper for paper, _ in compared.values()], [ours for _, ours in compared.values()])
    numbers = {row.row: round(row.ours[table.main].mean, 6) for row in rows if table.main in row.ours}
    return Record(
        what=f"{name} at {scale} scale: {table.title}",
        numbers=numbers | ({} if rho is None else {"spearman": round(rho, 4)}),
        target={},
        command=whole_command(name, scale, plans, runs),
        seconds=round(sum(run.get("seconds", 0) for run in finished), 1),
        machine=_machines(finished),
        versions=finished[-1].get("versions", {}) if finished else {},
        table=name,
        scale=scale,
        main=table.main,
        columns=table.columns,
        spearman=rho,
        compared=len(compared),
        opposite_sign=tuple(row for row, (paper, ours) in compared.items() if paper * ours < 0),
        rows=rows,
    )


def _row(
    name: str,
    table: Table,
    row: Row,
    plan: Plan,
    scale: str,
    runs: dict[str, Runs],
    count: Counts,
    failed: str | None,
) -> RowRecord:
    """A row: the paper's numbers, ours over the seeds, and both differences from the baseline."""
    finished, paper = runs[row.name], table.reported(row)
    keys = dict.fromkeys(key for run in finished.values() for key in run["numbers"])
    ours = {
        key: Stat.of([run["numbers"][key] for run in finished.values() if key in run["numbers"]])
        for key in keys
        if key in {column.name for column in table.columns}
    }
    if row.model and "macs" in paper:
        ours |= {key: Stat(value, None, 1) for key, value in count(row.model).items()}
    folder = f"{name}/{scale}/{row.name}/seed-"
    return RowRecord(
        row=row.name,
        what=row.title,
        paper=paper,
        printed={c.name: str(value) for c, value in zip(table.columns, row.values) if value is not None},
        ours=ours,
        difference=_difference(table, row, runs),
        run=_in_words(plan),
        not_run=plan if isinstance(plan, str) else None,
        intervals={k: value for run in finished.values() for k, value in run.items() if k.endswith("_interval")},
        seeds=tuple(finished),
        seconds=fmean(run.get("seconds", 0) for run in finished.values()) if finished else None,
        machine=_machines(list(finished.values())),
        command="" if isinstance(plan, str) else command(name, scale, [plan], [row.name], list(finished)),
        figures=tuple(f"{folder}{seed}/{run['figure']}" for seed, run in finished.items() if run.get("figure")),
        failed=failed,
    )


def _machines(runs: list[dict[str, Any]]) -> str:
    """The machines of several runs, each once."""
    return ", ".join(dict.fromkeys(str(run.get("machine", "")) for run in runs))


def _difference(table: Table, row: Row, runs: dict[str, Runs]) -> Difference | None:
    """The main number minus the baseline's: the paper's, and ours over the seeds that both rows have."""
    if not row.baseline:
        return None
    paper, base = table.reported(row).get(table.main), table.reported(table.row(row.baseline)).get(table.main)
    differences = [
        round(run["numbers"][table.main] - other["numbers"][table.main], DIGITS)
        for seed, run in runs[row.name].items()
        if (other := runs[row.baseline].get(seed)) and table.main in run["numbers"] and table.main in other["numbers"]
    ]
    if paper is None or base is None or not differences:
        return None
    return Difference(row.baseline, round(paper - base, DIGITS), Stat.of(differences))


def _in_words(plan: Plan) -> str:
    """What is run for a row, and whether its network (or the one it starts from) was initialized as convolutions."""
    if isinstance(plan, Training):
        chain = [plan]
        while chain[-1].start is not None:
            chain.append(chain[-1].start)
        models = [training.recipe.model for training in chain]
        local = any(isinstance(model, Model) and model.init == "local" and _is_linear(model) for model in models)
        return "; ".join([plan.recipe.about, *([LOCAL] if local else [])])
    return plan.name if isinstance(plan, Weights) else ""


def _is_linear(model: Model) -> bool:
    """Whether the token mixer is linear: only A can start as a convolution."""
    return model.network()[1].mixer == "linear"
