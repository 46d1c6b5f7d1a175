"""Checkpoints: all of a run at one step, written whole or not at all."""

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
    """How far a run is; with the tensors of a checkpoint this is all its state."""

    step: int = 0
    """optimizer steps done"""
    seconds: float = 0.0
    """wall-clock time spent training, evaluations included"""
    best: dict[str, Any] = field(default_factory=dict)
    """the best evaluation so far: its numbers, step, epoch, and which weights"""
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """the latest evaluation of each kind of weights"""
    notes: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a run folder (`resmlp.utils.run_folder` has the layout): the last and the best are kept."""

    def __init__(self, folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer):
        self.folder = folder
        self.modules = modules
        self.optimizer = optimizer

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of an optimizer step."""
        return checkpoint_path(self.folder, step)

    def steps(self) -> list[int]:
        """The optimizer steps of the complete checkpoints, in order."""
        return checkpoint_steps(self.folder)

    def save(self, progress: Progress) -> None:
        """Write the present state, then drop every checkpoint that is neither the last nor the best."""

        def write(aside: Path) -> None:
            for name, module in self.modules.items():
                state = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
                checkpoint_weights(aside, name).write_bytes(save(state))
            optimizer = io.BytesIO()  # straight to a file, torch hides what the disk said
            everything = self.optimizer.state_dict()
            # names of moments that were loaded are other objects than those of new ones, and their pickle would tell
            moments = everything["state"].items()
            everything["state"] = {i: {sys.intern(name): m for name, m in own.items()} for i, own in moments}
            torch.save(everything, optimizer)
            (aside / OPTIMIZER).write_bytes(optimizer.getbuffer())
            write_json(aside / PROGRESS, asdict(progress))

        if not self.path(progress.step).exists():
            write_folder(self.path(progress.step), write)
        for step in self.steps():
            if step not in (progress.step, progress.best.get("step")):
                shutil.rmtree(self.path(step))

    def load_last(self) -> Progress:
        """Restore the last checkpoint and return its progress; a fresh `Progress` where there is none."""
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
