"""Real runs of two processes for tests that hurt them: started, watched by their log, and continued."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from resmlp.utils.logger import read_metrics

Launched = subprocess.Popen[bytes]

SETTINGS = ("--run.device", "cpu", "--run.log", "--run.log-every", "1", "--run.save-minutes", "100")


def noise_classes(root: Path, classes: str, count: int, size: tuple[int, int]) -> Path:
    """A folder of classes with `count` files of noise each, of height and width `size`."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name / f"{i}.jpg", quality=90)
    return root


def torchrun(*args: object, world: int = 2, restarts: int = 0, log: Path) -> Launched:
    """Start `resmlp` by torchrun on `world` processes, in a session of its own; outputs are appended to `log`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    launcher += ["--max-restarts", str(restarts), "-m", "resmlp"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("ab") as file:
        command = [*launcher, *map(str, args)]
        return subprocess.Popen(command, stdout=file, stderr=file, env=env, start_new_session=True)


def ranks(launcher: Launched) -> list[int]:
    """The pids of the processes that the launcher started, by rank."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        for entry in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RANK="):
                found[int(entry[5:])] = child
    return [found[rank] for rank in sorted(found)]


def steps_logged(folder: Path) -> int:
    """The last step with a line in the log of a run; 0 without one."""
    return max((entry["step"] for entry in read_metrics(folder) if entry["kind"] == "train"), default=0)


def wait_for(condition: Callable[[], bool], alive: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until the condition holds, while the run is alive."""
    end = time.monotonic() + seconds
    while not condition():
        assert alive(), "the run ended before the instant to hurt it"
        assert time.monotonic() < end, "the instant never came"
        time.sleep(0.002)


def wait_for_step(run: Launched, folder: Path, step: int) -> None:
    """Wait until the run has logged a step."""
    wait_for(lambda: steps_logged(folder) >= step, lambda: run.poll() is None)


def last_checkpoint(folder: Path) -> int:
    """The step of the last checkpoint of a run; 0 without one."""
    return max((int(path.name[5:]) for path in folder.glob("checkpoints/step-*")), default=0)


def content(folder: Path) -> dict[str, bytes]:
    """The results of a finished run that must not depend on what happened to it."""
    last = max(folder.glob("checkpoints/step-*"))
    files = [folder / "model.safetensors", *last.glob("*.safetensors"), last / "optimizer.pt"]
    return {path.name: path.read_bytes() for path in files}


def kill_group(process: Launched, number: int = signal.SIGKILL) -> None:
    """Send a signal to all processes of the launcher's session that still are in its group."""
    os.killpg(process.pid, number)


def finish(start: Callable[[], Launched], folder: Path, tries: int = 3, seconds: float = 300) -> None:
    """Run the command until the run has a summary."""
    for _ in range(tries):
        if start().wait(seconds) == 0 and (folder / "summary.json").exists():
            return
    raise AssertionError(f"{folder} did not finish")
