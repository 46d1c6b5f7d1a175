"""A training loop of a few steps, in the processes of `processes.together`: their weights can be compared.

As the engine, it seeds all generators by (seed, step, part), equally in every process, and averages gradients over
parts and processes. Unlike the engine, it can compute in float64: then runs differ by 1e-9 or have another reason than
rounding. In float32, AdamW and BatchNorm enlarge the rounding of a sum in another order to 1e-3 in ten steps.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import processes
import torch
from torch.nn.parallel import DistributedDataParallel

from resmlp.config import Recipe
from resmlp.nn.shared_masks import sample_places
from resmlp.tasks import Task, complete, make_task
from resmlp.training.optimizers import learning_rate, make_optimizer, set_schedule
from resmlp.utils.devices import Process, all_gather, this_process
from resmlp.utils.seeding import seed_all


def take(recipe: Recipe, start: int, stop: int, file: str, double: bool = False) -> None:
    """Take the steps from `start` to `stop`, from the state in `file` if start is not 0, and write it."""
    with this_process("cpu") as process:
        seed_all(recipe.run.seed)
        task = make_task(complete(recipe), process)
        if double:
            task.model.double().register_forward_pre_hook(in_float64)
        optimizer = make_optimizer(task.model, task.recipe.optim)
        losses: list[dict[str, float]] = []
        if start:
            saved = torch.load(file, weights_only=True)
            task.model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            losses = saved["losses"]
        model = DistributedDataParallel(task.model) if process.world > 1 else task.model
        model.train()
        parts = task.recipe.run.accumulate
        for number, batch in enumerate(batches(task, start, stop, parts), start * parts):
            step, part = divmod(number, parts)
            scalars = backward(task, model, batch, step, part, process)
            if part == 0:
                losses.append(dict.fromkeys(scalars, 0.0))
            for name, value in scalars.items():
                losses[-1][name] += value / parts
            if part < parts - 1:
                continue
            if task.recipe.optim.clip is not None:
                torch.nn.utils.clip_grad_norm_(task.model.parameters(), task.recipe.optim.clip)
            set_schedule(optimizer, learning_rate(task.recipe.optim, step, task.steps_per_epoch, 1), None)
            optimizer.step()
            optimizer.zero_grad()
        if process.rank == 0:
            torch.save({"model": task.model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}, file)
        all_gather(None)  # the file is complete


def batches(task: Task, start: int, stop: int, parts: int) -> Iterator[dict]:
    """The micro-batches of the steps from `start` to `stop`, epoch after epoch."""
    while start < stop:
        epoch, first = divmod(start, task.steps_per_epoch)
        steps = min(task.steps_per_epoch - first, stop - start)
        yield from islice(task.batches(epoch, first * parts), steps * parts)
        start += steps


def in_float64(_: torch.nn.Module, inputs: tuple) -> tuple:
    """The inputs of a network, numbers in float64."""
    return tuple(value.double() if value.is_floating_point() else value for value in inputs)


def backward(task: Task, model: torch.nn.Module, batch: dict, step: int, part: int, process: Process) -> dict:
    """Add the gradients of a part; its losses, the mean over the processes."""
    seed_all(task.recipe.run.seed, step, part)
    parts = task.recipe.run.accumulate
    model.require_backward_grad_sync = part == parts - 1  # of DistributedDataParallel
    with sample_places(batch.get("places")):
        losses = task.loss(model, batch, step)
        (losses["loss"] / parts).backward()
    every = all_gather({name: value.item() for name, value in losses.items()})
    return {name: sum(values[name] for values in every) / process.world for name in losses}


def trained(recipe: Recipe, worlds: Sequence[int], steps: int, folder: Path, double: bool = False) -> dict:
    """The state after a run of `steps` on each of `worlds` in turn: "model", "losses" of each step, "optimizer"."""
    folder.mkdir(exist_ok=True)
    for turn, world in enumerate(worlds):
        part = turn * steps, (turn + 1) * steps
        args = recipe, *part, str(folder / "state"), double
        processes.together(take, *args, folder=folder, world=world, seconds=60 + 20 * steps)
    return torch.load(folder / "state", weights_only=True)


def check_same(found: dict, expected: dict, tolerance: float = 1e-5) -> None:
    """Both runs have the same losses, to 1e-5, and the same weights and buffers, to `tolerance`."""
    assert len(found["losses"]) == len(expected["losses"])
    for ours, theirs in zip(found["losses"], expected["losses"]):
        assert ours.keys() == theirs.keys()
        assert all(abs(ours[name] - theirs[name]) < 1e-5 * max(1, abs(theirs[name])) for name in ours)
    assert found["model"].keys() == expected["model"].keys()
    for name, tensor in found["model"].items():
        largest = max(1, tensor.abs().max().item())
        difference = (tensor - expected["model"][name]).abs().max().item()
        assert difference < tolerance * largest, f"{name}: {difference} of {largest}"
