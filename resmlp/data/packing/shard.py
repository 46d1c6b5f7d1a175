"""One shard: a tar in the format of WebDataset, and a record of it that lets an interrupted packing continue."""

import json
import tarfile
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from resmlp.data.loading.loader import Failure
from resmlp.data.loading.workers import note_reading
from resmlp.data.packing.encode import CannotReadError, encode, read_mask
from resmlp.data.packing.plan import Job, Plan
from resmlp.data.packing.source import PackSource
from resmlp.data.shards.index import MASK_ENDING
from resmlp.imaging.decode import UnreadableImage
from resmlp.imaging.tar_headers import BLOCK, file_header
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json, write_together


class Row(NamedTuple):
    """An image in a shard."""

    row: int
    """its number in the split"""
    offset: int
    size: int
    crc: int
    """checksum of its bytes, as they were read from the source"""
    mask_offset: int = 0
    mask_size: int = 0
    mask_crc: int = 0


@dataclass(frozen=True)
class Record:
    """What a shard has."""

    mark: str
    """that of its `Job`"""
    bytes: int
    checksum: str
    rows: list[Row]
    resized: int
    unreadable: list[tuple[str, str]]
    """(path, reason)"""


def record_path(folder: Path, job: Job) -> Path:
    """The file with the record of a shard, until all shards are written."""
    return folder / f".{job.name}.json"


def read_record(folder: Path, job: Job) -> Record | None:
    """The record of a shard that is written, with the images and settings of `job`; None for any other."""
    try:
        values = read_json(record_path(folder, job), limit=2**30)
        mark, size, checksum, rows, resized, unreadable = values
        record = Record(mark, size, checksum, [Row(*row) for row in rows], resized, [tuple(one) for one in unreadable])
        return record if mark == job.mark and (folder / job.name).stat().st_size == size else None
    except (UserError, OSError, ValueError, TypeError):
        return None


@dataclass
class ShardWriter:
    """Writes the shard of each job, and returns its record: for a `Loader`, which would change a tuple."""

    folder: Path
    source: PackSource
    plan: Plan
    max_side: int | None

    def name(self, index: int) -> str:
        """The name of an image, by its number in all splits."""
        for part in self.source.parts:
            if index < len(part.images):
                return part.images.name(index)
            index -= len(part.images)
        return ""

    def __getitem__(self, job: Job) -> Record | Failure:
        path, results = self.folder / job.name, list[Record]()
        beside = record_path(self.folder, job)
        try:
            write_together(
                {
                    path: lambda aside: results.append(self._write(aside, job)),
                    beside: lambda aside: aside.write_text(json.dumps([*vars(results[0]).values()]), "utf-8"),
                }
            )
        except UserError as error:
            return Failure(error.what, error.hint)
        return results[0]

    def _write(self, path: Path, job: Job) -> Record:
        part = self.source.parts[job.part]
        before = sum(len(other.images) for other in self.source.parts[: job.part])
        rows, unreadable, resized = list[Row](), list[tuple[str, str]](), 0
        with path.open("wb") as file:
            hashed = _Hashed(file)
            for row in job.rows:
                name = part.images.path(row)
                try:
                    note_reading(before + row, part.images.name(row))
                    encoded = encode(part.images.images[row], name, self.max_side)
                    mask = read_mask(part.pairs[row]) if part.pairs else None
                except (CannotReadError, UnreadableImage) as error:
                    unreadable.append((name, getattr(error, "reason", str(error))))
                    continue
                key = self.plan.keys[job.part][row]
                offset = _add(hashed, key + encoded.ending, encoded.data)
                if part.images.classes:
                    _add(hashed, f"{key}.cls", str(part.images.labels[row]).encode())
                of_mask = (_add(hashed, f"{key}{MASK_ENDING}", mask), len(mask), zlib.crc32(mask)) if mask else ()
                rows.append(Row(row, offset, len(encoded.data), zlib.crc32(encoded.data), *of_mask))
                resized += encoded.resized
            hashed.write(bytes(2 * BLOCK + -(hashed.size + 2 * BLOCK) % tarfile.RECORDSIZE))  # the end of a tar
        return Record(job.mark, hashed.size, hashed.total.hexdigest(), rows, resized, unreadable)


def _add(file: "_Hashed", name: str, data: bytes) -> int:
    """Add a file, and return where its bytes begin."""
    file.write(file_header(name, len(data)))
    offset = file.size
    file.write(data + bytes(-len(data) % BLOCK))
    return offset


class _Hashed:
    """A file that is written from the beginning to the end, with its size and its checksum."""

    def __init__(self, file: BinaryIO):
        self.file, self.size, self.total = file, 0, blake2b(digest_size=16)

    def write(self, data: bytes) -> None:
        """Add these bytes."""
        self.size += len(data)
        self.total.update(data)
        self.file.write(data)
