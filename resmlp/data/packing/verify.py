"""Verification of a shard that is written: read back as any tar, each image has the checksum of its source."""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.loading.loader import Failure
from resmlp.data.packing.plan import Job, Plan
from resmlp.data.packing.shard import Record
from resmlp.data.packing.source import PackSource
from resmlp.data.shards.index import MASK_ENDING
from resmlp.imaging.tar_headers import HeaderReader, PlainFile, next_member


@dataclass
class ShardVerifier:
    """Compares the shard of each (job, record) with its record; returns True, or the failure that names the shard."""

    folder: Path
    source: PackSource
    plan: Plan

    def name(self, index: int) -> str:
        """No image is noted as the one that is read."""
        return str(index)

    def __getitem__(self, entry: tuple[Job, Record]) -> bool | Failure:
        job, record = entry
        path = self.folder / job.name
        try:
            wrong = self._wrong(path, job, record)
        except (OSError, tarfile.TarError, EOFError) as error:
            wrong = str(error)
        hint = "delete it and give the same command again; is the disk in order?"
        return Failure(f"the shard {path} is not as it was written: {wrong}", hint) if wrong else True

    def _wrong(self, path: Path, job: Job, record: Record) -> str:
        """What differs; empty if nothing does. Raises OSError and TarError."""
        keys, part = self.plan.keys[job.part], self.source.parts[job.part]
        with path.open("rb") as file, tarfile.open(fileobj=(reader := HeaderReader(file)), mode="r:") as tar:
            for row in record.rows:
                key = keys[row.row]
                info, image = _next_file(tar, reader)
                if info is None or info.name.rpartition(".")[0] != key or _place(info) != (row.offset, row.size):
                    return f"{key} is not at its place"
                if zlib.crc32(image) != row.crc:
                    return f"{key} has other bytes than its source"
                if part.images.classes:
                    beside, text = _next_file(tar, reader)
                    label = str(part.images.labels[row.row]).encode()
                    if beside is None or beside.name != f"{key}.cls" or text != label:
                        return f"{key} has another label"
                if part.pairs:
                    beside, mask = _next_file(tar, reader)
                    named = beside is not None and beside.name == f"{key}{MASK_ENDING}"
                    if (
                        not named
                        or _place(beside) != (row.mask_offset, row.mask_size)
                        or zlib.crc32(mask) != row.mask_crc
                    ):
                        return f"{key} has another mask"
            return "it has more images" if next_member(tar, reader) is not None else ""


def _place(info: PlainFile | tarfile.TarInfo | None) -> tuple[int, int]:
    """Offset and size of the bytes of a member."""
    return (info.offset_data, info.size) if info else (0, 0)


def _next_file(tar: tarfile.TarFile, reader: HeaderReader) -> tuple[PlainFile | tarfile.TarInfo | None, bytes]:
    """The next member and its bytes; None at the end."""
    info = next_member(tar, reader)
    if info is None or not info.isreg():
        return info, b""
    reader.file.seek(info.offset_data)
    return info, reader.file.read(info.size)
