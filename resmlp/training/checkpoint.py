"""Checkpoints: the complete state of a run at one step, written atomically."""

import io
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from resmlp.models.weights import read_tensors
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json, write_folder, write_json
from resmlp.utils.run_folder import (
    OPTIMIZER,
    PROGRESS,
    checkpoint_leftovers,
    checkpoint_path,
    checkpoint_steps,
    checkpoint_weights,
)


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


class Checkpoints:
    """The checkpoints of a run folder (layout: `resmlp.utils.run_folder`). The last and the best are kept."""

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
        """Write the current state, then delete all checkpoints except the last and the best."""

        def write(temporary: Path) -> None:
            for name, module in self.modules.items():
                tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
                checkpoint_weights(temporary, name).write_bytes(save(tensors))
            optimizer = io.BytesIO()  # torch.save to a file would hide the error of the disk
            state = self.optimizer.state_dict()
            # loaded keys are not interned, new ones are: pickle would write other bytes for an equal state
            moments = state["state"].items()
            state["state"] = {i: {sys.intern(key): value for key, value in entry.items()} for i, entry in moments}
            torch.save(state, optimizer)
            (temporary / OPTIMIZER).write_bytes(optimizer.getbuffer())
            write_json(temporary / PROGRESS, asdict(progress))

        if not self.path(progress.step).exists():
            write_folder(self.path(progress.step), write)
        for step in self.steps():
            if step not in (progress.step, progress.best.get("step")):
                shutil.rmtree(self.path(step))

    def load_last(self) -> Progress:
        """Restore the last checkpoint and return its progress; a new `Progress` if there is none.

        Raises `UserError` if the checkpoint is damaged or belongs to another network.
        """
        for leftover in checkpoint_leftovers(self.folder):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self.steps():
            return Progress()
        path = self.path(self.steps()[-1])
        try:
            for name, module in self.modules.items():
                module.load_state_dict(read_tensors(checkpoint_weights(path, name)))
            self.optimizer.load_state_dict(torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True))
            return Progress(**read_json(path / PROGRESS))
        except (UserError, OSError, EOFError, RuntimeError, UnpicklingError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"cannot continue from {path}: {reason}", "remove that folder to start over") from None
