"""Devices and processes: which device this is, which process, and what they say together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from resmlp.utils.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Place:
    """Which process this is, and the device it computes on."""

    device: torch.device = torch.device("cpu")
    rank: int = 0
    world: int = 1


def find_device(name: str) -> torch.device:
    """`auto`: the accelerator there is, else the CPU. Raises `UserError` for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, found in there.items() if found)
    if name not in there:
        raise UserError(f"unknown device {name!r}", did_you_mean(name, [*there, "auto"]))
    if not there[name]:
        raise UserError(f"device {name}: there is none here", "use auto or cpu")
    return torch.device(name)


@contextmanager
def take_place(device: str) -> Iterator[Place]:
    """Which process of `torchrun` or `accelerate launch` this is, and its device; without them, the only one."""
    found = find_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Place(found)
        return
    from accelerate import PartialState

    state = PartialState(cpu=found.type == "cpu")
    yield Place(state.device, state.process_index, state.num_processes)
    state.destroy_process_group()  # after a failure not: the others may still wait in it


def over_processes(mean: Tensor) -> Tensor:
    """The mean over all processes of a tensor that each has its own of, as many samples in each."""
    if dist.is_available() and dist.is_initialized():
        mean = mean.contiguous()
        dist.all_reduce(mean)
        mean = mean / dist.get_world_size()
    return mean


def gather(mine: Any) -> list[Any]:
    """`mine` of each process, in the order of their ranks; of one process, a list of one."""
    if not (dist.is_available() and dist.is_initialized()):
        return [mine]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return everyone
