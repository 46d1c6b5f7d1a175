"""Processes for tests about processes. They are forks of this one: a new Python needs 3 seconds to import torch."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import resmlp.training.train  # noqa: F401  imported once, for all forks
from resmlp.cli.main import main


def start(function: Callable[..., int | None], *args: object, log: Path, **env: str) -> BaseProcess:
    """Run `function(*args)` in a process and a session of its own; both outputs are appended to the file `log`.

    The exit code is what the function returns; keywords are variables of its environment.
    """

    def run() -> None:
        os.setsid()
        os.environ.update(env)
        with log.open("ab", 0) as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        gc.freeze()  # the parent's objects may hold threads, which a fork lacks: nothing may collect them here
        torch.set_num_threads(1)
        sys.exit(function(*args) or 0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def resmlp(*args: object, log: Path, **env: str) -> BaseProcess:
    """The command line in a process of its own."""
    return start(main, [str(arg) for arg in args], log=log, **env)


def end(process: BaseProcess, seconds: float = 120) -> int:
    """The exit code of a process, which is killed if it has none after so many seconds."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"process {process.pid} did not end in {seconds} s")
    return process.exitcode


def together(function: Callable[..., int | None], *args: object, folder: Path, world: int = 2) -> list[str]:
    """What each of `world` processes of a group prints, as `torchrun` starts them; each ends with exit code 0."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "CUDA_VISIBLE_DEVICES": ""},
    }
    logs = [folder / f"rank{rank}.log" for rank in range(world)]
    group = [
        start(function, *args, log=log, RANK=str(rank), LOCAL_RANK=str(rank), **env) for rank, log in enumerate(logs)
    ]
    codes = [end(process) for process in group]
    text = [log.read_text() for log in logs]
    assert codes == [0] * world, "\n".join(text)
    return text
