"""What all tests share: few threads, seeded generators, and the real data beside the repository."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hubserver import Hub

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """`../shared/data` of the repository; without it a test is skipped, but fails where CI is set."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no real data at {path}")
    return path


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub of our own, empty. `hub.env(folder)` is the environment of a process that asks it."""
    with Hub() as hub:
        yield hub
