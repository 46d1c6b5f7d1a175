"""The paper's row beside ours, as one JSON object: what the pages show, and what results/ keeps."""

import re
import shlex
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

from resmlp.analysis.curves import is_number
from resmlp.config import Model
from resmlp.paper import Row, Table
from resmlp.reproduction.plan import Plan, Training, Weights, sets
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json

MEASURED = "measured.json"
LARGEST = 1e18
"""no number of ours is larger"""
DIGITS = 9
"""of a difference: equal ones are equal, whatever the last bit says"""
LOCAL = "the token mixers start as 3x3 convolutions (init local)"
Counts = Callable[[str], dict[str, float]]
"""a network's name -> its parameters and multiply-adds"""
Runs = dict[int, dict[str, Any]]
"""seed -> what was measured"""


def read_measured(folder: Path) -> dict[str, Any] | None:
    """What was measured in a row's folder; None where nothing was, or where the file is not ours."""
    try:
        found = read_json(folder / MEASURED)
    except UserError:
        return None
    whole = isinstance(found, dict) and "numbers" in found and all(_is_ours(key, value) for key, value in found.items())
    return cast(dict[str, Any], found) if whole else None


def _is_ours(key: str, value: Any) -> bool:
    """Whether a value of measured.json is of the kind and in the range that the record counts on."""
    if key == "numbers":
        return isinstance(value, dict) and all(_bounded(number) for number in value.values())
    if key == "seconds":
        return _bounded(value) and value >= 0
    if key == "versions":
        return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())
    if key == "figure":  # a file of the row's own folder, and nothing that a page would read as markup
        return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][\w-]*\.png", value, re.ASCII) is not None
    if key.endswith("_interval"):
        return isinstance(value, list) and len(value) == 2 and all(map(_bounded, value)) and value[0] <= value[1]
    return key != "machine" or isinstance(value, str)


def _bounded(value: Any) -> bool:
    return is_number(value) and abs(value) <= LARGEST


def read_runs(folder: Path) -> Runs:
    """All seeds of a row that are finished, in their order."""
    named = [(re.fullmatch("seed-([0-9]{1,18})", path.name), path) for path in folder.glob("seed-*")]
    found = {int(match[1]): read_measured(path) for match, path in named if match}
    return {seed: runs for seed, runs in sorted(found.items()) if runs is not None}


def summarized(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None of one value) and number."""
    return {"mean": fmean(values), "spread": stdev(values) if len(values) > 1 else None, "n": len(values)}


def make_record(
    name: str, table: Table, plans: dict[str, Plan], scale: str, out: Path, failed: dict[str, str], count: Counts
) -> dict[str, Any]:
    """All rows of a table with whatever of them is finished in `out`; `failed`: row -> what went wrong."""
    runs = {row.name: read_runs(out / name / scale / row.name) for row in table.rows}
    rows = [_row(name, table, row, plans[row.name], scale, runs, count) for row in table.rows]
    for entry in rows:
        entry["failed"] = failed.get(entry["row"])
    done = [run for own in runs.values() for run in own.values()]
    compared = [row for row in rows if row["difference"]]
    pairs = [(row["difference"]["paper"], round(row["difference"]["ours"]["mean"], DIGITS)) for row in compared]
    rho = spearman([paper for paper, _ in pairs], [ours for _, ours in pairs])
    means = {row["row"]: row["ours"][table.main]["mean"] for row in rows if table.main in row["ours"]}
    numbers = {key: round(value, 6) for key, value in means.items()}
    return {
        "what": f"{name} at {scale} scale: {table.title}",
        "numbers": numbers | ({} if rho is None else {"spearman": round(rho, 4)}),
        "target": {},
        "command": whole_command(name, scale, plans, runs),
        "seconds": round(sum(run.get("seconds", 0) for run in done), 1),
        "machine": ", ".join(dict.fromkeys(str(run.get("machine", "")) for run in done)),
        "versions": done[-1].get("versions", {}) if done else {},
        "table": name,
        "scale": scale,
        "main": table.main,
        "columns": [{"name": c.name, "title": c.title, "factor": c.factor} for c in table.columns],
        "spearman": rho,
        "compared": len(pairs),
        "other_signs": [row["row"] for row, (paper, ours) in zip(compared, pairs) if paper * ours < 0],
        "rows": rows,
    }


def _row(
    name: str, table: Table, row: Row, plan: Plan, scale: str, runs: dict[str, Runs], count: Counts
) -> dict[str, Any]:
    """A row: the paper's numbers, ours over the seeds, and both differences from the baseline."""
    own, paper = runs[row.name], table.reported(row)
    keys = dict.fromkeys(key for run in own.values() for key in run["numbers"])
    ours = {
        key: summarized([run["numbers"][key] for run in own.values() if key in run["numbers"]])
        for key in keys
        if key in {column.name for column in table.columns}
    }
    if row.model and "macs" in paper:
        ours |= {key: {"mean": value, "spread": None, "n": 1} for key, value in count(row.model).items()}
    seeds = f"{name}/{scale}/{row.name}/seed-"
    return {
        "row": row.name,
        "what": row.what,
        "paper": paper,
        "printed": {c.name: str(value) for c, value in zip(table.columns, row.values) if value is not None},
        "ours": ours,
        "difference": _difference(table, row, runs),
        "run": _in_words(plan),
        "why_not": plan if isinstance(plan, str) else None,
        "intervals": {key: value for run in own.values() for key, value in run.items() if key.endswith("_interval")},
        "seeds": list(own),
        "seconds": fmean(run.get("seconds", 0) for run in own.values()) if own else None,
        "machine": ", ".join(dict.fromkeys(str(run.get("machine", "")) for run in own.values())),
        "command": "" if isinstance(plan, str) else command(name, scale, [plan], [row.name], list(own)),
        "figures": [f"{seeds}{seed}/{run['figure']}" for seed, run in own.items() if run.get("figure")],
    }


def _difference(table: Table, row: Row, runs: dict[str, Runs]) -> dict[str, Any] | None:
    """The main column less the baseline's: the paper's, and ours over the seeds that both have."""
    if not row.baseline:
        return None
    theirs, base = table.reported(row).get(table.main), table.reported(table.row(row.baseline)).get(table.main)
    pairs = [
        round(run["numbers"][table.main] - other["numbers"][table.main], DIGITS)
        for seed, run in runs[row.name].items()
        if (other := runs[row.baseline].get(seed)) and table.main in run["numbers"] and table.main in other["numbers"]
    ]
    if theirs is None or base is None or not pairs:
        return None
    return {"from": row.baseline, "paper": round(theirs - base, DIGITS), "ours": summarized(pairs)}


def _in_words(plan: Plan) -> str:
    """What is run for a row, and whether its token mixing, or that of a run it starts from, was given to begin with."""
    if isinstance(plan, Training):
        begun = [plan]
        while begun[-1].start is not None:
            begun.append(begun[-1].start)
        models = [training.recipe.model for training in begun]
        local = any(isinstance(model, Model) and model.init == "local" and _is_linear(model) for model in models)
        return "; ".join([plan.recipe.about, *([LOCAL] if local else [])])
    return plan.name if isinstance(plan, Weights) else ""


def _is_linear(model: Model) -> bool:
    """Whether it has A, which alone can start as a convolution."""
    return model.network()[1].mixer == "linear"


def whole_command(name: str, scale: str, plans: dict[str, Plan], runs: dict[str, Runs]) -> str:
    """What to type to have all of this again: a command for all rows with the same seeds; before any, for all rows."""
    done = {row: tuple(runs[row]) for row, plan in plans.items() if not isinstance(plan, str) and runs[row]}
    planned = [row for row, plan in plans.items() if not isinstance(plan, str)]
    groups: dict[tuple[int, ...], list[str]] = {}
    for row in done if done else planned:
        groups.setdefault(done.get(row, ()), []).append(row)
    commands = []
    for seeds, rows in groups.items():
        named = [] if rows == planned else rows
        commands.append(command(name, scale, [plans[row] for row in rows], named, seeds))
    return " && ".join(commands) or command(name, scale, [])


def command(name: str, scale: str, plans: Sequence[Plan], rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> str:
    """What to type to do it again."""
    words = ["resmlp", "reproduce", name, "--scale", scale]
    words += ["--row", *rows] if rows else []
    words += ["--data.root", "PATH"] if any(sets(plan) for plan in plans) else []
    words += ["--seeds", *map(str, seeds)] if list(seeds) not in ([], [0]) else []
    return shlex.join(words)


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each among `values`, from 1; equal ones share the mean of their places."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation of pairs; None for fewer than three, and where all of either are equal."""
    if len(a) < 3:
        return None
    x, y = ranks(a), ranks(b)
    mean = fmean(x)
    spread = sqrt(sum((i - mean) ** 2 for i in x) * sum((j - mean) ** 2 for j in y))
    return sum((i - mean) * (j - mean) for i, j in zip(x, y)) / spread if spread else None
