"""The memory of a long training does not grow: `make soak` watches each task for a share of two hours."""

import os
import signal
import statistics
import time
from pathlib import Path

import launch
import processes
import pytest
from test_processes import RECIPES_OF
from test_soak import numbers, recipe_file, scenes

pytestmark = pytest.mark.soak
MINUTES = float(os.environ.get("SOAK_MINUTES", 120))
TASKS = [RECIPES_OF[0], *RECIPES_OF[3:], scenes, numbers]


def memory(pid: int) -> int:
    """Bytes of a process and its children that no other process shares, and their part of what is shared."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return own * 1024 + sum(memory(int(child)) for child in children)


@pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)
def test_memory_does_not_grow(tmp_path, make):
    """Of evaluations and checkpoints every few seconds, the last quarter takes as much as the second."""
    recipe, folder = recipe_file(make, tmp_path, epochs=100_000), tmp_path / "run"
    process = processes.resmlp("train", recipe, "--out", folder, log=tmp_path / "log")
    launch.wait_for(lambda: launch.last_checkpoint(folder) > 0, process.is_alive)
    found, end = list[int](), time.monotonic() + 60 * MINUTES / len(TASKS)
    while time.monotonic() < end:
        time.sleep(1)
        assert process.is_alive(), (tmp_path / "log").read_text()[-500:]
        try:
            found.append(memory(process.pid))
        except (FileNotFoundError, ProcessLookupError):  # a child that ended in between
            continue
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    quarter = len(found) // 4
    second, last = (statistics.median(found[n * quarter : (n + 1) * quarter]) for n in (1, 3))
    print(f"{second / 2**20:.1f} MiB, at the end {last / 2**20:.1f}, in {launch.steps_logged(folder)} steps")
    assert last < 1.03 * second + 10 * 2**20
