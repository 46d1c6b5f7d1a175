"""Processes for tests about processes. They are forks of one server: a new Python needs 3 seconds to import torch.

The server imports torch and the package, and computes nothing: PyTorch's autograd does not survive a fork after a
backward pass, so a process of pytest itself cannot be forked.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from drafts import draw_drafts

from resmlp.cli.main import main

SERVER = multiprocessing.get_context("forkserver")
PRELOADED = ("resmlp.training.train", "resmlp.cli.main", "resmlp.tasks", "sklearn.datasets", "sklearn.model_selection")
FIGURES = ("resmlp.analysis.report", "matplotlib.backends.backend_svg")
SERVER.set_forkserver_preload([*PRELOADED, *FIGURES, "processes"])


def start(
    function: Callable[..., object],
    *args: object,
    log: Path,
    errors: Path | None = None,
    env: Mapping[str, str] | None = None,
    anew: Collection[str] = (),
) -> BaseProcess:
    """Run `function(*args)` in a process and a session of its own; the exit code is the number that it returns, or 0.

    Its figures are drafts.
    Both outputs are appended to the file `log`, or standard error to `errors`. `env` is the whole environment, by
    default that of this process. The packages `anew` are imported again where they are used: those that read the
    environment once.
    """
    module = sys.modules[function.__module__]
    by_value = not module.__name__.startswith("resmlp")  # the server cannot import modules of tests
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        call = cloudpickle.dumps((function, args))
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    outputs = str(log), str(errors or log)
    options = (call, outputs, dict(os.environ if env is None else env), str(Path.cwd()), tuple(anew))
    process = SERVER.Process(target=run, args=options)
    process.start()
    return process


def run(call: bytes, outputs: tuple[str, str], env: dict[str, str], folder: str, anew: Collection[str]) -> None:
    """In the new process: set up what `start` promises, and call the function."""
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    for name in [name for name in sys.modules if name.partition(".")[0] in anew]:
        del sys.modules[name]
    for path, descriptor in zip(outputs, (1, 2)):
        with Path(path).open("ab", 0) as file:
            os.dup2(file.fileno(), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    torch.set_num_threads(1)
    draw_drafts(pytest.MonkeyPatch())
    function, args = cloudpickle.loads(call)
    code = function(*args)
    sys.exit(code if isinstance(code, int) else 0)


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


def together(
    function: Callable[..., object], *args: object, folder: Path, world: int = 2, seconds: float = 120
) -> list[str]:
    """What each of `world` processes of a group prints, as `torchrun` starts them; each ends with exit code 0.

    The first is killed if it has not ended after so many seconds.
    """
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
    codes = [end(process, seconds) for process in group]
    text = [log.read_text() for log in logs]
    assert codes == [0] * world, "\n".join(text)
    return text
