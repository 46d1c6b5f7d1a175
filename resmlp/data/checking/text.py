"""Check parallel text before training, and report all its issues."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from resmlp.data.checking.findings import Findings
from resmlp.data.checking.pairs import check_copies, check_empty, check_lengths, check_scripts
from resmlp.data.checking.report import Report
from resmlp.data.checking.text_files import Part, read_parts
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted, printable


@dataclass(frozen=True, kw_only=True)
class TextReport(Report):
    """The contents of parallel text and its issues, the most severe first. `str()` of it is a table for people."""

    path: str
    parts: list[dict[str, Any]] = field(default_factory=list)
    """of each part its "name", "languages", number of "pairs", and median "characters" of both sides"""

    def __str__(self) -> str:
        pairs = sum(part["pairs"] for part in self.parts)
        lines = [f"{self.path}: {counted(pairs, 'pair')}, every line read in {self.seconds:.1f} s"]
        for part in self.parts:
            shown = ", ".join(f"{a} {b:g}" for a, b in zip(part["languages"], part["characters"]))
            lines.append(f"  {printable(part['name']):<20}{part['pairs']:>12,} pairs  median characters: {shown}")
        return "\n".join(lines + self.issue_lines())


def check_text(path: str | Path) -> TextReport:
    """Check all pairs of parallel text: a folder with two files for each part, or a table (TSV or Parquet).

    Raises `UserError` if there are none, or if a table is damaged; everything else is an issue in the report.
    """
    start, found = time.perf_counter(), Findings()
    parts = list(read_parts(Path(path), found))
    demand(bool(parts or found.names), f"{path} has no pairs", "a line is a sentence, a tab and its translation")
    for part in parts:
        if not part.sources:
            found.add("no-pairs", part.files)
        for check in (check_empty, check_lengths, check_scripts):
            check(part, found)
    for languages in dict.fromkeys(part.languages for part in parts):
        check_copies([part for part in parts if part.languages == languages], found)
    seconds = round(time.perf_counter() - start, 3)
    return TextReport(
        issues=found.issues(),
        path=printable(str(path)),
        parts=[_summary(part) for part in parts],
        seconds=seconds,
    )


def _summary(part: Part) -> dict[str, Any]:
    characters = [median(map(len, side)) if side else 0 for side in (part.sources, part.targets)]
    return {
        "name": part.name,
        "languages": list(part.languages),
        "pairs": len(part.sources),
        "characters": characters,
    }
