"""Randomness as a function of a key such as (seed, step): a run resumes without saved generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch


def derive(*key: int) -> int:
    """A 63-bit number that depends only on `key`."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def seed_host(number: int) -> None:
    """Seed Python, NumPy and PyTorch's CPU generator: timm's augmentations draw from all three."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.default_generator.manual_seed(number)


def seed_all(*key: int) -> None:
    """Seed every generator, also those of accelerators, by `key`."""
    number = derive(*key)
    seed_host(number)
    torch.manual_seed(number)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restores the state of the CPU's generators at the end."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
