"""Write the numbers of README.md and docs/*.md from results/*.json; with --check, fail where they are stale.

A page says `<!-- results -->` ... `<!-- /results -->` where the table of all results goes, and `<!-- results dino -->`
for those of which the name begins so.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PLACE = re.compile(r"(<!-- results ?(\w*) -->\n).*?(<!-- /results -->)", re.DOTALL)
MARK = re.compile(r"<!-- */?results.*?-->")
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


def table(prefix: str, results: str) -> str:
    """Results whose files' names begin with `prefix`, as a Markdown table; `results` is the folder, seen from there."""
    lines = ["| what | measured | must reach | time | machine | command |", "|---|---|---|---|---|---|"]
    for path in sorted((ROOT / "results").glob(f"{prefix}*.json")):
        result = read_result(path)
        numbers = ", ".join(f"{name} {value:g}" for name, value in result["numbers"].items())
        goal = ", ".join(f"{name} {value}" for name, value in result["must_reach"].items())
        time = f"{result['seconds'] / 60:.1f} min" if "seconds" in result else ""
        link = f"[{result['what']}]({results}/{path.name})"
        lines.append(f"| {link} | {numbers} | {goal} | {time} | {result['machine']} | `{result['command']}` |")
    return "\n".join(lines) + "\n"


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
        folder = "results" if page.parent == ROOT else "../results"
        fresh = PLACE.sub(lambda place, of=folder: place[1] + table(place[2], of) + place[3], text)
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
