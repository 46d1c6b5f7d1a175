"""Memory of inference on a CPU: the growth of the resident set size (RSS) of a separate process.

A process returns little memory to the system, so each measurement needs a new one. It is
`python -m resmlp.analysis.profiling.rss`: one JSON request on standard input, one line of output for each batch size.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from resmlp.utils.errors import UserError

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
OOM_SCORE = Path("/proc/self/oom_score_adj")

Run = Callable[[], object]


def peak_rss() -> int:
    """Peak RSS of this process in bytes; on Linux, since the last `reset_peak`."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak() -> None:
    """Reset the peak to the current RSS (Linux only: `man 5 proc`, clear_refs)."""
    with suppress(OSError):
        CLEAR_REFS.write_text("5")


def growth(build: Callable[[], Iterable[Run]]) -> Iterator[int]:
    """For each function that `build` returns, the peak RSS during its call above the RSS before `build`, in bytes.

    Memory that only `build` needs counts only where the peak cannot be reset.
    """
    reset_peak()
    before = peak_rss()
    for run in build():
        reset_peak()
        run()
        yield peak_rss() - before


def measure_rss(
    model: str, batches: Sequence[int], precision: str, threads: int, size: tuple[int, int] | None = None
) -> dict[int, int]:
    """Batch size -> bytes of weights, images and activations, measured in a separate process.

    Raises `UserError` that names the first batch too large for the memory, and `RuntimeError` for any other failure.
    """
    sizes = sorted(set(batches))
    request = {"model": model, "batches": sizes, "precision": precision, "threads": threads, "size": size}
    path = os.pathsep.join(folder for folder in sys.path if folder)  # the same modules as in this process
    child = subprocess.run(
        [sys.executable, "-P", "-m", "resmlp.analysis.profiling.rss"],
        input=json.dumps(request),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    lines = child.stdout.splitlines()
    if child.returncode < 0 or any(word in child.stderr for word in ("allocate memory", "MemoryError")):
        what = f"--batch {sizes[min(len(lines), len(sizes) - 1)]}: {model} needs more memory than is available"
        raise UserError(what, "use a smaller --batch")
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"the process that measures memory ended with {child.returncode}: {last}")
    return dict(zip(sizes, map(int, lines)))


def _main(request: dict[str, Any]) -> None:
    """Answer a request: print the bytes of each batch size on a line."""
    import torch
    from torch import nn

    from resmlp.analysis.profiling.subjects import blank, open_subject
    from resmlp.config.model_json import SegmenterModelConfig
    from resmlp.hub.resolve import resolve

    segments = isinstance(resolve(request["model"]).config, SegmenterModelConfig)
    libraries = ["timm"] + ["segmentation_models_pytorch"] * segments
    for library in libraries:  # what they take is there before
        importlib.import_module(library)
    with suppress(OSError):  # if the memory runs out, the system kills this process and not its parent
        OOM_SCORE.write_text("1000")
    torch.set_num_threads(request["threads"])
    dtype = torch.bfloat16 if request["precision"] == "bf16" else torch.float32

    def build() -> Iterator[Run]:
        subject = open_subject(request["model"], tuple(request["size"]) if request["size"] else None)
        subject.model.to(dtype)
        for batch in request["batches"]:
            yield lambda batch=batch: subject.model(blank(batch, subject.size, "cpu", dtype, subject.channels))  # type: ignore[misc]

    small = nn.Sequential(nn.Conv2d(3, 8, 4), nn.GELU(), nn.Flatten(), nn.Linear(8 * 13 * 13, 8)).to(dtype)
    with torch.inference_mode():
        small(blank(1, (16, 16), "cpu", dtype))  # the memory of the libraries is allocated before the measurement
        for grown in growth(build):
            print(grown, flush=True)


if __name__ == "__main__":
    _main(json.load(sys.stdin))
