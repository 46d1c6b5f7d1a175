"""A run of two processes under torchrun, one of which is killed again and again: python benchmarks/kills.py

A run of the embedded digits that nothing disturbs is the reference. In the same run again, a random process gets
SIGKILL at random steps; torchrun starts both again each time, and they continue from the last checkpoint. At the end
the weights of both runs must be equal, byte for byte.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from machine import conditions

from resmlp.utils.logger import read_metrics

ROOT = Path(__file__).parent.parent
KILLS, EPOCHS, SEED = 20, 30, 0
STEPS = 5
"""steps of an epoch: 1,437 images in batches of 240"""
TRAIN = (
    *("train", "digits", "--model.depth", "1", "--data.batch-size", "240", "--data.workers", "1"),
    *("--augment.mixup", "0.8", "--augment.erasing", "0.25", "--run.device", "cpu", "--run.eval-every", "5"),
    *("--run.log", "--run.log-every", "1", "--run.save-minutes", "0.001"),
)


def train(folder: Path, epochs: int) -> list[str]:
    """The arguments of a run that writes a checkpoint at nearly every step."""
    return [*TRAIN, "--run.epochs", str(epochs), "--out", str(folder)]


def start(folder: Path, epochs: int) -> subprocess.Popen[bytes]:
    """Two processes of a run; torchrun starts both again when one is killed. Their output is in `folder`.log."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "--max-restarts", "100", "--monitor-interval", "0.1", "-m", "resmlp", *train(folder, epochs)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=env)


def processes(launcher: int) -> set[int]:
    """The pids of the processes that the launcher has started (Linux)."""
    return set(map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()))


def reached(folder: Path) -> int:
    """The last step that the run has logged; 0 before the first."""
    return max((entry["step"] for entry in read_metrics(folder) if entry["kind"] == "train"), default=0)


def killed_run(folder: Path, epochs: int, kills: int, seed: int) -> None:
    """The run, of which a process is killed so many times at random steps. Raises `RuntimeError` if it fails."""
    rng = random.Random(seed)
    steps = sorted(rng.sample(range(1, (epochs - 1) * STEPS), kills))
    launcher, before = start(folder, epochs), set[int]()
    for step in steps:
        # of this attempt: the processes of the one before may still be ending
        while reached(folder) < step or len(now := processes(launcher.pid) - before) < 2:
            if launcher.poll() is not None:
                raise RuntimeError(f"the run ended before step {step}: see {folder.with_suffix('.log')}")
            time.sleep(0.01)
        os.kill(rng.choice(sorted(now)), signal.SIGKILL)
        before |= now
    if launcher.wait():
        raise RuntimeError(f"the run failed: see {folder.with_suffix('.log')}")


def weights(folder: Path) -> str:
    """A checksum of the network that a run has saved."""
    return sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """Run both and write results/kills.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "kills.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed, begin = Path(folder) / "whole", Path(folder) / "killed", time.perf_counter()
        if start(whole, options.epochs).wait():
            raise RuntimeError(f"the undisturbed run failed: {whole.with_suffix('.log').read_text()[-2000:]}")
        killed_run(killed, options.epochs, options.kills, SEED)
        same = weights(whole) == weights(killed)
        seconds = time.perf_counter() - begin
    result = {
        "what": f"Two processes under torchrun, {options.kills} times one of them killed: the same weights at the end",
        "numbers": {"kills": options.kills, "same_bytes": int(same)},
        "target": {"kills": KILLS, "same_bytes": 1},
        "command": "python benchmarks/kills.py",
        "seconds": round(seconds, 1),
        "steps": options.epochs * STEPS,
        **conditions("accelerate"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
