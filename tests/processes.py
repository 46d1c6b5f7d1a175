"""Processes for tests about processes. They are forks of this one: a new Python needs 3 seconds to import torch."""

import gc
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

import resmlp.training.train  # noqa: F401  imported once, for all forks
from resmlp.cli.main import main


def start(
    function: Callable[..., object],
    *args: object,
    log: Path,
    errors: Path | None = None,
    env: Mapping[str, str] | None = None,
    anew: Collection[str] = (),
) -> BaseProcess:
    """Run `function(*args)` in a process and a session of its own; the exit code is the number that it returns, or 0.

    Both outputs are appended to the file `log`, or standard error to `errors`. `env` is the whole environment. The
    packages `anew` are imported again where they are used: those that read the environment once.
    """

    def run() -> None:
        os.setsid()
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        for name in [name for name in sys.modules if name.partition(".")[0] in anew]:
            del sys.modules[name]
        for path, descriptor in ((log, 1), (errors or log, 2)):
            with path.open("ab", 0) as file:
                os.dup2(file.fileno(), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        gc.freeze()  # the parent's objects may hold threads, which a fork lacks: nothing may collect them here
        torch.set_num_threads(1)
        code = function(*args)
        sys.exit(code if isinstance(code, int) else 0)

    process = multiprocessing.get_context("fork").Process(target=run)
    with warnings.catch_warnings():  # from Python 3.12: the child has this thread alone
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        process.start()
    return process


def resmlp(*args: object, **options: Any) -> BaseProcess:
    """Start the command line in a process of its own."""
    return start(main, [str(arg) for arg in args], **options)


def end(process: BaseProcess, seconds: float = 120) -> int:
    """The exit code of a process, which is killed if it has none after so many seconds."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"process {process.pid} did not end in {seconds} s")
    return process.exitcode


def together(function: Callable[..., object], *args: object, folder: Path, world: int = 2) -> list[str]:
    """What each of `world` processes of a group prints, as `torchrun` starts them; each ends with exit code 0."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = os.environ | {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "CUDA_VISIBLE_DEVICES": ""},
    }
    logs = [folder / f"rank{rank}.log" for rank in range(world)]
    group = [
        start(function, *args, log=log, env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, log in enumerate(logs)
    ]
    codes = [end(process) for process in group]
    text = [log.read_text() for log in logs]
    assert codes == [0] * world, "\n".join(text)
    return text
