"""The shards of a packed data set, compared with the checksums in its index."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resmlp.data.checking.issues import Issue
from resmlp.data.loading.loader import Loader
from resmlp.data.shards.folder import checksum, other_size
from resmlp.data.shards.index import Index
from resmlp.data.shards.rows import Entries
from resmlp.imaging.decode import UnreadableArchive


@dataclass(frozen=True)
class State:
    """What is wrong with a shard."""

    problem: str = ""
    """empty if nothing is"""
    is_lost: bool = False
    """it cannot be opened, and none of its images can be read"""


@dataclass
class _Shards:
    """The state of the shard of each number."""

    index: Index

    def name(self, number: int) -> str:
        return self.index.shards[number].name

    def __getitem__(self, number: int) -> State:
        shard = self.index.shards[number]
        try:
            with os.fdopen(self.index.folder.open(shard), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != shard.bytes:
                    return State(other_size(size, shard))
                return State("" if checksum(file) == shard.checksum else "its checksum is wrong")
        except UnreadableArchive as error:
            return State(error.reason, is_lost=True)
        except OSError as error:
            return State(error.strerror or str(error), is_lost=True)


def check_shards(
    images: Sequence[Any], processes: int, step: Callable[[int, int], Any]
) -> tuple[list[Issue], np.ndarray]:
    """The damaged shards as an issue, and the places of the images that are not in a lost one: int64 N.

    Reads all bytes of all shards. Other images than those of a packed data set have no shards.
    """
    everything = np.arange(len(images))
    if not isinstance(images, Entries):
        return [], everything
    index = images.packed
    count = len(index.shards)
    states = list[State]()
    for state in Loader(_Shards(index), range(count), processes if processes > 1 and count > 1 else 0):
        states.append(state)
        step(len(states), count)
    problems = {index.folder.where(shard): state.problem for shard, state in zip(index.shards, states) if state.problem}
    lost = np.array([state.is_lost for state in states])
    issues = [Issue.of("damaged-shard", problems)] * bool(problems)
    return issues, everything[~lost[index.shard[images.numbers()]]]
