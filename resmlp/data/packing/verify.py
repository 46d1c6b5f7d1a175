"""Verification of a shard that is written: read back as any tar, each image has the checksum of its source."""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.loading.loader import Failure
from resmlp.data.packing.plan import Job, Plan
from resmlp.data.packing.shard import Record
from resmlp.data.packing.source import PackSource
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
        keys, labels = self.plan.keys[job.part], self.source.parts[job.part].images.labels
        with path.open("rb") as file, tarfile.open(fileobj=(reader := HeaderReader(file)), mode="r:") as tar:
            for row in record.rows:
                info, image = _next_file(tar, reader)
                beside, text = _next_file(tar, reader)
                key, label = keys[row.row], str(labels[row.row])
                if info is None or beside is None:
                    return f"it ends before {key}"
                if info.name.rpartition(".")[0] != key or (info.offset_data, info.size) != (row.offset, row.size):
                    return f"{key} is not at its place"
                if beside.name != f"{key}.cls" or text != label.encode():
                    return f"{key} has another label"
                if zlib.crc32(image) != row.crc:
                    return f"{key} has other bytes than its source"
            return "it has more images" if next_member(tar, reader) is not None else ""


def _next_file(tar: tarfile.TarFile, reader: HeaderReader) -> tuple[PlainFile | tarfile.TarInfo | None, bytes]:
    """The next member and its bytes; None at the end."""
    info = next_member(tar, reader)
    if info is None or not info.isreg():
        return info, b""
    reader.file.seek(info.offset_data)
    return info, reader.file.read(info.size)
