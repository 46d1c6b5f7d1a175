"""`pack()`: a data set as shards and their index."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resmlp.config import Data
from resmlp.data.images.packed_tree import BEGUN, is_packed
from resmlp.data.loading.loader import Loader
from resmlp.data.packing.plan import UNDIVIDED, Job, Plan, make_plan
from resmlp.data.packing.shard import Record, ShardWriter, read_record, record_path
from resmlp.data.packing.source import PackSource, open_source
from resmlp.data.packing.verify import ShardVerifier
from resmlp.data.shards.folder import Shard
from resmlp.data.shards.index import INDEX, Index, Split, name_columns, write_index
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted
from resmlp.utils.files import only_writer, read_json, write_json
from resmlp.utils.hardware import cores

MB = 2**20
SHOWN = 20
"""unreadable images that are named in the text"""
Progress = Callable[[str, int, int], Any]
"""called with (name of the step, images done, images of the step)"""
Written = list[tuple[Job, Record]]


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    out: Path
    images: dict[str, int]
    """the number of each split"""
    classes: int
    masks: bool
    """whether each image has a mask"""
    shards: int
    written: int
    """shards that were not there from an earlier call"""
    bytes: int
    resized: int
    unreadable: tuple[tuple[str, str], ...]
    """(path, reason) of the images that are left out"""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "out": str(self.out), "unreadable": dict(self.unreadable), "notes": list(self.notes)}

    def __str__(self) -> str:
        named = {name: "" if name in UNDIVIDED else f" in {name}" for name in self.images}
        parts = ", ".join(counted(count, "image") + named[name] for name, count in self.images.items())
        size = f"{counted(self.shards, 'shard')} of {self.bytes / MB:,.1f} MB together"
        kind = "with masks" if self.masks else counted(self.classes, "class") if self.classes else "without classes"
        lines = [f"{self.out}: {parts}, {kind}, in {size}", *self.notes]
        if self.resized:
            lines.append(f"{counted(self.resized, 'image')} resized")
        if self.unreadable:
            lines.append(f"left out: {counted(len(self.unreadable), 'image')} that cannot be read")
            lines += [f"  {path}: {reason}" for path, reason in self.unreadable[:SHOWN]]
            lines += [f"  and {len(self.unreadable) - SHOWN:,} more"] * (len(self.unreadable) > SHOWN)
        recipe = "scenes --data.source masks" if self.masks else "folder" if self.classes else "dino-folder"
        return "\n".join([*lines, f"resmlp train {recipe} --data.root {self.out}"])


def pack(
    data: Data,
    out: str | Path,
    *,
    max_side: int | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    progress: Progress = lambda step, done, total: None,
) -> Packed:
    """Write the images that `data` names, with their labels or masks, into the folder `out`, as shards.

    Each has about `shard_size` MB. An image with a side of more than `max_side` pixels is resized. `workers` is the
    number of processes: None is one for each CPU core. A call that was interrupted continues. Raises `UserError`; all
    shards are then complete.
    """
    demand(max_side is None or max_side >= 1, f"--max-side {max_side}", "give a number of pixels, 1 or more")
    demand(shard_size >= 1, f"--shard-size {shard_size}", "give a number of MB, 1 or more")
    demand(workers is None or workers >= 1, f"--workers {workers}", "1 or more")
    folder = Path(out)
    _check_apart(folder, data)
    source = open_source(data)
    masks = any(part.pairs for part in source.parts)
    demand(max_side is None or not masks, f"--max-side {max_side}: masks are not resized", "leave it out")
    plan = make_plan(source, shard_size * MB, max_side)
    _check_out(folder, plan)
    processes = workers or cores()
    with only_writer(folder, "packs into"):
        if finished := _check_out(folder, plan):
            finished.check_shards()
            _clean(folder, plan)
            return _packed(folder, source, finished, [], 0)
        write_json(folder / BEGUN, {"plan": plan.mark})
        before = {job: record for job in plan.jobs if (record := read_record(folder, job))}
        made = _write_shards(folder, source, plan, max_side, before, processes, progress)
        records = [(job, before.get(job) or made[job]) for job in plan.jobs]
        _verify(folder, source, plan, records, processes, progress)
        _write_index(folder, source, plan, records)
        _clean(folder, plan)
        return _packed(folder, source, Index(folder / INDEX, check=False), records, len(made))


def _check_apart(folder: Path, data: Data) -> None:
    """Raise `UserError` if the folder and the data set are one within the other."""
    if data.root is None:
        return
    one, other = folder.resolve(), Path(data.root).expanduser().resolve()
    within = one == other or one in other.parents or (other in one.parents and other.is_dir())
    demand(not within, f"--out {folder} and {data.root} are one within the other", "choose a folder beside it")


def _check_out(folder: Path, plan: Plan) -> Index | None:
    """The index, if the folder is packed to the end. Raises `UserError` for a folder with anything else."""
    if not folder.exists():
        return None
    demand(folder.is_dir(), f"--out {folder} is a file", "give a folder")
    if not is_packed(folder):
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        demand(not others, f"--out {folder} is not empty: it has {', '.join(others[:2])}", "choose a new folder")
        return None
    index = Index(folder / INDEX) if (folder / INDEX).exists() else None
    begun = {"plan": index.plan} if index else read_json(folder / BEGUN)
    same = begun == {"plan": plan.mark}
    demand(same, f"--out {folder} has other images, or was packed with other settings", "choose another --out")
    return index


def _write_shards(
    folder: Path,
    source: PackSource,
    plan: Plan,
    max_side: int | None,
    before: dict[Job, Record],
    processes: int,
    progress: Progress,
) -> dict[Job, Record]:
    jobs = [job for job in plan.jobs if job not in before]
    writer = ShardWriter(folder, source, plan, max_side)
    made = {}
    done = {job: len(job.rows) for job in plan.jobs if job in before}
    for job, record in zip(jobs, Loader(writer, jobs, _workers(processes, jobs))):
        made[job] = record
        done[job] = len(job.rows)
        progress("packing", sum(done.values()), sum(len(job.rows) for job in plan.jobs))
    return made


def _verify(folder: Path, source: PackSource, plan: Plan, records: Written, processes: int, progress: Progress) -> None:
    """Compare all shards with what was read from the source; raises `UserError` for the first that differs."""
    verified, total = 0, sum(len(record.rows) for _, record in records)
    loader = Loader(ShardVerifier(folder, source, plan), records, _workers(processes, records))
    for (_, record), _ in zip(records, loader):
        verified += len(record.rows)
        progress("verifying", verified, total)


def _workers(processes: int, jobs: Iterable[Any]) -> int:
    count = min(processes, len(list(jobs)))
    return count if count > 1 else 0


def _write_index(folder: Path, source: PackSource, plan: Plan, records: Written) -> None:
    rows = [(job.part, number, row) for number, (job, record) in enumerate(records) for row in record.rows]
    demand(bool(rows), "none of the images can be read", "resmlp data check lists why")
    images = [part.images for part in source.parts]
    columns = {
        "label": np.array([images[part].labels[row.row] for part, _, row in rows]),
        "shard": np.array([number for _, number, _ in rows]),
        "offset": np.array([row.offset for *_, row in rows]),
        "size": np.array([row.size for *_, row in rows]),
        **name_columns([images[part].path(row.row) for part, _, row in rows]),
    }
    if any(part.pairs for part in source.parts):
        columns["mask_offset"] = np.array([row.mask_offset for *_, row in rows])
        columns["mask_size"] = np.array([row.mask_size for *_, row in rows])
    shards = [Shard(job.name, record.bytes, record.checksum) for job, record in records]
    splits = dict(_splits(source, Counter(part for part, *_ in rows)))
    about = partial(write_index, classes=source.classes, shards=shards, splits=splits, plan=plan.mark)
    about(folder, columns, lists=source.lists)


def _splits(source: PackSource, counts: Counter[int]) -> Iterator[tuple[str, Split]]:
    first = 0
    for number, part in enumerate(source.parts):
        what = f"no image of {part.name or 'the data set'} can be read"
        demand(counts[number] > 0, what, "resmlp data check lists why")
        yield part.name, Split(first, counts[number], part.folder)
        first += counts[number]


def _clean(folder: Path, plan: Plan) -> None:
    """Remove what is needed only until the index is written."""
    for path in (folder / BEGUN, *(record_path(folder, job) for job in plan.jobs)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _packed(folder: Path, source: PackSource, index: Index, records: Written, written: int) -> Packed:
    return Packed(
        folder,
        {name: split.rows for name, split in index.splits.items()},
        len(index.classes),
        index.masks is not None,
        len(index.shards),
        written,
        sum(shard.bytes for shard in index.shards),
        sum(record.resized for _, record in records),
        tuple(one for _, record in records for one in record.unreadable),
        source.notes,
    )
