"""The report of a run: what its folder says, on one page."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resmlp.analysis import page
from resmlp.analysis.figures import curves
from resmlp.analysis.lines import Entry, is_number, metric_names
from resmlp.errors import UserError
from resmlp.files import read_json, write_text
from resmlp.logbook import read_metrics

TITLED = ("name", "about", "paper", "expected")
"""fields of a recipe that stand at the top of the page"""

CAPTIONS = {
    "confusion": "Row: the true class; column: what it was taken for; on the right each class's accuracy.",
    "predictions": "Predicted class with its probability; under a mistake, the true class.",
}
LONG = 12  # rows of a table that is folded away


def write_report(folder: Path) -> None:
    """Draw `figures/curves.png` and write `report.html` from what the run folder holds; any file may be missing.

    Raises `UserError` where the disk refuses.
    """
    metrics = read_metrics(folder)
    if metrics:
        curves(metrics, folder / "figures" / "curves.png")
    recipe, summary = _read(folder / "recipe.json"), _read(folder / "summary.json")
    finished = bool(summary)
    evals = [entry for entry in metrics if entry["kind"] == "eval"]
    ...
