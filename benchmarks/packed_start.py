"""How soon a training on millions of images has its first batch, and its memory: python benchmarks/packed_start.py

An index of 14 million rows is made of random labels and one image, in a temporary folder: that of a packed data set, or
with `--folder` that of a folder of images in the cache. Then a new process opens the set as `resmlp train` does, and
takes the first batch of an epoch by `--workers` loader processes. The time is that from the start of this process; of
it, `data_seconds` are those after the imports. The private memory is that of all these processes (PSS without what
files hold), beyond that of the same with 1,000 images.
"""

import argparse
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from resmlp.config import Augment, Data

IMAGES, CLASSES, VAL = 14_000_000, 21_841, 0.01
TARGET = {"seconds": 10, "bytes_per_image": 64}
ONE = "one.jpg"
"""the file that stands for each image of a folder"""


def jpeg() -> bytes:
    """A JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def classes_of(count: int) -> int:
    """The number of classes of `count` images: fewer where there would be few images in each."""
    return min(CLASSES, max(count // 100, 2))


def labels(count: int) -> np.ndarray:
    """Random labels, ascending in the training images and in the validation images, which follow them: int64 N."""
    rng, held, classes = np.random.default_rng(0), max(round(VAL * count), 1), classes_of(count)
    return np.concatenate([np.sort(rng.integers(0, classes, n)) for n in (count - held, held)])


def plant_packed(folder: Path, count: int) -> None:
    """A packed data set of `count` images, all of which are one JPEG in one shard."""
    from resmlp.data.shards.folder import Shard
    from resmlp.data.shards.index import Split, write_index

    data = jpeg()
    (folder / "train-00000.tar").write_bytes(bytes(512) + data)
    train = count - max(round(VAL * count), 1)
    digits = np.char.zfill(np.arange(10**4).astype("S"), 4).view(np.uint8).reshape(-1, 4)  # of numbers below 10^4
    names = np.empty((count, 21), np.uint8)
    names[:] = np.frombuffer(b"train/class/00000000x", np.uint8)
    numbers = np.arange(count)
    names[:, 12:16], names[:, 16:20] = digits[numbers // 10**4], digits[numbers % 10**4]
    columns = {
        "label": labels(count),
        "shard": np.zeros(count, np.int32),
        "offset": np.full(count, 512),
        "size": np.full(count, len(data)),
        "name_start": np.arange(count + 1) * names.shape[1],
        "names": names.reshape(-1),
    }
    shard = Shard("train-00000.tar", 512 + len(data), "")
    splits = {"train": Split(0, train, "train/"), "val": Split(train, count - train, "val/")}
    classes = [f"n{i:08}" for i in range(classes_of(count))]
    write_index(folder, columns, classes=classes, shards=[shard], splits=splits, plan="")


def plant_folder(folder: Path, count: int) -> None:
    """The folders of `count` images in train/ and val/ without their files, and their index in the cache."""
    from resmlp.data.images.file_index import Listing
    from resmlp.data.images.index_cache import keep_index

    (folder / ONE).write_bytes(jpeg())
    own = labels(count)
    train = count - max(round(VAL * count), 1)
    parts = {"train": own[:train], "val": own[train:]}
    used = np.unique(own)  # both splits must have the same classes
    root = folder / "images"
    for part in parts:
        for label in used:
            (root / part / f"n{label:08}").mkdir(parents=True)
    time.sleep(3)  # an index of folders that have just changed is not used again
    listing = Listing(root)
    listing.depends_on(str(root), is_folder=True)
    for part, numbers in parts.items():
        listing.depends_on(f"{root}/{part}", is_folder=True)
        counts = np.maximum(np.bincount(numbers, minlength=CLASSES), 1)  # an image more where there was none
        for label in used.tolist():
            inner = f"{part}/n{label:08}"
            listing.depends_on(f"{root}/{inner}", is_folder=True)
            for i in range(counts[label]):
                listing.add(f"{inner}/{i:08}.JPEG", f"{root}/{inner}/{i:08}.JPEG")
    keep_index(root, listing, [])


def private_bytes(pid: int) -> int:
    """The proportional memory of a process that no file holds (Linux)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", text, re.MULTILINE)) * 1024


def start(root: Path, workers: int, one: Path | None) -> None:
    """Print the time of the first batch, and the bytes of all processes after it, as JSON."""
    from resmlp.data import EvalBatches, TrainBatches, open_splits
    from resmlp.data.images.file_index import FileIndex
    from resmlp.data.images.image_list import make_image_list
    from resmlp.imaging.image_file import File

    imported = time.time()
    if one:
        FileIndex.member = lambda self, row, decoding: File(str(one), decoding)  # type: ignore[method-assign]
    data = Data(root=str(root), img_size=(32,), batch_size=64, workers=workers)
    splits = open_splits(data)
    make_image_list(*splits)
    np.bincount(splits.train.labels, minlength=CLASSES)
    val = EvalBatches(splits.val, data.preprocessing(), 64, workers)
    batches = TrainBatches(splits.train, data, Augment(), seed=0).epoch(0)
    next(batches)
    first = time.time()
    time.sleep(2)  # workers that are still busy use more
    processes = [os.getpid(), *(process.pid or 0 for process in multiprocessing.active_children())]
    print(json.dumps({"imported": imported, "first": first, "bytes": sum(map(private_bytes, processes))}))
    del val


def measured(root: Path, workers: int, one: Path | None) -> dict[str, float]:
    """Seconds from the start of a new process to its first batch, and the bytes of all processes."""
    command = [sys.executable, "-W", "ignore", __file__, "--start", str(root), "--workers", str(workers)]
    began = time.time()
    done = subprocess.run(command + (["--one", str(one)] if one else []), check=True, stdout=subprocess.PIPE)
    result = json.loads(done.stdout)
    own = result["first"] - result["imported"]
    return {"seconds": result["first"] - began, "data_seconds": own, "bytes": result["bytes"]}


def main() -> None:
    """Measure and write results/packed_start.json, or results/folder_start.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--folder", action="store_true", help="a folder of images in place of a packed data set")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(options.start, options.workers, options.one)
        return
    name = "folder_start" if options.folder else "packed_start"
    results = []
    for count in (1_000, options.images):
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            os.environ["RESMLP_CACHE"] = str(folder / "cache")
            (plant_folder if options.folder else plant_packed)(folder, count)
            where = (
                (folder / "images", options.workers, folder / ONE)
                if options.folder
                else (folder, options.workers, None)
            )
            measured(*where)  # warm
            results.append(measured(*where))
    base, found = results
    used = found["bytes"] - base["bytes"]
    what = "A folder of images" if options.folder else "A packed data set"
    from machine import conditions

    result = {
        "what": f"{what}: seconds from the start to the first batch, and private memory of all processes",
        "numbers": {
            "seconds": round(found["seconds"], 2),
            "data_seconds": round(found["data_seconds"], 2),
            "bytes_per_image": round(used / options.images, 1),
        },
        "target": TARGET,
        "command": "python benchmarks/packed_start.py" + " --folder" * options.folder,
        "images": options.images,
        "workers": options.workers,
        **conditions("numpy"),
    }
    out = options.out or Path(__file__).parent.parent / "results" / f"{name}.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
