"""A signal to all processes of a run, or to one: saved at the step after it, and continued to the same bytes."""

import os
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import processes
import pytest
import torch
from launch import SETTINGS, content, last_checkpoint, steps_logged, wait_for

from resmlp.cli.main import main

STEPS = 15
ARGS = [
    *("train", "digits", "--model.depth", "1", "--data.batch-size", "240", "--data.workers", "1", "--run.epochs", "3"),
    *("--run.eval-every", "2", "--augment.mixup", "0.8", "--augment.erasing", "0.25"),
    *SETTINGS,
]


def slow(folder: str) -> int:
    """A run whose loader is the slowest part."""
    import time

    from resmlp.imaging.image_file import Pixels

    read = Pixels.read_region

    def slowly(self, choose_region):
        time.sleep(0.002)
        return read(self, choose_region)

    Pixels.read_region = slowly
    return main([*ARGS, "--out", folder])


def fast(folder: str) -> int:
    return main([*ARGS, "--out", folder])


def start(function, folder: Path, world: int = 2) -> list[BaseProcess]:
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    start.stores.append(store)
    env = os.environ | {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "CUDA_VISIBLE_DEVICES": ""},
    }
    each = [env | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    return [
        processes.start(function, str(folder), log=folder.with_suffix(f".{rank}.log"), env=env)
        for rank, env in enumerate(each)
    ]


start.stores = []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopping") / "whole"
    assert [processes.end(process) for process in start(fast, folder)] == [0, 0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "to", "number"),
    [(slow, "all", signal.SIGTERM), (fast, "one", signal.SIGINT)],
    ids=["loading, SIGTERM to all", "computing, SIGINT to one"],
)
def test_two_processes_save_and_continue_to_the_same_bytes(tmp_path, undisturbed, run, to, number):
    folder = tmp_path / "run"
    group = start(run, folder)
    instant = random.Random(f"{to} {number}").randrange(1, STEPS - 3)
    wait_for(lambda: steps_logged(folder) >= instant, lambda: group[0].exitcode is None)
    for process in group if to == "all" else group[1:]:
        os.killpg(process.pid, number)  # its workers get it too
    logged = steps_logged(folder)
    codes = [processes.end(process, 60) for process in group]
    text = "\n".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert codes == [128 + number] * 2, text
    assert logged <= last_checkpoint(folder) <= logged + 1, text
    assert "Traceback" not in text
    assert [processes.end(process) for process in start(fast, folder)] == [0, 0]
    assert content(folder) == content(undisturbed)
