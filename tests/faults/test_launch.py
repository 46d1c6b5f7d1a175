"""Launchers: torchrun restarts a run of which a process was killed, accelerate starts one; a process that hangs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import launch
import processes
import pytest
import torch

from resmlp.cli.main import main

EPOCHS = 2
REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
import kills  # noqa: E402

pytestmark = pytest.mark.slow


def run(*args: str) -> int:
    return main(list(args))


def start(folder: Path, *args: str) -> list[BaseProcess]:
    """Both processes of a run, as torchrun starts them."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = os.environ | {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""},
    }
    start.stores.append(store)
    return [
        processes.start(
            run, *args, log=folder.with_suffix(f".{rank}.log"), env=env | {"RANK": rank, "LOCAL_RANK": rank}
        )
        for rank in ("0", "1")
    ]


start.stores = []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("launch") / "whole"
    assert [processes.end(process) for process in start(folder, *kills.train(folder, EPOCHS))] == [0, 0]
    return folder


def test_torchrun_continues_a_run_of_which_a_process_was_killed(tmp_path, undisturbed):
    kills.killed_run(tmp_path / "run", EPOCHS, kills=1, seed=1)
    assert launch.content(tmp_path / "run") == launch.content(undisturbed)
    assert (tmp_path / "run.log").read_text().count("continuing after step") == 1


def test_accelerate_launch_takes_the_same_steps(tmp_path, undisturbed):
    """With --multi_gpu: on CPUs alone, accelerate starts several processes only by MPI."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [*launcher, "-m", "resmlp", *kills.train(tmp_path / "run", EPOCHS)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert launch.content(tmp_path / "run") == launch.content(undisturbed)


@contextmanager
def endless(folder: Path, *args: str) -> Iterator[list[BaseProcess]]:
    """Both processes of a run without an end that has begun; they are killed afterwards."""
    group = start(folder, *kills.train(folder, 100_000), *args)
    try:
        launch.wait_for(lambda: launch.steps_logged(folder) >= 3, lambda: group[0].exitcode is None)
        yield group
    finally:
        for process in group:
            process.kill()
            process.join()


def test_a_process_that_hangs_is_named_and_the_others_end(tmp_path):
    with endless(tmp_path / "run", "--run.timeout-minutes", "0.1") as (living, stopped):
        os.kill(stopped.pid, signal.SIGSTOP)
        assert processes.end(living, 100) == 1
    text = (tmp_path / "run.0.log").read_text()
    (line,) = [line for line in text.splitlines() if "error: " in line]
    assert re.search(rf"error: rank 1 of 2 \(process {stopped.pid} on \S+\) has not answered for 6 s \(", line)
    assert "Traceback" not in text


def test_a_process_whose_partner_was_killed_says_so(tmp_path):
    with endless(tmp_path / "run") as (living, killed):
        killed.kill()
        assert processes.end(living, 100) == 2
    text = (tmp_path / "run.0.log").read_text()
    assert text.splitlines()[-1].startswith("error: the connection to another process of the run is lost (")
    assert "Traceback" not in text
