"""`measured.json`, the measurements of one row with one seed. The file is untrusted: folders are copied and edited."""

import re
from pathlib import Path
from typing import Any, cast

from resmlp.analysis.curves import is_number
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json

MEASURED = "measured.json"
LARGEST = 1e18
"""largest magnitude of a valid number"""
Runs = dict[int, dict[str, Any]]
"""seed -> contents of measured.json"""


def read_measured(folder: Path) -> dict[str, Any] | None:
    """The measurements in the folder of a row and seed; None if the file is missing or not valid."""
    try:
        values = read_json(folder / MEASURED)
    except UserError:
        return None
    valid = isinstance(values, dict) and "numbers" in values and all(_is_valid(*item) for item in values.items())
    return cast(dict[str, Any], values) if valid else None


def _is_valid(key: str, value: Any) -> bool:
    """Whether a value of measured.json has the type and range that the record relies on."""
    if key == "numbers":
        return isinstance(value, dict) and all(_bounded(number) for number in value.values())
    if key == "seconds":
        return _bounded(value) and value >= 0
    if key == "versions":
        return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())
    if key == "figure":  # a file in the folder of the row, without characters of Markdown or HTML
        return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][\w-]*\.png", value, re.ASCII) is not None
    if key.endswith("_interval"):
        return isinstance(value, list) and len(value) == 2 and all(map(_bounded, value)) and value[0] <= value[1]
    return key != "machine" or isinstance(value, str)


def _bounded(value: Any) -> bool:
    return is_number(value) and abs(value) <= LARGEST


def read_runs(folder: Path) -> Runs:
    """The measurements of all finished seeds of a row, in the order of the seeds."""
    named = [(re.fullmatch("seed-([0-9]{1,18})", path.name), path) for path in folder.glob("seed-*")]
    measured = {int(match[1]): read_measured(path) for match, path in named if match}
    return {seed: values for seed, values in sorted(measured.items()) if values is not None}
