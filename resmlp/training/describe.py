"""The table that a run shows before it starts: what a person checks before a long run."""

from collections.abc import Iterator

import torch
from accelerate import Accelerator

from resmlp.config import Recipe
from resmlp.models import count_parameters
from resmlp.tasks import Task
from resmlp.training.optim import in_words, undecayed
from resmlp.utils.errors import counted


def describe(task: Task, recipe: Recipe, accelerator: Accelerator) -> Iterator[tuple[str, str]]:
    """Device, network, data, batch, optimizer and weight decay, as (what, value)."""
    optim, run, world = recipe.optim, recipe.run, accelerator.num_processes
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else counted(torch.get_num_threads(), "thread")
    yield "device", f"{device.type} ({name}), {run.precision}, {counted(world, 'process')}"
    yield "parameters", f"{count_parameters(task.model):,}"
    yield from task.describe()
    split = (
        f" over {counted(world, 'process')} x {counted(run.accumulate, 'part')}" if world * run.accumulate > 1 else ""
    )
    length = f"{counted(task.steps_per_epoch, 'step')} an epoch, {counted(run.epochs, 'epoch')}"
    yield "batch", f"{task.samples_per_step}{split}; {length}"
    yield "optimizer", in_words(optim, task.steps_per_epoch, run.epochs)
    slow = [f"layer decay: each layer learns at {optim.layer_decay:g} of the next one's lr"] * (optim.layer_decay < 1)
    if optim.freeze_epochs:
        slow.append(f"the head alone for {min(optim.freeze_epochs, run.epochs)} of {run.epochs} epochs")
    if slow:
        yield "fine-tuning", ", ".join(slow)
    final = "" if optim.final_weight_decay is None else f" to {optim.final_weight_decay:g} by a cosine"
    yield "weight decay", f"{optim.weight_decay:g}{final}, not on {undecayed(task.model)}"
