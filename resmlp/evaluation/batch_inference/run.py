"""Write the results of all images to one Parquet file: this process's blocks, then the join if all others are there."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.evaluation.batch_inference.columns import Columns
from resmlp.evaluation.batch_inference.inputs import Inputs
from resmlp.evaluation.batch_inference.outputs import Run, outputs
from resmlp.evaluation.batch_inference.parts import Parts
from resmlp.evaluation.batch_inference.plan import BlockBatches, Plan, Share, model_digest, own_share
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted, install_hint, notice
from resmlp.utils.files import check_writable

if TYPE_CHECKING:
    from resmlp.hub.resolve import Source
    from resmlp.inference import Classifier

ENDING = ".parquet"
BLOCK = 1024
"""images of a part: a multiple of the images that a network sees at once, so that no batch is divided by a block"""
Progress = Callable[[str, int, int], Any]
"""called with (name of the step, images done, images of the step)"""


@dataclass(frozen=True)
class Written:
    """The file that was written."""

    model: str
    out: Path
    images: int
    """rows with a result"""
    unreadable: tuple[str, ...]
    """the paths of the images without a result"""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "out": str(self.out), "unreadable": list(self.unreadable)}

    def __str__(self) -> str:
        lines = [f"written: {self.out}, {counted(self.images, 'image')}"]
        if self.unreadable:
            first = f"{self.unreadable[0]}{' and others' * (len(self.unreadable) > 1)}"
            lines.append(
                f"{counted(len(self.unreadable), 'image')} cannot be read ({first}): the column error says why"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Work:
    """All that is needed to compute the results."""

    source: "Source"
    predictor: "Classifier"
    run: Run
    columns: Columns
    batch_size: int
    workers: int
    options: dict[str, Any]
    """flags that change the results"""


def is_parquet(out: Path | None) -> bool:
    """Whether the name of the file asks for Parquet."""
    return out is not None and out.suffix.lower() == ENDING


def check_parquet(out: Path) -> None:
    """Raise `UserError` where a Parquet file `out` cannot be written, before the network runs."""
    need_pyarrow(out)
    check_writable(f"--out {out}", out)


def need_pyarrow(out: Path) -> None:
    """Raise `UserError` if pyarrow is not installed."""
    found = importlib.util.find_spec("pyarrow") is not None
    demand(found, f"--out {out}: parquet needs pyarrow, which is not installed", install_hint("parquet"))


def write_parquet(
    out: Path, inputs: Inputs, work: Work, progress: Progress = lambda step, done, total: None
) -> Written | None:
    """Write the results of all images to `out`; None where other processes still compute their part.

    This process, `RANK` of `WORLD_SIZE`, takes every `WORLD_SIZE`-th block. An interrupted command continues, and
    one whose file is there does nothing. Raises `UserError`.
    """
    share = own_share()

    plan = Plan(len(inputs), inputs.checksum(), model_digest(work.source, work.predictor), work.options, BLOCK)
    parts = Parts(out, plan, work.columns.schema(work.source.name))
    if not parts.is_joined():
        parts.begin()
        _write_missing(parts, inputs, work, share, progress)
    if not parts.join():
        notice(f"process {share.rank} of {share.world} has done its part; the last one writes {out}")
        return None
    return read_written(work.source.name, out)


def _write_missing(parts: Parts, inputs: Inputs, work: Work, share: Share, progress: Progress) -> None:
    """Write the parts of this process that are not there."""
    own = range(share.rank, parts.plan.blocks, share.world)
    missing = parts.missing(own)
    total = sum(len(parts.plan.rows(number)) for number in own)
    done = total - sum(len(parts.plan.rows(number)) for number in missing)
    found = outputs(work.predictor, work.run, inputs, BlockBatches(parts.plan, missing, work.batch_size), work.workers)
    for number in missing:
        rows, results, errors = parts.plan.rows(number), dict[int, Any](), dict[int, str]()
        while len(results) + len(errors) < len(rows):
            output = next(found)
            results |= output.results
            errors |= output.errors
            for i in output.errors:
                inputs.raise_if_not_sent(i)
            progress("images", done + len(results) + len(errors), total)
        parts.write(number, work.columns.table(parts.schema, inputs, rows, results, errors))
        done += len(rows)


def read_written(model: str, out: Path) -> Written:
    """What is in a file that is written, without its results in memory."""
    images, unreadable = 0, list[str]()
    for batch in column_batches(out, ["path", "error"]):
        errors = batch["error"].is_valid()
        unreadable += batch["path"].filter(errors).to_pylist()
        images += len(errors) - errors.true_count
    return Written(model, out, images, tuple(unreadable))


def column_batches(out: Path, names: list[str]) -> Iterator[Any]:
    """Columns of a file, some rows at a time."""
    from pyarrow import parquet

    with parquet.ParquetFile(out) as file:
        yield from file.iter_batches(columns=names)
