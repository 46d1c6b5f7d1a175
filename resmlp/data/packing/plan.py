"""What will be written: the name of each image in its shard, and which images each shard has. A function of the source.

N images.
"""

import json
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from resmlp.data.images.file_stats import sizes_and_times
from resmlp.data.packing.source import PackSource, Part, plain

BLOCKS = 2048
"""bytes of a tar around a sample: the headers of its two files, a class, and what fills the last blocks"""
UNDIVIDED = ("all", "")
"""splits whose shards are called images-00000.tar; those of others have the name of the split"""


class Job(NamedTuple):
    """A shard that will be written."""

    name: str
    """train-00000.tar"""
    part: int
    """the number of its split"""
    rows: range
    """the images of that split"""
    mark: str
    """identifies the images, with their sizes and times, and the settings"""


class Plan(NamedTuple):
    """All shards."""

    keys: tuple[list[str], ...]
    """of each split the name of each image in its tar, without an ending"""
    jobs: tuple[Job, ...]
    mark: str
    """identifies the images, with their sizes, and the settings"""


def make_plan(source: PackSource, shard_bytes: int, max_side: int | None) -> Plan:
    """Divide the images of each split into shards of about `shard_bytes` bytes of the source."""
    lists = [dict(source.lists)] * bool(source.lists)
    settings = json.dumps([1, shard_bytes, max_side, source.classes, *lists])
    whole, jobs, keys = blake2b(settings.encode(), digest_size=16), list[Job](), []
    for number, part in enumerate(source.parts):
        keys.append(_keys(part))
        stats = sizes_and_times(part.images.images)
        masks = sizes_and_times([pair.mask for pair in part.pairs])
        stats = np.hstack([stats, masks]) if part.pairs else stats
        ends = _ends(stats[:, ::2].sum(1) + BLOCKS, shard_bytes)
        for i, (start, end) in enumerate(zip([0, *ends], ends)):
            content = blake2b(settings.encode(), digest_size=16)
            for row in range(start, end):
                sizes, times = ("\0".join(map(str, stats[row, kind::2].tolist())) for kind in (0, 1))
                line = f"\0{part.images.path(row)}\0{part.images.labels[row]}\0{sizes}"
                content.update(f"{line}\0{times}".encode())
                whole.update(f"{part.name}{line}".encode())
            name = f"{'images' if part.name in UNDIVIDED else part.name}-{i:05}.tar"
            jobs.append(Job(name, number, range(start, end), content.hexdigest()))
    return Plan(tuple(keys), tuple(jobs), whole.hexdigest())


def _keys(part: Part) -> list[str]:
    """CLASS/any/where/name of each image: WebDataset ends a name at its first dot, and two names must differ."""
    used: set[str] = set()
    keys = []
    for path in part.images.paths:
        *folders, name = path.removeprefix(part.folder).split("/")
        stem = name.rpartition(".")[0] or name
        key = plain_key = "/".join([*map(plain, folders), plain(stem).replace(".", "_")])
        copy = 1
        while key in used:
            copy += 1
            key = f"{plain_key}_{copy}"
        used.add(key)
        keys.append(key)
    return keys


def _ends(sizes: np.ndarray, largest: int) -> list[int]:
    """Where each shard ends: it has images until there are `largest` bytes of them, and at least one."""
    total = np.cumsum(sizes)
    ends, start = list[int](), 0
    while start < len(sizes):
        before = int(total[start - 1]) if start else 0
        start = max(int(np.searchsorted(total, before + largest, "right")), start + 1)
        ends.append(start)
    return ends
