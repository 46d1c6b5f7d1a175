"""Cache of a teacher's outputs on the disk: a later run with the same images in the same batches reuses them.

`cache.json` describes what the outputs depend on. `epoch-00003-rank-000.bin` has those of process 0 in epoch 3, in
records of equal size, with that of micro-batch n at n * size:

    mark (16 bytes) | images (16 bytes) | values float32 B k | indices int32 B k | zeros up to a multiple of 32

The mark is a digest of the rest of the record, and is written after it. If the mark is zero, or the file is shorter,
the record is empty. A record is therefore complete or empty after a kill, and several runs may share a folder.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resmlp.config import ImageRecipe
from resmlp.tasks.base import Batch
from resmlp.tasks.teacher import Teacher, TopLogits
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError, printable
from resmlp.utils.files import read_json, write_json
from resmlp.utils.serialization import difference, to_dict

FORMAT = 1
MARK = 16  # bytes
ALIGN = 2 * MARK  # a mark is never in two pages, and so is written atomically
SAMPLES = 64  # values per image that identify it
NOT_COMPARED = {"root", "workers", "strict"}
"""fields of `Data` that change no image; the digests of the images detect another data set"""


def _has_close_logits(cached: dict[str, Any], current: dict[str, Any]) -> bool:
    """Whether the logits of `Teacher.check` in two fingerprints are equal except for rounding."""
    before, now = (fingerprint.get("teacher", {}).get("says") for fingerprint in (cached, current))
    if not isinstance(before, list) or len(before) != len(now):
        return False
    pairs = zip(before, now)
    return all(isinstance(a, float) and abs(a - b) <= 0.01 * (1 + abs(b)) for a, b in pairs)


class OutputCache:
    """The teacher's outputs for one process, by (epoch, number of the micro-batch).

    Raises `UserError` if the folder has the outputs of other settings.
    """

    def __init__(
        self, folder: Path, teacher: Teacher, recipe: ImageRecipe, process: Process, top_k: int, num_classes: int
    ):
        self.folder, self.rank, self.num_classes = folder, process.rank, num_classes
        self.shape = recipe.data.batch_size // (process.world * recipe.run.accumulate), top_k
        self.body = MARK + 8 * self.shape[0] * top_k  # the images' digest, values, indices
        self.size = -(-(MARK + self.body) // ALIGN) * ALIGN
        self._claim(teacher.name, _fingerprint(teacher, recipe, process, top_k, num_classes))

    def _claim(self, name: str, fingerprint: dict[str, Any]) -> None:
        """Write cache.json, or raise `UserError` with the fields that differ from it."""
        path = self.folder / "cache.json"
        with _disk(self.folder):
            demand(self.folder.is_dir() or not self.folder.exists(), f"{self.folder} is a file", "give a folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
        if is_new:
            if self.rank == 0:
                write_json(path, {"name": name, **fingerprint})
            return
        cached = read_json(path)
        demand(isinstance(cached, dict), f"{path} does not describe a cache", "choose another --task.cache")
        cached.pop("name", None)
        if _has_close_logits(cached, fingerprint):  # rounding depends on the machine and the number of threads
            cached["teacher"]["says"] = fingerprint["teacher"]["says"]
        if changes := difference(cached, fingerprint):
            shown = printable("; ".join(changes[:3]))[:300]
            what = f"--task.cache {self.folder} has outputs for other settings: {shown}"
            raise UserError(what, "choose another folder, or use the same settings")

    def read(self, batch: Batch) -> TopLogits | None:
        """The cached logits of `batch` (on the CPU), or None; raises `UserError` if the file is damaged."""
        path, offset = self._where(batch)
        with _disk(path):
            if not path.exists():
                return None
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                mark = file.read(MARK)  # first: if there is a mark, the rest is complete
                if not any(mark):
                    return None
                body = file.read(self.body)
        if mark != _digest(body, batch["place"]):
            raise UserError(f"{path} is damaged", "remove that file: its outputs are computed again")
        what = f"the outputs in {path} are for other images: --data.root or the installed versions changed"
        demand(body[:MARK] == _images(batch), what, "choose another --task.cache")
        values, indices = np.frombuffer(body, dtype="<i4", offset=MARK).reshape(2, *self.shape).copy()
        is_valid = indices.min() >= 0 and indices.max() < self.num_classes
        demand(is_valid, f"{path} is damaged", "remove that file: its outputs are computed again")
        return TopLogits(torch.from_numpy(values.view("<f4")), torch.from_numpy(indices).long())

    def write(self, batch: Batch, logits: TopLogits) -> None:
        """Store the logits of `batch`; raises `UserError` if they are not finite or the disk has an error."""
        hint = "try --task.teacher-precision fp32"
        demand(bool(logits.values.isfinite().all()), "the teacher gives logits that are not finite", hint)
        path, offset = self._where(batch)
        values, indices = logits.values.cpu().numpy().astype("<f4"), logits.indices.cpu().numpy().astype("<i4")
        body = _images(batch) + values.tobytes() + indices.tobytes()
        with _disk(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.seek(offset)
            if any(file.read(MARK)):
                return  # another run wrote it first
            file.seek(offset + MARK)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            file.seek(offset)
            file.write(_digest(body, batch["place"]))

    def _where(self, batch: Batch) -> tuple[Path, int]:
        """The file and the first byte of the record of a micro-batch."""
        epoch, number = batch["place"]
        return self.folder / f"epoch-{epoch:05d}-rank-{self.rank:03d}.bin", number * self.size


def _fingerprint(
    teacher: Teacher, recipe: ImageRecipe, process: Process, top_k: int, num_classes: int
) -> dict[str, Any]:
    """What determines the images of a micro-batch and the teacher's outputs for them."""
    return {
        "format": FORMAT,
        "teacher": teacher.identity(),
        "classes": num_classes,
        "kept": top_k,
        "data": {key: value for key, value in to_dict(recipe.data).items() if key not in NOT_COMPARED},
        "augment": to_dict(recipe.augment),
        "seed": recipe.run.seed,
        "accumulate": recipe.run.accumulate,
        "processes": process.world,
        "device": process.device.type,  # its generator draws the noise of random erasing
    }


def _images(batch: Batch) -> bytes:
    """A digest of some pixels of each image and of the labels, as loaded."""
    pixels = batch["image"].flatten(1)  # B 3HW
    sample = pixels[:, :: max(1, pixels.shape[1] // SAMPLES)].contiguous()
    return blake2b(sample.numpy().tobytes() + batch["label"].numpy().tobytes(), digest_size=MARK).digest()


def _digest(body: bytes, place: tuple[int, int]) -> bytes:
    """The mark of a record: a digest of its bytes and of its place."""
    digest = blake2b(b"%d %d " % place, digest_size=MARK)
    digest.update(body)
    return digest.digest()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn an error of the disk into a `UserError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot use {path}: {reason}", "make room, or choose another --task.cache") from error
