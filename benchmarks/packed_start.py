"""How soon a training on a packed data set has its first batch, and its memory: python benchmarks/packed_start.py

An index of 14 million rows is made of random labels and one image, in a temporary folder. Then a process opens the set,
and takes the first batch of an epoch by `--workers` loader processes. The private memory is that of all these processes
(PSS without what files hold), beyond that of the same with 1,000 images.
"""

import argparse
import io
import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import conditions
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.data import TrainBatches, open_splits
from resmlp.data.shards.folder import Shard
from resmlp.data.shards.index import Split, write_index

IMAGES, CLASSES, VAL = 14_000_000, 21_841, 0.01
TARGET = {"seconds": 10, "bytes_per_image": 64}


def plant(folder: Path, count: int) -> None:
    """A packed data set of `count` images, all of which are one JPEG in one shard."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    (folder / "train-00000.tar").write_bytes(bytes(512) + file.getvalue())
    train = count - round(VAL * count)
    digits = np.char.zfill(np.arange(10**4).astype("S"), 4).view(np.uint8).reshape(-1, 4)  # of numbers below 10^4
    names = np.empty((count, 21), np.uint8)
    names[:] = np.frombuffer(b"train/class/00000000x", np.uint8)
    numbers = np.arange(count)
    names[:, 12:16], names[:, 16:20] = digits[numbers // 10**4], digits[numbers % 10**4]
    columns = {
        "label": np.sort(rng.integers(0, CLASSES, count)),
        "shard": np.zeros(count, np.int32),
        "offset": np.full(count, 512),
        "size": np.full(count, len(file.getvalue())),
        "name_start": np.arange(count + 1) * names.shape[1],
        "names": names.reshape(-1),
    }
    shard = Shard("train-00000.tar", 512 + len(file.getvalue()), "")
    splits = {"train": Split(0, train, "train/"), "val": Split(train, count - train, "val/")}
    classes = [f"n{i:08}" for i in range(CLASSES)]
    write_index(folder, columns, classes=classes, shards=[shard], splits=splits, plan="")


def private_bytes(pid: int) -> int:
    """The proportional memory of a process that no file holds (Linux)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", text, re.MULTILINE)) * 1024


def start(folder: Path, workers: int) -> tuple[float, int]:
    """Seconds to the first batch, and bytes of all processes then."""
    import multiprocessing

    begin = time.perf_counter()
    data = Data(root=str(folder), img_size=(32,), batch_size=64, workers=workers)
    splits = open_splits(data)
    np.bincount(splits.train.labels, minlength=CLASSES)
    batches = TrainBatches(splits.train, data, Augment(), seed=0).epoch(0)
    next(batches)
    seconds = time.perf_counter() - begin
    processes = [multiprocessing.current_process(), *multiprocessing.active_children()]
    return seconds, sum(private_bytes(process.pid or 0) for process in processes)


def main() -> None:
    """Measure and write results/packed_start.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "packed_start.json")
    options = parser.parse_args()
    measured = []
    for count in (1_000, options.images):
        with tempfile.TemporaryDirectory() as folder:
            plant(Path(folder), count)
            start(Path(folder), options.workers)  # warm
            measured.append(start(Path(folder), options.workers))
    (_, base), (seconds, used) = measured
    result = {
        "what": "A packed data set: seconds from the start to the first batch, and private memory of all processes",
        "numbers": {"seconds": round(seconds, 2), "bytes_per_image": round((used - base) / options.images, 1)},
        "target": TARGET,
        "command": "python benchmarks/packed_start.py",
        "images": options.images,
        "workers": options.workers,
        **conditions("numpy"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
