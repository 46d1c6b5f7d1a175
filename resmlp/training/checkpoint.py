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
    """The folder `checkpoints/` of a run: the last and the best are kept."""

    def __init__(self, folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer):
        self.folder = folder
        self.modules = modules
        self.optimizer = optimizer

    def path(self, step: int) -> Path:
        """`step-XXXXXXXX/` of an optimizer step."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints there are, in order."""
        return sorted(int(path.name[5:]) for path in self.folder.glob("step-" + "[0-9]" * 8))

    def save(self, progress: Progress) -> None:
        """Write the present state, then drop every checkpoint that is neither the last nor the best."""

        def write(aside: Path) -> None:
            for name, module in self.modules.items():
                state = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
                (aside / f"{name}.safetensors").write_bytes(save(state))
            optimizer = io.BytesIO()  # straight to a file, torch hides what the disk said
            everything = self.optimizer.state_dict()
            # names of moments that were loaded are other objects than those of new ones, and their pickle would tell
            moments = everything["state"].items()
            everything["state"] = {i: {sys.intern(name): m for name, m in own.items()} for i, own in moments}
            torch.save(everything, optimizer)
            (aside / "optimizer.pt").write_bytes(optimizer.getbuffer())
            write_json(aside / "progress.json", asdict(progress))

        if not self.path(progress.step).exists():
            write_folder(self.path(progress.step), write)
        for step in self.steps():
            if step not in (progress.step, progress.best.get("step")):
                shutil.rmtree(self.path(step))

    def load_last(self) -> Progress:
        """Restore the last checkpoint and return its progress; a fresh `Progress` where there is none."""
        for leftover in self.folder.glob(".step-*.part"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self.steps():
            return Progress()
        path = self.path(self.steps()[-1])
        try:
            for name, module in self.modules.items():
                module.load_state_dict(read_tensors(path / f"{name}.safetensors"))
            self.optimizer.load_state_dict(torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True))
            return Progress(**read_json(path / "progress.json"))
        except (UserError, OSError, EOFError, RuntimeError, UnpicklingError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"cannot continue from {path}: {reason}", "remove that folder to start over") from None
