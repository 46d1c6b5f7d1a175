"""How much memory inference takes on a CPU: by a process of its own, since a process gives back little of what it had.

`python -m resmlp.analysis.profiling.rss` is that process: each request is JSON on standard input, each answer a line
of JSON.
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

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KILLED_FIRST = Path("/proc/self/oom_score_adj")

Run = Callable[[], object]


def peak() -> int:
    """The largest resident set of this process so far, in bytes; on Linux, since `forget_peak`."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let `peak` start again from what is resident now (Linux: `man 5 proc`, clear_refs); elsewhere nothing happens."""
    with suppress(OSError):
        CLEAR.write_text("5")


def growth(build: Callable[[], Iterable[Run]]) -> Iterator[int]:
    """By how many bytes the peak while each of what `build` returns runs exceeds what there was before `build`.

    What building took and gave back is not counted, except where the peak cannot be forgotten.
    """
    forget_peak()
    before = peak()
    for run in build():
        forget_peak()
        run()
        yield peak() - before


def resident_memory(model: str, batches: Sequence[int], precision: str, threads: int) -> dict[int, int]:
    """Bytes that weights, images and all between them take at each batch, measured in a process of its own.

    Raises `UserError` naming the first batch that does not fit, or what else stopped it.
    """
    asked = sorted(set(batches))
    request = {"model": model, "batches": asked, "precision": precision, "threads": threads}
    path = os.pathsep.join(place for place in sys.path if place)  # the modules of this process and no others
    child = subprocess.run(
        [sys.executable, "-P", "-m", "resmlp.analysis.profiling.rss"],
        input=json.dumps(request),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    lines = child.stdout.splitlines()
    if child.returncode < 0 or any(word in child.stderr for word in ("allocate memory", "MemoryError")):
        what = f"--batch {asked[min(len(lines), len(asked) - 1)]}: {model} needs more memory than there is"
        raise UserError(what, "a smaller --batch")
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"the process that measures memory ended with {child.returncode}: {last}")
    return dict(zip(asked, map(int, lines)))


def _main(request: dict[str, Any]) -> None:
    """Answer a request: a line of bytes for each batch."""
    import torch
    from torch import nn

    from resmlp.analysis.profiling.subjects import blank, open_subject
    from resmlp.config.model_config import SegmenterModelConfig
    from resmlp.hub.resolve import resolve

    segments = isinstance(resolve(request["model"]).config, SegmenterModelConfig)
    libraries = ["timm"] + ["segmentation_models_pytorch"] * segments
    for library in libraries:  # what they take is there before
        importlib.import_module(library)
    with suppress(OSError):  # where memory ends, this process ends, and not the one that asked
        KILLED_FIRST.write_text("1000")
    torch.set_num_threads(request["threads"])
    dtype = torch.bfloat16 if request["precision"] == "bf16" else torch.float32

    def build() -> Iterator[Run]:
        subject = open_subject(request["model"])
        subject.model.to(dtype)
        for batch in request["batches"]:
            yield lambda batch=batch: subject.model(blank(batch, subject.size, "cpu", dtype))  # type: ignore[misc]

    small = nn.Sequential(nn.Conv2d(3, 8, 4), nn.GELU(), nn.Flatten(), nn.Linear(8 * 13 * 13, 8)).to(dtype)
    with torch.inference_mode():
        small(blank(1, (16, 16), "cpu", dtype))  # what the libraries take for themselves is there before
        for grown in growth(build):
            print(grown, flush=True)


if __name__ == "__main__":
    _main(json.load(sys.stdin))
