"""Write the numbers of README.md and docs/*.md from results/*.json; with --check, fail where they are stale.

A page says `<!-- results -->` ... `<!-- /results -->` where the table of all results goes, and `<!-- results dino -->`
for those of which the name begins so.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = re.compile(r"(<!-- results ?(\w*) -->\n).*?(<!-- /results -->)", re.DOTALL)


def table(prefix: str, results: str) -> str:
    """Results whose files' names begin with `prefix`, as a Markdown table; `results` is the folder, seen from there."""
    lines = ["| what | measured | must reach | time | machine | command |", "|---|---|---|---|---|---|"]
    for path in sorted((ROOT / "results").glob(f"{prefix}*.json")):
        result = json.loads(path.read_text())
        numbers = ", ".join(f"{name} {value:g}" for name, value in result["numbers"].items())
        goal = ", ".join(f"{name} {value}" for name, value in result["must_reach"].items())
        time = f"{result['seconds'] / 60:.1f} min" if "seconds" in result else ""
        link = f"[{result['what']}]({results}/{path.name})"
        lines.append(f"| {link} | {numbers} | {goal} | {time} | {result['machine']} | `{result['command']}` |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Returns 1 where a page was stale and --check forbade writing it."""
    check, stale = "--check" in sys.argv, []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
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
