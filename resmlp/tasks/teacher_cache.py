"""A teacher's answers on the disk: a later run that sees the same images in the same batches asks it nothing.

`cache.json` says what the answers depend on; `epoch-00003-rank-000.bin` has those that process 0 was given in epoch 3,
in records of one size, that of micro-batch n at n * size:

    mark (16 bytes) | images (16 bytes) | values float32 B k | indices int32 B k | zeros up to a multiple of 32

The mark is a digest of the rest and is written when the rest is on the disk; where it is zeros, or the file ends before
it, no answer was given yet. So a kill leaves each record whole or not there, and several runs may share a folder.
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
from resmlp.tasks.teacher import Answer, Teacher
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError, printable
from resmlp.utils.files import read_json, write_json
from resmlp.utils.serialization import difference, to_dict

FORMAT = 1
MARK = 16  # bytes
ALIGN = 2 * MARK  # a mark never lies across two pages, and so is itself written whole
SAMPLES = 64  # values of an image by which it is known again
BLIND = {"root", "workers", "strict"}
"""fields of `Data` that change no image; that two roots hold the same ones is checked by the images themselves"""


def _nearly(found: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether what the teacher of the cache said to the first image is, but for rounding, what ours says."""
    theirs, mine = (some.get("teacher", {}).get("says") for some in (found, ours))
    if not isinstance(theirs, list) or len(theirs) != len(mine):
        return False
    pairs = zip(theirs, mine)
    return all(isinstance(a, float) and abs(a - b) <= 0.01 * (1 + abs(b)) for a, b in pairs)


class AnswerCache:
    """The answers to one process, each found by (epoch, number of the micro-batch)."""

    def __init__(
        self, folder: Path, teacher: Teacher, recipe: ImageRecipe, process: Process, kept: int, num_classes: int
    ):
        self.folder, self.rank, self.num_classes = folder, process.rank, num_classes
        self.shape = recipe.data.batch_size // (process.world * recipe.run.accumulate), kept
        self.body = MARK + 8 * self.shape[0] * kept  # the images' digest, values, indices
        self.size = -(-(MARK + self.body) // ALIGN) * ALIGN
        self._claim(teacher.name, _fingerprint(teacher, recipe, process, kept, num_classes))

    def _claim(self, name: str, fingerprint: dict[str, Any]) -> None:
        """Make the folder ours, or refuse one whose answers are of something else, naming it."""
        path = self.folder / "cache.json"
        with _disk(self.folder):
            demand(self.folder.is_dir() or not self.folder.exists(), f"{self.folder} is a file", "give a folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            known = path.exists()
        if not known:
            if self.rank == 0:
                write_json(path, {"name": name, **fingerprint})
            return
        found = read_json(path)
        demand(isinstance(found, dict), f"{path} describes no cache", "choose another --task.cache")
        found.pop("name", None)
        if _nearly(found, fingerprint):  # another machine or number of threads rounds otherwise
            found["teacher"]["says"] = fingerprint["teacher"]["says"]
        if differs := difference(found, fingerprint):
            shown = printable("; ".join(differs[:3]))[:300]
            what = f"--task.cache {self.folder} holds answers to other settings: {shown}"
            raise UserError(what, "choose another folder, or the same settings")

    def read(self, batch: Batch) -> Answer | None:
        """The answer to `batch` (on the CPU), if it was given before; raises `UserError` where it is damaged."""
        path, offset = self._where(batch)
        with _disk(path):
            if not path.exists():
                return None
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                mark = file.read(MARK)  # before the rest, which is there if the mark is
                if not any(mark):
                    return None
                body = file.read(self.body)
        if mark != _digest(body, batch["place"]):
            raise UserError(f"{path} is damaged", "remove that file: the teacher is asked again")
        what = f"the answers in {path} are to other images: those at --data.root changed, or the versions installed"
        demand(body[:MARK] == _images(batch), what, "choose another --task.cache")
        values, indices = np.frombuffer(body, dtype="<i4", offset=MARK).reshape(2, *self.shape).copy()
        known = indices.min() >= 0 and indices.max() < self.num_classes
        demand(known, f"{path} is damaged", "remove that file: the teacher is asked again")
        return Answer(torch.from_numpy(values.view("<f4")), torch.from_numpy(indices).long())

    def write(self, batch: Batch, answer: Answer) -> None:
        """Keep the answer to `batch`; raises `UserError` where it is not finite or the disk refuses it."""
        hint = "try --task.teacher-precision fp32"
        demand(bool(answer.values.isfinite().all()), "the teacher answers with what is not finite", hint)
        path, offset = self._where(batch)
        values, indices = answer.values.cpu().numpy().astype("<f4"), answer.indices.cpu().numpy().astype("<i4")
        body = _images(batch) + values.tobytes() + indices.tobytes()
        with _disk(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.seek(offset)
            if any(file.read(MARK)):
                return  # another run was faster
            file.seek(offset + MARK)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            file.seek(offset)
            file.write(_digest(body, batch["place"]))

    def _where(self, batch: Batch) -> tuple[Path, int]:
        """The file that a micro-batch's answer is in, and the byte it starts at."""
        epoch, number = batch["place"]
        return self.folder / f"epoch-{epoch:05d}-rank-{self.rank:03d}.bin", number * self.size


def _fingerprint(
    teacher: Teacher, recipe: ImageRecipe, process: Process, kept: int, num_classes: int
) -> dict[str, Any]:
    """All that decides which images are in a micro-batch, and what the teacher says of them."""
    return {
        "format": FORMAT,
        "teacher": teacher.identity(),
        "classes": num_classes,
        "kept": kept,
        "data": {key: value for key, value in to_dict(recipe.data).items() if key not in BLIND},
        "augment": to_dict(recipe.augment),
        "seed": recipe.run.seed,
        "accumulate": recipe.run.accumulate,
        "processes": process.world,
        "device": process.device.type,  # whose generator draws the noise of erasing
    }


def _images(batch: Batch) -> bytes:
    """A digest of some pixels of each image, and of the labels, as the loader gave them."""
    pixels = batch["image"].flatten(1)  # B 3HW
    sample = pixels[:, :: max(1, pixels.shape[1] // SAMPLES)].contiguous()
    return blake2b(sample.numpy().tobytes() + batch["label"].numpy().tobytes(), digest_size=MARK).digest()


def _digest(body: bytes, place: tuple[int, int]) -> bytes:
    """The mark of a record: of its bytes, and of the place that they belong to."""
    digest = blake2b(b"%d %d " % place, digest_size=MARK)
    digest.update(body)
    return digest.digest()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Say in one line what the disk refused."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot use {path}: {reason}", "make room, or choose another --task.cache") from error
