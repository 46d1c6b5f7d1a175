"""Randomness is a function of a key such as (seed, epoch, position), so that a run resumes with nothing saved."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch


def derive(*key: int | str) -> int:
    """A 63-bit number that depends on all of `key` and on nothing else."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def seed_all(*key: int | str) -> None:
    """Seed Python, NumPy and PyTorch (all devices) by `key`: timm's augmentations draw from all three."""
    number = derive(*key)
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """`seed_all(*key)` inside, the generators of this process as they were afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(*key)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
