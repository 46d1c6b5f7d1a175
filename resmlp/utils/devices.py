"""The device to compute on, and the processes that compute together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from resmlp.utils.errors import UserError, did_you_mean
from resmlp.utils.heartbeat import watched
from resmlp.utils.interruption import Interrupted

TIMEOUT = 10
"""minutes after which a process that says nothing is named, where nothing is trained"""


@dataclass(frozen=True)
class Process:
    """This process among those of `torchrun` or `accelerate launch`."""

    device: torch.device = torch.device("cpu")
    """what it computes on"""
    rank: int = 0
    """its number, from 0"""
    world: int = 1
    """how many there are"""
    folder: Path | None = None
    """the run folder that they train into; None where nothing is trained"""


def find_device(name: str) -> torch.device:
    """The device of this name; `auto` is the accelerator, or the CPU. Raises `UserError` if it is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_available in available.items() if is_available)
    if name not in available:
        raise UserError(f"unknown device {name!r}", did_you_mean(name, [*available, "auto"]))
    if not available[name]:
        raise UserError(f"device {name} is not available on this machine", "use auto or cpu")
    return torch.device(name)


def join_processes(device: torch.device, limit: timedelta | None = None) -> None:
    """Join the processes of `torchrun` or `accelerate launch`; nothing without them, or if it is done.

    They wait for one another up to `limit`, by default as long as torch lets them. After a restart by `torchrun` its
    store still has the addresses of the processes before, to which the new ones would try to connect: each attempt has
    keys of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _has_processes():
        return
    store, rank, world = next(iter(dist.rendezvous("env://")))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.PrefixStore(f"attempt-{attempt}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)


@contextmanager
def this_process(device: str) -> Iterator[Process]:
    """Joins the processes of `torchrun` or `accelerate launch`; without them, this process is the only one."""
    torch_device = find_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Process(torch_device)
        return
    from accelerate import PartialState

    join_processes(torch_device)
    state = PartialState(cpu=torch_device.type == "cpu")
    with watched(TIMEOUT, lambda: 0):
        yield Process(state.device, state.process_index, state.num_processes)
    state.destroy_process_group()  # not after a failure, when the other processes may still wait in it


class Agreement:
    """What all processes agree on at a step, by a group of its own, on the CPU: an accelerator does not wait for it."""

    def __init__(self, limit: timedelta | None = None) -> None:
        self._group: Any = dist.new_group(backend="gloo", timeout=limit) if _has_processes() else None
        self.arrivals = 0
        """how often this process came to agree"""

    def highest(self, value: int) -> int:
        """The highest `value` of all processes; each waits for the others."""
        self.arrivals += 1
        if self._group is None:
            return value
        values = torch.tensor(value)
        dist.all_reduce(values, dist.ReduceOp.MAX, self._group)
        return int(values)


def process_count() -> int:
    """The number of processes."""
    return dist.get_world_size() if _has_processes() else 1


def all_mean(mean: Tensor) -> Tensor:
    """The mean over processes of a tensor that has the same shape in each; on one process, the tensor itself."""
    if _has_processes():
        mean = mean.contiguous()
        dist.all_reduce(mean)
        mean = mean / dist.get_world_size()
    return mean


def all_gather(value: Any) -> list[Any]:
    """The `value` of each process, in the order of their ranks.

    Raises `Interrupted` in all processes if one of them calls `stop_others` in place of this.
    """
    if not _has_processes():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    if stops := [each for each in values if isinstance(each, _Stop)]:
        raise Interrupted(stops[0].number, everywhere=True)
    return values


class _Stop(NamedTuple):
    """What a process that a signal interrupts sends in place of a value."""

    number: int


def stop_others(error: Interrupted) -> None:
    """Raise `error` again, also in the processes that wait in `all_gather`, or will."""
    if not error.everywhere:
        all_gather(_Stop(error.number))
    raise error


def _has_processes() -> bool:
    return dist.is_available() and dist.is_initialized()
