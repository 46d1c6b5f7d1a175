"""Checkpoints: the complete state of a run at one step, written atomically, with checksums."""

import io
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from hashlib import file_digest, sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from resmlp.models.weights import read_tensors
from resmlp.utils.checks import demand
from resmlp.utils.devices import all_gather
from resmlp.utils.errors import UserError, notice
from resmlp.utils.files import check_file, read_json, remove, write_folder, write_json
from resmlp.utils.run_folder import (
    CHECKPOINTS,
    OPTIMIZER,
    PROGRESS,
    checkpoint_leftovers,
    checkpoint_path,
    checkpoint_steps,
    checkpoint_weights,
    damaged_path,
)

KEPT = 2
"""the latest checkpoints that are kept, besides the best: a run goes on from the older one if the newer is damaged"""


@dataclass
class Progress:
    """The progress of a run; together with the tensors of a checkpoint, its complete state."""

    step: int = 0
    """optimizer steps done"""
    seconds: float = 0.0
    """wall-clock time of training, with evaluations"""
    best: dict[str, Any] = field(default_factory=dict)
    """the best evaluation so far: scores, step, epoch, and kind of weights"""
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """the latest evaluation of each kind of weights"""
    notes: dict[str, Any] = field(default_factory=dict)
    """what the task noted about the data"""
    window: dict[str, Any] = field(default_factory=dict)
    """of each loss the sum and the count since the last line of the log"""
    files: dict[str, str] = field(default_factory=dict)
    """the SHA-256 of each other file of the checkpoint"""

    def check(self, step: int, total: float) -> None:
        """Raise ValueError for a wrong type or a value out of range, in the checkpoint of a step of `total`."""
        for name, kind in (("best", dict), ("last", dict), ("notes", dict), ("window", dict), ("files", dict)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} is not an object")
        if type(self.step) is not int or self.step != step or not 0 < step <= total:
            raise ValueError(f"its step is {self.step!r}, not {step} of {total}")
        if type(self.seconds) not in (int, float) or not 0 <= self.seconds < math.inf:
            raise ValueError(f"its seconds are {self.seconds!r}")
        for sums in self.window.values():
            if not (isinstance(sums, list) and len(sums) == 2 and all(type(each) in (int, float) for each in sums)):
                raise ValueError("its window has no sums and counts")
        for entry in (self.best, *self.last.values()):
            evaluated = entry.get("step", step) if isinstance(entry, dict) else None
            if type(evaluated) is not int or not 0 < evaluated <= step:
                raise ValueError("an evaluation has no step of the run")


class Checkpoints:
    """The checkpoints of a run folder (layout: `resmlp.utils.run_folder`). The last two and the best are kept."""

    def __init__(self, folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer):
        self.folder = folder
        self.modules = modules
        self.optimizer = optimizer

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of an optimizer step."""
        return checkpoint_path(self.folder, step)

    def steps(self) -> list[int]:
        """The optimizer steps of the complete checkpoints, in ascending order."""
        return checkpoint_steps(self.folder)

    def save(self, progress: Progress) -> None:
        """Write the current state, then delete all checkpoints except the last two and the best.

        At the step of a checkpoint, only its progress is written: its tensors are the same.
        """
        path = self.path(progress.step)
        if path.exists():
            self._write_progress(path, replace(progress, files=read_json(path / PROGRESS)["files"]))
        else:
            write_folder(path, lambda aside: self._write(aside, progress))
        kept = {*self.steps()[-KEPT:], progress.best.get("step")}
        for step in self.steps():
            if step not in kept:
                remove(self.path(step))

    def _write(self, folder: Path, progress: Progress) -> None:
        files: dict[str, str] = {}
        for name, module in self.modules.items():
            tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
            self._write_file(checkpoint_weights(folder, name), save(tensors), files)
        optimizer = io.BytesIO()  # torch.save to a file would hide the error of the disk
        state = self.optimizer.state_dict()
        # loaded keys are not interned, new ones are: pickle would write other bytes for an equal state
        moments = state["state"].items()
        state["state"] = {i: {sys.intern(key): value for key, value in entry.items()} for i, entry in moments}
        torch.save(state, optimizer)
        self._write_file(folder / OPTIMIZER, optimizer.getbuffer(), files)
        self._write_progress(folder, replace(progress, files=files))

    @staticmethod
    def _write_file(path: Path, content: bytes | memoryview, digests: dict[str, str]) -> None:
        path.write_bytes(content)
        digests[path.name] = sha256(content).hexdigest()

    @staticmethod
    def _write_progress(folder: Path, progress: Progress) -> None:
        values = asdict(progress)
        write_json(folder / PROGRESS, values | {"sha256": _digest(values)})

    def load_last(self, total: int) -> Progress:
        """Restore the last whole checkpoint and return its progress; a new `Progress` if there is none.

        A damaged checkpoint is named and set aside, and the one before it is restored. `total` is the number of steps
        of the run. Raises `UserError` if all checkpoints are damaged, or belong to another network.
        """
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        step = all_gather(self._last_whole(total) if rank == 0 else None)[0]
        if step is None:
            return Progress()
        path = self.path(step)
        progress = read_progress(path)
        try:
            for name, module in self.modules.items():
                module.load_state_dict(read_tensors(checkpoint_weights(path, name)))
            self.optimizer.load_state_dict(torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True))
        except (UserError, OSError, EOFError, RuntimeError, UnpicklingError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"cannot continue from {path}: {reason}", "remove that folder to start over") from None
        return progress

    def _last_whole(self, total: int) -> int | None:
        """The step of the last whole checkpoint, after those behind it have been set aside; None if there is none."""
        for leftover in checkpoint_leftovers(self.folder):
            remove(leftover)
        damage: dict[int, str] = {}
        for step in reversed(self.steps()):
            damage[step] = find_damage(self.path(step), step, total, self.modules)
            if not damage[step]:
                break
        whole = next((step for step, reason in damage.items() if not reason), None)
        for step, reason in damage.items():
            what = f"{self.path(step)} is damaged: {reason}"
            if whole is None:
                notice(what)
            elif step != whole:
                aside = damaged_path(self.folder, step)
                self.path(step).rename(aside)
                notice(f"{what}; it is {aside.name} now, and the run continues from step {whole}")
        damaged = ", ".join(self.path(step).name for step in damage)
        what = f"no checkpoint in {self.folder / CHECKPOINTS} is whole: {damaged}"
        demand(whole is not None or not damage, what, "remove that folder, and the run starts over")
        return whole


def find_damage(path: Path, step: int, total: float, modules: Iterable[str] | None = None) -> str:
    """What is wrong with the checkpoint `path` of a step of `total`; empty if it is whole.

    `modules` are the names of the modules that it should have; None: any.
    """
    try:
        progress = read_progress(path)
        progress.check(step, total)
        expected = {checkpoint_weights(path, name).name for name in modules or ()} | {OPTIMIZER}
        if modules is not None and set(progress.files) != expected:
            raise ValueError(f"it has {', '.join(sorted(progress.files))}, not {', '.join(sorted(expected))}")
        for name, digest in progress.files.items():
            check_file(path / name)
            with (path / name).open("rb") as file:
                if file_digest(file, "sha256").hexdigest() != digest:
                    raise ValueError(f"{name} has other bytes than were written")
    except (UserError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        return error.what if isinstance(error, UserError) else getattr(error, "strerror", None) or str(error)
    return ""


def read_progress(path: Path) -> Progress:
    """The progress in a checkpoint; raises `UserError` if it is not as written."""
    values = read_json(path / PROGRESS)
    whole = isinstance(values, dict) and values.pop("sha256", None) == _digest(values)
    demand(whole, f"{PROGRESS} is not as it was written", "restore it")
    return Progress(**values)


def _digest(values: dict[str, Any]) -> str:
    """The SHA-256 of JSON values."""
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
