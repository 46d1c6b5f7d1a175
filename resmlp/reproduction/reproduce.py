"""`resmlp.reproduce`: the paper's tables and figures, with our numbers next to the paper's."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from resmlp.paper import TABLES
from resmlp.reproduction.record import Record
from resmlp.reproduction.runner import Request, run_request
from resmlp.utils.checks import check_range, demand
from resmlp.utils.devices import find_device
from resmlp.utils.errors import lookup

SCALES = {"smoke": "smoke", "small": "small", "paper": "full"}
"""scale -> the module that has its plans"""


def reproduce(
    table: str,
    *,
    rows: str | Sequence[str] = (),
    scale: str = "smoke",
    root: str | Path | None = None,
    seeds: Sequence[int] = (0,),
    out: str | Path = "reproduced",
    device: str = "auto",
) -> Record:
    """Train and measure the rows of a table ("table1" to "table6") or figure ("figure2" to "figure4") of the paper.

    `rows` are names of rows (default: all that the scale runs), each run with each of `seeds`. `scale` is "smoke"
    (embedded data, seconds for each row), "small" (CIFAR-10, Caltech-20, Multi30k, CamVid) or "paper" (the paper's
    data). `root` is a folder with one folder for each data set, or the only data set that the table reads.

    Writes `TABLE-SCALE.json`, `.md` and `.html` and the run folders into `out`. The same call again skips finished rows
    and continues interrupted ones. Progress is printed on standard error. Raises `UserError` for a wrong argument,
    missing data, or after all rows if one of them fails with a `UserError`; else `RuntimeError`.
    """
    rows = (rows,) if isinstance(rows, str) else rows
    names = {row.name: row for row in lookup("table", table, TABLES).rows}
    for name in rows:
        lookup("row", name, names)
    module = lookup("scale", scale, SCALES)
    seeds, folder = tuple(dict.fromkeys(seeds)), Path(out)
    check_range("--", SimpleNamespace(seeds=seeds), seeds=(0, 2**31 - 1))
    demand(bool(seeds), "--seeds is empty", "give one or more, such as 0 1 2")
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    request = Request(
        table,
        scale,
        import_module(f"resmlp.reproduction.{module}").PLANS,
        folder.absolute(),
        find_device(device).type,
        None if root is None else Path(root).expanduser().absolute(),
        tuple(dict.fromkeys(rows)),
        seeds,
    )
    return run_request(request)
