"""Write the numbers of README.md and docs/*.md from results/*.json; with --check, fail where they are stale.

A page says `<!-- results -->` ... `<!-- /results -->` where the table of all results goes, and `<!-- results dino -->`
for those of which the name begins so. README.md has of each result what must reach something, docs/*.md have all.
"""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PLACE = re.compile(r"(<!-- results ?(\w*) -->\n).*?(<!-- /results -->)", re.DOTALL)
MARK = re.compile(r"<!-- */?results.*?-->")
FEW = 4  # numbers in the README of a result without bounds
Columns = dict[str, Callable[[dict[str, Any]], str]]
"""title -> a result's cell, but for the first column, which links to the result"""
MUST = {"what": str, "numbers": dict, "must_reach": dict, "machine": str, "command": str}
"""what each result has, and of which type"""


class BadPageError(Exception):
    """A result or a page that cannot be read, in one line."""


def read_result(path: Path) -> dict[str, Any]:
    """A file of results/, checked. Raises `BadPageError`, which names it."""
    name = f"{path.parent.name}/{path.name}"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadPageError(f"{name} is no JSON: {error}") from None
    if not isinstance(result, dict):
        raise BadPageError(f"{name} should be a JSON object")
    for key, kind in MUST.items():
        if not isinstance(result.get(key), kind):
            raise BadPageError(f"{name}: {key} should be of type {kind.__name__}")
    numbers = {**result["numbers"], **({"seconds": result["seconds"]} if "seconds" in result else {})}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadPageError(f"{name}: {key} should be a finite number")
    return result


def check_marks(page: str, text: str) -> None:
    """Raises `BadPageError` unless each start of a place for results has its end, and each end its start."""
    is_open = False
    for found in MARK.finditer(text):
        mark, is_end = found[0], found[0] == "<!-- /results -->"
        if is_end != is_open or not (is_end or re.fullmatch(r"<!-- results ?\w* -->", mark)):
            raise BadPageError(f"{page}: {mark} on line {text.count(chr(10), 0, found.start()) + 1} has no counterpart")
        is_open = not is_open
    if is_open:
        raise BadPageError(f"{page}: a place for results has no <!-- /results -->")


def table(prefix: str, columns: Columns, folder: str) -> str:
    """Results whose files' names begin with `prefix`, as a Markdown table; `folder` is theirs, seen from the page."""
    lines = [["what", *columns], ["---"] * (1 + len(columns))]
    for path in sorted((ROOT / "results").glob(f"{prefix}*.json")):
        result = read_result(path)
        lines.append([f"[{result['what']}]({folder}/{path.name})", *(tell(result) for tell in columns.values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(result: dict[str, Any]) -> str:
    """All numbers."""
    return listed(result["numbers"])


def headline(result: dict[str, Any]) -> str:
    """The numbers that must reach something, with that in brackets; where none must, the first few."""
    numbers, wanted = result["numbers"], result["must_reach"]
    short = {name: f"{value:g} ({shown(wanted[name])})" for name, value in numbers.items() if name in wanted}
    return listed(short or dict(list(numbers.items())[:FEW]))


def goal(result: dict[str, Any]) -> str:
    """What must be reached."""
    return listed(result["must_reach"])


def listed(numbers: dict[str, Any]) -> str:
    """Each by its name."""
    return ", ".join(f"{name} {shown(value)}" for name, value in numbers.items())


def shown(value: float | str) -> str:
    """A number in six digits at most; words as they are."""
    return value if isinstance(value, str) else f"{value:g}"


def minutes(result: dict[str, Any]) -> str:
    """How long it took, where that is recorded."""
    return f"{result['seconds'] / 60:.1f} min" if "seconds" in result else ""


def machine(result: dict[str, Any]) -> str:
    """Where."""
    return result["machine"]


def command(result: dict[str, Any]) -> str:
    """What repeats it."""
    return f"`{result['command']}`"


BRIEF: Columns = {"measured (must reach)": headline, "command": command}
FULL: Columns = {"measured": measured, "must reach": goal, "time": minutes, "machine": machine, "command": command}


def main() -> int:
    """Returns 1 where a page was stale and --check forbade writing it, 2 where something cannot be read."""
    try:
        return build()
    except BadPageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def build() -> int:
    """`main`, which explains what this raises."""
    check, stale = "--check" in sys.argv, []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        check_marks(page.name, text)
        columns, folder = (BRIEF, "results") if page.parent == ROOT else (FULL, "../results")
        fresh = PLACE.sub(lambda place, c=columns, of=folder: place[1] + table(place[2], c, of) + place[3], text)
        if fresh != text:
            stale.append(page.name)
            if not check:
                page.write_text(fresh, encoding="utf-8")
    if stale and check:
        print(f"error: stale numbers in {', '.join(stale)} (run: make docs)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
