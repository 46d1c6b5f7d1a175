"""The files of an export: written aside, compared with torch, and put in place together."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from resmlp.config.model_json import MODEL_JSON, AnyExport
from resmlp.exporters.formats import quiet
from resmlp.hub.resolve import read_config
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_json, write_together
from resmlp.utils.serialization import to_dict


@contextmanager
def written_aside() -> Iterator[Path]:
    """A temporary folder for the files of an export; the exporters' own warnings are hidden."""
    with TemporaryDirectory(prefix="resmlp-export-") as temporary, quiet():
        yield Path(temporary)


def share_of_range(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of a logit, as a share of the largest logit where that is above 1: rounding grows with it.

    nan if any is nan, and infinite if the shapes differ.
    """
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def check_difference(error: float, tolerance: float, output: str, to: str) -> None:
    """Raise `UserError` for a difference from torch above the tolerance, also for nan."""
    too_large = f"the exported {output} differ by {error:.1e}, more than {tolerance:g}: nothing is written"
    demand(error <= tolerance, too_large, f"give a --tolerance, or another format than {to}")


def put_in_place(aside: Path, folder: Path, config: AnyExport, others: Sequence[str] = ()) -> None:
    """Copy the files of `config`, `others` and its model.json from `aside` into `folder`: all of them or none.

    Then files that only an earlier export had, such as the graphs of other sizes, are removed.
    """
    earlier = read_config(folder / MODEL_JSON) if (folder / MODEL_JSON).is_file() else None
    write_json(aside / MODEL_JSON, to_dict(config))
    copies = {folder / name: partial(shutil.copyfile, aside / name) for name in (*config.files, *others, MODEL_JSON)}
    write_together(dict[Path, Callable[[Path], object]](copies))
    for name in set(earlier.files) - set(config.files) if isinstance(earlier, AnyExport) else ():
        (folder / name).unlink(missing_ok=True)


def check_out(folder: Path, to: str, files: Sequence[str], kind: type[AnyExport]) -> None:
    """Raise `UserError` for a folder with other content than an earlier export of the same kind and format."""
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    present = next((folder / name for name in (MODEL_JSON, *files) if (folder / name).exists()), None)
    if present is None:
        return
    try:
        config = read_config(folder / MODEL_JSON)
    except UserError:
        config = None
    if not isinstance(config, AnyExport):
        raise UserError(f"--out {folder} would replace {present}, which export did not write", "give another --out")
    demand(config.to == to, f"--out {folder} holds an export to {config.to}", "give another --out")
    demand(isinstance(config, kind), f"--out {folder} holds an export of another kind of network", "give another --out")
