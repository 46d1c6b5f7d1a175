"""The table of settings that a run prints before it starts."""

from collections.abc import Iterator

import torch
from accelerate import Accelerator

from resmlp.config import Recipe
from resmlp.models import count_parameters
from resmlp.tasks import Task
from resmlp.training.optimizers import muon_summary, optimizer_summary, undecayed
from resmlp.utils.errors import counted


def describe(task: Task, recipe: Recipe, accelerator: Accelerator) -> Iterator[tuple[str, str]]:
    """Device, network, data, batch, optimizer and weight decay, as (name, value)."""
    optim, run, world = recipe.optim, recipe.run, accelerator.num_processes
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else counted(torch.get_num_threads(), "thread")
    yield "device", f"{device.type} ({name}), {run.precision}, {counted(world, 'process')}"
    yield "parameters", f"{count_parameters(task.model):,}"
    origin = recipe.origin
    for key, value in task.describe():
        yield key, f"{origin.run}, step {origin.step:,}" if origin and key == "weights" else value
    split = (
        f" over {counted(world, 'process')} x {counted(run.accumulate, 'part')}" if world * run.accumulate > 1 else ""
    )
    length = f"{counted(task.steps_per_epoch, 'step')} per epoch, {counted(run.epochs, 'epoch')}"
    yield "batch", f"{task.samples_per_step}{split}; {length}"
    yield "optimizer", optimizer_summary(optim, task.steps_per_epoch, run.epochs)
    if optim.name == "muon":
        yield "muon", muon_summary(task.model)
    tuning = [f"layer decay: each layer has {optim.layer_decay:g} times the lr of the next"] * (optim.layer_decay < 1)
    if optim.freeze_epochs:
        tuning.append(f"only the head for {min(optim.freeze_epochs, run.epochs)} of {run.epochs} epochs")
    if optim.only:
        trained = sum(parameter.requires_grad for parameter in task.model.parameters())
        tuning.append(f"only {' '.join(optim.only)} ({counted(trained, 'tensor')})")
    if tuning:
        yield "fine-tuning", ", ".join(tuning)
    final = "" if optim.final_weight_decay is None else f", cosine to {optim.final_weight_decay:g}"
    yield "weight decay", f"{optim.weight_decay:g}{final}; none for {undecayed(task.model)}"
