"""Write the tables of README.md and docs/*.md from results/*.json; with --check, fail where a table is stale.

`<!-- results -->` and `<!-- /results -->` enclose the table of all results. `<!-- results dino knn -->` starts the
table of those whose file names begin with `dino`, then of those that begin with `knn`. README.md shows the numbers that
have a target, docs/*.md show all, and what they were measured on below the table. `<!-- models -->` and
`<!-- /models -->` enclose the table of published weights. `<!-- table resolution -->` and `<!-- /table -->` enclose the
`table` of one result, mean and standard deviation by row and column. Nothing is written for a result that is not there.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = re.compile(r"(<!-- results((?: \w+)*) -->\n).*?(<!-- /results -->)", re.DOTALL)
MODELS = re.compile(r"(<!-- models -->\n).*?(<!-- /models -->)", re.DOTALL)
ONE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
MARKER = re.compile(r"<!-- */?results.*?-->")
FEW = 4  # how many numbers README.md shows of a result without target
Columns = dict[str, Callable[[dict[str, Any]], str]]
"""title -> function from a result to the text of its cell; the first column, a link to the result, is implied"""
KEYS = {"what": str, "numbers": dict, "target": dict, "command": str}
"""the keys that each result must have, with their types; `machine` and `versions`: see `check_machine`"""
MACHINE = {"cpu": str, "instruction_sets": list | None, "cores": int, "threads": int}
"""the keys of a machine, as benchmarks/machine.py writes them; null: not known"""


class PageError(Exception):
    """A result or a page cannot be read; the message is one line."""


def read_result(path: Path) -> dict[str, Any]:
    """Read a file of results/ and check it. Raises `PageError`, which names the file."""
    name = f"{path.parent.name}/{path.name}"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PageError(f"{name} is not valid JSON: {error}") from None
    if not isinstance(result, dict):
        raise PageError(f"{name} should be a JSON object")
    for key, kind in KEYS.items():
        if not isinstance(result.get(key), kind):
            raise PageError(f"{name}: {key} should be of type {kind.__name__}")
    numbers = {**result["numbers"], **({"seconds": result["seconds"]} if "seconds" in result else {})}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise PageError(f"{name}: {key} should be a finite number")
    check_machine(name, result)
    return result


def check_machine(name: str, result: dict[str, Any]) -> None:
    """Raise `PageError` unless all of a result was measured on one machine, which is described as in `MACHINE`.

    Older results describe it in words.
    """
    own, versions = result.get("machine"), result.get("versions", {})
    if not isinstance(versions, dict):
        raise PageError(f"{name}: versions should be of type dict")
    if not isinstance(own, str | dict):
        raise PageError(f"{name}: machine should be an object or text")
    if isinstance(own, dict):
        for key, kind in MACHINE.items():
            if key not in own or not isinstance(own[key], kind):
                raise PageError(f"{name}: machine has no valid {key}")
        if "torch" not in versions:
            raise PageError(f"{name}: versions should have that of torch")
    for other in machines(result):
        if other != own:
            raise PageError(f"{name} mixes machines: {json.dumps(own)}; {json.dumps(other)}")


def machines(value: Any) -> Iterator[Any]:
    """All values of a key `machine`, at any depth; empty text, of a row that was not measured, does not count."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key == "machine" and inner)
        value = [inner for key, inner in value.items() if key != "machine"]
    if isinstance(value, list):
        for inner in value:
            yield from machines(inner)


def check_markers(page: str, text: str) -> None:
    """Raise `PageError` unless every start marker has its end marker and every end marker its start."""
    is_open = False
    for match in MARKER.finditer(text):
        marker, is_end = match[0], match[0] == "<!-- /results -->"
        if is_end != is_open or not (is_end or re.fullmatch(r"<!-- results(?: \w+)* -->", marker)):
            line = text.count("\n", 0, match.start()) + 1
            raise PageError(f"{page}: {marker} on line {line} has no counterpart")
        is_open = not is_open
    if is_open:
        raise PageError(f"{page}: the last <!-- results --> has no <!-- /results -->")


def table(prefixes: str, columns: Columns, folder: str) -> str:
    """The results whose file names begin with one of `prefixes`, in their order; `folder` is the path to the results.

    Without a prefix: all results.
    """
    lines = [["what", *columns], ["---"] * (1 + len(columns))]
    places: dict[str, list[str]] = {}
    for prefix in prefixes.split() or [""]:
        for path in sorted((ROOT / "results").glob(f"{prefix}*.json")):
            result = read_result(path)
            lines.append([f"[{result['what']}]({folder}/{path.name})", *(cell(result) for cell in columns.values())])
            places.setdefault(measured_on(result), []).append(path.stem)
    if not places:
        return ""
    below = "".join(f"- {', '.join(names)}: {place}\n" for place, names in places.items())
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{rows}\nMeasured on:\n\n{below}" if prefixes and "machine" in columns else rows


def own_table(name: str) -> str:
    """The `table` of a result: a row for each of its entries, a column for each entry of these, a text or a mean."""
    path = ROOT / "results" / f"{name}.json"
    if not path.exists():
        return ""
    result = read_result(path)
    try:
        rows: dict[str, dict[str, dict[str, float] | str]] = result["table"]
        columns = list(next(iter(rows.values())))
        lines = [["", *columns], ["---"] * (1 + len(columns))]
        for row, cells in rows.items():
            lines.append([row, *(own_cell(cells[column]) for column in columns)])
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise PageError(f"results/{path.name}: table should have texts, or mean and std, by row and column") from None
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def own_cell(value: dict[str, float] | str) -> str:
    """A text as it is, or a mean over seeds with its standard deviation."""
    return value if isinstance(value, str) else f"{value['mean']:.1f} ± {value['std']:.1f}"


def models() -> str:
    """The published weights as a Markdown table: parameters, and the top-1 accuracies that their sources report."""
    from resmlp.config.pretrained import PUBLISHED

    lines = [["weights", "parameters (M)", "ImageNet top-1", "ReaL", "V2"], ["---"] * 5]
    for name, weights in PUBLISHED.items():
        scores = ["" if score is None else f"{score:g}" for score in (weights.top1, weights.real, weights.v2)]
        lines.append([f"`{name}`", f"{weights.parameters / 1e6:.1f}", *scores])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(result: dict[str, Any]) -> str:
    """All numbers."""
    return listed(result["numbers"])


def headline(result: dict[str, Any]) -> str:
    """The numbers that have a target, each with its target in brackets; the first few numbers if no number has one."""
    numbers, target = result["numbers"], result["target"]
    short = {name: f"{value:g} ({shown(target[name])})" for name, value in numbers.items() if name in target}
    return listed(short or dict(list(numbers.items())[:FEW]))


def target(result: dict[str, Any]) -> str:
    """The targets."""
    return listed(result["target"])


def listed(numbers: dict[str, Any]) -> str:
    """Each number after its name."""
    return ", ".join(f"{name} {shown(value)}" for name, value in numbers.items())


def shown(value: float | str) -> str:
    """A number with at most six significant digits; text is unchanged."""
    return value if isinstance(value, str) else f"{value:g}"


def minutes(result: dict[str, Any]) -> str:
    """The duration, if it is recorded."""
    return f"{result['seconds'] / 60:.1f} min" if "seconds" in result else ""


def machine(result: dict[str, Any]) -> str:
    """The machine that the numbers were measured on, in short."""
    own = result["machine"]
    if isinstance(own, str):
        return own
    cores = f"{own['cores']} core{'s' * (own['cores'] != 1)}, {own['cpu']}"
    return f"{own['gpu']}, {cores}" if "gpu" in own else cores


def measured_on(result: dict[str, Any]) -> str:
    """The machine with its instruction sets and threads, as far as they are recorded, and the versions."""
    own, versions = result["machine"], result.get("versions", {})
    parts = [machine(result)]
    if isinstance(own, dict):
        sets = own["instruction_sets"]
        parts += [f"{own['threads']} thread{'s' * (own['threads'] != 1)}"]
        parts += [", ".join(f"`{name}`" for name in sets)] if sets else []
    return "; ".join([*parts, ", ".join(f"{package} {number}" for package, number in versions.items())])


def command(result: dict[str, Any]) -> str:
    """The command that repeats the measurement."""
    return f"`{result['command']}`"


BRIEF: Columns = {"measured (target)": headline, "command": command}
FULL: Columns = {"measured": measured, "target": target, "time": minutes, "machine": machine, "command": command}


def main() -> int:
    """Return 0, or 1 if --check finds a stale page, or 2 if a result or a page cannot be read."""
    try:
        return build()
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def build() -> int:
    """Do the work of `main`. Raises `PageError`."""
    check, stale = "--check" in sys.argv, []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        check_markers(page.name, text)
        columns, folder = (BRIEF, "results") if page.parent == ROOT else (FULL, "../results")
        fresh = TABLE.sub(lambda match, c=columns, of=folder: match[1] + table(match[2], c, of) + match[3], text)
        fresh = ONE.sub(lambda match: match[1] + own_table(match[2]) + match[3], fresh)
        fresh = MODELS.sub(lambda match: match[1] + models() + match[2], fresh)
        if fresh != text:
            stale.append(page.name)
            if not check:
                page.write_text(fresh, encoding="utf-8")
    if stale and check:
        print(f"error: stale tables in {', '.join(stale)} (run: make docs)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
